// ioredis, major version 5 or 6 given as argument.
import {
  assert, bigValue, ca, everyByte, inbox, newScript, once, publishUntilReceived, readerURL,
  releaseScript, run, tlsURL, url, urlWith, userURL,
} from './scenario.mjs';

const major = process.argv[2];
const { Redis } = await import(major === '5' ? 'ioredis' : `ioredis${major}`);
const name = `ioredis${major}`;
const key = (k) => `${name}:${k}`;

const connect = (to = url, options = {}) => {
  const redis = new Redis(to, { retryStrategy: () => 10, ...options });
  redis.on('error', () => {}); // a killed connection is part of the scenarios
  return redis;
};
const redis = connect();
const other = connect();

await run(name, {
  'connect-password': async () => assert.equal(await redis.ping(), 'PONG'),

  'connect-wrong-password': async () => {
    const wrong = connect(urlWith((u) => { u.password = 'wrong'; }), { retryStrategy: null, lazyConnect: true });
    const refused = once(wrong, 'error');
    await assert.rejects(Promise.all([wrong.connect(), wrong.get(key('x'))]));
    assert.match(String((await refused)[0].message), /WRONGPASS/);
    wrong.disconnect();
  },

  'connect-user': async () => {
    const alice = connect(userURL);
    assert.equal(await alice.set(key('alice'), 'here'), 'OK');
    assert.equal(await alice.get(key('alice')), 'here');
    await alice.quit();
  },

  'connect-readonly-user': async () => {
    const reader = connect(readerURL);
    assert.equal(await reader.get(key('alice')), 'here');
    await assert.rejects(reader.set(key('alice'), 'gone'), /NOPERM/);
    assert.equal(await redis.get(key('alice')), 'here');
    await reader.quit();
  },

  'connect-tls': async () => {
    const tls = connect(tlsURL, { tls: { ca } });
    assert.equal(await tls.set(key('tls'), 'sealed'), 'OK');
    assert.equal(await redis.get(key('tls')), 'sealed');
    await tls.quit();
  },

  'connect-tls-unknown-ca': async () => {
    const tls = connect(tlsURL, { retryStrategy: null, lazyConnect: true });
    await assert.rejects(tls.connect());
    tls.disconnect();
  },

  'connect-database': async () => {
    const three = connect(urlWith((u) => { u.pathname = '/3'; }));
    await redis.set(key('db'), 'zero');
    await three.del(key('db'));
    assert.equal(await three.get(key('db')), null);
    await three.set(key('db'), 'three');
    assert.equal(await redis.get(key('db')), 'zero');
    assert.equal(await three.get(key('db')), 'three');
    await three.quit();
  },

  'connect-name': async () => {
    const named = connect(url, { connectionName: 'named-by-ioredis' });
    assert.equal(await named.client('GETNAME'), 'named-by-ioredis');
    await named.quit();
  },

  pipeline: async () => {
    const pipeline = redis.pipeline();
    for (let i = 0; i < 500; i++) pipeline.set(key(`pipe:${i}`), `v${i}`).get(key(`pipe:${i}`));
    const replies = await pipeline.exec();
    assert.equal(replies.length, 1000);
    for (let i = 0; i < 500; i++) {
      assert.deepEqual(replies[2 * i], [null, 'OK']);
      assert.deepEqual(replies[2 * i + 1], [null, `v${i}`]);
    }
  },

  transaction: async () => {
    await redis.del(key('tx'));
    const replies = await redis.multi().set(key('tx'), '1').incr(key('tx')).get(key('tx')).exec();
    assert.deepEqual(replies, [[null, 'OK'], [null, 2], [null, '2']]);
    // One command that fails leaves the others done.
    const mixed = await redis.multi().set(key('tx'), 'word').incr(key('tx')).get(key('tx')).exec();
    assert.match(mixed[1][0].message, /not an integer/);
    assert.deepEqual(mixed[2], [null, 'word']);
  },

  'transaction-discard': async () => {
    await redis.set(key('tx'), 'before');
    await redis.multi({ pipeline: false });
    assert.equal(await redis.set(key('tx'), 'after'), 'QUEUED');
    assert.equal(await redis.discard(), 'OK');
    assert.equal(await redis.get(key('tx')), 'before');
  },

  'watch-conflict': async () => {
    await redis.set(key('watched'), '1');
    await redis.watch(key('watched'));
    await other.set(key('watched'), '2');
    assert.equal(await redis.multi().set(key('watched'), '3').exec(), null);
    assert.equal(await redis.get(key('watched')), '2');
    await redis.watch(key('watched'));
    assert.deepEqual(await redis.multi().set(key('watched'), '3').exec(), [[null, 'OK']]);
  },

  'script-eval': async () => {
    assert.deepEqual(
      await redis.eval('return {KEYS[1], ARGV[1], #ARGV, {ok="fine"}, false}', 1, key('s'), 'a'),
      [key('s'), 'a', 1, 'fine', null],
    );
    await assert.rejects(redis.eval('return redis.error_reply("MINE own error")', 0), /MINE own error/);
  },

  'script-noscript-fallback': async () => {
    await assert.rejects(redis.evalsha('f'.repeat(40), 0), /^ReplyError: NOSCRIPT /);
    // defineCommand sends EVALSHA and, after NOSCRIPT, EVAL.
    redis.defineCommand('echoes', { numberOfKeys: 1, lua: newScript() });
    for (let i = 0; i < 2; i++) {
      assert.deepEqual((await redis.echoes(key('s'), 'a')).slice(0, 2), [key('s'), 'a']);
    }
  },

  'pubsub-channel': async () => {
    const subscriber = connect();
    const box = inbox();
    subscriber.on('messageBuffer', box.push);
    assert.equal(await subscriber.subscribe(key('one'), key('two')), 2);
    assert.equal(await redis.publish(key('one'), 'first'), 1);
    assert.equal(await redis.publish(key('two'), everyByte), 1);
    assert.equal(await redis.publish(key('three'), 'nobody'), 0);
    assert.deepEqual((await box.next()).map(String), [key('one'), 'first']);
    assert.deepEqual((await box.next())[1], everyByte);
    assert.equal(await subscriber.unsubscribe(key('one')), 1);
    assert.equal(await redis.publish(key('one'), 'late'), 0);
    await subscriber.quit();
  },

  'pubsub-pattern': async () => {
    const subscriber = connect();
    const box = inbox();
    subscriber.on('pmessage', box.push);
    assert.equal(await subscriber.psubscribe(key('news:*')), 1);
    assert.equal(await redis.publish(key('news:[x]'), 'hello'), 1);
    assert.deepEqual(await box.next(), [key('news:*'), key('news:[x]'), 'hello']);
    assert.equal(await subscriber.punsubscribe(), 0);
    assert.equal(await redis.publish(key('news:x'), 'late'), 0);
    assert.equal(await subscriber.ping(), 'PONG');
    await subscriber.quit();
  },

  'pubsub-sharded': async () => {
    const subscriber = connect();
    const box = inbox();
    subscriber.on('smessage', box.push);
    assert.equal(await subscriber.ssubscribe(key('shard')), 1);
    assert.equal(await redis.spublish(key('shard'), 'hello'), 1);
    assert.deepEqual(await box.next(), [key('shard'), 'hello']);
    assert.equal(await subscriber.sunsubscribe(key('shard')), 0);
    await subscriber.quit();
  },

  reconnect: async () => {
    const victim = connect();
    const id = await victim.client('ID');
    const closed = once(victim, 'close');
    assert.equal(await other.client('KILL', 'ID', id), 1);
    await closed;
    assert.equal(await victim.set(key('reconnected'), 'yes'), 'OK');
    assert.notEqual(await victim.client('ID'), id);
    await victim.quit();
  },

  'reconnect-pubsub': async () => {
    const subscriber = connect();
    const box = inbox();
    const id = await subscriber.client('ID');
    subscriber.on('message', (channel, message) => box.push(channel, message));
    subscriber.on('pmessage', (pattern, channel, message) => box.push(pattern, channel, message));
    await subscriber.subscribe(key('kept'));
    await subscriber.psubscribe(key('kept:*'));
    const ready = once(subscriber, 'ready');
    assert.equal(await other.client('KILL', 'ID', id), 1);
    await ready;
    await publishUntilReceived(() => redis.publish(key('kept'), 'again'));
    assert.deepEqual(await box.next(), [key('kept'), 'again']);
    await publishUntilReceived(() => redis.publish(key('kept:x'), 'again'));
    assert.deepEqual(await box.next(), [key('kept:*'), key('kept:x'), 'again']);
    await subscriber.quit();
  },

  lock: async () => {
    const lock = key('lock');
    await redis.del(lock);
    assert.equal(await redis.set(lock, 'a', 'PX', 30_000, 'NX'), 'OK');
    assert.equal(await other.set(lock, 'b', 'PX', 30_000, 'NX'), null);
    assert.equal(await other.eval(releaseScript, 1, lock, 'b'), 0);
    assert.equal(await redis.eval(releaseScript, 1, lock, 'a'), 1);
    assert.equal(await other.set(lock, 'b', 'PX', 50, 'NX'), 'OK');
    let granted = null; // comes back when its time is up
    while (granted === null) granted = await redis.set(lock, 'a', 'PX', 30_000, 'NX');
    assert.equal(await redis.get(lock), 'a');
    await redis.del(lock);
  },

  binary: async () => {
    const k = Buffer.concat([Buffer.from(key('binary:')), everyByte]);
    assert.equal(await redis.set(k, everyByte), 'OK');
    assert.deepEqual(await redis.getBuffer(k), everyByte);
    assert.equal(await redis.strlen(k), everyByte.length);
  },

  'value-8mb': async () => {
    assert.equal(await redis.set(key('big'), bigValue), 'OK');
    assert.ok((await redis.getBuffer(key('big'))).equals(bigValue));
    assert.equal(await redis.del(key('big')), 1);
  },

  'scan-10000': async () => {
    const pipeline = redis.pipeline();
    for (let i = 0; i < 10_000; i++) pipeline.set(key(`scan:${i}`), i);
    await pipeline.exec();
    const seen = new Set();
    for await (const keys of redis.scanStream({ match: key('scan:*'), count: 500 })) {
      for (const k of keys) seen.add(k);
    }
    assert.equal(seen.size, 10_000);
    assert.equal(await redis.unlink(...seen), 10_000);
  },

  counters: async () => {
    await redis.del(key('n'));
    await Promise.all(Array.from({ length: 100 }, (_, i) => (i % 2 ? redis : other).incr(key('n'))));
    assert.equal(await redis.get(key('n')), '100');
    assert.equal(await redis.incrby(key('n'), 900), 1000);
    assert.equal(await redis.decrby(key('n'), 1001), -1);
    assert.equal(await redis.incrbyfloat(key('n'), 1.5), '0.5');
    await assert.rejects(redis.incr(key('n')), /not an integer/);
  },

  ttl: async () => {
    await redis.set(key('t'), 'v', 'EX', 100);
    assert.ok([99, 100].includes(await redis.ttl(key('t'))));
    assert.equal(await redis.persist(key('t')), 1);
    assert.equal(await redis.ttl(key('t')), -1);
    assert.equal(await redis.pexpire(key('t'), 40), 1);
    while ((await redis.get(key('t'))) !== null);
    assert.equal(await redis.ttl(key('t')), -2);
  },
});
