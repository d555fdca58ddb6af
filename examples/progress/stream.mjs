// One SSE stream, read as a browser would and kept for the figures.

import http from 'node:http'

const microseconds = () => Number(process.hrtime.bigint() / 1000n)

export class Stream {
  events = [] // { seq, at, latencyMs }, as they came
  #request

  constructor(url, id) {
    this.id = id
    let readied, ended, failed
    this.ready = new Promise((resolve, reject) => { readied = resolve; failed = reject })
    this.done = new Promise((resolve) => { ended = resolve }) // the batch's last event came
    this.#request = http.get(url, { agent: false, headers: { accept: 'text/event-stream' } }, (res) => {
      if (res.statusCode !== 200) return failed(new Error(`GET ${url}: ${res.statusCode}`))
      res.setEncoding('utf8')
      res.on('close', () => failed(new Error(`GET ${url}: ended early`)))
      let rest = ''
      res.on('data', (chunk) => {
        const now = microseconds()
        const parts = (rest + chunk).split('\n\n')
        rest = parts.pop()
        for (const part of parts) {
          const field = (name) => new RegExp(`^${name}: (.*)$`, 'm').exec(part)?.[1]
          if (field('event') === 'ready') readied()
          if (field('event') !== 'progress') continue
          const { seq, at, state } = JSON.parse(field('data'))
          this.events.push({ seq, at, latencyMs: (now - at) / 1000 })
          if (state === 'done') ended()
        }
      })
    })
    this.#request.on('error', failed)
    this.ready.catch(() => {}) // a stream that ends after it was ready is seen by what it lacks
  }

  close() {
    this.#request.destroy()
  }
}
