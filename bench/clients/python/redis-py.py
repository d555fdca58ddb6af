"""redis-py as Debian ships it (python3-redis)."""

import os
import queue
import sys
import time
import traceback
import urllib.parse

import redis

NAME = "redis-py"
URL = os.environ["REDIS_URL"]
PARTS = urllib.parse.urlsplit(URL)
EVERY_BYTE = bytes(range(256)) + b"\r\n$5\r\n*1\r\n"
RELEASE = """
if redis.call("get", KEYS[1]) == ARGV[1] then
  return redis.call("del", KEYS[1])
else
  return 0
end
"""
TIMEOUTS = {"socket_timeout": 10, "socket_connect_timeout": 10}


def connect(url=URL, **options):
    return redis.Redis.from_url(url, **TIMEOUTS, **options)


def key(k):
    return f"{NAME}:{k}"


def url_with(credentials=f":{PARTS.password}@", path=""):
    return f"redis://{credentials}{PARTS.hostname}:{PARTS.port}{path}"


def expect(got, want):
    if got != want:
        raise AssertionError(f"got {got!r:.200}, want {want!r:.200}")


def refused(call, kind=redis.ResponseError, text=""):
    try:
        call()
    except kind as err:
        if text not in str(err):
            raise AssertionError(f"refused with {err!r}, want {text!r}") from err
        return
    raise AssertionError(f"not refused, want {text!r}")


r = connect(decode_responses=True)
other = connect(decode_responses=True)
raw = connect()


def connect_password():
    expect(r.ping(), True)


def connect_wrong_password():
    refused(connect(url_with(credentials=":wrong@")).ping, redis.ResponseError, "WRONGPASS")


def connect_no_password():
    refused(connect(url_with(credentials="")).ping, redis.AuthenticationError)


def connect_user():
    alice = connect(os.environ["REDIS_USER_URL"])
    alice.set(key("alice"), "here")
    expect(alice.get(key("alice")), b"here")


def connect_readonly_user():
    reader = connect(os.environ["REDIS_READER_URL"])
    expect(reader.get(key("alice")), b"here")
    refused(lambda: reader.set(key("alice"), "gone"), redis.exceptions.NoPermissionError)
    expect(r.get(key("alice")), "here")


def connect_tls():
    tls = connect(os.environ["REDIS_TLS_URL"], ssl_ca_certs=os.environ["REDIS_CA_FILE"])
    tls.set(key("tls"), "sealed")
    expect(r.get(key("tls")), "sealed")


def connect_tls_unknown_ca():
    refused(connect(os.environ["REDIS_TLS_URL"]).ping, redis.ConnectionError, "certificate")


def connect_database():
    three = connect(url_with(path="/3"))
    r.set(key("db"), "zero")
    three.delete(key("db"))
    expect(three.get(key("db")), None)
    three.set(key("db"), "three")
    expect((r.get(key("db")), three.get(key("db"))), ("zero", b"three"))


def pipeline():
    pipe = r.pipeline(transaction=False)
    for i in range(500):
        pipe.set(key(f"pipe:{i}"), i).get(key(f"pipe:{i}"))
    expect(pipe.execute(), [x for i in range(500) for x in (True, str(i))])


def transaction():
    pipe = r.pipeline()
    expect(pipe.set(key("tx"), 1).incr(key("tx")).get(key("tx")).execute(), [True, 2, "2"])
    pipe.set(key("tx"), "word").incr(key("tx"))
    replies = pipe.execute(raise_on_error=False)
    expect((replies[0], type(replies[1])), (True, redis.ResponseError))
    expect(r.get(key("tx")), "word")


def watch_conflict():
    with r.pipeline() as pipe:
        pipe.watch(key("watched"))
        other.set(key("watched"), "2")
        pipe.multi()
        pipe.set(key("watched"), "3")
        refused(pipe.execute, redis.WatchError)
    expect(r.get(key("watched")), "2")
    r.transaction(lambda pipe: pipe.multi() or pipe.set(key("watched"), "3"), key("watched"))
    expect(r.get(key("watched")), "3")


def script_eval():
    expect(r.eval("return {KEYS[1], ARGV[1], #ARGV, {ok='fine'}, false}", 1, key("s"), "a"),
           [key("s"), "a", 1, "fine", None])
    refused(lambda: r.eval("return redis.error_reply('MINE own error')", 0), text="MINE own error")
    refused(lambda: r.eval("return {", 0), text="compiling")


def script_noscript_fallback():
    refused(lambda: r.evalsha("f" * 40, 0), redis.exceptions.NoScriptError)
    # A registered script sends EVALSHA and, after NOSCRIPT, SCRIPT LOAD.
    script = r.register_script(f"return {{KEYS[1], ARGV[1], {time.time_ns() % 10**9}}}")
    for _ in range(2):
        expect(script([key("s")], ["a"])[:2], [key("s"), "a"])


def message(subscriber):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        got = subscriber.get_message(ignore_subscribe_messages=True, timeout=1)
        if got:
            return got["type"], got["pattern"], got["channel"], got["data"]
    raise AssertionError("no message")


def subscribed(subscriber, count):
    """Waits for the confirmations of so many subscriptions."""
    for _ in range(count):
        got = subscriber.get_message(timeout=10)
        if not got or not got["type"].endswith("subscribe"):
            raise AssertionError(f"got {got!r}, want a confirmation")


def pubsub_channel():
    subscriber = raw.pubsub()
    subscriber.subscribe(key("one"), key("two"))
    subscribed(subscriber, 2)
    expect(r.publish(key("one"), "first"), 1)
    expect(r.publish(key("two"), EVERY_BYTE), 1)
    expect(r.publish(key("three"), "nobody"), 0)
    expect(message(subscriber), ("message", None, key("one").encode(), b"first"))
    expect(message(subscriber), ("message", None, key("two").encode(), EVERY_BYTE))
    expect(dict(r.pubsub_numsub(key("one"))), {key("one"): 1})
    subscriber.unsubscribe(key("one"))
    subscribed(subscriber, 1)
    expect(r.publish(key("one"), "late"), 0)
    subscriber.close()


def pubsub_pattern():
    subscriber = r.pubsub()
    subscriber.psubscribe(key("news:*"))
    subscribed(subscriber, 1)
    r.publish(key("news:x"), "hello")
    expect(message(subscriber), ("pmessage", key("news:*"), key("news:x"), "hello"))
    subscriber.punsubscribe()
    subscribed(subscriber, 1)
    expect(r.publish(key("news:x"), "late"), 0)
    subscriber.close()


def pubsub_thread():
    got = queue.Queue()
    subscriber = r.pubsub()
    subscriber.subscribe(**{key("thread"): got.put})
    thread = subscriber.run_in_thread(sleep_time=0.01)
    while r.publish(key("thread"), "hello") == 0:
        pass
    expect(got.get(timeout=10)["data"], "hello")
    thread.stop()
    thread.join(10)


def reconnect():
    victim = connect(retry_on_error=[redis.ConnectionError])
    number = victim.client_id()
    expect(other.client_kill_filter(_id=str(number)), 1)
    victim.set(key("reconnected"), "yes")
    if victim.client_id() == number:
        raise AssertionError("still the killed connection")


def reconnect_pubsub():
    subscriber = r.pubsub()
    subscriber.subscribe(key("kept"))
    subscriber.psubscribe(key("kept:*"))
    subscribed(subscriber, 2)
    mine = [c["id"] for c in other.client_list() if (c["sub"], c["psub"]) == ("1", "1")
            and c["addr"] == "%s:%d" % subscriber.connection._sock.getsockname()]
    expect(len(mine), 1)
    expect(other.client_kill_filter(_id=mine[0]), 1)
    refused(lambda: message(subscriber), redis.ConnectionError)
    subscribed(subscriber, 2)  # the next call connects and subscribes again
    r.publish(key("kept"), "again")
    expect(message(subscriber), ("message", None, key("kept"), "again"))
    r.publish(key("kept:x"), "again")
    expect(message(subscriber), ("pmessage", key("kept:*"), key("kept:x"), "again"))
    subscriber.close()


def lock():
    r.delete(key("lock"))
    expect(r.set(key("lock"), "a", nx=True, px=30_000), True)
    expect(other.set(key("lock"), "b", nx=True, px=30_000), None)
    expect(other.eval(RELEASE, 1, key("lock"), "b"), 0)
    expect(r.eval(RELEASE, 1, key("lock"), "a"), 1)
    expect(other.set(key("lock"), "b", nx=True, px=50), True)
    while not r.set(key("lock"), "a", nx=True, px=30_000):
        pass  # comes back when its time is up
    r.delete(key("lock"))


def lock_class():
    ours = r.lock(key("class"), timeout=30, blocking=False)
    theirs = other.lock(key("class"), timeout=30, blocking=False)
    expect(ours.acquire(), True)
    expect(theirs.acquire(), False)
    expect(ours.extend(30), True)
    if not 59_000 < r.pttl(key("class")) <= 60_000:
        raise AssertionError(f"pttl after extend {r.pttl(key('class'))}")
    expect(ours.reacquire(), True)
    expect(ours.owned(), True)
    ours.release()
    refused(ours.release, redis.exceptions.LockError)
    expect(theirs.acquire(), True)
    r.set(key("class"), "somebody else")
    refused(theirs.release, redis.exceptions.LockNotOwnedError)
    r.delete(key("class"))


def binary():
    k = key("binary:").encode() + EVERY_BYTE
    raw.set(k, EVERY_BYTE)
    expect(raw.get(k), EVERY_BYTE)
    expect(raw.strlen(k), len(EVERY_BYTE))


def value_8mb():
    big = (EVERY_BYTE * (8 * 2**20 // len(EVERY_BYTE) + 1))[: 8 * 2**20]
    raw.set(key("big"), big)
    if raw.get(key("big")) != big:
        raise AssertionError("8 MB came back changed")
    expect(raw.delete(key("big")), 1)


def scan_10000():
    r.mset({key(f"scan:{i}"): i for i in range(10_000)})
    seen = set(r.scan_iter(match=key("scan:*"), count=500))
    expect(len(seen), 10_000)
    expect(r.unlink(*seen), 10_000)


def counters():
    r.delete(key("n"))
    for i in range(100):
        (r if i % 2 else other).incr(key("n"))
    expect(r.incrby(key("n"), 900), 1000)
    expect(r.decrby(key("n"), 1001), -1)
    expect(r.incrbyfloat(key("n"), 1.5), 0.5)
    refused(lambda: r.incr(key("n")), text="not an integer")


def ttl():
    r.set(key("t"), "v", ex=100)
    expect(r.ttl(key("t")) in (99, 100), True)
    expect(r.persist(key("t")), True)
    expect(r.ttl(key("t")), -1)
    expect(r.pexpire(key("t"), 40), True)
    while r.get(key("t")) is not None:
        pass
    expect(r.ttl(key("t")), -2)


def info():
    answer = r.info()
    expect(answer["role"], "master")
    expect(answer["loading"], 0)
    expect(tuple(map(int, answer["redis_version"].split("."))) >= (6, 2), True)


failed = 0
for scenario in (
    connect_password, connect_wrong_password, connect_no_password, connect_user, connect_readonly_user,
    connect_tls, connect_tls_unknown_ca, connect_database, pipeline, transaction, watch_conflict,
    script_eval, script_noscript_fallback, pubsub_channel, pubsub_pattern, pubsub_thread, reconnect,
    reconnect_pubsub, lock, lock_class, binary, value_8mb, scan_10000, counters, ttl, info,
):
    label = scenario.__name__.replace("_", "-")
    try:
        scenario()
        print(f"ok {NAME} {label}", flush=True)
    except Exception:
        failed = 1
        print(f"FAILED {NAME} {label}", flush=True)
        traceback.print_exc()
sys.exit(failed)
