package script

import (
	"strings"
	"unicode/utf8"

	lua "github.com/yuin/gopher-lua"
)

type token uint8

const (
	tokObjBegin token = iota
	tokObjEnd
	tokArrBegin
	tokArrEnd
	tokString
	tokNumber
	tokBoolean
	tokNull
	tokColon
	tokComma
	tokEnd
	tokError
)

var tokenNames = [...]string{"T_OBJ_BEGIN", "T_OBJ_END", "T_ARR_BEGIN", "T_ARR_END", "T_STRING", "T_NUMBER", "T_BOOLEAN", "T_NULL", "T_COLON", "T_COMMA", "T_END"}

var punctuation = map[byte]token{'{': tokObjBegin, '}': tokObjEnd, '[': tokArrBegin, ']': tokArrEnd, ':': tokColon, ',': tokComma, 0: tokEnd}

// decoder reads JSON as lua-cjson does, its errors included.
type decoder struct {
	c     call
	cfg   *jsonConfig
	data  string
	at    int
	depth int

	tok   token
	start int        // where the token begins
	val   lua.LValue // of a string, number or boolean
	bad   string     // what is wrong, for tokError
}

func jsonDecode(c call, cfg *jsonConfig) int {
	c.require(c.n() == 1, 1, "expected 1 argument")
	d := &decoder{c: c, cfg: cfg, data: c.text(1)}
	if len(d.data) >= 2 && (d.data[0] == 0 || d.data[1] == 0) {
		c.fail("JSON parser does not support UTF-16 or UTF-32")
	}
	d.next()
	v := d.value()
	d.next()
	if d.tok != tokEnd {
		d.expected("the end")
	}
	c.Push(v)
	return 1
}

func (d *decoder) expected(what string) {
	found := d.bad
	if d.tok != tokError {
		found = tokenNames[d.tok]
	}
	d.c.fail("Expected " + what + " but found " + found + " at character " + itoa(d.start+1))
}

// peek is a byte ahead, zero behind the end.
func (d *decoder) peek(n int) byte {
	if d.at+n < len(d.data) {
		return d.data[d.at+n]
	}
	return 0
}

func (d *decoder) error(what string) {
	d.tok, d.bad, d.start = tokError, what, d.at
}

// next reads one token.
func (d *decoder) next() {
	d.c.step(1)
	for d.at < len(d.data) && strings.IndexByte(" \t\n\r", d.data[d.at]) >= 0 {
		d.at++
	}
	d.start = d.at
	ch := d.peek(0)
	if tok, ok := punctuation[ch]; ok {
		if d.tok = tok; tok != tokEnd {
			d.at++
		}
		return
	}
	rest := d.data[d.at:]
	switch {
	case ch == '"':
		d.text()
	case ch == '-' || '0' <= ch && ch <= '9':
		if !d.cfg.decodeInvalid && oddNumber(rest) {
			d.error("invalid number")
			return
		}
		d.number()
	case strings.HasPrefix(rest, "true"):
		d.tok, d.val = tokBoolean, lua.LTrue
		d.at += 4
	case strings.HasPrefix(rest, "false"):
		d.tok, d.val = tokBoolean, lua.LFalse
		d.at += 5
	case strings.HasPrefix(rest, "null"):
		d.tok = tokNull
		d.at += 4
	case strings.IndexByte("+iInN", ch) >= 0 && d.cfg.decodeInvalid && oddNumber(rest):
		d.number()
	default:
		d.error("invalid token")
	}
}

// oddNumber tells a number that C reads and JSON does not have.
func oddNumber(s string) bool {
	if strings.HasPrefix(s, "+") {
		return true
	}
	s = strings.TrimPrefix(s, "-")
	if strings.HasPrefix(s, "0") && len(s) > 1 {
		return s[1]|0x20 == 'x' || '0' <= s[1] && s[1] <= '9'
	}
	return hasFold(s, "inf") || hasFold(s, "nan")
}

// maxNumberText bounds the digits of a number that are looked at.
const maxNumberText = 4096

func (d *decoder) number() {
	text := d.data[d.at:min(len(d.data), d.at+maxNumberText)]
	f, rest, ok := scanNumber(text)
	if !ok {
		d.error("invalid number")
		return
	}
	d.tok, d.val = tokNumber, lua.LNumber(f)
	d.at += len(text) - len(rest)
}

func (d *decoder) text() {
	d.at++
	begin := d.at
	for d.at < len(d.data) && d.data[d.at] != '"' && d.data[d.at] != '\\' && d.data[d.at] != 0 {
		d.at++
	}
	d.c.charge(d.at - begin)
	d.c.in.guard.steps += (d.at - begin) / 16
	if d.peek(0) == '"' {
		d.tok, d.val = tokString, lua.LString(strings.Clone(d.data[begin:d.at]))
		d.at++
		return
	}
	out := []byte(d.data[begin:d.at])
	for next := 2 * len(out); d.peek(0) != '"'; d.at++ {
		ch := d.peek(0)
		if ch == 0 {
			d.error("unexpected end of string")
			return
		}
		if len(out) > next {
			next = 2 * len(out)
			d.c.charge(next)
		}
		if ch != '\\' {
			out = append(out, ch)
			continue
		}
		switch e := d.peek(1); e {
		case '"', '\\', '/':
			out = append(out, e)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, n := d.unicode()
			if n == 0 {
				d.error("invalid unicode escape code")
				return
			}
			out = utf8.AppendRune(out, r)
			d.at += n - 2
		default:
			d.error("invalid escape code")
			return
		}
		d.at++
	}
	d.at++
	d.tok, d.val = tokString, lua.LString(textOf(out))
}

// unicode reads \uXXXX, or two of them; n is 0 if it is wrong.
func (d *decoder) unicode() (r rune, n int) {
	r, ok := d.hex4(2)
	if !ok {
		return 0, 0
	}
	if r&0xF800 != 0xD800 {
		return r, 6
	}
	if r&0x400 != 0 || d.peek(6) != '\\' || d.peek(7) != 'u' {
		return 0, 0
	}
	low, ok := d.hex4(8)
	if !ok || low&0xFC00 != 0xDC00 {
		return 0, 0
	}
	return (r&0x3FF)<<10 + low&0x3FF + 0x10000, 12
}

func (d *decoder) hex4(from int) (r rune, ok bool) {
	for i := range 4 {
		b := d.peek(from + i)
		if !isHex(b) {
			return 0, false
		}
		r = r<<4 | rune(digit(b))
	}
	return r, true
}

// value makes the value that begins with the current token.
func (d *decoder) value() lua.LValue {
	switch d.tok {
	case tokString, tokNumber, tokBoolean:
		return d.val
	case tokNull:
		return d.c.in.null
	case tokObjBegin:
		return d.object()
	case tokArrBegin:
		return d.array()
	}
	d.expected("value")
	return nil
}

func (d *decoder) descend() *lua.LTable {
	if d.depth++; d.depth > d.cfg.decodeDepth || d.depth > maxJSONDepth {
		d.c.fail("Found too many nested data structures (" + itoa(d.depth) + ") at character " + itoa(d.at))
	}
	return d.c.making()
}

func (d *decoder) ascend() lua.LValue {
	d.depth--
	return d.c.made()
}

func (d *decoder) object() lua.LValue {
	t := d.descend()
	d.next()
	if d.tok == tokObjEnd {
		return d.ascend()
	}
	for {
		if d.tok != tokString {
			d.expected("object key string")
		}
		key := string(d.val.(lua.LString))
		d.next()
		if d.tok != tokColon {
			d.expected("colon")
		}
		d.next()
		t.RawSetString(key, d.value())
		d.next()
		if d.tok == tokObjEnd {
			return d.ascend()
		}
		if d.tok != tokComma {
			d.expected("comma or object end")
		}
		d.next()
	}
}

func (d *decoder) array() lua.LValue {
	t := d.descend()
	d.next()
	if d.tok == tokArrEnd {
		return d.ascend()
	}
	for i := 1; ; i++ {
		t.RawSetInt(i, d.value())
		d.next()
		if d.tok == tokArrEnd {
			return d.ascend()
		}
		if d.tok != tokComma {
			d.expected("comma or array end")
		}
		d.next()
	}
}
