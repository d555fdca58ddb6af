// @upstash/redis, ratelimit, lock and realtime over HTTP, with ioredis at the same keys.
import http from 'node:http';
import { Lock } from '@upstash/lock';
import { Ratelimit } from '@upstash/ratelimit';
import { Realtime } from '@upstash/realtime';
import { Redis } from '@upstash/redis';
import { Redis as IORedis } from 'ioredis';
import { assert, inbox, newScript, run, url } from './scenario.mjs';

const restURL = process.env.UPSTASH_REDIS_REST_URL;
const token = process.env.UPSTASH_REDIS_REST_TOKEN;
const redis = Redis.fromEnv();
const tcp = new IORedis(url);
const thisRun = Date.now(); // keys outlive the run
const key = (k) => `upstash:${thisRun}:${k}`;
const client = (options) => new Redis({ url: restURL, token, ...options });

// Answers nothing to the first requests, cutting their connections, then passes
// requests on.
async function unreliable(cuts) {
  let seen = 0;
  const server = http.createServer((req, res) => {
    seen++;
    if (seen <= cuts) return req.socket.destroy();
    const to = http.request(restURL + req.url, { method: req.method, headers: req.headers }, (answer) => {
      res.writeHead(answer.statusCode, answer.headers);
      answer.pipe(res);
    });
    req.pipe(to);
  });
  await new Promise((r) => server.listen(0, '127.0.0.1', r));
  return { url: `http://127.0.0.1:${server.address().port}`, seen: () => seen, close: () => server.closeAllConnections() };
}

// Opens a subscription and resolves when it is confirmed.
async function subscribed(subscriber, kind) {
  await new Promise((resolve, reject) => {
    subscriber.on(kind, resolve);
    subscriber.on('error', reject);
  });
  return subscriber;
}

await run('upstash', {
  'the-same-keys': async () => {
    assert.equal(await redis.set(key('a'), 'from rest'), 'OK');
    assert.equal(await tcp.get(key('a')), 'from rest');
    await tcp.set(key('a'), 'from tcp');
    assert.equal(await redis.get(key('a')), 'from tcp');
    assert.equal(await redis.get(key('none')), null);
    assert.equal(await redis.ping(), 'PONG');
    assert.equal(await redis.echo('OK'), 'OK');
  },

  'values-of-every-type': async () => {
    const object = { text: 'häß ☃ \u{1F600} "quoted" \\ \n\t\u0000', list: [1, 2.5, null, true], deep: { a: {} } };
    await redis.set(key('object'), object, { ex: 100 });
    assert.deepEqual(await redis.get(key('object')), object);
    assert.deepEqual(JSON.parse(await tcp.get(key('object'))), object);
    for (const value of [0, -1, 1.5, true, false, '', 'text', 'OK', 'T0s=', 'a,b\r\nc']) {
      await redis.set(key('v'), value);
      assert.deepEqual(await redis.get(key('v')), value === '' ? '' : value, JSON.stringify(value));
    }
    assert.ok((await redis.ttl(key('object'))) > 90);
  },

  'binary-in-base64': async () => {
    const raw = client({ automaticDeserialization: false });
    await tcp.set(key('text'), Buffer.from('ünï\u0000\u0001\u007f', 'utf8'));
    assert.equal(await raw.get(key('text')), 'ünï\u0000\u0001\u007f');
    assert.deepEqual(await raw.mget(key('text'), key('none')), ['ünï\u0000\u0001\u007f', null]);
    const plain = client({ responseEncoding: false, automaticDeserialization: false });
    assert.equal(await plain.get(key('text')), 'ünï\u0000\u0001\u007f');
    await tcp.set(key('bytes'), Buffer.from([0xff, 0xfe, 0x41]));
    assert.equal(await plain.get(key('bytes')), '\ufffd\ufffdA');
  },

  'options-of-set': async () => {
    assert.equal(await redis.set(key('nx'), 1, { nx: true, px: 60_000 }), 'OK');
    assert.equal(await redis.set(key('nx'), 2, { nx: true }), null);
    assert.equal(await redis.set(key('nx'), 3, { xx: true, get: true, keepTtl: true }), 1);
    assert.ok((await redis.pttl(key('nx'))) > 50_000);
    assert.equal(await redis.incrby(key('n'), 41), 41);
    assert.equal(await redis.incr(key('n')), 42);
    assert.equal(await redis.incrbyfloat(key('n'), 0.5), 42.5);
    assert.equal(await redis.getdel(key('n')), 42.5);
    assert.equal(await redis.mset({ [key('m1')]: 'a', [key('m2')]: { b: 1 } }), 'OK');
    assert.deepEqual(await redis.mget(key('m1'), key('m2'), key('none')), ['a', { b: 1 }, null]);
    assert.equal(await redis.exists(key('m1'), key('m2')), 2);
    assert.equal(await redis.expire(key('m1'), 100), 1);
    assert.equal(await redis.persist(key('m1')), 1);
    assert.equal(await redis.type(key('m1')), 'string');
    assert.equal(await redis.del(key('m1'), key('m2')), 2);
  },

  'scan-and-keys': async () => {
    const names = Array.from({ length: 50 }, (_, i) => key(`scan:${i}`));
    await redis.mset(Object.fromEntries(names.map((n) => [n, 1])));
    const found = new Set();
    let cursor = '0';
    do {
      const [next, some] = await redis.scan(cursor, { match: key('scan:*'), count: 10 });
      some.forEach((k) => found.add(k));
      cursor = next;
    } while (cursor !== '0');
    assert.deepEqual([...found].sort(), [...names].sort());
    assert.equal((await redis.keys(key('scan:*'))).length, 50);
    assert.ok((await redis.dbsize()) >= 50);
  },

  'auto-pipelining': async () => {
    const n = 2500; // the SDK sends at most 1000 in one request
    await Promise.all(Array.from({ length: n }, (_, i) => redis.set(key(`auto:${i}`), i)));
    const got = await Promise.all(Array.from({ length: n }, (_, i) => redis.get(key(`auto:${i}`))));
    assert.deepEqual(got, Array.from({ length: n }, (_, i) => i));
    const mixed = await Promise.allSettled([redis.get(key('auto:1')), redis.incr(key('auto:1')), redis.incr(key('object')), redis.ttl(key('none'))]);
    assert.deepEqual(mixed.map((m) => m.status), ['fulfilled', 'fulfilled', 'rejected', 'fulfilled']);
    assert.match(String(mixed[2].reason), /not an integer/);
  },

  pipeline: async () => {
    const p = redis.pipeline();
    p.set(key('p'), 'x').append(key('p'), 'y').get(key('p')).strlen(key('p'));
    assert.deepEqual(await p.exec(), ['OK', 2, 'xy', 2]);
    const bad = redis.pipeline().set(key('p'), 'x').incr(key('p')).get(key('p'));
    const kept = await bad.exec({ keepErrors: true });
    assert.deepEqual([kept[0].result, kept[2].result], ['OK', 'x']);
    assert.match(kept[1].error, /not an integer/);
    await assert.rejects(redis.pipeline().set(key('p'), 'x').incr(key('p')).exec(), /command 2 \[ incr \] failed/i);
    const big = redis.pipeline();
    for (let i = 0; i < 1000; i++) big.set(key(`big:${i}`), `${i}`.repeat(100));
    assert.equal((await big.exec()).length, 1000);
  },

  multi: async () => {
    const tx = redis.multi();
    tx.set(key('t'), 1).incr(key('t')).get(key('t'));
    assert.deepEqual(await tx.exec(), ['OK', 2, 2]);
    const failing = redis.multi().set(key('t'), 'x').incr(key('t')).get(key('t'));
    const kept = await failing.exec({ keepErrors: true });
    assert.deepEqual([kept[0].result, kept[2].result], ['OK', 'x']);
    assert.match(kept[1].error, /not an integer/);
    await assert.rejects(redis.multi().set(key('t'), 'no').mget().exec(), /ERR wrong number of arguments for 'mget'/);
    assert.equal(await redis.get(key('t')), 'x'); // nothing of it was done
  },

  scripts: async () => {
    const source = newScript();
    const script = redis.createScript(source);
    const got = await script.exec([key('s')], ['arg']); // NOSCRIPT first, then EVAL
    assert.deepEqual(got.slice(0, 2), [key('s'), 'arg']);
    assert.deepEqual((await redis.evalsha(script.sha1, [key('s')], ['again'])).slice(0, 2), [key('s'), 'again']);
    await redis.set(key('s'), 'kept');
    const reader = redis.createScript("return redis.call('get', KEYS[1])", { readonly: true });
    assert.equal(await reader.exec([key('s')], []), 'kept');
    await assert.rejects(redis.evalRo("return redis.call('del', KEYS[1])", [key('s')], []), /read-?only/i);
    const sha = await redis.scriptLoad('return {1, "two", {3, "four"}, false}');
    assert.deepEqual(await redis.scriptExists(sha, '0'.repeat(40)), [1, 0]);
    assert.deepEqual(await redis.evalsha(sha, [], []), [1, 'two', [3, 'four'], null]);
  },

  'read-your-writes': async () => {
    const mine = client({ enableAutoPipelining: false });
    const tokens = [];
    for (let i = 0; i < 20; i++) {
      await mine.set(key('ryw'), i);
      tokens.push(mine.readYourWritesSyncToken);
      const other = client();
      other.readYourWritesSyncToken = mine.readYourWritesSyncToken;
      assert.equal(await other.get(key('ryw')), i);
    }
    assert.equal(new Set(tokens).size, 20, tokens.join());
    await mine.pipeline().set(key('ryw'), 'p').exec();
    tokens.push(mine.readYourWritesSyncToken);
    await mine.eval("return redis.call('set', KEYS[1], 'e')", [key('ryw')], []);
    tokens.push(mine.readYourWritesSyncToken);
    assert.equal(new Set(tokens).size, 22);
  },

  'a-network-that-fails': async () => {
    const proxy = await unreliable(2);
    const retrying = new Redis({ url: proxy.url, token, retry: { retries: 5, backoff: () => 1 } });
    assert.equal(await retrying.set(key('retried'), 1), 'OK');
    assert.equal(proxy.seen(), 3);
    proxy.close();
    const dead = await unreliable(1000);
    await assert.rejects(new Redis({ url: dead.url, token, retry: { retries: 2, backoff: () => 1 } }).get(key('a')));
    assert.equal(dead.seen(), 3);
    dead.close();
  },

  errors: async () => {
    await assert.rejects(client({ token: 'wrong' }).get(key('a')), /WRONGPASS/);
    await assert.rejects(client({ enableAutoPipelining: false }).incr(key('object')), /ERR value is not an integer.*command was/);
    const reader = client({ token: process.env.REST_READONLY_TOKEN });
    await tcp.set(key('r'), 'v');
    assert.equal(await reader.get(key('r')), 'v');
    await assert.rejects(reader.set(key('r'), 'w'), /NOPERM/);
    await assert.rejects(reader.keys('*'), /NOPERM/);
    await assert.rejects(reader.scan(0), /NOPERM/);
    await assert.rejects(reader.eval("return redis.call('keys', '*')", [], []), /NOPERM|can't run/i);
    await assert.rejects(reader.eval("return redis.call('set', KEYS[1], 1)", [key('r')], []), /NOPERM|can't run/i);
    assert.equal(await tcp.get(key('r')), 'v');
  },

  aborted: async () => {
    const controller = new AbortController();
    controller.abort('no more');
    assert.equal(await client({ signal: controller.signal, enableAutoPipelining: false, responseEncoding: false }).get(key('a')), 'no more');
  },

  subscribe: async () => {
    const box = inbox();
    const sub = redis.subscribe([key('ch')]);
    sub.on('message', box.push);
    await subscribed(sub, 'subscribe');
    for (const message of ['plain', { an: ['object', 1, 'with\nline breaks'] }, 'two\nlines', 'a,b,c', 'ünï ☃', 12]) {
      assert.equal(await redis.publish(key('ch'), message), 1);
      const [got] = await box.next();
      assert.deepEqual(got, { channel: key('ch'), message });
    }
    await tcp.publish(key('ch'), 'from tcp');
    assert.deepEqual((await box.next())[0].message, 'from tcp');
    await sub.unsubscribe();
    while ((await tcp.publish(key('ch'), 'anybody?')) !== 0);
  },

  psubscribe: async () => {
    const box = inbox();
    const sub = redis.psubscribe([key('p:*'), key('q:?')]);
    sub.on('pmessage', box.push);
    await subscribed(sub, 'psubscribe');
    while ((await tcp.publish(key('p:1'), '{"n":1}')) < 1);
    const [got] = await box.next();
    assert.deepEqual(got, { pattern: key('p:*'), channel: key('p:1'), message: { n: 1 } });
    await sub.unsubscribe();
  },

  'rate-limits': async () => {
    for (const [name, limiter] of Object.entries({
      fixed: Ratelimit.fixedWindow(3, '1000 s'),
      sliding: Ratelimit.slidingWindow(3, '1000 s'),
    })) {
      const limit = new Ratelimit({ redis, limiter, prefix: key(name), ephemeralCache: false });
      const answers = [];
      for (let i = 0; i < 4; i++) answers.push(await limit.limit('somebody'));
      assert.deepEqual(answers.map((a) => a.success), [true, true, true, false], name);
      assert.deepEqual(answers.slice(0, 3).map((a) => a.remaining), [2, 1, 0], name);
      assert.equal((await limit.getRemaining('somebody')).remaining, 0);
      assert.equal((await limit.limit('somebody else')).success, true);
      const many = await Promise.all(Array.from({ length: 20 }, () => limit.limit('a crowd')));
      assert.equal(many.filter((a) => a.success).length, 3, name);
      await limit.resetUsedTokens('somebody');
      assert.equal((await limit.limit('somebody')).success, true, name);
    }
  },

  // The half of it that hears. Emitting, history and replay are streams (XADD).
  'realtime-live': async () => {
    const box = inbox();
    const channel = new Realtime({ redis }).channel(key('rt'));
    const unsubscribe = await channel.subscribe({ events: ['job.done'], onData: box.push });
    for (const [event, n] of [['job.begun', 1], ['job.done', 2]]) {
      const message = { data: { n, text: 'two\nlines' }, event, id: `${1700000000000 + n}-0`, channel: key('rt') };
      assert.equal(await tcp.publish(key('rt'), JSON.stringify(message)), 1);
    }
    const [got] = await box.next();
    assert.deepEqual([got.event, got.data, got.cursor], ['job.done', { n: 2, text: 'two\nlines' }, '1700000000002-0']);
    unsubscribe();
  },

  locks: async () => {
    const mine = new Lock({ id: key('lock'), redis, lease: 30_000, retry: { attempts: 1, delay: 1 } });
    const theirs = new Lock({ id: key('lock'), redis: client(), lease: 30_000, retry: { attempts: 2, delay: 1 } });
    assert.equal(await mine.acquire(), true);
    assert.equal(await theirs.acquire(), false);
    assert.equal(await theirs.release(), false);
    assert.equal(await mine.extend(30_000), true);
    assert.ok((await tcp.pttl(key('lock'))) > 40_000);
    assert.equal(await mine.release(), true);
    assert.equal(await theirs.acquire(), true);
    assert.equal(await mine.release(), false);
    assert.equal(await theirs.release(), true);
  },
});
