// redlock, major version 4 or 5 given as argument, over ioredis and node-redis.
import { createClient } from 'redis4';
import { Redis } from 'ioredis';
import { assert, run, url } from './scenario.mjs';

const major = process.argv[2];
const name = `redlock${major}`;
const v4 = major === '4';
const { default: Redlock } = await import(name);

const redis = new Redis(url);
const other = new Redis(url);
// The threshold is 5's, 4 ignores it: extend by itself when this many ms are left.
const atOnce = { retryCount: 0, automaticExtensionThreshold: 60 };
const ours = new Redlock([redis], atOnce);
const theirs = new Redlock([other], atOnce);
for (const lock of [ours, theirs]) lock.on(v4 ? 'clientError' : 'error', () => {});

const acquire = (redlock, keys, ttl) => (v4 ? redlock.lock(keys, ttl) : redlock.acquire(keys, ttl));
const release = (lock) => (v4 ? lock.unlock() : lock.release());
const key = (k) => `${name}:${k}`;

await run(name, {
  acquire: async () => {
    const lock = await acquire(ours, [key('one')], 30_000);
    assert.equal(await redis.get(key('one')), lock.value);
    assert.ok((await redis.pttl(key('one'))) > 29_000);
    await release(lock);
    assert.equal(await redis.exists(key('one')), 0);
  },

  contended: async () => {
    const lock = await acquire(ours, [key('one')], 30_000);
    await assert.rejects(acquire(theirs, [key('one')], 30_000));
    assert.equal(await redis.get(key('one')), lock.value);
    await release(lock);
    await release(await acquire(theirs, [key('one')], 30_000));
  },

  extend: async () => {
    let lock = await acquire(ours, [key('one')], 1_000);
    lock = await lock.extend(30_000);
    assert.ok((await redis.pttl(key('one'))) > 29_000);
    await release(lock);
  },

  'release-of-a-lost-lock': async () => {
    const lock = await acquire(ours, [key('one')], 30_000);
    await redis.set(key('one'), 'somebody else');
    await assert.rejects(lock.extend(30_000));
    await assert.rejects(release(lock));
    assert.equal(await redis.get(key('one')), 'somebody else');
    await redis.del(key('one'));
  },

  'many-keys': async () => {
    const keys = ['a', 'b', 'c'].map(key);
    const lock = await acquire(ours, keys, 30_000);
    assert.equal(await redis.exists(...keys), 3);
    await assert.rejects(acquire(theirs, [key('z'), key('b')], 30_000));
    assert.equal(await redis.exists(key('z')), 0); // all or none
    await release(lock);
    assert.equal(await redis.exists(...keys), 0);
  },

  'expires-by-itself': async () => {
    await acquire(ours, [key('one')], 40);
    const patient = new Redlock([other], { retryCount: 200, retryDelay: 10, retryJitter: 5 });
    patient.on(v4 ? 'clientError' : 'error', () => {});
    await release(await acquire(patient, [key('one')], 30_000));
  },

  'waits-its-turn': async () => {
    const patient = new Redlock([other], { retryCount: 1_000, retryDelay: 5, retryJitter: 5 });
    patient.on(v4 ? 'clientError' : 'error', () => {});
    let inside = 0;
    let rounds = 0;
    await Promise.all(Array.from({ length: 10 }, async () => {
      const lock = await acquire(patient, [key('turn')], 10_000);
      assert.equal(++inside, 1);
      await redis.ping();
      inside--;
      rounds++;
      await release(lock);
    }));
    assert.equal(rounds, 10);
  },

  'noscript-fallback': async () => {
    await redis.script('FLUSH'); // EVALSHA meets NOSCRIPT and must fall back
    await release(await acquire(ours, [key('one')], 30_000));
  },

  ...(v4
    ? {
        'over-node-redis-3-style-callbacks': async () => {
          const legacy = createClient({ url, legacyMode: true });
          await legacy.connect();
          const redlock = new Redlock([legacy], { retryCount: 0 });
          const lock = await redlock.lock(key('legacy'), 30_000);
          await assert.rejects(acquire(theirs, [key('legacy')], 30_000));
          await lock.unlock();
          await legacy.disconnect();
        },
      }
    : {
        using: async () => {
          // Extended in the background for as long as the routine runs.
          await ours.using([key('using')], 200, async (signal) => {
            let left = await redis.pttl(key('using'));
            for (let extended = false; !extended;) {
              const now = await redis.pttl(key('using'));
              extended = now > left;
              left = now;
            }
            assert.equal(signal.aborted, false);
          });
          assert.equal(await redis.exists(key('using')), 0);
        },
      }),
});
