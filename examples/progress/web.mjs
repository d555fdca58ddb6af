// The web server. One connection carries every subscription; each message is
// put in SSE's form once and written to every browser that follows the batch.
//
//   GET /                      the page (?batch=ID)
//   GET /batches/:id           progress as JSON, cached
//   GET /batches/:id/events    progress as it happens (SSE)
//   GET /metrics               Prometheus text
//
//   REDIS_URL   DATABASE_URL   PORT (3000)   CACHE_TTL (10 seconds)

import { readFileSync } from 'node:fs'
import http from 'node:http'
import Redis from 'ioredis'
import { ProgressCache } from './cache.mjs'
import { Follower, Topics } from './follow.mjs'
import { Histogram, metricsText } from './metrics.mjs'

const redisURL = process.env.REDIS_URL ?? 'redis://127.0.0.1:6379'
const database = process.env.DATABASE_URL
const page = readFileSync(new URL('./index.html', import.meta.url))
const maxFollowers = 5000

const commands = new Redis(redisURL)
// ioredis asks INFO before it calls a connection ready, but lets a SUBSCRIBE
// through before that; in RESP2 the INFO is then refused and the connection
// given up. This one is ready as soon as it is connected.
const subscriber = new Redis(redisURL, { enableReadyCheck: false })
for (const connection of [commands, subscriber]) {
  connection.on('error', (err) => console.error(`web: ${err.message}`))
}

async function load(id) {
  const res = await fetch(`${database}/${id}`)
  if (res.status === 404) return null
  if (!res.ok) throw new Error(`read batch ${id}: database answered ${res.status}`)
  return res.json()
}

const cache = new ProgressCache(commands, Number(process.env.CACHE_TTL ?? 10), load)
const latency = new Histogram([0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1])
const topics = new Topics(subscriber, cache, latency)

async function streamEvents(req, res, id) {
  if (topics.followers >= maxFollowers) return res.writeHead(503, { 'retry-after': '5' }).end()
  res.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no', // proxies must not hold events back
  })
  res.flushHeaders()
  await topics.follow(id, new Follower(res))
}

async function answerBatch(res, id) {
  const state = await cache.read(id)
  if (state === null) return res.writeHead(404, { 'content-type': 'application/json' }).end('{"error":"no such batch"}')
  res.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' }).end(JSON.stringify(state))
}

const server = http.createServer(async (req, res) => {
  try {
    const { pathname } = new URL(req.url, 'http://web')
    const batch = /^\/batches\/([\w-]{1,64})(\/events)?$/.exec(pathname)
    if (req.method !== 'GET') return res.writeHead(405, { allow: 'GET' }).end()
    if (batch?.[2]) return await streamEvents(req, res, batch[1])
    if (batch) return await answerBatch(res, batch[1])
    if (pathname === '/') return res.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(page)
    if (pathname === '/metrics') {
      return res.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(metricsText(cache, topics, latency))
    }
    res.writeHead(404).end()
  } catch (err) {
    console.error(`web: ${req.method} ${req.url}: ${err.message}`)
    if (res.headersSent) res.destroy() // a browser comes back by itself
    else res.writeHead(502).end()
  }
})

server.listen(Number(process.env.PORT ?? 3000), process.env.HOST ?? '127.0.0.1', () => {
  console.log(`WEB_URL=http://127.0.0.1:${server.address().port}`)
})

process.once('SIGTERM', () => {
  server.close()
  server.closeAllConnections()
  commands.disconnect()
  subscriber.disconnect()
})
