// What the server says of itself at a moment, and what happened between two.

import { number, pairs, text, whole } from './wire.js'

// own are the rows that this page's questions are counted in.
const own = new Set(['info', 'latency|histogram', 'slowlog|get', 'crema|status', 'pubsub|channels', 'pubsub|numsub'])

export const questions = [['INFO'], ['LATENCY', 'HISTOGRAM'], ['SLOWLOG', 'GET', '20'], ['CREMA', 'STATUS']]

// sample reads the replies to the questions. What the token may not ask, or the
// server does not have, is null, and the reasons are in refused.
export function sample([info, histogram, slow, status], at) {
  const refused = [info, histogram, slow].filter((r) => r.kind === '-').map((r) => text(r.bytes))
  return {
    at, // ms, of a clock that only goes forward
    info: info.kind === '-' ? new Map() : fields(text(info.bytes)),
    rows: histogram.kind === '-' ? null : rows(histogram.items),
    slow: slow.kind === '-' ? null : slow.items.map(({ items: [, when, took, words, addr, name] }) => ({
      when: number(when), took: number(took), words: words.items.map((w) => w.bytes), addr: addr.bytes, name: name.bytes,
    })),
    cluster: status.kind === '-' ? null : cluster(pairs(status.items)),
    refused,
  }
}

// fields are INFO's lines.
function fields(info) {
  const map = new Map()
  for (const line of info.split('\r\n')) {
    const colon = line.indexOf(':')
    if (colon > 0) map.set(line.slice(0, colon), line.slice(colon + 1))
  }
  return map
}

// rows are the commands that have run: how often, and how often within so many µs.
function rows(items) {
  const map = new Map()
  for (const [name, row] of pairs(items)) {
    if (own.has(name)) continue
    const r = pairs(row.items)
    const bounds = r.get('histogram_usec').items.map(number)
    const within = new Map()
    let before = 0
    for (let i = 0; i + 1 < bounds.length; i += 2) {
      within.set(bounds[i], bounds[i + 1] - before)
      before = bounds[i + 1]
    }
    map.set(name, { calls: number(r.get('calls')), within })
  }
  return map
}

function cluster(status) {
  const word = (map, name) => (map.has(name) ? text(map.get(name).bytes) : '')
  return {
    node: word(status, 'node_id'),
    term: word(status, 'term'),
    leader: word(status, 'leader'),
    knownBy: word(status, 'members_known_by'),
    disk: word(status, 'disk'),
    members: status.get('members').items.map(({ items }) => {
      const m = pairs(items)
      return Object.fromEntries(['id', 'role', 'leader', 'client', 'peer', 'linked', 'lag', 'match'].map((name) => [name, word(m, name)]))
    }),
  }
}

// between is what happened from one sample to the next; null if the server was
// started or its counters were cleared in between. asked is how many commands of
// this page are among those counted.
export function between(a, b, asked) {
  const seconds = (b.at - a.at) / 1000
  const grew = (name) => Number(b.info.get(name) ?? 0) - Number(a.info.get(name) ?? 0)
  if (a.info.get('run_id') !== b.info.get('run_id') || grew('total_commands_processed') < 0 || grew('keyspace_hits') < 0 || seconds <= 0) return null
  const hits = grew('keyspace_hits')
  const looked = hits + grew('keyspace_misses')
  const commands = []
  const within = new Map()
  for (const [name, row] of b.rows ?? []) {
    const before = a.rows?.get(name)
    const fresh = new Map()
    for (const [bound, n] of row.within) {
      const more = n - (before?.within.get(bound) ?? 0)
      fresh.set(bound, more)
      within.set(bound, (within.get(bound) ?? 0) + more)
    }
    commands.push({ name, rate: Math.max(row.calls - (before?.calls ?? 0), 0) / seconds, p99: percentile(fresh, 0.99), calls: row.calls })
  }
  commands.sort((x, y) => y.rate - x.rate || y.calls - x.calls)
  return {
    requests: Math.max(grew('total_commands_processed') - asked, 0) / seconds,
    hits: looked > 0 ? hits / looked : null,
    p50: percentile(within, 0.5),
    p99: percentile(within, 0.99),
    published: grew('messages_published') / seconds,
    delivered: grew('messages_delivered') / seconds,
    evicted: grew('evicted_keys') / seconds,
    expired: grew('expired_keys') / seconds,
    commands,
  }
}

// percentile is the µs within which this share of calls was done: the upper end
// of a bucket. Null if there were none.
export function percentile(within, share) {
  let total = 0
  for (const n of within.values()) total += n
  if (total <= 0) return null
  let below = 0
  for (const bound of [...within.keys()].sort((x, y) => x - y)) {
    below += within.get(bound)
    if (below >= share * total) return bound
  }
  return null
}

// names are channels in the order shown: those that can be asked about come with
// their text, for others it is null.
export function names(reply) {
  const list = reply.items.map(({ bytes }) => ({ bytes, name: whole(bytes) }))
  return list.sort((x, y) => ((x.name ?? '') < (y.name ?? '') ? -1 : 1))
}
