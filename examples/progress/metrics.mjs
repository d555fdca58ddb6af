// The few lines of Prometheus' text format that this server needs.

export class Histogram {
  #bounds
  #counts
  #sum = 0
  #count = 0

  constructor(bounds) {
    this.#bounds = bounds
    this.#counts = bounds.map(() => 0)
  }

  observe(value) {
    this.#sum += value
    this.#count++
    const i = this.#bounds.findIndex((bound) => value <= bound)
    if (i >= 0) this.#counts[i]++
  }

  text(name) {
    let below = 0
    const buckets = this.#bounds.map((bound, i) => `${name}_bucket{le="${bound}"} ${(below += this.#counts[i])}\n`)
    return `${buckets.join('')}${name}_bucket{le="+Inf"} ${this.#count}\n${name}_sum ${this.#sum}\n${name}_count ${this.#count}\n`
  }
}

const metric = (name, type, help, text) => `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${text ?? ''}`
const single = (name, type, help, value) => metric(name, type, help, `${name} ${value}\n`)

export function metricsText(cache, topics, latency) {
  const reads = cache.hits + cache.misses
  return [
    single('progress_cache_hits_total', 'counter', 'Reads answered from the cache.', cache.hits),
    single('progress_cache_misses_total', 'counter', 'Reads that had to wait for the database.', cache.misses),
    single('progress_cache_hit_ratio', 'gauge', 'Hits among all reads, 0 to 1.', reads === 0 ? 0 : cache.hits / reads),
    single('progress_database_loads_total', 'counter', 'Reads of the slow database.', cache.loads),
    single('progress_sse_clients', 'gauge', 'Browsers that follow a batch now.', topics.followers),
    single('progress_messages_total', 'counter', 'Messages received from the subscription.', topics.messages),
    single('progress_sse_events_total', 'counter', 'Events written to browsers.', topics.events),
    metric('progress_latency_seconds', 'histogram', 'From publishing a step to writing it to its browsers.', latency.text('progress_latency_seconds')),
  ].join('')
}
