// Scenarios by name, one after the other, each within a time limit. One line
// each on standard output; status 1 at the end when one failed.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

export { assert };
export const url = process.env.REDIS_URL;
export const userURL = process.env.REDIS_USER_URL;
export const readerURL = process.env.REDIS_READER_URL;
export const tlsURL = process.env.REDIS_TLS_URL;
export const ca = readFileSync(process.env.REDIS_CA_FILE);

const scenarioMillis = 15_000;

// Compare-and-delete as lock libraries ship it.
export const releaseScript = `if redis.call("get", KEYS[1]) == ARGV[1] then
  return redis.call("del", KEYS[1])
else
  return 0
end`;

// Every byte there is, then the bytes the protocol itself is made of.
export const everyByte = Buffer.concat([
  Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
  Buffer.from('\r\n$5\r\n*1\r\n'),
]);

export const bigValue = Buffer.alloc(8 << 20, everyByte);

// A script that no server has in its cache yet.
export const newScript = () =>
  `return {KEYS[1], ARGV[1], ${process.hrtime.bigint() % 1_000_000_000n}}`;

export function urlWith(change) {
  const u = new URL(url);
  change(u);
  return u.href;
}

// Rejects when the promise takes too long; a hang becomes a failure with a name.
export function within(millis, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing after ${millis} ms`)), millis);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Resolves with the arguments of the emitter's next event of that name.
export const once = (emitter, event) =>
  new Promise((resolve) => emitter.once(event, (...args) => resolve(args)));

// Publishes until somebody receives it: a client that restores its
// subscriptions does not say when it is done, PUBLISH's count does.
export async function publishUntilReceived(publish) {
  while (Number(await publish()) === 0) await new Promise(setImmediate);
}

// An inbox to hand to a client as listener: push(...args) keeps what came,
// next() resolves with the oldest message not yet taken.
export function inbox() {
  const kept = [];
  const waiting = [];
  return {
    push: (...args) => (waiting.length ? waiting.shift()(args) : kept.push(args)),
    next: () => (kept.length ? Promise.resolve(kept.shift()) : new Promise((r) => waiting.push(r))),
  };
}

export async function run(client, scenarios) {
  let failed = 0;
  for (const [name, scenario] of Object.entries(scenarios)) {
    try {
      await within(scenarioMillis, name, scenario());
      console.log(`ok ${client} ${name}`);
    } catch (err) {
      failed = 1;
      console.log(`FAILED ${client} ${name}`);
      console.error(`${client} ${name}:`, err);
    }
  }
  // Connections the scenarios left open are the server's business to notice.
  process.exit(failed);
}
