package load

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
)

// Keys says which keys are asked for: numbers from 0, or beyond N where a
// distribution has keys of its own.
type Keys struct {
	Kind     string
	Exponent float64
	N        int64

	next *atomic.Int64 // of what clients share; goes on from turn to turn
}

// Distributions are the kinds that ParseKeys takes.
const Distributions = "uniform, zipf:EXPONENT, seq (each key once, then the next), scan:EXPONENT (zipf, and a third of the requests run through keys that nobody asks for twice), shift:EXPONENT (zipf, and what is popular moves on)"

// ParseKeys reads a distribution over n keys, such as zipf:1.01.
func ParseKeys(s string, n int64) (Keys, error) {
	k := Keys{Kind: s, N: n, next: new(atomic.Int64)}
	if n < 1 || n > maxKeys {
		return k, fmt.Errorf("%d is not a number of keys", n)
	}
	kind, exponent, found := strings.Cut(s, ":")
	switch {
	case kind == "uniform" && !found, kind == "seq" && !found:
		return k, nil
	case kind == "zipf", kind == "scan", kind == "shift":
		k.Kind, k.Exponent = kind, 1.01
		if !found {
			return k, nil
		}
		var err error
		if k.Exponent, err = strconv.ParseFloat(exponent, 64); err == nil && k.Exponent > 0 && k.Exponent <= 10 {
			return k, nil
		}
	}
	return k, fmt.Errorf("%q is no distribution of keys: there are %s", s, Distributions)
}

// From has seq begin with that key.
func (k Keys) From(key int64) { k.next.Store(key) }

const (
	maxKeys    = 1e11
	shiftEvery = 16 // requests after which the working set of shift moves on by one key
	scanShare  = 3  // one request in so many
)

// chooser makes the choices of one client.
func (k Keys) chooser(seed uint64, number int) func() int64 {
	random := rand.New(rand.NewPCG(uint64(number), seed))
	if k.Kind == "uniform" {
		return func() int64 { return random.Int64N(k.N) }
	}
	if k.Kind == "seq" {
		return func() int64 { return k.next.Add(1) - 1 }
	}
	z := newZipf(k.Exponent, k.N)
	switch k.Kind {
	case "scan":
		return func() int64 {
			if random.IntN(scanShare) == 0 {
				return k.N + k.next.Add(1)
			}
			return z.next(random)
		}
	case "shift":
		return func() int64 {
			return (z.next(random) + k.next.Add(1)/shiftEvery) % k.N
		}
	}
	return func() int64 { return z.next(random) }
}

// zipf draws k from 0 to n-1 with a probability that goes with (k+1)^-s, for any
// s above 0: rejection-inversion by Hörmann and Derflinger (1996).
type zipf struct {
	s                 float64
	first, last, sure float64
	n                 int64
}

func newZipf(s float64, n int64) *zipf {
	z := &zipf{s: s, n: n}
	z.first = z.integral(1.5) - 1
	z.last = z.integral(float64(n) + 0.5)
	z.sure = 2 - z.inverse(z.integral(2.5)-z.weight(2))
	return z
}

func (z *zipf) next(random *rand.Rand) int64 {
	for {
		u := z.last + random.Float64()*(z.first-z.last)
		x := z.inverse(u)
		k := min(max(math.Floor(x+0.5), 1), float64(z.n))
		if k-x <= z.sure || u >= z.integral(k+0.5)-z.weight(k) {
			return int64(k) - 1
		}
	}
}

func (z *zipf) weight(x float64) float64 { return math.Exp(-z.s * math.Log(x)) }

func (z *zipf) integral(x float64) float64 {
	if z.s == 1 {
		return math.Log(x)
	}
	return math.Expm1((1-z.s)*math.Log(x)) / (1 - z.s)
}

func (z *zipf) inverse(u float64) float64 {
	if z.s == 1 {
		return math.Exp(u)
	}
	return math.Exp(math.Log1p((1-z.s)*u) / (1 - z.s))
}
