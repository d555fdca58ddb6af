// Who follows which batch. A batch's channel is subscribed to when its first
// follower comes and left when its last one goes.
//
// A message is delivered at most once, so a follower is first given the state
// as it is, then every message numbered above it; after a lost connection the
// state is read again. Numbers only rise: nothing is shown twice or backwards.

const maxUnsentBytes = 256 * 1024 // a browser this far behind is cut off and comes back
const maxWaiting = 1000           // messages that may arrive while the first state is read
const heartbeatMs = 15_000        // keeps proxies from closing a quiet stream

const microseconds = () => Number(process.hrtime.bigint() / 1000n)

const frame = (seq, text) => `id: ${seq}\nevent: progress\ndata: ${text}\n\n`

// Follower is one browser's stream.
export class Follower {
  #res
  #seq = 0       // number of the newest state written
  #waiting = []  // messages held until the first state is written; null from then on

  constructor(res) {
    this.#res = res
  }

  get stream() {
    return this.#res
  }

  // start writes the first state (null: the batch is not known yet), then what
  // came in while it was read, then says that nothing will be missed from here.
  start(state) {
    const waiting = this.#waiting
    this.#waiting = null
    if (state !== null) this.offer(state.seq, frame(state.seq, JSON.stringify(state)))
    for (const [seq, text] of waiting) this.offer(seq, text)
    this.#write('event: ready\ndata: {}\n\n')
  }

  // offer writes a state unless the follower has seen it or a newer one.
  offer(seq, text) {
    if (this.#waiting !== null) {
      if (this.#waiting.push([seq, text]) > maxWaiting) this.#res.destroy()
      return false
    }
    if (seq <= this.#seq) return false
    this.#seq = seq
    return this.#write(text)
  }

  beat() {
    this.#write(': beat\n\n')
  }

  #write(text) {
    if (this.#res.destroyed) return false // the browser left while its first state was read
    if (this.#res.writableLength > maxUnsentBytes) {
      this.#res.destroy()
      return false
    }
    this.#res.write(text)
    return true
  }
}

export class Topics {
  followers = 0
  events = 0 // states written to browsers
  messages = 0 // messages received
  #subscriber
  #cache
  #latency
  #topics = new Map() // batch id -> { followers: Set, subscribed: Promise }; never holds an empty set
  #connections = 0

  constructor(subscriber, cache, latency) {
    this.#subscriber = subscriber
    this.#cache = cache
    this.#latency = latency
    subscriber.on('message', (channel, text) => this.#deliver(channel.slice('batch:'.length), text))
    subscriber.on('ready', () => {
      if (this.#connections++ > 0) this.#catchUp().catch((err) => console.error(`web: catch up: ${err.message}`))
    })
    setInterval(() => {
      for (const { followers } of this.#topics.values()) for (const f of followers) f.beat()
    }, heartbeatMs).unref()
  }

  async follow(id, follower) {
    let topic = this.#topics.get(id)
    if (topic === undefined) {
      topic = { followers: new Set(), subscribed: this.#subscriber.subscribe(`batch:${id}`) }
      this.#topics.set(id, topic)
    }
    topic.followers.add(follower)
    this.followers++
    follower.stream.once('close', () => {
      this.followers--
      topic.followers.delete(follower)
      if (topic.followers.size > 0 || this.#topics.get(id) !== topic) return
      this.#topics.delete(id)
      this.#subscriber.unsubscribe(`batch:${id}`).catch(() => {}) // a lost connection has left it already
    })
    await topic.subscribed // before the state is read, or a message could fall between
    follower.start(await this.#cache.read(id))
  }

  #deliver(id, text) {
    const topic = this.#topics.get(id)
    if (topic === undefined) return // left a moment ago
    this.messages++
    const { seq, at } = JSON.parse(text)
    const sse = frame(seq, text)
    for (const follower of topic.followers) if (follower.offer(seq, sse)) this.events++
    if (at !== undefined) this.#latency.observe((microseconds() - at) / 1e6)
  }

  // catchUp reads again what was missed while the connection was away.
  async #catchUp() {
    const ids = [...this.#topics.keys()]
    if (ids.length === 0) return
    await this.#subscriber.subscribe(...ids.map((id) => `batch:${id}`))
    await Promise.all(ids.map(async (id) => {
      const state = await this.#cache.fresh(id)
      if (state !== null) this.#deliver(id, JSON.stringify(state))
    }))
  }
}
