package gateway

import (
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	maxCommands = 10_000  // of one request
	maxWords    = 1 << 20 // of all its commands
)

var (
	errJSON     = errors.New("malformed JSON")
	errShape    = errors.New("a word of a command is a string, a number or a boolean")
	errTooMany  = errors.New("too many commands")
	errNoWords  = errors.New("a command without words")
	errTooLong  = errors.New("too many words")
	errTrailing = errors.New("something follows the JSON")
)

// commandReader reads commands from JSON. Words point into the input, where
// escapes are resolved in place: the input is of no further use.
//
// A number is the word that it is written as. Bytes that are not UTF-8 are
// passed on, so that a value may hold anything that a client can put in
// quotes.
type commandReader struct {
	b     []byte
	at    int
	words [][]byte // of all commands, beside each other
}

// one reads ["SET","k",1].
func (p *commandReader) one(b []byte) ([][][]byte, error) {
	p.b, p.at, p.words = b, 0, p.words[:0]
	n, err := p.array()
	if err == nil {
		err = p.end()
	}
	if err != nil {
		return nil, err
	}
	return [][][]byte{p.words[:n:n]}, nil
}

// many reads [["SET","k","v"],["GET","k"]].
func (p *commandReader) many(b []byte, into [][][]byte) ([][][]byte, error) {
	p.b, p.at, p.words = b, 0, p.words[:0]
	into = into[:0]
	var lengths [64]int // of the first commands, without an allocation
	counts := lengths[:0]
	if !p.take('[') {
		return nil, errJSON
	}
	for first := true; !p.take(']'); first = false {
		if !first && !p.take(',') {
			return nil, errJSON
		}
		if len(counts) == maxCommands {
			return nil, errTooMany
		}
		n, err := p.array()
		if err != nil {
			return nil, err
		}
		counts = append(counts, n)
	}
	if err := p.end(); err != nil {
		return nil, err
	}
	rest := p.words // now that it does not move any more
	for _, n := range counts {
		into = append(into, rest[:n:n])
		rest = rest[n:]
	}
	return into, nil
}

// array reads one command and returns how many words it has.
func (p *commandReader) array() (n int, err error) {
	if !p.take('[') {
		return 0, errJSON
	}
	for ; !p.take(']'); n++ {
		if n > 0 && !p.take(',') {
			return 0, errJSON
		}
		if len(p.words) == maxWords {
			return 0, errTooLong
		}
		w, err := p.word()
		if err != nil {
			return 0, err
		}
		p.words = append(p.words, w)
	}
	if n == 0 {
		return 0, errNoWords
	}
	return n, nil
}

// end makes sure that nothing follows.
func (p *commandReader) end() error {
	if p.space(); p.at < len(p.b) {
		return errTrailing
	}
	return nil
}

func (p *commandReader) space() {
	for p.at < len(p.b) {
		switch p.b[p.at] {
		case ' ', '\t', '\r', '\n':
			p.at++
		default:
			return
		}
	}
}

// take steps over a character if it is the next.
func (p *commandReader) take(c byte) bool {
	if p.space(); p.at < len(p.b) && p.b[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *commandReader) word() ([]byte, error) {
	p.space()
	if p.at == len(p.b) {
		return nil, errJSON
	}
	switch c := p.b[p.at]; {
	case c == '"':
		return p.text()
	case c == '-' || '0' <= c && c <= '9':
		return p.number()
	case c == '[' || c == '{':
		return nil, errShape
	}
	for _, name := range [...]string{"true", "false"} {
		if len(p.b)-p.at >= len(name) && string(p.b[p.at:p.at+len(name)]) == name {
			p.at += len(name)
			return p.b[p.at-len(name) : p.at : p.at], nil
		}
	}
	if len(p.b)-p.at >= len("null") && string(p.b[p.at:p.at+len("null")]) == "null" {
		return nil, errShape
	}
	return nil, errJSON
}

// number reads what JSON calls one.
func (p *commandReader) number() ([]byte, error) {
	from := p.at
	p.skip('-')
	if !p.skip('0') && !p.digits() {
		return nil, errJSON
	}
	if p.skip('.') && !p.digits() {
		return nil, errJSON
	}
	if p.skip('e') || p.skip('E') {
		if !p.skip('+') {
			p.skip('-')
		}
		if !p.digits() {
			return nil, errJSON
		}
	}
	return p.b[from:p.at:p.at], nil
}

func (p *commandReader) skip(c byte) bool {
	if p.at < len(p.b) && p.b[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *commandReader) digits() bool {
	from := p.at
	for p.at < len(p.b) && '0' <= p.b[p.at] && p.b[p.at] <= '9' {
		p.at++
	}
	return p.at > from
}

// text reads a string. What follows an escape moves towards the front, never
// the other way: no escape is shorter than what it stands for.
func (p *commandReader) text() ([]byte, error) {
	p.at++ // the quote
	from := p.at
	for p.at < len(p.b) && p.b[p.at] != '"' && p.b[p.at] != '\\' && p.b[p.at] >= ' ' {
		p.at++
	}
	to := p.at
	for p.at < len(p.b) {
		c := p.b[p.at]
		switch {
		case c == '"':
			p.at++
			return p.b[from:to:to], nil
		case c < ' ':
			return nil, errJSON
		case c != '\\':
			p.b[to] = c
			to++
			p.at++
		default:
			p.at++
			n, ok := p.escape(to)
			if !ok {
				return nil, errJSON
			}
			to += n
		}
	}
	return nil, errJSON
}

// escape writes what the escape behind a backslash stands for and tells how
// long that is.
func (p *commandReader) escape(to int) (n int, ok bool) {
	if p.at == len(p.b) {
		return 0, false
	}
	c := p.b[p.at]
	p.at++
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		r, ok := p.hex4(p.at)
		if !ok {
			return 0, false
		}
		p.at += 4
		if utf16.IsSurrogate(r) { // a pair, or half of one
			low, ok := rune(0), p.at+1 < len(p.b) && p.b[p.at] == '\\' && p.b[p.at+1] == 'u'
			if ok {
				low, ok = p.hex4(p.at + 2)
			}
			if r = utf16.DecodeRune(r, low); ok && r != utf8.RuneError {
				p.at += len(`\uXXXX`)
			}
		}
		return utf8.EncodeRune(p.b[to:to+utf8.UTFMax], r), true
	default:
		return 0, false
	}
	p.b[to] = c
	return 1, true
}

func (p *commandReader) hex4(at int) (r rune, ok bool) {
	if at+4 > len(p.b) {
		return 0, false
	}
	for _, c := range p.b[at : at+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
