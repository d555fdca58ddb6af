// node-redlock 5 over ioredis, four holders, each through one node at a time.
// Prints one line of JSON per attempt; ends when its input ends.
import { createRequire } from 'node:module';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const require = createRequire(process.env.MODULES);
const { Redis } = require('ioredis');
const { default: Redlock, ExecutionError, ResourceLockedError } = require('redlock5');

const list = (name) => process.env[name].split(',');
const [nodes, names, locks, files] = ['NODES', 'NAMES', 'LOCKS', 'FILES'].map(list);
const holders = 4;
const margin = 50e6; // ns: a section that ends later than this before its TTL does not write
let working = true;
process.stdin.on('end', () => { working = false; }).resume();

// CLOCK_MONOTONIC, as the program that reads our lines.
const now = () => Number(process.hrtime.bigint());
const pick = (n) => Math.floor(Math.random() * n);
const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

function section(line) {
  const file = files[line.index];
  const count = Number(readFileSync(file, 'utf8'));
  return async (ms) => {
    await sleep(ms);
    if (now() >= line.until - margin) return;
    const next = `${file}.${line.holder}`;
    writeFileSync(next, String(count + 1));
    renameSync(next, file);
    line.counted += 1;
    if (now() >= line.until) line.overran += 1;
  };
}

async function attempt(holder, redlock, at) {
  const index = pick(locks.length);
  const ttl = 1500 + pick(3500);
  const line = { index, lock: locks[index], holder, node: names[at], sent: now(), counted: 0, overran: 0 };
  line.until = line.sent + ttl * 1e6;
  let lock;
  try {
    lock = await redlock.acquire([line.lock], ttl);
  } catch (error) {
    const attempts = error instanceof ExecutionError ? await Promise.all(error.attempts) : [];
    const votes = attempts.flatMap((a) => [...a.votesAgainst.values()]);
    const taken = votes.length > 0 && votes.every((v) => v instanceof ResourceLockedError);
    print({ taken, error: String(votes[0]?.message ?? error.message) });
    return taken;
  }
  line.granted = now();
  if (line.granted < line.until) await section(line)(pick(40));
  if (pick(10) > 0) {
    line.released = now();
    await lock.release().catch(() => {});
  }
  print(line);
  return true;
}

async function hold(holder) {
  let redis;
  let redlock;
  let at;
  const move = () => {
    redis?.disconnect();
    at = pick(nodes.length);
    const [host, port] = nodes[at].split(':');
    redis = new Redis({ host, port: Number(port), connectTimeout: 500, commandTimeout: 4000, maxRetriesPerRequest: 1 });
    redis.on('error', () => {});
    redlock = new Redlock([redis], { retryCount: 0, automaticExtensionThreshold: 0 });
    redlock.on('error', () => {});
  };
  move();
  while (working) {
    if (!(await attempt(holder, redlock, at)) || pick(10) === 0) move();
    await sleep(pick(160));
  }
  redis.disconnect();
}

await Promise.all(Array.from({ length: holders }, (_, i) => hold(`redlock-${i}`)));
