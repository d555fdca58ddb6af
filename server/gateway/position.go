package gateway

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Position says how much of every origin's messages somebody has seen. It is what
// an event's id tells, and means the same on every node:
//
//	0                              nothing yet
//	q2V0aW5n.41,zR0b3Bz8.7         up to the 41st of one origin and the 7th of another
//
// An origin is one life of one node that publishes. One number would not do, nor
// would the time: two nodes publish at once, their messages cross, and
//
//	node A   has m1 of its own, then m2 of B's
//	node B   has m2 of its own, and m1 is on its way
//	browser  on B, sees m2, and B is killed
//	browser  on A, asks for what came after m2: A's answer would be nothing, m1 lost
//
// A Position is never changed, only replaced; it is in the order of origins.
type Position []Place

// Place is how far one origin has come.
type Place struct {
	Origin Origin
	Seq    uint64 // its messages are numbered from 1 without holes, those in histories alone
}

// Origin is 48 bits chosen at random.
type Origin uint64

const (
	originBits  = 48
	originChars = originBits / 6
	maxPlaces   = 512 // of a position that is read
	maxPosition = 16 << 10
)

// OriginFrom is the origin that random bits stand for.
func OriginFrom(random uint64) Origin { return Origin(random >> (64 - originBits)) }

// Of is how far an origin has come, 0 if the position does not know it.
func (p Position) Of(o Origin) uint64 {
	if i, known := p.find(o); known {
		return p[i].Seq
	}
	return 0
}

func (p Position) find(o Origin) (int, bool) {
	return slices.BinarySearchFunc(p, o, func(at Place, o Origin) int {
		switch {
		case at.Origin < o:
			return -1
		case at.Origin > o:
			return 1
		}
		return 0
	})
}

// With is the position with one origin at seq.
func (p Position) With(o Origin, seq uint64) Position {
	i, known := p.find(o)
	if known {
		next := slices.Clone(p)
		next[i].Seq = seq
		return next
	}
	next := make(Position, 0, len(p)+1)
	return append(append(append(next, p[:i]...), Place{o, seq}), p[i:]...)
}

// Without is the position without those origins that gone tells.
func (p Position) Without(gone func(Origin) bool) Position {
	return slices.DeleteFunc(slices.Clone(p), func(at Place) bool { return gone(at.Origin) })
}

// Covers tells whether all that q has seen was seen by p.
func (p Position) Covers(q Position) bool {
	for _, at := range q {
		if p.Of(at.Origin) < at.Seq {
			return false
		}
	}
	return true
}

// Join is what p and q have seen together.
func (p Position) Join(q Position) Position {
	for _, at := range q {
		if p.Of(at.Origin) < at.Seq {
			p = p.With(at.Origin, at.Seq)
		}
	}
	return p
}

// Append writes the position.
func (p Position) Append(b []byte) []byte {
	if len(p) == 0 {
		return append(b, '0')
	}
	for i, at := range p {
		if i > 0 {
			b = append(b, ',')
		}
		var bits [8]byte
		binary.BigEndian.PutUint64(bits[:], uint64(at.Origin)<<(64-originBits))
		b = base64.RawURLEncoding.AppendEncode(b, bits[:originBits/8])
		b = strconv.AppendUint(append(b, '.'), at.Seq, 10)
	}
	return b
}

func (p Position) String() string { return string(p.Append(nil)) }

var errPosition = errors.New("not the id of an event")

// ParsePosition reads what Append has written, in any order.
func ParsePosition(text string) (p Position, err error) {
	if text == "0" {
		return nil, nil
	}
	if len(text) > maxPosition || strings.Count(text, ",") >= maxPlaces {
		return nil, errPosition
	}
	for word := range strings.SplitSeq(text, ",") {
		name, number, _ := strings.Cut(word, ".")
		bits, err := base64.RawURLEncoding.Strict().DecodeString(name)
		seq, err2 := strconv.ParseUint(number, 10, 64)
		if err != nil || err2 != nil || len(name) != originChars || seq == 0 || seq > math.MaxInt64 {
			return nil, errPosition
		}
		var whole [8]byte
		copy(whole[:], bits)
		p = append(p, Place{OriginFrom(binary.BigEndian.Uint64(whole[:])), seq})
	}
	slices.SortFunc(p, func(a, b Place) int {
		if a.Origin < b.Origin {
			return -1
		}
		return 1
	})
	for i := range len(p) - 1 {
		if p[i].Origin == p[i+1].Origin {
			return nil, errPosition
		}
	}
	return p, nil
}
