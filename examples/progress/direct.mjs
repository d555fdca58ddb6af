// The page without a web server between: crema is what the browser listens to.
//
// Starts three nodes, opens direct.html in a real browser, has a worker take a
// batch from 0 to 100 % and kills the node that the page listens to half-way,
// with SIGKILL. The bar must show every step, once, in order, without a reload.
//
//   CREMA (../../bin/crema)   CHROMIUM (/usr/bin/chromium)   SCREENSHOTS (a new temporary directory)

import { execFile, spawn } from 'node:child_process'
import { createHmac, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import Redis from 'ioredis'
import { chromium } from 'playwright-core'
import { run, server, stopAll } from './children.mjs'

const steps = 50
const everyMs = 100
const id = `direct-${Date.now().toString(36)}`
const crema = process.env.CREMA ?? fileURLToPath(new URL('../../bin/crema', import.meta.url))
const shots = process.env.SCREENSHOTS ?? mkdtempSync(join(tmpdir(), 'progress-'))
const disks = mkdtempSync(join(tmpdir(), 'crema-'))
const secret = randomBytes(32).toString('hex')

// A token for this batch alone, for ten minutes: what the application's own
// server gives the page. Any JWT library makes the same.
function browserToken(claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ exp: Math.floor(Date.now() / 1000) + 600, ...claims })}`
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
}

async function freePorts(n) {
  const held = await Promise.all(Array.from({ length: n }, async () => {
    const s = net.createServer().listen(0, '127.0.0.1')
    await once(s, 'listening')
    return s
  }))
  const ports = held.map((s) => s.address().port)
  await Promise.all(held.map((s) => new Promise((resolve) => s.close(resolve))))
  return ports
}

const ports = await freePorts(9)
const nodes = [0, 1, 2].map((i) => ({ name: `n${i + 1}`, port: ports[3 * i], http: ports[3 * i + 1], peer: ports[3 * i + 2] }))
const peers = nodes.map((n) => `${n.name}=127.0.0.1:${n.peer}@127.0.0.1:${n.port}`).join(',')
for (const node of nodes) {
  node.process = spawn(crema, ['--node-id', node.name, '--port', node.port, '--data-dir', join(disks, node.name), '--peers', peers,
    '--http-port', node.http, '--events-secret', secret, '--history', 'batch:*=1000,1h', '--loglevel', 'error'], { stdio: ['ignore', 'ignore', 'inherit'] })
}
process.on('exit', () => { for (const node of nodes) node.process.kill('SIGKILL') })

async function healthy(node) {
  for (const end = Date.now() + 20_000; ;) {
    try {
      return await promisify(execFile)(crema, ['check', '-u', `redis://127.0.0.1:${node.port}`])
    } catch (err) {
      if (Date.now() > end) throw err
      await sleep(50)
    }
  }
}

const broken = []
let browser
try {
  await Promise.all(nodes.map(healthy))
  const env = { DATABASE_URL: await server('./database.mjs'), REDIS_URL: `redis://127.0.0.1:${nodes[1].port}` }
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  })
  const address = (order) => `${new URL('direct.html', import.meta.url)}#${new URLSearchParams({
    batch: id,
    nodes: order.map((i) => `http://127.0.0.1:${nodes[i].http}`).join(),
    token: browserToken({ channels: [`batch:${id}`] }),
  })}`
  const page = await browser.newPage({ colorScheme: 'light', viewport: { width: 800, height: 640 } })
  page.setDefaultTimeout(30_000)
  page.on('pageerror', (err) => broken.push(`the page threw: ${err.message}`))
  const streams = []
  page.on('request', (req) => { if (req.url().startsWith('http')) streams.push(new URL(req.url()).host) })

  await page.goto(address([0, 1, 2]))
  await page.getByText('Waiting for the batch to start').waitFor()
  await page.evaluate(() => {
    const bar = document.querySelector('progress')
    window.values = [bar.value]
    // Two changes may be told at once: the old values are those in between.
    new MutationObserver((changes) => {
      window.values.push(...changes.slice(1).map((change) => Number(change.oldValue)), bar.value)
    }).observe(bar, { attributes: true, attributeOldValue: true })
  })
  const worker = run('./worker.mjs', ['--steps', `${steps}`, '--every', `${everyMs}`, id], env)
  await page.waitForFunction(() => document.querySelector('progress').value >= 40)
  nodes[0].process.kill('SIGKILL')
  await page.waitForFunction(() => document.querySelector('progress').value >= 60)
  await page.screenshot({ path: join(shots, 'direct-after-the-kill.png') })
  await page.getByText('Done.').waitFor()
  await worker

  const values = await page.evaluate(() => window.values)
  const wanted = Array.from({ length: steps + 1 }, (_, i) => (100 * i) / steps)
  if (values.join() !== wanted.join()) broken.push(`the bar went ${values.join(' ')}, not ${wanted.join(' ')}`)
  const hosts = [0, 1].map((i) => `127.0.0.1:${nodes[i].http}`)
  if (streams[0] !== hosts[0] || streams.at(-1) !== hosts[1]) broken.push(`the page listened to ${streams.join(' ')}`)
  if (await page.getByText('missed').count() > 0) broken.push('the page was told of a gap')
  await page.emulateMedia({ colorScheme: 'dark' })
  await page.screenshot({ path: join(shots, 'direct-done.png') })

  // A page opened late, at a node that was not there then, is told everything.
  const late = await browser.newPage({ viewport: { width: 360, height: 640 } })
  await late.goto(address([2]))
  await late.getByText('Done.').waitFor()
  await late.screenshot({ path: join(shots, 'direct-phone.png') })

  // A browser that comes back by itself, before it was told anything, has an id
  // to show: what was published while it was away comes first.
  const quiet = `quiet-${id}`
  await late.evaluate(([base, query, channel]) => {
    window.heard = []
    window.opened = 0
    const events = new EventSource(`${base}/events?${query}`)
    events.onopen = () => window.opened++
    events.addEventListener(channel, (event) => window.heard.push(event.data))
    events.addEventListener('crema:gap', (event) => window.heard.push(`gap ${event.data}`))
  }, [`http://${hosts[1]}`, `${new URLSearchParams({ channel: `batch:${quiet}`, token: browserToken({ channels: ['batch:*'] }) })}`, `batch:${quiet}`])
  await late.waitForFunction(() => window.opened === 1)
  const redis = new Redis(env.REDIS_URL)
  const streamsOf = async () => (await redis.client('LIST')).split('\n').filter((line) => line.includes('laddr=http') && line.includes(' sub=1 '))
  for (const line of await streamsOf()) await redis.client('KILL', 'ID', /id=(\d+)/.exec(line)[1])
  await redis.publish(`batch:${quiet}`, 'while it was away')
  await late.waitForFunction(() => window.opened === 2)
  await redis.publish(`batch:${quiet}`, 'when it was back')
  await late.waitForFunction(() => window.heard.length >= 2)
  const heard = await late.evaluate(() => window.heard.join())
  if (heard !== 'while it was away,when it was back') broken.push(`a browser that came back heard ${heard}`)
  redis.disconnect()

  // A token is good for its own batch.
  const other = await fetch(`http://${hosts[1]}/events?${new URLSearchParams({ channel: 'batch:other', token: browserToken({ channels: [`batch:${id}`] }) })}`)
  if (other.status !== 403) broken.push(`another batch was answered ${other.status}`)
} finally {
  await browser?.close()
  await stopAll()
  await Promise.all(nodes.map(async ({ process: node }) => {
    if (node.exitCode !== null || node.signalCode !== null) return
    const ended = once(node, 'exit')
    node.kill('SIGTERM')
    await ended
  }))
  rmSync(disks, { recursive: true, force: true })
}

for (const text of broken) console.error(`FAILED: ${text}`)
if (broken.length === 0) console.log(`ok: ${steps} live steps through the kill of a node, none lost, none twice; screenshots in ${shots}`)
process.exitCode = broken.length === 0 ? 0 : 1
