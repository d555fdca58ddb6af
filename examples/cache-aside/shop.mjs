// The shop: products in a source that takes 300 ms, and a checkout whose button
// is clicked twice.

import { setTimeout as sleep } from 'node:timers/promises'

const sourceMs = 300  // what one read of the source takes
const chargeMs = 150  // what the payment provider takes
const ttlSeconds = 60
const payTtlMs = 10_000

// Source stands for a database or somebody's API; all shops share one.
export class Source {
  reads = 0
  #prices = new Map()

  async product(id) {
    this.reads++
    const price = this.#prices.get(id) ?? 100 // as of now; handed over late
    await sleep(sourceMs)
    return { id, price }
  }

  setPrice(id, price) {
    this.#prices.set(id, price)
  }
}

// Provider counts what was really charged.
export class Provider {
  payments = []

  async charge(order, amount, signal) {
    signal.throwIfAborted() // a lock that has passed on charges nothing
    await sleep(chargeMs)
    this.payments.push({ order, amount })
    return { order, amount, receipt: `R-${this.payments.length}` }
  }
}

export class Shop {
  #redis
  #cache
  #source
  #provider

  constructor(redis, cache, source, provider) {
    this.#redis = redis
    this.#cache = cache
    this.#source = source
    this.#provider = provider
  }

  product(id) {
    const load = () => this.#source.product(id)
    return this.#cache.getOrSet(`product:${id}`, ttlSeconds, load, ['products', `product:${id}`])
  }

  async setPrices(prices, tag) {
    for (const [id, price] of prices) this.#source.setPrice(id, price)
    return this.#cache.invalidate(tag)
  }

  // pay charges an order once; a second click gets the first one's receipt.
  // The receipt is kept without a TTL: it must not be forgotten.
  async pay(order, amount) {
    const known = () => this.#redis.get(`receipt:${order}`)
    const text = await known() ?? await this.#cache.withLock(`pay:${order}`, payTtlMs, async (signal) => {
      const earlier = await known()
      if (earlier !== null) return earlier
      const receipt = JSON.stringify(await this.#provider.charge(order, amount, signal))
      await this.#redis.set(`receipt:${order}`, receipt)
      return receipt
    })
    return JSON.parse(text)
  }
}
