// rate-limiter-flexible: counting in a script, over ioredis and node-redis.
import { Redis } from 'ioredis';
import { RateLimiterRedis } from 'rate-limiter-flexible';
import { createClient } from 'redis';
import { assert, run, url } from './scenario.mjs';

const ioredis = new Redis(url, { enableOfflineQueue: false, lazyConnect: true });
await ioredis.connect();
const nodeRedis = await createClient({ url }).connect();

const thisRun = Date.now(); // its keys outlive the run
const scenarios = {};
for (const [store, storeClient] of Object.entries({ ioredis, 'node-redis': nodeRedis })) {
  const useRedisPackage = store === 'node-redis';
  const make = (keyPrefix, options) =>
    new RateLimiterRedis({ storeClient, useRedisPackage, keyPrefix: `rlf:${thisRun}:${store}:${keyPrefix}`, ...options });
  // A refusal is not an Error: consume rejects with the limiter's result.
  const refused = (consume) => consume.then(() => assert.fail('granted'), (res) => {
    if (res instanceof Error) throw res;
    return res;
  });

  scenarios[`consume-${store}`] = async () => {
    const limiter = make('consume', { points: 5, duration: 100 });
    const results = await Promise.all(Array.from({ length: 5 }, () => limiter.consume('ip')));
    assert.deepEqual(results.map((r) => r.remainingPoints).sort(), [0, 1, 2, 3, 4]);
    assert.equal(results.filter((r) => r.isFirstInDuration).length, 1);
    const res = await refused(limiter.consume('ip'));
    assert.equal(res.consumedPoints, 6);
    assert.ok(res.msBeforeNext > 95_000 && res.msBeforeNext <= 100_000, `next in ${res.msBeforeNext}`);
    await limiter.consume('another ip');
  };

  scenarios[`get-reward-delete-${store}`] = async () => {
    const limiter = make('get', { points: 5, duration: 100 });
    assert.equal(await limiter.get('ip'), null);
    await limiter.consume('ip', 3);
    assert.equal((await limiter.get('ip')).consumedPoints, 3);
    await limiter.reward('ip', 2);
    assert.equal((await limiter.get('ip')).consumedPoints, 1);
    await limiter.set('ip', 4, 100);
    assert.equal((await limiter.get('ip')).consumedPoints, 4);
    assert.equal(await limiter.delete('ip'), true);
    assert.equal(await limiter.get('ip'), null);
  };

  scenarios[`window-ends-${store}`] = async () => {
    const limiter = make('window', { points: 1, duration: 1 });
    await limiter.consume('ip');
    const { msBeforeNext } = await refused(limiter.consume('ip'));
    await new Promise((resolve) => setTimeout(resolve, msBeforeNext));
    while ((await limiter.get('ip')) !== null);
    await limiter.consume('ip');
  };

  scenarios[`block-${store}`] = async () => {
    const limiter = make('block', { points: 1, duration: 100, blockDuration: 500 });
    await limiter.consume('ip');
    const res = await refused(limiter.consume('ip'));
    assert.ok(res.msBeforeNext > 495_000, `next in ${res.msBeforeNext}`);
    await limiter.block('other', 300);
    assert.ok((await refused(limiter.consume('other'))).msBeforeNext > 295_000);
  };
}

await run('rate-limiter-flexible', scenarios);
