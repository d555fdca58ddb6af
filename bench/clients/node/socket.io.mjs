// Two socket.io servers that know of each other only through the Redis
// adapter, classic or sharded given as argument, and a browser on each.
import { createServer } from 'node:http';
import { createAdapter, createShardedAdapter } from '@socket.io/redis-adapter';
import { Redis } from 'ioredis';
import { createClient } from 'redis4';
import { Server } from 'socket.io';
import { io as browser } from 'socket.io-client';
import { assert, once, run, url } from './scenario.mjs';

const kind = process.argv[2];
const prefix = `socket.io-${kind}`;

const adapterOver = (pub, sub) =>
  kind === 'sharded'
    ? createShardedAdapter(pub, sub, { channelPrefix: prefix })
    : createAdapter(pub, sub, { key: prefix });

async function startServer(adapter) {
  const http = createServer();
  const io = new Server(http, { adapter });
  io.on('connection', (socket) => {
    socket.on('join', (room, ack) => {
      socket.join(room);
      ack();
    });
  });
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
  return { io, port: http.address().port };
}

// One server over node-redis, one over ioredis: they must understand each other.
const pub = await createClient({ url }).connect();
const sub = await pub.duplicate().connect();
const a = await startServer(adapterOver(pub, sub));
const b = await startServer(adapterOver(new Redis(url), new Redis(url)));
const control = new Redis(url);

const connect = async ({ port }) => {
  const socket = browser(`http://127.0.0.1:${port}`, { transports: ['websocket'], forceNew: true });
  await once(socket, 'connect');
  return socket;
};
const onA = await connect(a);
const onB = await connect(b);
// Subscriptions are made in the background; these wait until the server has them.
const bothKnown = async () => {
  while ((await a.io.of('/').adapter.serverCount()) < 2);
};
const roomKnown = async (room) => {
  if (kind !== 'sharded') return; // one channel carries all rooms
  while ((await control.call('PUBSUB', 'SHARDNUMSUB', `${prefix}#/#${room}#`))[1] < 1);
};

await run(prefix, {
  'server-count': async () => {
    await bothKnown();
    assert.equal(await a.io.of('/').adapter.serverCount(), 2);
    assert.equal(await b.io.of('/').adapter.serverCount(), 2);
  },

  broadcast: async () => {
    const heard = [once(onA, 'hello'), once(onB, 'hello')];
    a.io.emit('hello', { from: 'a' });
    for (const args of await Promise.all(heard)) assert.deepEqual(args, [{ from: 'a' }]);
  },

  binary: async () => {
    const heard = once(onA, 'bytes');
    b.io.emit('bytes', Buffer.from([0, 13, 10, 255]));
    assert.deepEqual((await heard)[0], Buffer.from([0, 13, 10, 255]));
  },

  room: async () => {
    await onB.emitWithAck('join', 'lobby');
    await roomKnown('lobby');
    let strayed = false;
    onA.once('for-lobby', () => { strayed = true; });
    const heard = once(onB, 'for-lobby');
    a.io.to('lobby').emit('for-lobby', 1);
    assert.deepEqual(await heard, [1]);
    const after = [once(onA, 'after'), once(onB, 'after')];
    a.io.emit('after');
    await Promise.all(after);
    assert.equal(strayed, false);
  },

  'emit-with-ack': async () => {
    onA.on('ask', (ack) => ack('a'));
    onB.on('ask', (ack) => ack('b'));
    assert.deepEqual((await a.io.timeout(5_000).emitWithAck('ask')).sort(), ['a', 'b']);
  },

  'fetch-sockets': async () => {
    const ids = (await a.io.fetchSockets()).map((s) => s.id).sort();
    assert.deepEqual(ids, [onA.id, onB.id].sort());
  },

  'sockets-join-from-afar': async () => {
    a.io.in(onB.id).socketsJoin('invited');
    while (!b.io.of('/').adapter.rooms.has('invited')) await new Promise(setImmediate);
    await roomKnown('invited');
    const heard = once(onB, 'party');
    a.io.to('invited').emit('party');
    await heard;
  },

  'server-side-emit': async () => {
    b.io.once('between-servers', (word, ack) => ack(`${word} heard`));
    assert.deepEqual(await a.io.serverSideEmitWithAck('between-servers', 'word'), ['word heard']);
  },

  'server-leaves': async () => {
    const gone = once(onB, 'disconnect');
    await b.io.close();
    await gone;
    while ((await a.io.of('/').adapter.serverCount()) > 1);
    assert.equal((await a.io.fetchSockets()).length, 1);
  },
});
