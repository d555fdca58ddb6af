package server

import (
	"math"

	"crema/resp"
	"crema/store"
)

func lcsRows() []command {
	return []command{
		{"lcs", -3, readonly | catString, keys(1, 2, 1), data(cmdLCS)},
	}
}

// lcsOptions is what may follow LCS's keys.
type lcsOptions struct {
	length, ranges, matchLen bool
	minMatchLen              int64
}

func parseLCS(a *resp.Args) (o lcsOptions) {
	for a.More() && !a.Failed() {
		switch {
		case a.Match("IDX"):
			o.ranges = true
		case a.Match("LEN"):
			o.length = true
		case a.Match("WITHMATCHLEN"):
			o.matchLen = true
		case a.Left() > 1 && a.Match("MINMATCHLEN"):
			o.minMatchLen = a.Int()
		default:
			a.Fail(resp.ErrSyntax)
		}
	}
	if o.ranges && o.length {
		a.Fail(resp.ErrLCSTwoOptions)
	}
	return o
}

// LCS key1 key2 [LEN] [IDX] [MINMATCHLEN length] [WITHMATCHLEN]
func cmdLCS(tx *store.Tx, a *resp.Args) resp.Reply {
	x, _ := read(tx, a.Bytes())
	y, _ := read(tx, a.Bytes())
	o := parseLCS(a)
	if max(len(x.Value), len(y.Value)) >= math.MaxUint32-1 {
		a.Fail(resp.ErrLCSTooLong)
	} else if (uint64(len(x.Value))+1)*(uint64(len(y.Value))+1) > uint64(tx.MaxValue())/lcsCellBytes {
		a.Fail(resp.ErrLCSMemory)
	}
	if a.Failed() {
		return a.Err()
	}
	l := newLCS(x.Value, y.Value, !o.length)
	switch {
	case o.ranges:
		return resp.Map(
			resp.BulkString("matches"), resp.Array(l.ranges(o)...),
			resp.BulkString("len"), resp.Int(int64(l.length)),
		)
	case o.length:
		return resp.Int(int64(l.length))
	}
	return resp.Bulk(l.common())
}

// lcsCellBytes is what a pair of bytes costs Redis. It sets the limit here,
// too, although the same pair costs one bit.
const lcsCellBytes = 4

// lcs knows the longest common subsequence of a and b.
//
// The textbook table holds a length for every pair of prefixes. Walking back
// through it only asks, where two bytes differ, which neighbour is the longer:
// that one bit is all that is kept, beside a single row of lengths as long as
// the shorter string.
type lcs struct {
	a, b    []byte
	length  int
	dropA   []uint64 // a bit for each pair: drop a's byte rather than b's
	flipped bool     // a is the shorter: the bits of each byte of b lie together
}

// newLCS fills the table; without walk it only finds the length.
func newLCS(a, b []byte, walk bool) *lcs {
	l := &lcs{a: a, b: b, flipped: len(a) < len(b)}
	long, short := a, b
	if l.flipped {
		long, short = b, a
	}
	if walk {
		l.dropA = make([]uint64, (len(long)*len(short)+63)/64)
	}
	row := make([]uint32, len(short)+1)
	for p, c := range long {
		diagonal := uint32(0)
		for q, d := range short {
			dropLong, dropShort := row[q+1], row[q]
			switch {
			case c == d:
				row[q+1] = diagonal + 1
			case dropLong > dropShort || dropLong == dropShort && l.flipped:
				if walk && !l.flipped {
					l.set(p*len(short) + q)
				}
			default:
				row[q+1] = dropShort
				if walk && l.flipped {
					l.set(p*len(short) + q)
				}
			}
			diagonal = dropLong
		}
	}
	l.length = int(row[len(short)])
	return l
}

func (l *lcs) set(bit int) { l.dropA[bit/64] |= 1 << (bit % 64) }

// dropsA tells which way the walk goes from two bytes that differ. With equal
// lengths on both ways it is b's byte that goes, as in Redis.
func (l *lcs) dropsA(i, j int) bool {
	bit := i*len(l.b) + j
	if l.flipped {
		bit = j*len(l.a) + i
	}
	return l.dropA[bit/64]&(1<<(bit%64)) != 0
}

// walk visits the pairs of positions that the subsequence consists of, from
// its end to its beginning.
func (l *lcs) walk(visit func(i, j int)) {
	i, j := len(l.a), len(l.b)
	for i > 0 && j > 0 {
		switch {
		case l.a[i-1] == l.b[j-1]:
			i, j = i-1, j-1
			visit(i, j)
		case l.dropsA(i-1, j-1):
			i--
		default:
			j--
		}
	}
}

// common is the subsequence itself.
func (l *lcs) common() []byte {
	text := make([]byte, l.length)
	n := l.length
	l.walk(func(i, _ int) {
		n--
		text[n] = l.a[i]
	})
	return text
}

// ranges is where the subsequence lies in a and b, the last run first.
func (l *lcs) ranges(o lcsOptions) []resp.Reply {
	var found []resp.Reply
	ai, bi, n := 0, 0, 0 // the run being followed: its beginnings and its length
	end := func() {
		if n > 0 && int64(n) >= o.minMatchLen {
			found = append(found, lcsRange(ai, bi, n, o.matchLen))
		}
	}
	l.walk(func(i, j int) {
		if n > 0 && i == ai-1 && j == bi-1 {
			ai, bi, n = i, j, n+1
			return
		}
		end()
		ai, bi, n = i, j, 1
	})
	end()
	return found
}

func lcsRange(ai, bi, n int, matchLen bool) resp.Reply {
	span := func(start int) resp.Reply {
		return resp.Array(resp.Int(int64(start)), resp.Int(int64(start+n-1)))
	}
	if matchLen {
		return resp.Array(span(ai), span(bi), resp.Int(int64(n)))
	}
	return resp.Array(span(ai), span(bi))
}
