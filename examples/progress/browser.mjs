// Opens the page in a real browser, lets a worker take a batch from 0 to 100 %,
// and demands that the bar moved there step by step, without a reload.
//
//   REDIS_URL   CHROMIUM (/usr/bin/chromium)   SCREENSHOTS (a new temporary directory)

import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { run, server, stopAll } from './children.mjs'

const steps = 20
const everyMs = 100
const id = `page-${Date.now().toString(36)}`
const shots = process.env.SCREENSHOTS ?? mkdtempSync(join(tmpdir(), 'progress-'))

const env = { DATABASE_URL: await server('./database.mjs') }
const webURL = await server('./web.mjs', env)
const browser = await chromium.launch({ // its profile is a fresh directory, removed at the end
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
})

const broken = []
try {
  const page = await browser.newPage({ colorScheme: 'light', viewport: { width: 800, height: 640 } })
  page.setDefaultTimeout(30_000)
  page.on('pageerror', (err) => broken.push(`the page threw: ${err.message}`))
  page.on('console', (line) => { if (line.type() === 'error') broken.push(`the page's console: ${line.text()}`) })
  page.on('request', (req) => { if (!req.url().startsWith(webURL) && !req.url().startsWith('data:')) broken.push(`the page asked for ${req.url()}`) })

  await page.goto(`${webURL}/?batch=${id}`)
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
  await page.waitForFunction(() => document.querySelector('progress').value >= 50)
  await page.screenshot({ path: join(shots, 'half-way.png') })
  await page.waitForFunction(() => document.querySelector('progress').value === 100)
  await page.getByText('Done.').waitFor()
  await worker

  const values = await page.evaluate(() => window.values)
  const wanted = Array.from({ length: steps + 1 }, (_, i) => (100 * i) / steps)
  if (values.join() !== wanted.join()) broken.push(`the bar went ${values.join(' ')}, not ${wanted.join(' ')}`)
  await page.screenshot({ path: join(shots, 'done.png') })
  await page.emulateMedia({ colorScheme: 'dark' })
  await page.screenshot({ path: join(shots, 'done-dark.png') })

  // A page opened late is told the state at once.
  const late = await browser.newPage({ viewport: { width: 360, height: 640 } })
  await late.goto(`${webURL}/?batch=${id}`)
  await late.getByText('Done.').waitFor()
  await late.screenshot({ path: join(shots, 'phone.png') })
} finally {
  await browser.close()
  await stopAll()
}

for (const text of broken) console.error(`FAILED: ${text}`)
if (broken.length === 0) console.log(`ok: the bar went from 0 to 100 % in ${steps} live steps; screenshots in ${shots}`)
process.exitCode = broken.length === 0 ? 0 : 1
