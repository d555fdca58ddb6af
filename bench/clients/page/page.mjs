// Looks at the page of a server and of a cluster in a real browser: what it
// shows, that it asks nobody else, that names made by strangers stay text.
//
//   CREMA_BIN   CHROMIUM (/usr/bin/chromium)   SCREENSHOTS (a directory; none are made without it)

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import Redis from 'ioredis'
import { chromium } from 'playwright-core'
import { cluster, crema, freePort, stopAll } from './servers.mjs'

const token = 'a-token-for-everything'
const readOnly = 'a-token-for-reading'
const tokens = ['--rest-token', token, '--rest-readonly-token', readOnly]
const shots = process.env.SCREENSHOTS

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

const hostile = [
  '<img src=x onerror="document.title=\'taken\'">',
  '<script>document.title="taken"</script>',
  '"><svg onload=alert(1)>',
  'turned \u202Eround',
  'a\nline\x00and\x1b[31m more',
  'javascript:alert(1)',
  `long-${'x'.repeat(4000)}`,
]

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
})

const wrong = []

// visit opens a page; whatever it does that it must not is kept in wrong.
async function visit(url, options = {}) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, ...options })
  page.setDefaultTimeout(15_000)
  page.on('pageerror', (err) => wrong.push(`the page threw: ${err.message}`))
  page.on('dialog', (dialog) => { wrong.push(`a dialog: ${dialog.message()}`); dialog.dismiss() })
  page.on('console', (line) => {
    if (line.type() === 'error' && !/401|ERR_CONNECTION|TrustedHTML/.test(line.text())) wrong.push(`the page's console: ${line.text()}`)
  })
  page.on('request', (request) => { if (new URL(request.url()).origin !== url) wrong.push(`it asked for ${request.url()}`) })
  await page.goto(url)
  return page
}

async function enter(page, word = token) {
  await page.getByLabel('The server prints one').fill(word)
  await page.getByRole('button', { name: 'Look' }).click()
}

const live = (page) => page.getByRole('status').getByText('Live').waitFor()
const text = (page, id) => page.locator(`#${id}`).textContent()
const shot = async (page, name, fullPage = true) => { if (shots) await page.screenshot({ path: join(shots, `${name}.png`), fullPage }) }

// accessible looks for what people who see, hear or point differently stumble over.
async function accessible(page, where) {
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }))
  for (const v of violations) wrong.push(`${where}: ${v.id}: ${v.help}: ${v.nodes.map((n) => n.html).join(' ').slice(0, 300)}`)
}

async function run(page, line) {
  await page.getByLabel('Command', { exact: true }).fill(line)
  await page.keyboard.press('Enter')
  const last = page.getByRole('log').locator('pre').last()
  await last.filter({ hasText: /./ }).waitFor()
  return last.textContent()
}

const connect = (url) => new Redis(url).on('error', () => {}) // servers end in these scenes

// busy keeps a server at work until it is told to stop.
function busy(redis) {
  let going = true
  const done = (async () => {
    for (let i = 0; going; i++) {
      const line = redis.pipeline()
      for (let j = 0; j < 50; j++) line.set(`page:${(i + j) % 500}`, 'x'.repeat(100), 'EX', 60).get(`page:${(i * 7 + j) % 600}`).incr(`count:${j}`)
      line.publish('news', `${i}`)
      await line.exec()
    }
  })()
  return async () => { going = false; await done }
}

const scenes = {
  async 'a server'() {
    const server = await crema('--port', '0', '--http-port', `${await freePort()}`, ...tokens)
    const redis = connect(server.redis)
    const subscriber = connect(server.redis)
    await subscriber.subscribe('news', ...hostile)
    await subscriber.subscribe(Buffer.from([0xff, 0xfe, 0x41]))
    await redis.config('SET', 'slowlog-log-slower-than', '0')
    await redis.call('SET', hostile[0], hostile[1])
    await redis.call('ECHO', hostile[3])
    await redis.config('SET', 'slowlog-log-slower-than', '-1') // what the load makes slow would push these out
    const stop = busy(redis)

    const page = await visit(server.url, { colorScheme: 'light' })
    await page.getByRole('heading', { name: 'Token' }).waitFor()
    await shot(page, 'door')
    await accessible(page, 'the door')
    await enter(page, 'wrong')
    await page.getByRole('alert').getByText('does not take this token').waitFor()
    await enter(page)
    await live(page)

    // Figures come from two samples on.
    await page.waitForFunction(() => /\d/.test(document.querySelector('#requests').textContent) && document.querySelectorAll('#chart-requests polyline').length > 0)
    assert.ok(parseFloat((await text(page, 'requests')).replace(/\D/g, '')) > 100, 'requests a second')
    const hits = parseFloat(await text(page, 'hits'))
    assert.ok(hits > 50 && hits <= 100, `hit ratio ${hits}`)
    for (const id of ['p50', 'p99']) assert.match(await text(page, id), /^≤\s[\d.]+\s(µs|ms)$/)
    assert.ok(Number(await text(page, 'clients')) >= 2)
    assert.match(await text(page, 'kinds'), /pinned[\d\s]+B|KiB/)
    assert.match(await text(page, 'commands'), /GET.*SET|SET.*GET/)
    assert.equal(await page.locator('#cluster').isHidden(), true)

    // Strangers' names are there, as text.
    const channels = await page.locator('#channels').innerText()
    for (const name of [hostile[0], hostile[1], hostile[2], hostile[5], 'turned \\u{202e}round', 'a\\nline\\x00and\\x1b[31m more', '\\xff\\xfeA']) {
      assert.ok(channels.includes(name), `${name} is among the channels:\n${channels}`)
    }
    assert.match(channels, /news\s+1/)
    assert.ok((await page.locator('#slow').innerText()).includes(`SET ${hostile[0]} ${hostile[1]}`), 'the slow log shows the command')
    assert.equal(await page.locator('img').count(), 1) // its own
    assert.equal(await page.locator('table svg, table script, table img').count(), 0)
    assert.equal(await page.title(), 'crema')
    await assert.rejects(page.evaluate(() => { document.body.innerHTML = '<b>x</b>' }), /TrustedHTML/)

    // The console.
    assert.equal(await run(page, 'set greeting "hello \\"there\\"" EX 60'), 'OK')
    assert.equal(await run(page, 'GET greeting'), '"hello \\"there\\""')
    assert.equal(await run(page, 'incrby big 9007199254740993'), '(integer) 9007199254740993')
    assert.equal(await run(page, `set markup "${hostile[0].replaceAll('"', '\\"')}"`), 'OK')
    assert.equal(await run(page, 'get markup'), `"${hostile[0].replaceAll('"', '\\"')}"`)
    assert.equal(await run(page, 'mget greeting none'), '1) "hello \\"there\\""\n2) (nil)')
    assert.match(await run(page, 'incr greeting'), /^\(error\) ERR value is not an integer/)
    assert.match(await run(page, 'get "open'), /is not closed/)
    assert.match(await run(page, 'set k "\\xff"'), /no UTF-8/)
    assert.match(await run(page, 'subscribe news'), /^\(error\)/)
    assert.match(await run(page, 'info server'), /^# Server\nredis_version:/)
    await redis.set('binary', Buffer.from([0, 255, 10]))
    assert.equal(await run(page, 'get binary'), '"\\x00\\xff\\x0a"')
    await page.keyboard.press('ArrowUp')
    await page.keyboard.press('ArrowUp')
    assert.equal(await page.getByLabel('Command', { exact: true }).inputValue(), 'info server')
    await shot(page, 'light')
    await accessible(page, 'the room, light')
    await page.emulateMedia({ colorScheme: 'dark' })
    await shot(page, 'dark')
    await accessible(page, 'the room, dark')

    // It stops when told, and goes on.
    let requests = 0
    page.on('request', () => requests++)
    const pause = page.getByRole('button', { name: 'Pause' })
    await pause.click()
    await page.getByRole('status').getByText('Paused').waitFor()
    requests = 0
    await page.waitForTimeout(4500) // two polls and a bit
    assert.equal(requests, 0, 'a paused page asks nothing')
    await pause.click()
    await live(page)

    // The token is in the tab, not elsewhere.
    await page.reload()
    await live(page)
    assert.deepEqual(await page.evaluate(() => [Object.keys(localStorage), document.cookie]), [[], ''])
    await page.getByRole('button', { name: 'Forget the token' }).click()
    await page.getByRole('heading', { name: 'Token' }).waitFor()
    assert.equal(await page.evaluate(() => sessionStorage.length), 0)
    assert.equal(await text(page, 'log'), '')

    // By keyboard alone, on a phone.
    const phone = await visit(server.url, { viewport: { width: 360, height: 740 }, isMobile: true, deviceScaleFactor: 2, colorScheme: 'dark' })
    await phone.keyboard.type(token) // the field has the focus
    await phone.keyboard.press('Enter')
    await live(phone)
    await phone.waitForFunction(() => document.querySelectorAll('#chart-requests polyline').length > 0)
    await run(phone, 'mget greeting none')
    assert.equal(await phone.evaluate(() => document.documentElement.scrollWidth), 360, 'nothing is wider than the phone')
    await shot(phone, 'phone')
    await accessible(phone, 'on a phone')

    const reader = await visit(server.url)
    await enter(reader, readOnly)
    await live(reader)
    await reader.getByText('Some of this is not for this token').waitFor()
    assert.match(await run(reader, 'set a b'), /NOPERM/)
    await shot(reader, 'reader')

    // A server that goes away, and comes back with another token.
    await stop()
    redis.disconnect()
    subscriber.disconnect()
    await server.stop()
    await reader.getByRole('status').getByText('No answer').waitFor()
    await shot(reader, 'away', false)
    await crema('--port', '0', '--http-port', new URL(server.url).port, '--rest-token', 'another')
    await reader.getByRole('alert').getByText('does not take this token').waitFor()
  },

  async 'a cluster'() {
    const nodes = await cluster(...tokens)
    const redis = connect(nodes[0].redis)
    while (await redis.set('lock', 'x', 'PX', 60_000).catch((err) => err.message) !== 'OK'); // the first leader
    const leader = nodes[Number(/raft_leader:n(\d)/.exec(await redis.info('raft'))[1]) - 1]
    const [one, other] = nodes.filter((node) => node !== leader)
    const subscriber = connect(other.redis)
    await subscriber.subscribe(hostile[0])
    const page = await visit(one.url)
    await enter(page)
    await live(page)
    await page.waitForFunction(() => document.querySelectorAll('#members tr').length === 3 && document.querySelectorAll('#channels th').length === 1)
    const members = await page.locator('#members').innerText()
    assert.match(members, new RegExp(`n${nodes.indexOf(one) + 1} \\(this one\\)`))
    assert.equal(members.match(/leader/g).length, 1)
    assert.equal(members.match(/follower/g).length, 2)
    assert.match(await text(page, 'cluster-more'), /n[123] leads in term \d+/)
    await shot(page, 'cluster')

    // Its leader dies: another one is shown.
    const before = `n${nodes.indexOf(leader) + 1} `
    await leader.stop('SIGKILL')
    await page.waitForFunction((old) => {
      const now = document.querySelector('#cluster-more').textContent
      return /^n\d leads/.test(now) && !now.startsWith(old)
    }, before)
    await page.locator('#members .bad').getByText('down').waitFor()
    await shot(page, 'cluster-two')
    await accessible(page, 'a cluster')
    redis.disconnect()
    subscriber.disconnect()
  },
}

let failed = 0
for (const [name, scene] of Object.entries(scenes)) {
  try {
    await scene()
    if (wrong.length > 0) throw new Error(wrong.splice(0).join('\n'))
    console.log(`ok: ${name}`)
  } catch (err) {
    failed++
    console.error(`FAILED: ${name}: ${err.stack}`)
  }
}
await browser.close()
await stopAll()
process.exit(failed ? 1 : 0) // clients of a scene that failed are still at it
