// keyv over @keyv/redis, as cache-manager and many others use it.
import KeyvRedis from '@keyv/redis';
import Keyv from 'keyv';
import { createClient } from 'redis';
import { assert, run, url } from './scenario.mjs';

const client = await createClient({ url }).connect();
const make = (namespace) => {
  const keyv = new Keyv({ store: new KeyvRedis(url, { throwOnErrors: true, throwOnConnectError: true }), namespace });
  keyv.on('error', (err) => { throw err; });
  return keyv;
};
const keyv = make('keyv-one');
const neighbour = make('keyv-two');

await run('keyv5', {
  'set-get-delete': async () => {
    await keyv.set('a', { deep: [1, 'two', null] });
    assert.deepEqual(await keyv.get('a'), { deep: [1, 'two', null] });
    assert.equal(await keyv.has('a'), true);
    assert.equal(await keyv.delete('a'), true);
    assert.equal(await keyv.delete('a'), false);
    assert.equal(await keyv.get('a'), undefined);
    assert.equal(await keyv.has('a'), false);
  },

  ttl: async () => {
    await keyv.set('short', 'x', 100_000);
    const [key] = await client.keys('keyv-one*short');
    const left = await client.pTTL(key);
    assert.ok(left > 95_000 && left <= 100_000, `pttl ${left}`);
    await keyv.set('shorter', 'x', 40);
    while ((await client.exists((key.replace('short', 'shorter')))) === 1);
    assert.equal(await keyv.get('shorter'), undefined);
  },

  many: async () => {
    await keyv.setMany([{ key: 'm1', value: 1 }, { key: 'm2', value: 2, ttl: 100_000 }]);
    assert.deepEqual(await keyv.get(['m1', 'm2', 'm3']), [1, 2, undefined]);
    assert.deepEqual(await keyv.hasMany(['m1', 'm3']), [true, false]);
    assert.equal(await keyv.delete(['m1', 'm2']), true);
    assert.deepEqual(await keyv.get(['m1', 'm2']), [undefined, undefined]);
  },

  iterator: async () => {
    await keyv.clear();
    for (let i = 0; i < 300; i++) await keyv.set(`it${i}`, i);
    const seen = new Map();
    for await (const [key, value] of keyv.iterator()) seen.set(key, value);
    assert.equal(seen.size, 300);
  },

  'namespaces-and-clear': async () => {
    await neighbour.set('mine', 'stays');
    await keyv.clear();
    assert.equal(await keyv.get('it1'), undefined);
    assert.equal(await neighbour.get('mine'), 'stays');
    assert.deepEqual(await client.keys('keyv-one*'), []);
  },

  disconnect: async () => {
    await keyv.disconnect();
    await neighbour.disconnect();
  },
});
