// getOrSet, invalidate and withLock over ioredis.
//
// Keys:  cache:<key>        the value, as JSON, for its TTL
//        lock:<name>        a lock's token, for its TTL
//        tag:<tag>:<key>    marker: "key is stored under tag"; a tag is the list
//                           of keys that SCAN finds under its prefix
//
// A loader takes the lock `load:<key>` and may store what it loaded only while
// it still holds it. invalidate deletes value and lock together, so a load that
// began before a write cannot put the old value back after it.
//
// Markers are written by a script, which pins them: a marker that made room
// for other things would hide its value from the next invalidation.

import { randomInt, randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

const releaseScript = `
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0`

const takeScript = `
if redis.call('EXISTS', KEYS[2]) == 1 then
  return 'stored'
end
if not redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX') then
  return 'held'
end
for i = 3, #KEYS do
  redis.call('SET', KEYS[i], '', 'PX', ARGV[3])
end
return 'taken'`

const storeScript = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
redis.call('DEL', KEYS[1])
return 1`

const loadMs = 10_000 // how long a loader may hold its key; ends the lock of one that died
const retryMs = { least: 10, most: 40 } // jitter: fifty waiters must not ask in step

const pause = () => sleep(randomInt(retryMs.least, retryMs.most))

// A tag is part of a pattern: its own stars and brackets stand for themselves.
const literal = (text) => text.replace(/[\\*?[\]]/g, '\\$&')

export class LockTimeout extends Error {}

export class Cache {
  #redis

  constructor(redis) {
    redis.defineCommand('releaseLock', { numberOfKeys: 1, lua: releaseScript })
    redis.defineCommand('takeLoad', { lua: takeScript })
    redis.defineCommand('storeLoaded', { numberOfKeys: 2, lua: storeScript })
    this.#redis = redis
  }

  // getOrSet answers the cached value, or loads it: once, however many ask at
  // once and on however many machines. load answers anything JSON can hold.
  async getOrSet(key, ttlSeconds, load, tags = []) {
    const value = `cache:${key}`
    const lock = `lock:load:${key}`
    const token = randomUUID()
    // Markers are there before the load begins, so that an invalidation from
    // then on finds the key, and end after the value.
    const keys = [lock, value, ...tags.map((tag) => `tag:${tag}:${key}`)]
    const markerMs = ttlSeconds * 1000 + loadMs
    for (let taken = false; !taken;) {
      const text = await this.#redis.get(value)
      if (text !== null) return JSON.parse(text)
      const outcome = await this.#redis.takeLoad(keys.length, ...keys, token, loadMs, markerMs)
      if (outcome === 'held') await pause()
      taken = outcome === 'taken'
    }
    try {
      const loaded = await load()
      await this.#redis.storeLoaded(lock, value, token, JSON.stringify(loaded), ttlSeconds)
      return loaded
    } catch (err) {
      await this.#redis.releaseLock(lock, token) // the next caller may try at once
      throw err
    }
  }

  // invalidate forgets every key stored under a tag, and tells loads under way
  // not to store. Call it after the write. Answers the number of values forgotten.
  async invalidate(tag) {
    const prefix = `tag:${tag}:`
    let forgotten = 0
    let cursor = '0'
    do {
      const [next, markers] = await this.#redis.scan(cursor, 'MATCH', `${literal(prefix)}*`, 'COUNT', 500)
      cursor = next
      if (markers.length === 0) continue
      const keys = markers.map((marker) => marker.slice(prefix.length))
      // The markers stay, they end by themselves: deleting one could hide a
      // load that has just begun from the next invalidation.
      const [[err, deleted]] = await this.#redis.multi()
        .del(keys.map((key) => `cache:${key}`))
        .del(keys.map((key) => `lock:load:${key}`))
        .exec()
      if (err) throw err
      forgotten += deleted
    } while (cursor !== '0')
    return forgotten
  }

  // withLock runs fn while holding the lock. fn is given an AbortSignal that
  // fires when the lock's time is up: from then on another may hold it.
  async withLock(name, ttlMs, fn, { waitMs = 10_000 } = {}) {
    const lock = `lock:${name}`
    const token = randomUUID()
    const deadline = performance.now() + waitMs
    let held
    for (;;) {
      held = performance.now() // counted from before the request: never later than the server does
      if (await this.#redis.set(lock, token, 'PX', ttlMs, 'NX') !== null) break
      if (performance.now() > deadline) throw new LockTimeout(`lock ${name}: still held after ${waitMs} ms`)
      await pause()
    }
    const over = new AbortController()
    const timer = setTimeout(() => over.abort(), ttlMs - (performance.now() - held))
    try {
      return await fn(over.signal)
    } finally {
      clearTimeout(timer)
      await this.#redis.releaseLock(lock, token) // ours only: it may have passed on by now
    }
  }
}
