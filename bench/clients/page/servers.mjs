// Servers that the test starts, each with a port of its own, and ends.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const binary = process.env.CREMA_BIN
const started = new Set()
const directories = []

export async function freePort() {
  const socket = createServer()
  await new Promise((resolve, reject) => socket.listen(0, '127.0.0.1', resolve).on('error', reject))
  const { port } = socket.address()
  await new Promise((resolve) => socket.close(resolve))
  return port
}

// crema starts a server and waits until it says where it is.
export async function crema(...flags) {
  const child = spawn(binary, ['--loglevel', 'warn', ...flags], { stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = new Promise((resolve) => child.on('close', resolve))
  let said = ''
  child.stderr.on('data', (text) => { said += text })
  const server = {
    redis: '', url: '',
    async stop(signal = 'SIGTERM') {
      child.kill(signal)
      await ended
      started.delete(server)
    },
  }
  started.add(server)
  await new Promise((resolve, reject) => {
    ended.then((code) => reject(new Error(`crema ended with ${code}: ${said}`)))
    createInterface({ input: child.stdout }).on('line', (line) => {
      const [name, value] = line.split('=')
      if (name === 'REDIS_URL') server.redis = value
      if (name === 'UPSTASH_REDIS_REST_URL') server.url = value
      if (server.redis && server.url) resolve()
    })
  })
  return server
}

// cluster starts three nodes that know each other.
export async function cluster(...flags) {
  const directory = mkdtempSync(join(tmpdir(), 'page-'))
  directories.push(directory)
  const ids = ['n1', 'n2', 'n3']
  const ports = await Promise.all(ids.flatMap(() => [freePort(), freePort()]))
  const peers = ids.map((id, i) => `${id}=127.0.0.1:${ports[2 * i]}@127.0.0.1:${ports[2 * i + 1]}`).join()
  return Promise.all(ids.map(async (id, i) => crema('--node-id', id, '--peers', peers, '--cluster-secret', 'of the nodes', '--port', `${ports[2 * i + 1]}`,
    '--data-dir', join(directory, id), '--http-port', `${await freePort()}`, ...flags)))
}

export async function stopAll() {
  await Promise.all([...started].map((server) => server.stop('SIGKILL')))
  for (const directory of directories) rmSync(directory, { recursive: true, force: true })
}
