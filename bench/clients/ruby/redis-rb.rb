# redis-rb as Debian ships it (ruby-redis).
require "redis"
require "set"
require "timeout"
require "uri"

NAME = "redis-rb".freeze
URL = ENV.fetch("REDIS_URL")
EVERY_BYTE = ((0..255).to_a.pack("C*") + "\r\n$5\r\n*1\r\n".b).freeze
RELEASE = <<~LUA.freeze
  if redis.call("get", KEYS[1]) == ARGV[1] then
    return redis.call("del", KEYS[1])
  else
    return 0
  end
LUA
SCENARIO_SECONDS = 15

def connect(url = URL, **options)
  Redis.new(url: url, timeout: 10, **options)
end

def key(name)
  "#{NAME}:#{name}"
end

def url_with
  uri = URI(URL)
  yield uri
  uri.to_s
end

def expect(got, want)
  raise "got #{got.inspect[0, 200]}, want #{want.inspect[0, 200]}" unless got == want
end

def refused(error, text)
  yield
rescue error => e
  raise "refused with #{e.message}, want #{text}" unless e.message.match?(text)
else
  raise "not refused, want #{text}"
end

# Subscribes in a thread; returns it with the queue of all events, the
# confirmations among them, so that nobody has to guess when it is ready. Only
# that thread may unsubscribe: the message "stop" tells it to.
def listen(subscriber, channels: [], patterns: [])
  events = Queue.new
  record = lambda do |on|
    on.subscribe { |channel, count| events << [:subscribe, channel, count] }
    on.psubscribe { |pattern, count| events << [:psubscribe, pattern, count] }
    on.message do |channel, message|
      message == "stop" ? subscriber.unsubscribe : events << [:message, channel, message]
    end
    on.pmessage do |pattern, channel, message|
      message == "stop" ? subscriber.punsubscribe : events << [:pmessage, pattern, channel, message]
    end
    on.unsubscribe { |channel, count| events << [:unsubscribe, channel, count] }
    on.punsubscribe { |pattern, count| events << [:punsubscribe, pattern, count] }
  end
  thread = Thread.new do
    channels.empty? ? subscriber.psubscribe(*patterns, &record) : subscriber.subscribe(*channels, &record)
  rescue Redis::BaseConnectionError => e
    events << [:lost, e.class]
  end
  [thread, events]
end

R = connect
OTHER = connect

SCENARIOS = {
  "connect-password" => -> { expect(R.ping, "PONG") },

  "connect-wrong-password" => lambda do
    wrong = connect(url_with { |u| u.password = "wrong" })
    refused(Redis::CommandError, /WRONGPASS/) { wrong.ping }
  end,

  "connect-no-password" => lambda do
    bare = connect(url_with { |u| u.password = u.user = nil })
    refused(Redis::CommandError, /NOAUTH/) { bare.ping }
  end,

  "connect-user" => lambda do
    alice = connect(ENV.fetch("REDIS_USER_URL"))
    expect(alice.set(key("alice"), "here"), "OK")
    expect(alice.get(key("alice")), "here")
  end,

  "connect-readonly-user" => lambda do
    reader = connect(ENV.fetch("REDIS_READER_URL"))
    expect(reader.get(key("alice")), "here")
    refused(Redis::CommandError, /NOPERM/) { reader.set(key("alice"), "gone") }
    expect(R.get(key("alice")), "here")
  end,

  "connect-tls" => lambda do
    tls = connect(ENV.fetch("REDIS_TLS_URL"), ssl_params: { ca_file: ENV.fetch("REDIS_CA_FILE") })
    expect(tls.set(key("tls"), "sealed"), "OK")
    expect(R.get(key("tls")), "sealed")
  end,

  "connect-tls-unknown-ca" => lambda do
    refused(StandardError, /certificate/) { connect(ENV.fetch("REDIS_TLS_URL")).ping }
  end,

  "connect-database" => lambda do
    three = connect(url_with { |u| u.path = "/3" })
    R.set(key("db"), "zero")
    three.del(key("db"))
    expect(three.get(key("db")), nil)
    three.set(key("db"), "three")
    expect([R.get(key("db")), three.get(key("db"))], %w[zero three])
  end,

  "pipeline" => lambda do
    replies = R.pipelined do |pipe|
      500.times do |i|
        pipe.set(key("pipe:#{i}"), i)
        pipe.get(key("pipe:#{i}"))
      end
    end
    expect(replies, (0...500).flat_map { |i| ["OK", i.to_s] })
  end,

  "transaction" => lambda do
    replies = R.multi do |tx|
      tx.set(key("tx"), 1)
      tx.incr(key("tx"))
      tx.get(key("tx"))
    end
    expect(replies, ["OK", 2, "2"])
    refused(Redis::CommandError, /not an integer/) do
      R.multi do |tx|
        tx.set(key("tx"), "word")
        tx.incr(key("tx"))
      end
    end
    expect(R.get(key("tx")), "word")
  end,

  "watch-conflict" => lambda do
    conflicting = R.watch(key("watched")) do
      OTHER.set(key("watched"), "2")
      R.multi { |tx| tx.set(key("watched"), "3") }
    end
    expect(conflicting, nil)
    expect(R.get(key("watched")), "2")
    expect(R.watch(key("watched")) { R.multi { |tx| tx.set(key("watched"), "3") } }, ["OK"])
  end,

  "script-eval" => lambda do
    expect(R.eval("return {KEYS[1], ARGV[1], #ARGV, {ok='fine'}}", [key("s")], ["a"]), [key("s"), "a", 1, "fine"])
    refused(Redis::CommandError, /MINE own error/) { R.eval("return redis.error_reply('MINE own error')") }
  end,

  "script-noscript-fallback" => lambda do
    refused(Redis::CommandError, /\ANOSCRIPT /) { R.evalsha("f" * 40) }
    script = "return {KEYS[1], ARGV[1], #{Process.clock_gettime(Process::CLOCK_REALTIME, :nanosecond) % 10**9}}"
    begin
      sha = R.script(:load, script)
      expect(R.evalsha(sha, [key("s")], ["a"])[0, 2], [key("s"), "a"])
    rescue Redis::CommandError => e
      raise unless e.message.start_with?("NOSCRIPT") # somebody flushed in between

      retry
    end
  end,

  "pubsub-channel" => lambda do
    subscriber = connect
    thread, events = listen(subscriber, channels: [key("one"), key("two")])
    expect(events.pop, [:subscribe, key("one"), 1])
    expect(events.pop, [:subscribe, key("two"), 2])
    expect(R.publish(key("one"), "first"), 1)
    expect(R.publish(key("two"), EVERY_BYTE), 1)
    expect(R.publish(key("three"), "nobody"), 0)
    expect(events.pop, [:message, key("one"), "first"])
    expect(events.pop.last.b, EVERY_BYTE)
    R.publish(key("one"), "stop")
    thread.join
    expect(R.publish(key("one"), "late"), 0)
    expect(subscriber.ping, "PONG") # commands again
  end,

  "pubsub-pattern" => lambda do
    subscriber = connect
    thread, events = listen(subscriber, patterns: [key("news:*")])
    expect(events.pop, [:psubscribe, key("news:*"), 1])
    expect(R.publish(key("news:x"), "hello"), 1)
    expect(events.pop, [:pmessage, key("news:*"), key("news:x"), "hello"])
    R.publish(key("news:x"), "stop")
    thread.join
    expect(R.publish(key("news:x"), "late"), 0)
  end,

  "reconnect" => lambda do
    victim = connect(reconnect_attempts: 1)
    id = victim.call("CLIENT", "ID")
    expect(OTHER.call("CLIENT", "KILL", "ID", id), 1)
    expect(victim.set(key("reconnected"), "yes"), "OK")
    raise "still the killed connection" if victim.call("CLIENT", "ID") == id
  end,

  # redis-rb leaves it to the program to subscribe again.
  "reconnect-pubsub" => lambda do
    subscriber = connect(reconnect_attempts: 0)
    id = subscriber.call("CLIENT", "ID")
    thread, events = listen(subscriber, channels: [key("kept")])
    expect(events.pop, [:subscribe, key("kept"), 1])
    expect(OTHER.call("CLIENT", "KILL", "ID", id), 1)
    expect(events.pop.first, :lost)
    thread.join
    thread, events = listen(subscriber, channels: [key("kept")])
    expect(events.pop, [:subscribe, key("kept"), 1])
    expect(R.publish(key("kept"), "again"), 1)
    expect(events.pop, [:message, key("kept"), "again"])
    R.publish(key("kept"), "stop")
    thread.join
  end,

  "lock" => lambda do
    R.del(key("lock"))
    expect(R.set(key("lock"), "a", nx: true, px: 30_000), true)
    expect(OTHER.set(key("lock"), "b", nx: true, px: 30_000), false)
    expect(OTHER.eval(RELEASE, [key("lock")], ["b"]), 0)
    expect(R.eval(RELEASE, [key("lock")], ["a"]), 1)
    expect(OTHER.set(key("lock"), "b", nx: true, px: 50), true)
    nil until R.set(key("lock"), "a", nx: true, px: 30_000) # comes back when its time is up
    R.del(key("lock"))
  end,

  "binary" => lambda do
    k = key("binary:").b + EVERY_BYTE
    expect(R.set(k, EVERY_BYTE), "OK")
    expect(R.get(k).b, EVERY_BYTE)
    expect(R.strlen(k), EVERY_BYTE.bytesize)
  end,

  "value-8mb" => lambda do
    big = (EVERY_BYTE * (8 * 2**20 / EVERY_BYTE.bytesize + 1))[0, 8 * 2**20]
    expect(R.set(key("big"), big), "OK")
    raise "8 MB came back changed" unless R.get(key("big")).b == big

    expect(R.del(key("big")), 1)
  end,

  "scan-10000" => lambda do
    R.mapped_mset((0...10_000).to_h { |i| [key("scan:#{i}"), i] })
    seen = R.scan_each(match: key("scan:*"), count: 500).to_set
    expect(seen.size, 10_000)
    expect(R.unlink(*seen), 10_000)
  end,

  "counters" => lambda do
    R.del(key("n"))
    100.times { |i| (i.odd? ? R : OTHER).incr(key("n")) }
    expect(R.incrby(key("n"), 900), 1000)
    expect(R.decrby(key("n"), 1001), -1)
    expect(R.incrbyfloat(key("n"), 1.5), 0.5)
    refused(Redis::CommandError, /not an integer/) { R.incr(key("n")) }
  end,

  "ttl" => lambda do
    R.set(key("t"), "v", ex: 100)
    expect([99, 100].include?(R.ttl(key("t"))), true)
    expect(R.persist(key("t")), true)
    expect(R.ttl(key("t")), -1)
    expect(R.pexpire(key("t"), 40), true)
    nil while R.get(key("t"))
    expect(R.ttl(key("t")), -2)
  end,
}.freeze

failed = false
SCENARIOS.each do |name, scenario|
  Timeout.timeout(SCENARIO_SECONDS) { scenario.call }
  puts "ok #{NAME} #{name}"
rescue StandardError => e
  failed = true
  puts "FAILED #{NAME} #{name}"
  warn "#{NAME} #{name}: #{e.full_message(highlight: false)}"
ensure
  $stdout.flush
end
exit !failed
