package script

import (
	"strings"
)

// matcher is Lua's pattern matcher. It counts its steps, so a pattern that
// explodes can be stopped.
type matcher struct {
	c        call
	src      string
	pat      string
	level    int // captures
	depth    int
	captures [maxCaptures]capture
}

type capture struct {
	start, length int
}

const (
	maxCaptures = 32
	capOpen     = -1
	capPosition = -2
	escape      = '%'

	// maxMatchDepth bounds the matcher's recursion, which in Redis ends with
	// the C stack.
	maxMatchDepth = 20000
)

// match matches the pattern from p at s: the end of the match, -1 for none.
func (m *matcher) match(s, p int) int {
	if m.depth++; m.depth > maxMatchDepth {
		m.c.fail("pattern too complex")
	}
	end := m.matchHere(s, p)
	m.depth--
	return end
}

func (m *matcher) matchHere(s, p int) int {
	for {
		m.c.step(1)
		if p == len(m.pat) {
			return s
		}
		switch m.pat[p] {
		case '(':
			if p+1 < len(m.pat) && m.pat[p+1] == ')' {
				return m.open(s, p+2, capPosition)
			}
			return m.open(s, p+1, capOpen)
		case ')':
			return m.close(s, p+1)
		case '$':
			if p+1 == len(m.pat) {
				if s == len(m.src) {
					return s
				}
				return -1
			}
		case escape:
			if p+1 < len(m.pat) {
				switch next := m.pat[p+1]; {
				case next == 'b':
					if s = m.balance(s, p+2); s < 0 {
						return -1
					}
					p += 4
					continue
				case next == 'f':
					p += 2
					if p >= len(m.pat) || m.pat[p] != '[' {
						m.c.fail("missing '[' after '%f' in pattern")
					}
					end := m.classEnd(p)
					var before, here byte
					if s > 0 {
						before = m.src[s-1]
					}
					if s < len(m.src) {
						here = m.src[s]
					}
					if m.inSet(before, p, end-1) || !m.inSet(here, p, end-1) {
						return -1
					}
					p = end
					continue
				case '0' <= next && next <= '9':
					if s = m.backReference(s, next); s < 0 {
						return -1
					}
					p += 2
					continue
				}
			}
		}
		end := m.classEnd(p)
		one := s < len(m.src) && m.single(m.src[s], p, end)
		suffix := byte(0)
		if end < len(m.pat) {
			suffix = m.pat[end]
		}
		switch suffix {
		case '?':
			if one {
				if r := m.match(s+1, end+1); r >= 0 {
					return r
				}
			}
			p = end + 1
		case '*':
			return m.greedy(s, p, end)
		case '+':
			if !one {
				return -1
			}
			return m.greedy(s+1, p, end)
		case '-':
			return m.lazy(s, p, end)
		default:
			if !one {
				return -1
			}
			s++
			p = end
		}
	}
}

func (m *matcher) classEnd(p int) int {
	c := m.pat[p]
	p++
	switch c {
	case escape:
		if p == len(m.pat) {
			m.c.fail("malformed pattern (ends with '%')")
		}
		return p + 1
	case '[':
		if p < len(m.pat) && m.pat[p] == '^' {
			p++
		}
		for first := true; first || p >= len(m.pat) || m.pat[p] != ']'; first = false {
			if p >= len(m.pat) {
				m.c.fail("malformed pattern (missing ']')")
			}
			p++
			if m.pat[p-1] == escape && p < len(m.pat) {
				p++
			}
		}
		return p + 1
	}
	return p
}

func (m *matcher) single(c byte, p, end int) bool {
	switch m.pat[p] {
	case '.':
		return true
	case escape:
		return inClass(c, m.pat[p+1])
	case '[':
		return m.inSet(c, p, end-1)
	}
	return m.pat[p] == c
}

// inSet tells whether c is in the set from p to its bracket at end.
func (m *matcher) inSet(c byte, p, end int) bool {
	in := true
	p++
	if m.pat[p] == '^' {
		in = false
		p++
	}
	m.c.in.guard.steps += (end - p) / 8
	for ; p < end; p++ {
		switch {
		case m.pat[p] == escape:
			p++
			if inClass(c, m.pat[p]) {
				return in
			}
		case p+2 < end && m.pat[p+1] == '-':
			if m.pat[p] <= c && c <= m.pat[p+2] {
				return in
			}
			p += 2
		case m.pat[p] == c:
			return in
		}
	}
	return !in
}

func inClass(c, class byte) bool {
	letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	decimal := '0' <= c && c <= '9'
	var in bool
	switch class | 0x20 {
	case 'a':
		in = letter
	case 'c':
		in = c < 32 || c == 127
	case 'd':
		in = decimal
	case 'l':
		in = 'a' <= c && c <= 'z'
	case 'p':
		in = c > 32 && c < 127 && !letter && !decimal
	case 's':
		in = c == ' ' || '\t' <= c && c <= '\r'
	case 'u':
		in = 'A' <= c && c <= 'Z'
	case 'w':
		in = letter || decimal
	case 'x':
		in = isHex(c)
	case 'z':
		in = c == 0
	default:
		return class == c
	}
	if class < 'A' || class > 'z' || class > 'Z' && class < 'a' {
		return class == c
	}
	return in != (class <= 'Z')
}

func (m *matcher) balance(s, p int) int {
	if p+1 >= len(m.pat) {
		m.c.fail("unbalanced pattern")
	}
	if s >= len(m.src) || m.src[s] != m.pat[p] {
		return -1
	}
	open, shut, deep := m.pat[p], m.pat[p+1], 1
	for i := s + 1; i < len(m.src); i++ {
		if i%4096 == 0 {
			m.c.step(4096)
		}
		switch m.src[i] {
		case shut:
			if deep--; deep == 0 {
				m.c.in.guard.steps += i - s
				return i + 1
			}
		case open:
			deep++
		}
	}
	m.c.in.guard.steps += len(m.src) - s
	return -1
}

func (m *matcher) greedy(s, p, end int) int {
	n := 0
	for s+n < len(m.src) && m.single(m.src[s+n], p, end) {
		if n++; n%4096 == 0 {
			m.c.step(4096)
		}
	}
	m.c.in.guard.steps += n % 4096
	for ; n >= 0; n-- {
		if r := m.match(s+n, end+1); r >= 0 {
			return r
		}
	}
	return -1
}

func (m *matcher) lazy(s, p, end int) int {
	for {
		if r := m.match(s, end+1); r >= 0 {
			return r
		}
		if s >= len(m.src) || !m.single(m.src[s], p, end) {
			return -1
		}
		s++
	}
}

func (m *matcher) open(s, p, kind int) int {
	if m.level >= maxCaptures {
		m.c.fail("too many captures")
	}
	m.captures[m.level] = capture{s, kind}
	m.level++
	r := m.match(s, p)
	if r < 0 {
		m.level--
	}
	return r
}

func (m *matcher) close(s, p int) int {
	l := m.level - 1
	for ; l >= 0 && m.captures[l].length != capOpen; l-- {
	}
	if l < 0 {
		m.c.fail("invalid pattern capture")
	}
	m.captures[l].length = s - m.captures[l].start
	r := m.match(s, p)
	if r < 0 {
		m.captures[l].length = capOpen
	}
	return r
}

func (m *matcher) backReference(s int, digit byte) int {
	l := int(digit) - '1'
	if l < 0 || l >= m.level || m.captures[l].length == capOpen {
		m.c.fail("invalid capture index")
	}
	part := m.src[m.captures[l].start:][:max(m.captures[l].length, 0)]
	m.c.in.guard.steps += len(part) / 16
	if strings.HasPrefix(m.src[s:], part) {
		return s + len(part)
	}
	return -1
}

// pushCapture pushes capture i of a match from s to e; without captures the
// whole match is the first.
func (m *matcher) pushCapture(i, s, e int) {
	if i >= m.level {
		if i != 0 {
			m.c.fail("invalid capture index")
		}
		m.pushPart(s, e)
		return
	}
	switch cap := m.captures[i]; cap.length {
	case capOpen:
		m.c.fail("unfinished capture")
	case capPosition:
		m.c.pushNumber(float64(cap.start + 1))
	default:
		m.pushPart(cap.start, cap.start+cap.length)
	}
}

// pushPart pushes a copy, lest a short part keep a long string alive.
func (m *matcher) pushPart(s, e int) {
	m.c.charge(e - s)
	m.c.pushText(strings.Clone(m.src[s:e]))
}

// pushCaptures pushes all captures, or the whole match if whole is wanted.
func (m *matcher) pushCaptures(s, e int, whole bool) int {
	n := m.level
	if n == 0 && whole {
		n = 1
	}
	for i := range n {
		m.pushCapture(i, s, e)
	}
	return n
}
