// Progress, cached for a few seconds in front of the slow database.
//
// A miss takes a *lease* before it reads the database, and may keep what it
// read only while it still holds the lease. The worker deletes value and lease
// together. Without the lease this loses:
//
//   web:    GET progress:7 -> nothing; reads the database: 41 %
//   worker: writes 42 %, DEL progress:7
//   web:    SET progress:7 41 %       <- wrong until its time is up
//
// While a lease is held, other readers of this program wait for the same load.

import { randomUUID } from 'node:crypto'

const leaseMs = 5000 // longer than a load takes; ends the lease of a reader that died

const keepScript = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
if ARGV[2] ~= '' then
  redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
end
return 1`

export class ProgressCache {
  hits = 0
  misses = 0
  loads = 0
  #redis
  #load
  #ttlSeconds
  #flights = new Map() // lease token -> the load it stands for; this program's only

  // load(id) answers the state, or null when there is none.
  constructor(redis, ttlSeconds, load) {
    redis.defineCommand('keepProgress', { numberOfKeys: 2, lua: keepScript })
    this.#redis = redis
    this.#ttlSeconds = ttlSeconds
    this.#load = load
  }

  async read(id) {
    const text = await this.#redis.get(`progress:${id}`)
    if (text !== null) {
      this.hits++
      return JSON.parse(text)
    }
    this.misses++
    const token = randomUUID()
    const holder = await this.#redis.set(`loading:${id}`, token, 'PX', leaseMs, 'NX', 'GET')
    if (holder !== null) {
      // Held here: that load is as fresh as ours would be, or the lease would
      // be gone. Held by another web server: read for ourselves, keep nothing.
      return this.#flights.get(holder) ?? this.fresh(id)
    }
    const flight = this.#loadAndKeep(id, token)
    this.#flights.set(token, flight)
    try {
      return await flight
    } finally {
      this.#flights.delete(token)
    }
  }

  // fresh reads past the cache.
  fresh(id) {
    this.loads++
    return this.#load(id)
  }

  async #loadAndKeep(id, token) {
    const state = await this.fresh(id)
    const text = state === null ? '' : JSON.stringify(state)
    await this.#redis.keepProgress(`loading:${id}`, `progress:${id}`, token, text, this.#ttlSeconds)
    return state
  }
}
