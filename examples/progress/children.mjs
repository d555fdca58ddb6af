// Programs started by the demo: each in its own process, ended by its id.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const children = new Set()

function start(script, args, env) {
  const child = spawn(process.execPath, [fileURLToPath(new URL(script, import.meta.url)), ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.add(child)
  child.once('exit', () => children.delete(child))
  return child
}

// server starts a program that prints NAME=URL when it listens, and answers the URL.
export async function server(script, env = {}) {
  const child = start(script, [], { PORT: '0', ...env })
  for await (const line of createInterface({ input: child.stdout })) {
    const url = /^\w+_URL=(.+)$/.exec(line)
    if (url) return url[1]
  }
  throw new Error(`${script} ended before it listened`)
}

// run carries a program out and answers what it printed.
export async function run(script, args, env) {
  const child = start(script, args, env)
  let out = ''
  child.stdout.on('data', (chunk) => { out += chunk })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`${script} ended with code ${code}`)
  return out
}

export async function stopAll() {
  await Promise.all([...children].map(async (child) => {
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    await ended
  }))
}

process.on('exit', () => { for (const child of children) child.kill('SIGKILL') })
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))
