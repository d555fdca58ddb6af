package resp

import (
	"strings"
)

// Args reads the words of one command from left to right. It remembers its
// first error, so a command may parse everything and check once:
//
//	key, ttl := a.Bytes(), a.Int()
//	if a.Failed() {
//		return a.Err()
//	}
//
// The words alias the connection's read buffer: they are valid until the
// command has been answered, and whoever keeps one copies it.
type Args struct {
	Name  string   // the command's name as the table spells it, lower case, "client|kill" for a subcommand
	Words [][]byte // every word, the command's own name first
	next  int
	err   Reply
}

// NewArgs starts behind the first skip words (1, or 2 for a subcommand).
func NewArgs(name string, words [][]byte, skip int) Args {
	return Args{Name: name, Words: words, next: skip}
}

// More tells whether a word is left.
func (a *Args) More() bool { return a.next < len(a.Words) }

// Left counts the words that are left.
func (a *Args) Left() int { return len(a.Words) - a.next }

// Rest is all the words that are left, which are thereby read.
func (a *Args) Rest() [][]byte {
	rest := a.Words[min(a.next, len(a.Words)):]
	a.next = len(a.Words)
	return rest
}

// Bytes is the next word; a missing one is a syntax error.
func (a *Args) Bytes() []byte {
	if a.next >= len(a.Words) {
		a.Fail(ErrSyntax)
		return nil
	}
	a.next++
	return a.Words[a.next-1]
}

// Text is the next word as a string of its own.
func (a *Args) Text() string { return string(a.Bytes()) }

// Int is the next word as a signed 64-bit integer in Redis's strict spelling.
func (a *Args) Int() int64 { return a.IntOr(ErrNotInteger) }

// IntOr is Int with its own error text.
func (a *Args) IntOr(bad Reply) int64 {
	word := a.Bytes()
	if a.Failed() {
		return 0
	}
	n, ok := ParseInt(word)
	if !ok {
		a.Fail(bad)
	}
	return n
}

// Match reads the next word if it is the given one, whatever its case.
// The word is given in upper case.
func (a *Args) Match(word string) bool {
	if a.next >= len(a.Words) || !EqualFold(a.Words[a.next], word) {
		return false
	}
	a.next++
	return true
}

// Peek is the next word without reading it, nil if there is none.
func (a *Args) Peek() []byte {
	if !a.More() {
		return nil
	}
	return a.Words[a.next]
}

// Fail remembers an error unless there is one already.
func (a *Args) Fail(err Reply) {
	if a.err.Kind == KindNone {
		a.err = err
	}
}

// Failed tells whether an error is remembered.
func (a *Args) Failed() bool { return a.err.Kind != KindNone }

// Err is the remembered error.
func (a *Args) Err() Reply { return a.err }

// WrongArity is the error for this command's number of words.
func (a *Args) WrongArity() Reply { return ErrWrongArity(a.Name) }

// EqualFold compares a word with an upper-case ASCII name without allocating.
func EqualFold(word []byte, upper string) bool {
	if len(word) != len(upper) {
		return false
	}
	for i, c := range word {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != upper[i] {
			return false
		}
	}
	return true
}

// ParseInt reads a signed 64-bit decimal the way Redis's string2ll does: no
// plus sign, no leading zeros, no spaces, no overflow.
func ParseInt(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	if len(b) == 1 && b[0] == '0' {
		return 0, true
	}
	neg := b[0] == '-'
	digits := b
	if neg {
		digits = b[1:]
	}
	if len(digits) == 0 || digits[0] < '1' || digits[0] > '9' {
		return 0, false
	}
	var n uint64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n > (1<<64-1)/10 {
			return 0, false
		}
		d := uint64(c - '0')
		if n*10 > 1<<64-1-d {
			return 0, false
		}
		n = n*10 + d
	}
	if neg {
		if n > 1<<63 {
			return 0, false
		}
		return int64(-n), true
	}
	if n > 1<<63-1 {
		return 0, false
	}
	return int64(n), true
}

// Lower is an ASCII word in lower case, for names in replies.
func Lower(word []byte) string { return strings.ToLower(string(word)) }
