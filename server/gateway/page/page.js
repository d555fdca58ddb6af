// The page asks the server, with the token it was given, what the commands can
// tell, and draws that. It asks while it is looked at.

import { BadToken, number, talk, text } from './wire.js'
import { between, names, questions, sample } from './samples.js'
import { ago, at, bar, bytes, cell, chart, chartPoints, count, fill, micros, percent, rate, say } from './draw.js'
import * as terminal from './console.js'

const every = 2000 // ms from an answer to the next question
const slot = 'crema-token' // in sessionStorage: gone with the tab

const most = { channels: 200, commands: 15 } // rows shown
const manyChannels = 2000 // with more than these, names are asked for seldom
const seldom = 30_000 // ms

let token = sessionStorage.getItem(slot) ?? ''
let turn = 0 // what an older turn still waits for is not shown
let timer = 0
let paused = false
let last = null // the sample before
let asked = 0 // commands of this page since then
let answered = '' // when the server last answered, as people say it
let listed = { at: -Infinity, names: [], sizes: null }
const lines = { requests: [], hits: [], latency: [], clients: [] }

function tone(words, of) {
  say('state', words)
  at('state').dataset.tone = of
  at('room').toggleAttribute('data-stale', of !== 'good')
}

// enter shows the door or the room.
function enter(room) {
  at('door').hidden = room
  at('room').hidden = at('buttons').hidden = !room
  if (!room) {
    tone('', 'quiet')
    say('who', '')
    at('token').focus()
  }
}

function forget(why = '') {
  turn++
  clearTimeout(timer)
  sessionStorage.removeItem(slot)
  token = ''
  last = null
  for (const line of Object.values(lines)) line.length = 0
  listed = { at: -Infinity, names: [], sizes: null }
  terminal.clear()
  enter(false)
  say('wrong', why)
}

const unknownToken = (err) => forget(`The server does not take this token: ${err.message}`)

// begin asks at once, and again and again.
function begin() {
  turn++
  clearTimeout(timer)
  last = null // what happened while nobody looked is not drawn as if it had just happened
  if (!token || paused || document.hidden) return
  look(turn)
}

async function look(mine) {
  try {
    await ask(mine)
    if (mine !== turn) return
    answered = new Date().toLocaleTimeString()
    tone('Live', 'good')
  } catch (err) {
    if (mine !== turn) return
    if (err instanceof BadToken) return unknownToken(err)
    last = null
    tone(`No answer${answered && ` since ${answered}`}: ${err.name === 'TimeoutError' ? 'it takes too long' : err.message}`, 'bad')
  }
  timer = setTimeout(look, every, mine)
}

async function ask(mine) {
  const now = performance.now()
  const due = now - listed.at > (listed.names.length > manyChannels ? seldom : 0)
  const commands = due ? [...questions, ['PUBSUB', 'CHANNELS']] : questions
  const replies = await talk(token, commands)
  if (mine !== turn) return
  const fresh = sample(replies, now)
  const grown = last && between(last, fresh, asked)
  asked = commands.length
  if (due && replies.at(-1).kind === '*') {
    const found = names(replies.at(-1))
    const askable = found.slice(0, most.channels).filter(({ name }) => name !== null).map(({ name }) => name)
    let sizes = new Map()
    if (askable.length > 0) {
      const [reply] = await talk(token, [['PUBSUB', 'NUMSUB', ...askable]])
      if (mine !== turn) return
      asked++
      if (reply.kind === '*') sizes = new Map(askable.map((name, i) => [name, number(reply.items[2 * i + 1])]))
    }
    listed = { at: now, names: found, sizes }
  }
  last = fresh
  show(fresh, grown)
}

// show draws a sample, and what happened since the one before if that is known.
function show({ info, rows, slow, cluster, refused }, grown) {
  const n = (name) => Number(info.get(name) ?? 0)
  const add = (line, value) => {
    line.push(value)
    if (line.length > chartPoints) line.shift()
  }
  const node = cluster?.node || info.get('raft_node_id')
  say('who', [node && `node ${node}`, `version ${info.get('crema_version') ?? '?'}`, `up ${ago(n('uptime_in_seconds'))}`].filter(Boolean).join(' · '))
  document.title = node ? `${node} · crema` : 'crema'
  at('partly').hidden = refused.length === 0
  say('partly', refused.length ? `Some of this is not for this token: ${refused[0]}` : '')

  add(lines.requests, grown ? grown.requests : null)
  add(lines.hits, grown ? grown.hits : null)
  add(lines.latency, grown ? grown.p99 : null)
  add(lines.clients, n('connected_clients'))

  say('requests', grown ? rate(grown.requests) : '–')
  say('requests-more', `${count(n('total_commands_processed'))} in all · messages: ${grown ? `${rate(grown.published)} published, ${rate(grown.delivered)} delivered a second` : '–'}`)
  chart('chart-requests', lines.requests, rate)

  const looked = n('keyspace_hits') + n('keyspace_misses')
  say('hits', percent(grown ? grown.hits : null))
  say('hits-more', looked > 0 ? `${percent(n('keyspace_hits') / looked)} of ${count(looked)} reads since the start` : 'No reads yet')
  chart('chart-hits', lines.hits, percent, 1)

  say('p50', atMost(grown?.p50))
  say('p99', atMost(grown?.p99))
  chart('chart-latency', lines.latency, micros)

  say('clients', count(n('connected_clients')))
  say('clients-more', `of ${count(n('maxclients'))} · ${count(n('pubsub_clients'))} subscribed · ${count(n('rejected_connections'))} refused`)
  chart('chart-clients', lines.clients, count)

  showMemory(n, info.get('maxmemory_policy'), grown)
  showCluster(cluster, info)
  fill('commands', (rows && grown ? grown.commands.slice(0, most.commands) : []).map((c) => [
    cell(c.name.replace('|', ' ').toUpperCase(), { head: true }), cell(rate(c.rate), { n: true }), cell(atMost(c.p99), { n: true }), cell(count(c.calls), { n: true, less: true }),
  ]), !rows ? 'Not for this token' : grown ? 'None yet' : 'Counting …')
  showChannels(n)
  fill('slow', (slow ?? []).map((e) => [
    cell(`${ago(n('server_time_usec') / 1e6 - e.when)} ago`), cell(micros(e.took), { n: true }), command(e.words), client(e),
  ]), slow ? 'Nothing took long' : 'Not for this token')
}

const atMost = (us) => (us === null || us === undefined ? '–' : `≤\u202f${micros(us)}`)

function showMemory(n, policy, grown) {
  const pinned = n('pinned_bytes')
  const cached = n('cached_bytes')
  const limit = n('maxmemory')
  say('memory', bytes(n('used_memory')))
  say('memory-of', limit > 0 ? `of ${bytes(limit)}` : 'without a limit')
  const whole = limit || pinned + cached
  const share = (part) => (whole > 0 ? percent(part / whole) : percent(0))
  bar('bar', [{ name: 'pinned', size: pinned }, { name: 'cached', size: cached }], whole, `Pinned ${share(pinned)}, cached ${share(cached)}`)
  fill('kinds', [['pinned', n('pinned_keys'), pinned], ['cached', n('cached_keys'), cached]].map(([kind, entries, size]) => {
    const name = cell(kind, { head: true })
    name.classList.add('kind', kind)
    return [name, cell(count(entries), { n: true }), cell(bytes(size), { n: true })]
  }))
  say('memory-more', `${policy ?? ''} · the process has ${bytes(n('used_memory_rss'))} · a second: ${grown ? `${rate(grown.evicted)} evicted, ${rate(grown.expired)} expired` : '–'}`)
}

function showCluster(cluster, info) {
  at('cluster').hidden = !cluster && !info.has('raft_state')
  if (!cluster) {
    say('cluster-more', `This node is ${info.get('raft_state')}, ${info.get('raft_leader') || 'nobody'} leads in term ${info.get('raft_term')}`)
    return fill('members', [], 'Not for this token')
  }
  say('cluster-more', `${cluster.leader ? `${cluster.leader} leads` : 'Nobody leads'} in term ${cluster.term} · as ${cluster.knownBy === 'leader' ? 'the leader' : 'only this node'} sees it`)
  fill('members', cluster.members.map((m) => {
    const role = cell(m.leader === 'yes' ? 'leader' : m.role === 'voter' ? 'follower' : m.role)
    const link = cell(m.linked === 'yes' ? 'up' : 'down')
    link.className = m.linked === 'yes' ? 'good' : 'bad'
    return [cell(m.id === cluster.node ? `${m.id} (this one)` : m.id, { head: true }), role, link,
      cell(m.match === '0' && m.leader !== 'yes' ? 'not known' : count(Number(m.lag)), { n: true }), cell(m.client || '–')]
  }), 'None')
}

function showChannels(n) {
  const { names, sizes } = listed
  const rest = names.length - most.channels
  say('channels-more', `${count(names.length)} with subscribers${rest > 0 ? `, the first ${most.channels} shown` : ''} · ${count(n('pubsub_patterns'))} patterns`)
  const sized = names.slice(0, most.channels).map(({ bytes, name }) => ({ bytes, n: sizes?.get(name) ?? null }))
  sized.sort((x, y) => (y.n ?? 0) - (x.n ?? 0))
  fill('channels', sized.map((c) => [cell(c.bytes, { head: true }), cell(c.n === null ? '–' : count(c.n), { n: true })]), 'Nobody listens')
}

// command is what was run, in one cell.
function command(list) {
  const td = cell('')
  const code = document.createElement('code')
  list.forEach((word, i) => code.append(i ? ' ' : '', cell(word).firstChild))
  td.append(code)
  return td
}

const client = ({ addr, name }) => cell(name.length ? `${text(addr)} ` : text(addr))

at('ask').addEventListener('submit', (event) => {
  event.preventDefault()
  const given = at('token').value.trim()
  if (!/^[\x21-\x7e]+$/.test(given)) return say('wrong', 'A token has no spaces and nothing but ASCII in it')
  at('token').value = ''
  say('wrong', '')
  token = given
  sessionStorage.setItem(slot, token)
  enter(true)
  tone('Asking …', 'quiet')
  begin()
})

at('forget').addEventListener('click', () => forget())

at('pause').addEventListener('click', () => {
  paused = !paused
  at('pause').setAttribute('aria-pressed', String(paused))
  if (paused) tone('Paused', 'quiet')
  begin()
})

document.addEventListener('visibilitychange', begin)

terminal.open(() => token, unknownToken)
enter(token !== '')
begin()
