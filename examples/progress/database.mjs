// The slow database: batches in memory behind HTTP, late on purpose. It stands
// for whatever an application already has, and is why progress is worth caching.
//
//   PORT (0)   DB_LATENCY_MS (100): what one read takes

import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

const latencyMs = Number(process.env.DB_LATENCY_MS ?? 100)
const maxBodyBytes = 64 * 1024

const batches = new Map() // id -> the JSON text of its newest state

const server = http.createServer(async (req, res) => {
  const id = new URL(req.url, 'http://database').pathname.slice(1)
  if (req.method === 'PUT') {
    let text = ''
    for await (const chunk of req) {
      text += chunk
      if (text.length > maxBodyBytes) return res.writeHead(413).end()
    }
    batches.set(id, text)
    return res.writeHead(204).end()
  }
  // The row is read first and handed over late: a reader may well be holding
  // an old state by the time it has it, as with a real database.
  const row = batches.get(id)
  await sleep(latencyMs)
  if (row === undefined) return res.writeHead(404).end()
  res.writeHead(200, { 'content-type': 'application/json' }).end(row)
})

server.listen(Number(process.env.PORT ?? 0), process.env.HOST ?? '127.0.0.1', () => {
  console.log(`DATABASE_URL=http://127.0.0.1:${server.address().port}`)
})
