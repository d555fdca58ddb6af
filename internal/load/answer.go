package load

import (
	"bytes"
	"errors"
	"fmt"
)

// Answer is one answer of a server. Its text is the buffer's: it is good until
// more is read.
type Answer struct {
	Kind byte   // the byte that it starts with, '_' for any null
	Text []byte // of an array or a push: of its last element
}

const (
	maxAnswerBytes = 64 << 20
	maxElements    = 1 << 20
	maxDepth       = 8
)

var errTooLong = errors.New("an answer is too long")

// parseAnswer reads the answer at the start of b and how long it is, 0 for one
// that is not complete.
func parseAnswer(b []byte) (a Answer, n int, err error) { return parseNested(b, 0) }

func parseNested(b []byte, depth int) (a Answer, n int, err error) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		if len(b) > 1<<16 {
			return a, 0, errTooLong
		}
		return a, 0, nil
	}
	if end < 2 || b[end-1] != '\r' {
		return a, 0, fmt.Errorf("an answer of %q", b[:end+1])
	}
	a.Kind, a.Text, n = b[0], b[1:end-1], end+1
	switch a.Kind {
	case '+', '-', ':', '_', '#', ',', '(':
		return a, n, nil
	case '$', '*', '>', '~', '%', '=', '!':
	default:
		return a, 0, fmt.Errorf("an answer of %q", b[:end+1])
	}
	count, ok := length(a.Text)
	switch {
	case !ok:
		return a, 0, fmt.Errorf("an answer of %q", b[:end+1])
	case count < 0:
		return Answer{Kind: '_'}, n, nil
	case a.Kind == '$' || a.Kind == '=' || a.Kind == '!':
		if count > maxAnswerBytes {
			return a, 0, errTooLong
		}
		if len(b) < n+count+2 {
			return a, 0, nil
		}
		a.Text = b[n : n+count]
		return a, n + count + 2, nil
	}
	if count > maxElements || depth == maxDepth {
		return a, 0, errTooLong
	}
	if a.Kind == '%' {
		count *= 2
	}
	a.Text = nil
	for range count {
		e, m, err := parseNested(b[n:], depth+1)
		if m == 0 || err != nil {
			return a, 0, err
		}
		a.Text, n = e.Text, n+m
	}
	return a, n, nil
}

// length reads a number of up to nine digits, or -1.
func length(b []byte) (n int, ok bool) {
	if len(b) == 2 && b[0] == '-' && b[1] == '1' {
		return -1, true
	}
	if len(b) == 0 || len(b) > 9 {
		return 0, false
	}
	for _, d := range b {
		if d < '0' || d > '9' {
			return 0, false
		}
		n = n*10 + int(d-'0')
	}
	return n, true
}
