// The worker: takes each batch through its steps. A step is written to the
// database, then the cached progress is deleted, then the step is announced.
//
//   REDIS_URL   DATABASE_URL
//   node worker.mjs [--steps 50] [--every 200] BATCH...
//
// Prints one line of JSON at the end: what was published, to how many.

import { parseArgs } from 'node:util'
import { setTimeout as sleep } from 'node:timers/promises'
import Redis from 'ioredis'

const { values, positionals: ids } = parseArgs({
  allowPositionals: true,
  options: {
    steps: { type: 'string', default: '50' },
    every: { type: 'string', default: '200' }, // milliseconds between two steps of a batch
  },
})
const steps = Number(values.steps)
const everyMs = Number(values.every)
if (ids.length === 0) ids.push('b1')

const database = process.env.DATABASE_URL
const redis = new Redis(process.env.REDIS_URL ?? 'redis://127.0.0.1:6379')
redis.on('error', (err) => console.error(`worker: ${err.message}`))

// Monotonic microseconds. One clock serves all programs of a machine, so a
// reader in another program can subtract.
const microseconds = () => Number(process.hrtime.bigint() / 1000n)

let published = 0
let receivers = 0

async function announce(state) {
  const { id } = state
  await fetch(`${database}/${id}`, { method: 'PUT', body: JSON.stringify(state) })
  // Deleting the lease along with the value tells whoever is loading an older
  // state right now not to keep it (cache.mjs). Both are gone before anybody
  // hears of the step: a pipeline is carried out in its order.
  const message = JSON.stringify({ ...state, at: microseconds() })
  const replies = await redis.pipeline()
    .del(`progress:${id}`, `loading:${id}`)
    .publish(`batch:${id}`, message)
    .exec()
  for (const [err] of replies) if (err) throw err
  published++
  receivers += replies[1][1]
}

async function run(id, index) {
  // Numbers go on from where the batch's last run stopped, so that a page
  // that is still open can tell new from old.
  const before = await fetch(`${database}/${id}`)
  let seq = before.ok ? (await before.json()).seq : 0
  await sleep((everyMs * index) / ids.length) // batches do not march in step
  for (let done = 1; done <= steps; done++) {
    const state = done === steps ? 'done' : 'running'
    await announce({ id, seq: ++seq, done, total: steps, state, step: `invoice ${done} of ${steps} sent` })
    if (done < steps) await sleep(everyMs)
  }
}

await Promise.all(ids.map(run))
console.log(JSON.stringify({ published, receivers }))
await redis.quit()
