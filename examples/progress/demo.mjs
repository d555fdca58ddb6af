// Runs the whole and measures it.
//
// 1. Browsers (SSE streams) follow batches while a worker takes them forward:
//    how long from publish to receive, was anything lost or out of order?
//    Beside them one reader per batch polls every 2 s, for comparison.
// 2. Dashboards read progress through three web servers whose caches keep it
//    for 5, 10 and 30 s: how many reads never see the database?
//
// Every figure is measured in this run, in real time. Exit code 1 if a promise
// is broken:
//
//   REDIS_URL          where crema is (redis://127.0.0.1:6379)
//   CLIENTS  50        SSE streams
//   BATCHES  20        batches, of STEPS (60) steps, one every EVERY_MS (200)
//   RATIO_SECONDS 35   how long the hit ratio is measured; longer than the longest TTL
//   MAX_P99_MS 50      an idle machine keeps 10
//   MIN_HIT_RATIO 0.9

import { setMaxListeners } from 'node:events'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import Redis from 'ioredis'
import { run, server, stopAll } from './children.mjs'
import { Stream } from './stream.mjs'

const setting = (name, otherwise) => Number(process.env[name] ?? otherwise)
const clients = setting('CLIENTS', 50)
const batches = setting('BATCHES', 20)
const steps = setting('STEPS', 60)
const everyMs = setting('EVERY_MS', 200)
const ratioSeconds = setting('RATIO_SECONDS', 35)
const maxP99Ms = setting('MAX_P99_MS', 50)
const minHitRatio = setting('MIN_HIT_RATIO', 0.9)
const pollMs = 2000
const ttls = [5, 10, 30]
const cacheTTL = 10 // what the application uses; the ratio with a shorter one is for comparison

const microseconds = () => Number(process.hrtime.bigint() / 1000n)
const run36 = Date.now().toString(36) // batches of another run are not ours
const names = (group, n) => Array.from({ length: n }, (_, i) => `${group}-${run36}-${i + 1}`)

function percentiles(milliseconds) {
  const sorted = [...milliseconds].sort((a, b) => a - b)
  const at = (p) => sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * p) - 1)]
  return [0.5, 0.9, 0.95, 0.99].map(at)
}

// poll asks for a batch every 2 s until the worker is done, and answers for
// each state when it was first seen, and how many requests that took.
async function poll(webURL, id, index, over) {
  const seen = [] // [seq, when]
  let requests = 0
  await sleep((pollMs * index) / batches)
  for (let last = 0; ;) {
    const ending = over.aborted // one more look after the end, as a page would
    const res = await fetch(`${webURL}/batches/${id}`)
    const text = await res.text()
    requests++
    const seq = res.ok ? JSON.parse(text).seq : 0
    if (seq > last) seen.push([(last = seq), microseconds()])
    if (ending) return { id, seen, requests }
    await sleep(pollMs, null, { signal: over }).catch(() => {})
  }
}

// delays is how old each step was when a poller knew of it (by seeing it or a newer one).
function delays({ id, seen }, publishedAt) {
  const all = []
  let seq = 0
  for (const [upTo, when] of seen) {
    while (seq < upTo) all.push((when - publishedAt.get(`${id} ${++seq}`)) / 1000)
  }
  return all
}

async function stream(webURL, env, group) {
  const ids = names(group, batches)
  const streams = Array.from({ length: clients }, (_, i) => new Stream(`${webURL}/batches/${ids[i % batches]}/events`, ids[i % batches]))
  // Batches that no stream follows are followed too: polling is measured against them.
  for (const id of ids.slice(clients)) streams.push(new Stream(`${webURL}/batches/${id}/events`, id))
  await Promise.all(streams.map((s) => s.ready))
  await fetch(`${webURL}/metrics`) // the first fetch loads half of Node: not while we measure

  // How long a busy machine held this very program up, to judge the latency by.
  const idle = monitorEventLoopDelay({ resolution: 1 })
  idle.enable()
  const over = new AbortController()
  setMaxListeners(batches, over.signal)
  const pollers = ids.map((id, i) => poll(webURL, id, i, over.signal))
  const worker = await run('./worker.mjs', ['--steps', `${steps}`, '--every', `${everyMs}`, ...ids], env)
  const { published, receivers } = JSON.parse(worker)
  // The last event is on its way when the worker ends; a lost one never comes.
  await Promise.race([Promise.all(streams.map((s) => s.done)), sleep(30_000, null, { ref: false })])
  idle.disable()
  over.abort()
  const polled = await Promise.all(pollers)
  for (const s of streams) s.close()

  const publishedAt = new Map(streams.flatMap((s) => s.events.map(({ seq, at }) => [`${s.id} ${seq}`, at])))
  const received = streams.reduce((n, s) => n + s.events.length, 0)
  const inOrder = streams.every((s) => s.events.every(({ seq }, i) => seq === i + 1))
  return {
    published, receivers, received, inOrder,
    expected: streams.length * steps,
    streams: streams.length,
    latency: percentiles(streams.flatMap((s) => s.events.map((e) => e.latencyMs))),
    worst: Math.max(...streams.flatMap((s) => s.events.map((e) => e.latencyMs))),
    polling: percentiles(polled.flatMap((p) => delays(p, publishedAt))),
    stallMs: idle.max / 1e6,
    pollRequests: polled.reduce((n, p) => n + p.requests, 0),
    pollSeen: polled.reduce((n, p) => n + p.seen.length, 0),
  }
}

// The reading pattern: 200 dashboards read once every 2 s, each a batch of its
// own choice; the k-th batch is chosen 1/k as often as the first. Every other
// batch moves, once every 10 s; the others stand still.
const dashboards = 200
const changeMs = 10_000

function popular(ids) {
  const weights = ids.map((_, i) => 1 / (i + 1))
  const total = weights.reduce((a, b) => a + b)
  return () => {
    let at = Math.random() * total
    return ids[weights.findIndex((w) => (at -= w) < 0)] ?? ids[0]
  }
}

async function hitRatios(env) {
  const groups = await Promise.all(ttls.map(async (ttl) => ({
    ttl,
    url: await server('./web.mjs', { ...env, CACHE_TTL: `${ttl}` }),
    ids: names(`ttl${ttl}`, batches),
  })))
  const all = groups.flatMap((g) => g.ids)
  await run('./worker.mjs', ['--steps', '1', '--every', '0', ...all], env)
  const moving = groups.flatMap((g) => g.ids.filter((_, i) => i % 2 === 0))
  const worker = run('./worker.mjs', ['--steps', `${Math.ceil((ratioSeconds * 1000) / changeMs) + 1}`, '--every', `${changeMs}`, ...moving], env)

  const end = microseconds() + ratioSeconds * 1e6
  await Promise.all(groups.flatMap(({ url, ids }) => {
    const choose = popular(ids)
    return Array.from({ length: dashboards }, async (_, i) => {
      await sleep((pollMs * i) / dashboards)
      while (microseconds() < end) {
        const res = await fetch(`${url}/batches/${choose()}`)
        if (!res.ok) throw new Error(`GET ${res.url}: ${res.status}`)
        await res.arrayBuffer()
        await sleep(pollMs)
      }
    })
  }))
  await worker
  return Promise.all(groups.map(async ({ ttl, url }) => {
    const text = await (await fetch(`${url}/metrics`)).text()
    const metric = (name) => Number(new RegExp(`^${name} (.+)$`, 'm').exec(text)[1])
    const hits = metric('progress_cache_hits_total')
    const misses = metric('progress_cache_misses_total')
    return { ttl, hits, misses, loads: metric('progress_database_loads_total'), ratio: metric('progress_cache_hit_ratio') }
  }))
}

const ms = (x) => (x >= 100 ? x.toFixed(0) : x.toFixed(2)).padStart(9)
const count = (x) => `${x}`.padStart(7)

const redis = new Redis(process.env.REDIS_URL ?? 'redis://127.0.0.1:6379', { lazyConnect: true })
redis.on('error', (err) => console.error(`demo: ${err.message}`))
try {
  await redis.connect()
} catch {
  console.error('demo: cannot reach crema; is REDIS_URL right?')
  process.exit(2)
}
redis.disconnect()

const env = { DATABASE_URL: await server('./database.mjs') }
console.log(`progress: ${clients} browsers, ${batches} batches of ${steps} steps, one every ${everyMs} ms`)
const webURL = await server('./web.mjs', env)
let live
for (const group of ['live', 'again', 'once-more']) {
  live = await stream(webURL, env, group)
  if (live.latency[3] < maxP99Ms || live.received !== live.expected || !live.inOrder) break
  // A machine that stands still for a moment has one event in a hundred late.
  console.log(`  p99 of ${live.latency[3].toFixed(2)} ms, and a timer of 1 ms took up to ${live.stallMs.toFixed(0)} ms meanwhile`)
}
console.log(`
from publish to …             p50       p90       p95       p99   ms
  SSE event received    ${live.latency.map(ms).join(' ')}
  seen by polling (2 s) ${live.polling.map(ms).join(' ')}

  messages published      ${count(live.published)}   on ${batches} channels, one subscribed connection (PUBLISH counted ${live.receivers} receivers)
  events received         ${count(live.received)}   of ${live.expected} expected by ${live.streams} streams, ${live.inOrder ? 'in order' : 'OUT OF ORDER'}; slowest ${live.worst.toFixed(2)} ms
                                    (a timer of 1 ms in this program took up to ${live.stallMs.toFixed(0)} ms meanwhile)
  polling, ${count(batches).trim()} readers     ${count(live.pollRequests)}   requests, saw ${live.pollSeen} of ${live.published} steps

hit ratio: ${ttls.length} × ${dashboards} dashboards reading every ${pollMs / 1000} s for ${ratioSeconds} s (real TTLs) …`)

const ratios = await hitRatios(env)
console.log(`
    TTL     reads      hits    misses   database   hit ratio`)
for (const r of ratios) {
  console.log(`  ${`${r.ttl} s`.padStart(5)} ${count(r.hits + r.misses)}   ${count(r.hits)}   ${count(r.misses)}    ${count(r.loads)}     ${(100 * r.ratio).toFixed(1)} %`)
}
console.log(`  ("database" is reads of the slow database: misses that waited for another's read are not among them)\n`)
await stopAll()

const broken = []
if (live.received !== live.expected) broken.push(`${live.expected - live.received} events were lost`)
if (!live.inOrder) broken.push('events came out of order')
if (!(live.latency[3] < maxP99Ms)) broken.push(`p99 of ${live.latency[3].toFixed(2)} ms is not under ${maxP99Ms} ms`)
for (const { ttl, ratio } of ratios) {
  if (ttl >= cacheTTL && ratio < minHitRatio) broken.push(`hit ratio of ${(100 * ratio).toFixed(1)} % with a TTL of ${ttl} s is under ${100 * minHitRatio} %`)
}
for (const text of broken) console.error(`FAILED: ${text}`)
if (broken.length === 0) console.log(`ok: nothing lost, in order, p99 under ${maxP99Ms} ms, hit ratio at least ${100 * minHitRatio} % with a TTL of ${cacheTTL} s`)
process.exitCode = broken.length === 0 ? 0 : 1
