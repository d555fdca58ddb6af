// Ten shops, each with its own connection, share one cache. Prints what was
// measured; exit code 1 if a promise is broken.
//
//   REDIS_URL    where crema is (redis://127.0.0.1:6379)

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import Redis from 'ioredis'
import { Cache } from './cache.mjs'
import { Provider, Shop, Source } from './shop.mjs'

const shopCount = 10
const clicks = 50
const run = randomUUID().slice(0, 8) // keys of another run are not ours
const url = process.env.REDIS_URL ?? 'redis://127.0.0.1:6379'
const connections = Array.from({ length: shopCount }, () => new Redis(url, { lazyConnect: true }))
for (const redis of connections) redis.on('error', (err) => console.error(`demo: ${err.message}`))
try {
  await Promise.all(connections.map((redis) => redis.connect()))
} catch {
  console.error('demo: cannot reach crema; is REDIS_URL right?')
  process.exit(2)
}

const source = new Source()
const provider = new Provider()
const caches = connections.map((redis) => new Cache(redis))
const shops = connections.map((redis, i) => new Shop(redis, caches[i], source, provider))
const fifty = (each) => Promise.all(Array.from({ length: clicks }, (_, i) => each(i % shopCount, i)))

async function timed(fn) {
  const start = performance.now()
  await fn()
  return performance.now() - start
}
const median = (times) => times.sort((a, b) => a - b)[times.length >> 1]

const broken = []
function line(what, measured, promise, kept) {
  console.log(`  ${what.padEnd(44)} ${`${measured}`.padStart(10)}   ${promise}`)
  if (!kept) broken.push(`${what}: ${measured}, promised: ${promise}`)
}

console.log(`cache-aside: ${shopCount} shops, a source of 300 ms\n`)

// A miss waits for the source, a hit does not.
const misses = []
const hits = []
for (let i = 0; i < 5; i++) misses.push(await timed(() => shops[0].product(`${run}-${i}`)))
for (let i = 0; i < 500; i++) hits.push(await timed(() => shops[i % shopCount].product(`${run}-${i % 5}`)))
const [miss, hit] = [median(misses), median(hits)]
line('a miss, median of 5', `${miss.toFixed(1)} ms`, '', true)
line('a hit, median of 500', `${hit.toFixed(3)} ms`, '', true)
line('speed-up of a hit', `${Math.round(miss / hit)} x`, 'at least 20 x', miss / hit >= 20)

// Fifty ask at once for what is not there: one load.
let before = source.reads
const answers = await fifty((shop) => shops[shop].product(`${run}-flash`))
line('loads under 50 concurrent getOrSet', source.reads - before, 'exactly 1', source.reads - before === 1)
assert(answers.every((a) => a.price === 100))

// A write invalidates the batch; everybody sees the new prices at once.
const ids = Array.from({ length: 5 }, (_, i) => `${run}-${i}`)
const forgotten = await shops[1].setPrices(ids.map((id) => [id, 120]), 'products')
const fresh = await Promise.all(ids.map((id, i) => shops[i].product(id)))
line('values forgotten by one invalidation', forgotten, 'at least 6', forgotten >= 6)
line('old prices read after it', fresh.filter((p) => p.price !== 120).length, 'none', fresh.every((p) => p.price === 120))

// A load under way while the price changes must not put the old one back.
const slow = shops[2].product(`${run}-race`)
await sleep(100) // the source has been read, and answers in 200 ms
await shops[3].setPrices([[`${run}-race`, 80]], `product:${run}-race`)
await slow
const afterRace = await shops[4].product(`${run}-race`)
line('old prices put back by a load under way', afterRace.price === 80 ? 0 : 1, 'none', afterRace.price === 80)

// Fifty want one lock: never two inside.
let inside = 0
let most = 0
await fifty((i) => caches[i].withLock(`${run}-turnstile`, 5000, async () => {
  most = Math.max(most, ++inside)
  await sleep(2)
  inside--
}, { waitMs: 60_000 }))
line('most holders of one lock at a time, of 50', most, 'exactly 1', most === 1)

// A lock whose time is up passes on, and its late holder does not release the
// next holder's.
let granted
const firstHolds = new Promise((resolve) => { granted = resolve })
const first = caches[5].withLock(`${run}-late`, 100, (signal) => new Promise((resolve) => {
  signal.addEventListener('abort', () => sleep(150).then(resolve))
  granted()
}))
await firstHolds
let stillHeld
await caches[6].withLock(`${run}-late`, 5000, async () => {
  await first
  stillHeld = await connections[7].exists(`lock:${run}-late`)
})
line('locks released by a holder that was too late', 1 - stillHeld, 'none', stillHeld === 1)

// The double click: fifty at once, over ten connections.
const receipts = await fifty((i) => shops[i].pay(`${run}-order`, 4200))
const numbers = new Set(receipts.map((r) => r.receipt))
line('payments made under 50 simultaneous clicks', provider.payments.length, 'exactly 1', provider.payments.length === 1)
line('different receipts handed out', numbers.size, 'exactly 1', numbers.size === 1)

await connections[0].del(`receipt:${run}-order`) // the one key that would stay
for (const redis of connections) redis.disconnect()
console.log()
for (const text of broken) console.error(`FAILED: ${text}`)
if (broken.length === 0) console.log('ok: one load, one payment, nothing stale')
process.exitCode = broken.length === 0 ? 0 : 1
