package script

import (
	"strings"
	"unsafe"

	lua "github.com/yuin/gopher-lua"
)

var stringFuncs = map[string]gofn{
	"byte":    strByte,
	"char":    strChar,
	"dump":    strDump,
	"find":    func(c call) int { return strFind(c, true) },
	"format":  strFormat,
	"gfind":   strGmatch,
	"gmatch":  strGmatch,
	"gsub":    strGsub,
	"len":     func(c call) int { c.pushNumber(float64(len(c.text(1)))); return 1 },
	"lower":   strLower,
	"match":   func(c call) int { return strFind(c, false) },
	"rep":     strRep,
	"reverse": strReverse,
	"sub":     strSub,
	"upper":   strUpper,
}

// textOf is the string of bytes that nobody will change.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// fromEnd counts a negative position from the end.
func fromEnd(i, n int) int {
	if i < 0 {
		i += n + 1
	}
	return max(i, 0)
}

func strByte(c call) int {
	s := c.text(1)
	from := fromEnd(c.integerOr(2, 1), len(s))
	to := fromEnd(c.integerOr(3, from), len(s))
	from, to = max(from, 1), min(to, len(s))
	if from > to {
		return 0
	}
	if to-from >= maxUnpack {
		c.fail("string slice too long")
	}
	for i := from; i <= to; i++ {
		c.pushNumber(float64(s[i-1]))
	}
	return to - from + 1
}

func strChar(c call) int {
	b := make([]byte, c.n())
	for i := range b {
		n := c.int(i + 1)
		c.require(n >= 0 && n <= 255, i+1, "invalid value")
		b[i] = byte(n)
	}
	c.pushText(textOf(b))
	return 1
}

func strDump(c call) int {
	c.function(1)
	c.fail("unable to dump given function")
	return 0
}

func strSub(c call) int {
	s := c.text(1)
	from := max(fromEnd(c.integer(2), len(s)), 1)
	to := min(fromEnd(c.integerOr(3, -1), len(s)), len(s))
	if from > to {
		c.pushText("")
		return 1
	}
	c.charge(to - from + 1)
	c.pushText(strings.Clone(s[from-1 : to]))
	return 1
}

func strRep(c call) int {
	s, n := c.text(1), c.int(2)
	if n <= 0 || s == "" {
		c.pushText("")
		return 1
	}
	if n > int(c.in.guard.limit)/len(s) {
		n = int(c.in.guard.limit)/len(s) + 1 // beyond the limit without overflow
	}
	c.charge(n * len(s))
	c.pushText(strings.Repeat(s, n))
	return 1
}

func strReverse(c call) int {
	s := c.text(1)
	c.charge(len(s))
	b := make([]byte, len(s))
	for i := range b {
		b[i] = s[len(s)-1-i]
	}
	c.pushText(textOf(b))
	return 1
}

func (c call) mapped(f func(byte) byte) int {
	s := c.text(1)
	c.charge(len(s))
	b := []byte(s)
	for i, x := range b {
		b[i] = f(x)
	}
	c.pushText(textOf(b))
	return 1
}

func strLower(c call) int {
	return c.mapped(func(x byte) byte {
		if 'A' <= x && x <= 'Z' {
			x += 'a' - 'A'
		}
		return x
	})
}

func strUpper(c call) int {
	return c.mapped(func(x byte) byte {
		if 'a' <= x && x <= 'z' {
			x -= 'a' - 'A'
		}
		return x
	})
}

// strFind is string.find, and string.match if not find.
func strFind(c call, find bool) int {
	s, p := c.text(1), c.text(2)
	at := fromEnd(c.integerOr(3, 1), len(s)) - 1
	at = min(max(at, 0), len(s))
	if find && (c.truth(4) || !strings.ContainsAny(p, "^$*+?.([%-")) {
		c.step((len(s) - at) / 16)
		i := strings.Index(s[at:], p)
		if i < 0 {
			c.Push(lua.LNil)
			return 1
		}
		c.pushNumber(float64(at + i + 1))
		c.pushNumber(float64(at + i + len(p)))
		return 2
	}
	anchor := strings.HasPrefix(p, "^")
	m := &matcher{c: c, src: s, pat: strings.TrimPrefix(p, "^")}
	if !anchor {
		m.pat = p
	}
	for ; at <= len(s); at++ {
		m.level = 0
		if e := m.match(at, 0); e >= 0 {
			if !find {
				return m.pushCaptures(at, e, true)
			}
			c.pushNumber(float64(at + 1))
			c.pushNumber(float64(e))
			return 2 + m.pushCaptures(at, e, false)
		}
		if anchor {
			break
		}
	}
	c.Push(lua.LNil)
	return 1
}

// matchIter is where string.gmatch stands.
type matchIter struct {
	src, pat string
	at       int
}

func strGmatch(c call) int {
	it := &matchIter{src: c.text(1), pat: c.text(2)}
	state := c.NewUserData()
	state.Value = it
	next := c.NewClosure(func(L *lua.LState) int { return it.next(call{c.in, L}) }, state)
	c.Push(next)
	return 1
}

func (it *matchIter) next(c call) int {
	m := &matcher{c: c, src: it.src, pat: it.pat}
	for ; it.at <= len(it.src); it.at++ {
		m.level = 0
		if e := m.match(it.at, 0); e >= 0 {
			s := it.at
			it.at = e
			if e == s {
				it.at++
			}
			return m.pushCaptures(s, e, true)
		}
	}
	return 0
}

func strGsub(c call) int {
	s, p := c.text(1), c.text(2)
	with := c.Get(3)
	switch with.(type) {
	case lua.LString, lua.LNumber, *lua.LTable, *lua.LFunction:
	default:
		c.badArg(3, "string/function/table expected")
	}
	most := c.intOr(4, len(s)+1)
	anchor := strings.HasPrefix(p, "^")
	m := &matcher{c: c, src: s, pat: strings.TrimPrefix(p, "^")}
	if !anchor {
		m.pat = p
	}
	out := &output{c: c}
	at, n := 0, 0
	for n < most {
		m.level = 0
		e := m.match(at, 0)
		if e >= 0 {
			n++
			m.replace(out, with, at, e)
		}
		if e > at {
			at = e
		} else if at < len(s) {
			out.writeByte(s[at])
			at++
		} else {
			break
		}
		if anchor {
			break
		}
	}
	out.write(s[min(at, len(s)):])
	out.push()
	c.pushNumber(float64(n))
	return 2
}

// replace writes what gsub puts in the place of a match.
func (m *matcher) replace(out *output, with lua.LValue, s, e int) {
	c := m.c
	top := c.n()
	defer c.SetTop(top)
	var v lua.LValue
	switch with := with.(type) {
	case *lua.LTable:
		m.pushCapture(0, s, e)
		v = c.GetTable(with, c.Get(-1))
	case *lua.LFunction:
		c.in.nest(c.LState)
		c.Push(with)
		c.Call(m.pushCaptures(s, e, true), 1)
		c.in.nested--
		v = c.Get(-1)
	default:
		text, _ := toText(with)
		m.template(out, text, s, e)
		return
	}
	if lua.LVIsFalse(v) {
		out.write(m.src[s:e])
		return
	}
	text, ok := toText(v)
	if !ok {
		c.fail("invalid replacement value (a " + v.Type().String() + ")")
	}
	out.write(text)
}

// template writes a replacement string with its %1.
func (m *matcher) template(out *output, text string, s, e int) {
	for i := 0; i < len(text); i++ {
		plain := strings.IndexByte(text[i:], escape)
		if plain < 0 {
			out.write(text[i:])
			return
		}
		out.write(text[i : i+plain])
		i += plain + 1
		switch {
		case i == len(text):
			out.writeByte(0)
		case text[i] == '0':
			out.write(m.src[s:e])
		case '1' <= text[i] && text[i] <= '9':
			m.pushCapture(int(text[i]-'1'), s, e)
			part, _ := toText(m.c.Get(-1))
			out.write(part)
		default:
			out.writeByte(text[i])
		}
	}
}
