// A small redis-cli: a line of words goes out, the answer comes back as text.

import { BadToken, shown, talk, text } from './wire.js'
import { at } from './draw.js'

const kept = 200 // entries of the log, and of what arrow up brings back
const longest = 16 << 10 // bytes shown of one string
const lines = 1000 // shown of one answer

// words splits a line as redis-cli does: "…" with escapes, '…' without.
export function words(line) {
  const found = []
  let i = 0
  for (;;) {
    while (i < line.length && /\s/.test(line[i])) i++
    if (i >= line.length) return found
    let word = ''
    const quote = line[i]
    if (quote === '"' || quote === "'") {
      for (i++; ; i++) {
        if (i >= line.length) throw new Error(`a ${quote} is not closed`)
        if (line[i] === quote) break
        if (line[i] !== '\\' || i + 1 >= line.length) {
          word += line[i]
        } else if (quote === "'") {
          word += line[i + 1] === "'" ? line[++i] : '\\'
        } else {
          const hex = /^x([0-9a-f]{2})/i.exec(line.slice(i + 1))
          if (hex && parseInt(hex[1], 16) > 127) throw new Error(`\\${hex[0]} is no UTF-8: bytes like this one need a client over TCP`)
          word += hex ? String.fromCharCode(parseInt(hex[1], 16)) : ({ n: '\n', r: '\r', t: '\t', b: '\b', a: '\x07' })[line[i + 1]] ?? line[i + 1]
          i += hex ? 3 : 1
        }
      }
      i++
      if (i < line.length && !/\s/.test(line[i])) throw new Error('a closing quote is followed by a space, or by nothing')
    } else {
      while (i < line.length && !/\s/.test(line[i])) word += line[i++]
    }
    found.push(word)
  }
}

// answer is a reply in redis-cli's words. A string of many lines that is all
// there is, as INFO's, is shown as lines.
export function answer(reply) {
  const out = []
  write(reply, '', out)
  return out.length > lines ? [...out.slice(0, lines), '… and more'].join('\n') : out.join('\n')
}

function write(reply, indent, out) {
  const { kind, bytes, items } = reply
  if (kind === '_') out.push('(nil)')
  else if (kind === ':') out.push(`(integer) ${text(bytes)}`)
  else if (kind === '+') out.push(shown(bytes))
  else if (kind === '-') out.push(`(error) ${shown(bytes)}`)
  else if (kind === '$') {
    const s = shown(bytes, longest, true)
    if (indent === '' && s.includes('\n')) out.push(...s.replaceAll('\\r\n', '\n').replace(/\n$/, '').split('\n'))
    else out.push(quoted(bytes))
  } else if (items.length === 0) {
    out.push('(empty array)')
  } else {
    const wide = String(items.length).length
    for (let i = 0; i < items.length && out.length <= lines; i++) {
      const head = `${String(i + 1).padStart(wide)}) `
      const inside = []
      write(items[i], `${indent}${' '.repeat(head.length)}`, inside)
      out.push(`${i > 0 ? indent : ''}${head}${inside[0]}`, ...inside.slice(1))
    }
  }
}

const quoted = (bytes) => `"${shown(bytes, longest).replaceAll('"', '\\"')}"`

// open connects the form to the server; token tells which one, lost is called
// when it is no longer good.
export function open(token, lost) {
  const input = at('console')
  const log = at('log')
  const past = []
  let back = 0 // how far arrow up has gone
  let draft = ''

  const entry = (line) => {
    const said = document.createElement('pre')
    said.className = 'asked'
    said.textContent = `> ${shown(new TextEncoder().encode(line), longest)}`
    const got = document.createElement('pre')
    log.append(said, got)
    while (log.children.length > 2 * kept) log.firstElementChild.remove()
    return (words, failed) => {
      got.textContent = words
      got.classList.toggle('failed', failed)
      log.scrollTop = log.scrollHeight
    }
  }

  at('line').addEventListener('submit', async (event) => {
    event.preventDefault()
    const line = input.value.trim()
    if (line === '') return
    input.value = ''
    past.push(line)
    if (past.length > kept) past.shift()
    back = 0
    const tell = entry(line)
    try {
      const [reply] = await talk(token(), [words(line)])
      tell(answer(reply), reply.kind === '-')
    } catch (err) {
      tell(err.name === 'TimeoutError' ? 'no answer in time: it may have been done, or not' : err.message, true)
      if (err instanceof BadToken) lost(err)
    }
  })

  input.addEventListener('keydown', (event) => {
    const step = { ArrowUp: 1, ArrowDown: -1 }[event.key]
    if (!step || event.isComposing) return
    const next = back + step
    if (next < 0 || next > past.length) return
    event.preventDefault()
    if (back === 0) draft = input.value
    back = next
    input.value = back === 0 ? draft : past[past.length - back]
  })
}

// clear forgets what was shown: whoever comes next has another token.
export const clear = () => at('log').replaceChildren()
