package gateway

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestPosition(t *testing.T) {
	a, b, c := OriginFrom(1<<16), OriginFrom(2<<40), OriginFrom(1<<63)
	p := Position(nil).With(c, 3).With(a, 1).With(b, 2)
	if p.String() != "AAAAAAAB.1,AAACAAAA.2,gAAAAAAA.3" {
		t.Error(p)
	}
	q := p.With(b, 9)
	if p.Of(b) != 2 || q.Of(b) != 9 || !q.Covers(p) || p.Covers(q) || p.Of(7) != 0 || !p.Covers(nil) || Position(nil).Covers(p) {
		t.Error(p, q)
	}
	r := p.With(a, 5)
	if got := q.Join(r); got.String() != "AAAAAAAB.5,AAACAAAA.9,gAAAAAAA.3" || !got.Covers(q) || !got.Covers(r) {
		t.Error(got)
	}
	if got := p.Without(func(o Origin) bool { return o == b }); got.String() != "AAAAAAAB.1,gAAAAAAA.3" || len(p) != 3 {
		t.Error(got)
	}
	seed := rand.Uint64()
	r1 := rand.New(rand.NewPCG(seed, 0))
	for range 1000 {
		var p Position
		for range r1.IntN(6) {
			p = p.With(OriginFrom(r1.Uint64()), 1+r1.Uint64()>>uint(1+r1.IntN(60)))
		}
		if got, err := ParsePosition(p.String()); err != nil || !slices.Equal(got, p) {
			t.Fatalf("seed %d: %s became %s, %v", seed, p, got, err)
		}
	}
}

func TestParsePosition(t *testing.T) {
	if p, err := ParsePosition("gAAAAAAA.3,AAAAAAAB.1"); err != nil || p.String() != "AAAAAAAB.1,gAAAAAAA.3" {
		t.Error(p, err)
	}
	for _, wrong := range []string{
		"", "1", "00", "0,AAAAAAAB.1", "AAAAAAAB", "AAAAAAAB.", "AAAAAAAB.0", "AAAAAAAB.-1", "AAAAAAAB.1,", "AAAAAAAB.1,AAAAAAAB.2", "AAAAAAA.1",
		"AAAAAAAAB.1", "AAAAAAA+.1", "AAAAAAAB.99999999999999999999", "AAAAAAAB.9223372036854775808", "AAAAAAAB.1\n",
		strings.Repeat("AAAAAAAB.1,", 600) + "AAAAAAAC.1",
	} {
		if p, err := ParsePosition(wrong); err == nil {
			t.Errorf("%q is %v", wrong, p)
		}
	}
}

func FuzzParsePosition(f *testing.F) {
	f.Add("0")
	f.Add("q2V0aW5n.41,zR0b3Bz8.7")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePosition(text)
		if err != nil {
			return
		}
		if again, err := ParsePosition(p.String()); err != nil || !slices.Equal(p, again) {
			t.Errorf("%q: %v became %v, %v", text, p, again, err)
		}
	})
}
