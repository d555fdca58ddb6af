// connect-redis under express-session: a browser's session kept in the server.
import { once } from 'node:events';
import { RedisStore } from 'connect-redis';
import express from 'express';
import session from 'express-session';
import { createClient } from 'redis';
import { assert, run, url } from './scenario.mjs';

const client = await createClient({ url }).connect();
const prefix = 'connect-redis:sess:';
const store = new RedisStore({ client, prefix, ttl: 100 });

const app = express();
app.use(session({ store, secret: 'cat', resave: false, saveUninitialized: false, name: 'sid' }));
app.get('/visit', (req, res) => {
  req.session.visits = (req.session.visits ?? 0) + 1;
  res.json(req.session.visits);
});
app.get('/leave', (req, res) => req.session.destroy(() => res.json('bye')));
const listener = app.listen(0, '127.0.0.1');
await once(listener, 'listening');

const visit = async (path, cookie) => {
  const res = await fetch(`http://127.0.0.1:${listener.address().port}${path}`, { headers: cookie ? { cookie } : {} });
  return { said: await res.json(), cookie: res.headers.get('set-cookie')?.split(';')[0] ?? cookie };
};
let cookie;

await run('connect-redis9', {
  'session-kept': async () => {
    const first = await visit('/visit');
    cookie = first.cookie;
    assert.equal(first.said, 1);
    assert.equal((await visit('/visit', cookie)).said, 2);
    assert.equal((await visit('/visit')).said, 1); // another browser
  },

  'session-ttl': async () => {
    const keys = await client.keys(`${prefix}*`);
    assert.equal(keys.length, 2);
    for (const key of keys) {
      const left = await client.ttl(key);
      assert.ok(left > 95 && left <= 100, `ttl ${left}`);
    }
  },

  touch: async () => {
    const [key] = await client.keys(`${prefix}*`);
    await client.expire(key, 10);
    const id = key.slice(prefix.length);
    await store.touch(id, await store.get(id));
    assert.ok((await client.ttl(key)) > 95);
  },

  'ids-length-all': async () => {
    assert.equal(await store.length(), 2);
    assert.equal((await store.ids()).length, 2);
    assert.deepEqual((await store.all()).map((s) => s.visits).sort(), [1, 2]);
  },

  destroy: async () => {
    assert.equal((await visit('/leave', cookie)).said, 'bye');
    assert.equal(await store.length(), 1);
    assert.equal((await visit('/visit', cookie)).said, 1);
  },

  clear: async () => {
    await store.clear();
    assert.equal(await store.length(), 0);
  },
});
