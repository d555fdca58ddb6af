// Commands go out as JSON and come back as RESP2: JSON can say neither all
// bytes nor all integers.

// BadToken is thrown when the server does not know the token.
export class BadToken extends Error {}

const patience = 8000 // ms for one request

// talk runs commands in one request and gives a reply for each.
export async function talk(token, commands) {
  const answer = await fetch('pipeline', {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json', 'Upstash-Response-Format': 'resp2' },
    body: JSON.stringify(commands),
    cache: 'no-store',
    credentials: 'omit',
    redirect: 'error',
    signal: AbortSignal.timeout(patience),
  })
  if (!answer.ok) {
    const said = await answer.json().then((body) => body.error, () => `HTTP ${answer.status}`)
    throw answer.status === 401 ? new BadToken(said) : new Error(said)
  }
  const bytes = new Uint8Array(await answer.arrayBuffer())
  const replies = []
  for (let at = 0; at < bytes.length;) {
    const [reply, next] = read(bytes, at)
    replies.push(reply)
    at = next
  }
  if (replies.length !== commands.length) throw new Error(`${replies.length} replies to ${commands.length} commands`)
  return replies
}

// read reads one reply that begins at an index: {kind, bytes} or {kind, items},
// where kind is RESP's first character; nil is {kind: '_'}.
function read(bytes, at) {
  const end = bytes.indexOf(13, at)
  if (end < 0) throw new Error('the answer ends within a reply')
  const kind = String.fromCharCode(bytes[at])
  const head = bytes.subarray(at + 1, end)
  const next = end + 2
  if (kind === '+' || kind === '-' || kind === ':') return [{ kind, bytes: head }, next]
  const n = Number(text(head))
  if (n < 0) return [{ kind: '_' }, next]
  if (kind === '$') {
    if (next + n + 2 > bytes.length) throw new Error('the answer ends within a reply')
    return [{ kind, bytes: bytes.subarray(next, next + n) }, next + n + 2]
  }
  if (kind !== '*') throw new Error(`no reply begins with ${kind}`)
  const items = []
  let from = next
  for (let i = 0; i < n; i++) {
    const [item, behind] = read(bytes, from)
    items.push(item)
    from = behind
  }
  return [{ kind, items }, from]
}

const lenient = new TextDecoder()
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

// text is for what the server itself wrote.
export const text = (bytes) => lenient.decode(bytes)

// whole is a string if the bytes are UTF-8, else null: only then can they be sent again.
export function whole(bytes) {
  try {
    return strict.decode(bytes)
  } catch {
    return null
  }
}

// shown is for what strangers wrote. Nothing in it can break a line, turn the
// direction of writing, or look like nothing at all.
export function shown(bytes, most = 512, keepLines = false) {
  const cut = bytes.length > most
  let s = whole(cut ? bytes.subarray(0, most) : bytes)
  if (s === null && cut) s = whole(trimmed(bytes, most))
  s = s === null
    ? Array.from(bytes.subarray(0, most), (b) => (b >= 32 && b < 127 ? String.fromCharCode(b) : hex(b))).join('')
    : s.replace(/[\p{C}\u2028\u2029]/gu, (c) => (keepLines && c === '\n' ? c : escaped(c)))
  return cut ? `${s}… ${bytes.length - most} more bytes` : s
}

// trimmed is at most n bytes, cut before the character that n is in the middle of.
function trimmed(bytes, n) {
  let end = n
  while (end > n - 4 && (bytes[end] & 0xc0) === 0x80) end--
  return bytes.subarray(0, end)
}

const short = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }
const hex = (b) => `\\x${b.toString(16).padStart(2, '0')}`
const escaped = (c) => short[c] ?? (c.codePointAt(0) < 128 ? hex(c.codePointAt(0)) : `\\u{${c.codePointAt(0).toString(16)}}`)

// number is an integer reply, or a string that is one.
export const number = (reply) => Number(text(reply.bytes))

// pairs is a flat array of names and values as a Map.
export function pairs(items) {
  const map = new Map()
  for (let i = 0; i + 1 < items.length; i += 2) map.set(text(items[i].bytes), items[i + 1])
  return map
}
