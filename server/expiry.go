package server

import (
	"math"

	"crema/resp"
)

// expiry is one of the options EX, PX, EXAT and PXAT that say when a key ends.
// Its number is read as a number only when the whole command is known to be
// well formed, for a syntax error comes before a wrong number.
type expiry struct {
	kind expiryKind
	word []byte
}

type expiryKind uint8

const (
	noExpiry expiryKind = iota
	inSeconds
	inMillis
	atSecond
	atMilli
)

// match reads an expiry option. The same option may be said again and then the
// last one counts; two different ones contradict each other.
func (e *expiry) match(a *resp.Args) bool {
	if a.Left() < 2 {
		return false
	}
	var kind expiryKind
	switch {
	case a.Match("EX"):
		kind = inSeconds
	case a.Match("PX"):
		kind = inMillis
	case a.Match("EXAT"):
		kind = atSecond
	case a.Match("PXAT"):
		kind = atMilli
	default:
		return false
	}
	if e.kind != noExpiry && e.kind != kind {
		a.Fail(resp.ErrSyntax)
	}
	e.kind, e.word = kind, a.Bytes()
	return true
}

func (e expiry) given() bool { return e.kind != noExpiry }

// deadline is the option's moment in unix milliseconds, which may be past but
// is never 0 or less: that would mean "no deadline" to the store.
func (e expiry) deadline(a *resp.Args, now int64) int64 {
	n, ok := resp.ParseInt(e.word)
	if !ok {
		a.Fail(resp.ErrNotInteger)
		return 0
	}
	if n <= 0 {
		a.Fail(resp.ErrInvalidExpire(a.Name))
		return 0
	}
	if e.kind == inMillis || e.kind == atMilli {
		return e.from(a, n, 1, now)
	}
	return e.from(a, n, 1000, now)
}

// from scales a positive number and adds the present to a relative one.
func (e expiry) from(a *resp.Args, n, unit, now int64) int64 {
	if e.kind == atSecond || e.kind == atMilli {
		now = 0
	}
	if n > math.MaxInt64/unit || n*unit > math.MaxInt64-now {
		a.Fail(resp.ErrInvalidExpire(a.Name))
		return 0
	}
	return n*unit + now
}
