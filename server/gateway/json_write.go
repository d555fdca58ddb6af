package gateway

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strconv"
	"unicode/utf8"
)

// answerWriter turns replies in RESP2 into JSON, and writes as it goes: a large
// answer is never there twice.
type answerWriter struct {
	w      http.ResponseWriter
	buf    []byte
	base64 bool // Upstash-Encoding: base64
	sent   int64
	err    error // the client is gone
}

const (
	writeBytes = 64 << 10 // the answer is written when this much of it waits
	textChunk  = 48 << 10 // bytes of a string encoded at a time; divisible by 3 for base64
)

func (a *answerWriter) text(s string) { a.buf = append(a.buf, s...) }

// flush writes what waits.
func (a *answerWriter) flush() {
	if a.err == nil && len(a.buf) > 0 {
		var n int
		n, a.err = a.w.Write(a.buf)
		a.sent += int64(n)
	}
	a.buf = a.buf[:0]
}

// item writes {"result":…} or {"error":…} and returns what follows the reply.
func (a *answerWriter) item(reply []byte) (rest []byte) {
	if reply[0] == '-' {
		text, rest := line(reply)
		a.text(`{"error":`)
		a.buf = append(AppendJSONString(a.buf, text), '}')
		return rest
	}
	a.text(`{"result":`)
	rest = a.value(reply, true)
	a.buf = append(a.buf, '}')
	if len(a.buf) >= writeBytes {
		a.flush()
	}
	return rest
}

// value writes one reply. An error within an array is its text: JSON has nothing
// better.
func (a *answerWriter) value(reply []byte, top bool) (rest []byte) {
	head, rest := line(reply)
	switch reply[0] {
	case ':':
		a.buf = append(a.buf, head...)
	case '+':
		a.str(head, top)
	case '-':
		a.buf = AppendJSONString(a.buf, head)
	case '$':
		n := length(head)
		if n < 0 {
			a.text("null")
			return rest
		}
		a.str(rest[:n], top)
		rest = rest[n+2:]
	case '*':
		n := length(head)
		if n < 0 {
			a.text("null")
			return rest
		}
		a.buf = append(a.buf, '[')
		for i := range n {
			if i > 0 {
				a.buf = append(a.buf, ',')
			}
			rest = a.value(rest, false)
		}
		a.buf = append(a.buf, ']')
		if len(a.buf) >= writeBytes {
			a.flush()
		}
	}
	return rest
}

// str writes a string. In base64 all are, but for an OK that stands alone.
func (a *answerWriter) str(s []byte, top bool) {
	a.buf = append(a.buf, '"')
	for encode := a.base64 && !(top && string(s) == "OK"); len(s) > 0; {
		n := min(len(s), textChunk)
		if encode {
			a.buf = base64.StdEncoding.AppendEncode(a.buf, s[:n])
		} else {
			for n < len(s) && !utf8.RuneStart(s[n]) && n < textChunk+utf8.UTFMax {
				n++ // not through a character
			}
			a.buf = appendEscaped(a.buf, s[:n])
		}
		if s = s[n:]; len(a.buf) >= writeBytes {
			a.flush()
		}
	}
	a.buf = append(a.buf, '"')
}

// line splits a reply's first line, without its type, from what follows.
func line(reply []byte) (text, rest []byte) {
	end := bytes.IndexByte(reply, '\r')
	return reply[1:end], reply[end+2:]
}

func length(head []byte) int {
	if len(head) == 1 {
		return int(head[0] - '0')
	}
	n, _ := strconv.Atoi(string(head)) // the server has written it
	return n
}

// AppendJSONString appends a string with its quotes. What is not UTF-8 becomes
// U+FFFD.
func AppendJSONString(dst, s []byte) []byte {
	return append(appendEscaped(append(dst, '"'), s), '"')
}

const hexDigits = "0123456789abcdef"

func appendEscaped(dst, s []byte) []byte {
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			if r, size := utf8.DecodeRune(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
			dst = append(append(dst, s[from:i]...), "\ufffd"...)
			i++
			from = i
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, `\u00`...)
			dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		from = i
	}
	return append(dst, s[from:]...)
}
