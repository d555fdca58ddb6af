// How figures look. What strangers wrote reaches the page as text alone: nothing
// here, nor elsewhere, builds markup from strings, and the policy that the page
// comes with would not let it.

import { shown } from './wire.js'

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const tenths = new Intl.NumberFormat('en', { maximumFractionDigits: 1 })
const short = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 })
const grouped = (n) => whole.format(n).replaceAll(',', '\u202f')

export const count = (n) => (Number.isFinite(n) ? grouped(n) : '–')
export const rate = (n) => (n < 10 ? tenths.format(n) : grouped(n))
export const percent = (share) => (share === null ? '–' : `${(100 * share).toFixed(share > 0.9995 || share === 0 ? 0 : 1)}\u202f%`)

export function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let i = 0
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024
  return `${short.format(n)}\u202f${units[i]}`
}

// micros is a time in µs as people say it.
export function micros(n) {
  if (n === null) return '–'
  if (n < 1000) return `${whole.format(n)}\u202fµs`
  if (n < 1e6) return `${short.format(n / 1000)}\u202fms`
  return `${short.format(n / 1e6)}\u202fs`
}

export function ago(seconds) {
  const steps = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']]
  const [size, unit] = steps.find(([size]) => seconds >= size) ?? [1, 's']
  return `${Math.floor(Math.max(seconds, 0) / size)}\u202f${unit}`
}

export const at = (id) => document.getElementById(id)

// say puts text somewhere, if it is not there already: a reader's selection survives.
export function say(id, words) {
  const element = at(id)
  if (element.textContent !== words) element.textContent = words
}

// cell is one of a table's: text, of strangers if it is bytes; a number stands
// right, and what a phone can do without is less.
export function cell(value, { n = false, head = false, less = false } = {}) {
  const td = document.createElement(head ? 'th' : 'td')
  if (head) td.scope = 'row'
  td.classList.toggle('n', n)
  td.classList.toggle('less', less)
  if (value instanceof Uint8Array) {
    const inside = document.createElement('bdi')
    inside.textContent = shown(value, 200)
    td.append(inside)
  } else {
    td.textContent = value
  }
  return td
}

// fill replaces a table's rows; without any it says so.
export function fill(id, rows, nothing) {
  const body = at(id)
  if (rows.length === 0) {
    const td = cell(nothing)
    td.colSpan = 9
    td.className = 'quiet'
    rows = [[td]]
  }
  body.replaceChildren(...rows.map((cells) => {
    const tr = document.createElement('tr')
    tr.append(...cells)
    return tr
  }))
}

const svgNames = 'http://www.w3.org/2000/svg'

function svg(tag, attributes) {
  const element = document.createElementNS(svgNames, tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  return element
}

export const chartPoints = 61 // two minutes of a sample every two seconds

// chart draws the latest values, the newest at the right; null is a gap.
export function chart(id, values, format, top = 0) {
  const known = values.filter((v) => v !== null)
  const most = Math.max(top, ...known)
  const picture = svg('svg', { viewBox: `0 0 ${chartPoints - 1} 30`, preserveAspectRatio: 'none', role: 'img' })
  picture.setAttribute('aria-label', known.length < 2 ? 'Nothing to draw yet'
    : `The last two minutes: between ${format(Math.min(...known))} and ${format(Math.max(...known))}`)
  const y = (v) => (most > 0 ? 28.5 - 27 * (v / most) : 28.5).toFixed(2)
  const first = chartPoints - values.length
  let run = []
  const draw = () => {
    if (run.length > 1) {
      const line = run.map(([x, v]) => `${x},${y(v)}`).join(' ')
      picture.append(
        svg('polygon', { class: 'under', points: `${run[0][0]},30 ${line} ${run.at(-1)[0]},30` }),
        svg('polyline', { class: 'line', points: line, 'vector-effect': 'non-scaling-stroke' }))
    }
    run = []
  }
  values.forEach((v, i) => (v === null ? draw() : run.push([first + i, v])))
  draw()
  at(id).replaceChildren(picture)
}

// bar draws the parts of a whole, each {name, size}.
export function bar(id, parts, size, label) {
  const picture = svg('svg', { viewBox: '0 0 1000 10', preserveAspectRatio: 'none', role: 'img', 'aria-label': label })
  let x = 0
  for (const part of parts) {
    const width = size > 0 ? (1000 * part.size) / size : 0
    if (width > 0) picture.append(svg('rect', { class: part.name, x, y: 0, width: Math.max(width, 2), height: 10 }))
    x += width
  }
  at(id).replaceChildren(picture)
}
