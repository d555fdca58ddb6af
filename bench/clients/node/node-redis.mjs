// node-redis (package redis), major version 4, 5 or 6 given as argument.
import {
  assert, bigValue, ca, everyByte, inbox, newScript, once, publishUntilReceived, readerURL,
  releaseScript, run, tlsURL, url, urlWith, userURL,
} from './scenario.mjs';

const major = process.argv[2];
const node = await import(major === '6' ? 'redis' : `redis${major}`);
const { createClient, defineScript, WatchError } = node;
const name = `node-redis${major}`;
const key = (k) => `${name}:${k}`;
const v4 = major === '4';

const connect = async (options = {}) => {
  const client = createClient({ url, ...options, socket: { reconnectStrategy: () => 10, ...options.socket } });
  client.on('error', () => {}); // a killed connection is part of the scenarios
  return client.connect();
};
const quit = (client) => (v4 ? client.quit() : client.close());
// A reply as bytes instead of as text.
const asBuffers = (client) =>
  v4
    ? { get: (k) => client.get(node.commandOptions({ returnBuffers: true }), k) }
    : client.withTypeMapping({ [node.RESP_TYPES.BLOB_STRING]: Buffer });
const idOf = (client) => client.sendCommand(['CLIENT', 'ID']).then(Number);
const kill = async (id) => assert.equal(Number(await other.sendCommand(['CLIENT', 'KILL', 'ID', String(id)])), 1);

const redis = await connect();
const other = await connect();

const scenarios = {
  'connect-password': async () => assert.equal(await redis.ping(), 'PONG'),

  'connect-wrong-password': async () => {
    const wrong = createClient({
      url: urlWith((u) => { u.password = 'wrong'; }),
      socket: { reconnectStrategy: false },
    }).on('error', () => {});
    await assert.rejects(wrong.connect(), /WRONGPASS/);
  },

  'connect-user': async () => {
    const alice = await connect({ url: userURL });
    assert.equal(await alice.set(key('alice'), 'here'), 'OK');
    assert.equal(await alice.get(key('alice')), 'here');
    await quit(alice);
  },

  'connect-readonly-user': async () => {
    const reader = await connect({ url: readerURL });
    assert.equal(await reader.get(key('alice')), 'here');
    await assert.rejects(reader.set(key('alice'), 'gone'), /NOPERM/);
    assert.equal(await redis.get(key('alice')), 'here');
    await quit(reader);
  },

  'connect-tls': async () => {
    const tls = await connect({ url: tlsURL, socket: { tls: true, ca } });
    assert.equal(await tls.set(key('tls'), 'sealed'), 'OK');
    assert.equal(await redis.get(key('tls')), 'sealed');
    await quit(tls);
  },

  'connect-tls-unknown-ca': async () => {
    const tls = createClient({ url: tlsURL, socket: { reconnectStrategy: false } }).on('error', () => {});
    await assert.rejects(tls.connect());
  },

  'connect-database': async () => {
    const three = await connect({ url: urlWith((u) => { u.pathname = '/3'; }) });
    await redis.set(key('db'), 'zero');
    await three.del(key('db'));
    assert.equal(await three.get(key('db')), null);
    await three.set(key('db'), 'three');
    assert.equal(await redis.get(key('db')), 'zero');
    assert.equal(await three.get(key('db')), 'three');
    await quit(three);
  },

  'connect-name': async () => {
    const named = await connect({ name: 'named-by-node-redis' });
    assert.equal(await named.clientGetName(), 'named-by-node-redis');
    assert.equal((await named.clientInfo()).name, 'named-by-node-redis');
    await quit(named);
  },

  pipeline: async () => {
    // Commands of one tick leave in one write.
    const replies = await Promise.all(
      Array.from({ length: 1000 }, (_, i) =>
        i % 2 ? redis.get(key(`pipe:${i - 1}`)) : redis.set(key(`pipe:${i}`), `v${i}`)),
    );
    replies.forEach((reply, i) => assert.equal(reply, i % 2 ? `v${i - 1}` : 'OK'));
  },

  transaction: async () => {
    const replies = await redis.multi().set(key('tx'), '1').incr(key('tx')).get(key('tx')).exec();
    assert.deepEqual(replies, ['OK', 2, '2']);
    // One command that fails leaves the others done.
    await assert.rejects(redis.multi().set(key('tx'), 'word').incr(key('tx')).exec());
    assert.equal(await redis.get(key('tx')), 'word');
  },

  'watch-conflict': async () => {
    await redis.set(key('watched'), '1');
    const conflicting = async (client) => {
      await client.watch(key('watched'));
      await other.set(key('watched'), '2');
      return client.multi().set(key('watched'), '3').exec();
    };
    if (v4) {
      await assert.rejects(redis.executeIsolated(conflicting), WatchError);
    } else {
      const pool = node.createClientPool({ url }).on('error', () => {});
      await pool.connect();
      await assert.rejects(pool.execute(conflicting), WatchError);
      await pool.close();
    }
    assert.equal(await redis.get(key('watched')), '2');
  },

  'script-eval': async () => {
    assert.deepEqual(
      await redis.eval('return {KEYS[1], ARGV[1], #ARGV, {ok="fine"}, false}', { keys: [key('s')], arguments: ['a'] }),
      [key('s'), 'a', 1, 'fine', null],
    );
    await assert.rejects(redis.eval('return redis.error_reply("MINE own error")'), /MINE own error/);
  },

  'script-noscript-fallback': async () => {
    await assert.rejects(redis.evalSha('f'.repeat(40)), (err) => err.message.startsWith('NOSCRIPT '));
    // A defined script sends EVALSHA and, after NOSCRIPT, EVAL.
    const declared = { NUMBER_OF_KEYS: 1, SCRIPT: newScript() };
    const scripted = await connect({
      scripts: {
        echoes: defineScript(v4
          ? { ...declared, transformArguments: (k, arg) => [k, arg], transformReply: (reply) => reply }
          : {
              ...declared,
              parseCommand(parser, k, arg) {
                parser.pushKey(k);
                parser.push(arg);
              },
              transformReply: (reply) => reply,
            }),
      },
    });
    for (let i = 0; i < 2; i++) {
      assert.deepEqual((await scripted.echoes(key('s'), 'a')).slice(0, 2), [key('s'), 'a']);
    }
    await quit(scripted);
  },

  'pubsub-channel': async () => {
    const subscriber = await connect();
    const box = inbox();
    await subscriber.subscribe([key('one'), key('two')], (message, channel) => box.push(message, String(channel)), true);
    assert.equal(await redis.publish(key('one'), 'first'), 1);
    assert.equal(await redis.publish(key('two'), everyByte), 1);
    assert.equal(await redis.publish(key('three'), 'nobody'), 0);
    const [first, channel] = await box.next();
    assert.equal(String(first), 'first');
    assert.equal(channel, key('one'));
    assert.deepEqual((await box.next())[0], everyByte);
    await subscriber.unsubscribe(key('one'));
    assert.equal(await redis.publish(key('one'), 'late'), 0);
    await subscriber.unsubscribe();
    assert.equal(await subscriber.get(key('none')), null); // commands again
    await quit(subscriber);
  },

  'pubsub-pattern': async () => {
    const subscriber = await connect();
    const box = inbox();
    await subscriber.pSubscribe(key('news:*'), box.push);
    assert.equal(await redis.publish(key('news:[x]'), 'hello'), 1);
    assert.deepEqual(await box.next(), ['hello', key('news:[x]')]);
    await subscriber.pUnsubscribe();
    assert.equal(await redis.publish(key('news:x'), 'late'), 0);
    await quit(subscriber);
  },

  'pubsub-sharded': async () => {
    const subscriber = await connect();
    const box = inbox();
    await subscriber.sSubscribe(key('shard'), box.push);
    assert.equal(Number(await redis.sPublish(key('shard'), 'hello')), 1);
    assert.deepEqual(await box.next(), ['hello', key('shard')]);
    await subscriber.sUnsubscribe(key('shard'));
    await quit(subscriber);
  },

  reconnect: async () => {
    const victim = await connect();
    const id = await idOf(victim);
    const ready = once(victim, 'ready');
    await kill(id);
    await ready;
    assert.equal(await victim.set(key('reconnected'), 'yes'), 'OK');
    assert.notEqual(await idOf(victim), id);
    await quit(victim);
  },

  'reconnect-pubsub': async () => {
    const subscriber = await connect();
    const box = inbox();
    const id = await idOf(subscriber);
    await subscriber.subscribe(key('kept'), box.push);
    await subscriber.pSubscribe(key('kept:*'), box.push);
    const ready = once(subscriber, 'ready');
    await kill(id);
    await ready;
    await publishUntilReceived(() => redis.publish(key('kept'), 'again'));
    assert.deepEqual(await box.next(), ['again', key('kept')]);
    await publishUntilReceived(() => redis.publish(key('kept:x'), 'again'));
    assert.deepEqual(await box.next(), ['again', key('kept:x')]);
    await quit(subscriber);
  },

  lock: async () => {
    const lock = key('lock');
    const release = (client, token) => client.eval(releaseScript, { keys: [lock], arguments: [token] });
    await redis.del(lock);
    assert.equal(await redis.set(lock, 'a', { NX: true, PX: 30_000 }), 'OK');
    assert.equal(await other.set(lock, 'b', { NX: true, PX: 30_000 }), null);
    assert.equal(await release(other, 'b'), 0);
    assert.equal(await release(redis, 'a'), 1);
    assert.equal(await other.set(lock, 'b', { NX: true, PX: 50 }), 'OK');
    let granted = null; // comes back when its time is up
    while (granted === null) granted = await redis.set(lock, 'a', { NX: true, PX: 30_000 });
    assert.equal(await redis.get(lock), 'a');
    await redis.del(lock);
  },

  binary: async () => {
    const k = Buffer.concat([Buffer.from(key('binary:')), everyByte]);
    assert.equal(await redis.set(k, everyByte), 'OK');
    assert.deepEqual(await asBuffers(redis).get(k), everyByte);
    assert.equal(await redis.strLen(k), everyByte.length);
  },

  'value-8mb': async () => {
    assert.equal(await redis.set(key('big'), bigValue), 'OK');
    assert.ok((await asBuffers(redis).get(key('big'))).equals(bigValue));
    assert.equal(await redis.del(key('big')), 1);
  },

  'scan-10000': async () => {
    await Promise.all(Array.from({ length: 10_000 }, (_, i) => redis.set(key(`scan:${i}`), String(i))));
    const seen = new Set();
    for await (const found of redis.scanIterator({ MATCH: key('scan:*'), COUNT: 500 })) {
      for (const k of [found].flat()) seen.add(k); // one key in 4, a batch since 5
    }
    assert.equal(seen.size, 10_000);
    assert.equal(await redis.unlink([...seen]), 10_000);
  },

  counters: async () => {
    await redis.del(key('n'));
    await Promise.all(Array.from({ length: 100 }, (_, i) => (i % 2 ? redis : other).incr(key('n'))));
    assert.equal(await redis.get(key('n')), '100');
    assert.equal(await redis.incrBy(key('n'), 900), 1000);
    assert.equal(await redis.decrBy(key('n'), 1001), -1);
    assert.equal(Number(await redis.incrByFloat(key('n'), 1.5)), 0.5);
    await assert.rejects(redis.incr(key('n')), /not an integer/);
  },

  ttl: async () => {
    await redis.set(key('t'), 'v', { EX: 100 });
    assert.ok([99, 100].includes(await redis.ttl(key('t'))));
    assert.equal(Number(await redis.persist(key('t'))), 1);
    assert.equal(await redis.ttl(key('t')), -1);
    assert.equal(Number(await redis.pExpire(key('t'), 40)), 1);
    while ((await redis.get(key('t'))) !== null);
    assert.equal(await redis.ttl(key('t')), -2);
  },
};

if (major === '5') {
  // 6 opens with RESP3 by itself, 5 when asked.
  scenarios.resp3 = async () => {
    const three = await connect({ RESP: 3 });
    const box = inbox();
    await three.subscribe(key('push'), box.push);
    await three.publish(key('push'), 'to myself'); // allowed in RESP3
    assert.deepEqual(await box.next(), ['to myself', key('push')]);
    await quit(three);
  };
}

if (!v4) {
  // CLIENT TRACKING ON: the server tells of every change of a key that was read.
  scenarios['client-side-cache'] = async () => {
    const cache = new node.BasicClientSideCache({ maxEntries: 100 });
    const caching = await connect({ RESP: 3, clientSideCache: cache });
    const k = key('cached');
    await redis.set(k, 'before');
    for (let i = 0; i < 3; i++) assert.equal(await caching.get(k), 'before');
    assert.deepEqual([cache.stats().missCount, cache.stats().hitCount], [1, 2]);
    await redis.set(k, 'after');
    while ((await caching.get(k)) !== 'after') await new Promise(setImmediate);
    await quit(caching);
  };
}

await run(name, scenarios);
