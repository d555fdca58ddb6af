package load

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Sizes says how long values are, in bytes.
type Sizes struct {
	kind     string // "" for fixed, "uniform", "log" (each magnitude as likely), "lognormal"
	min, max int
	median   float64
}

// SizeForms are what ParseSizes takes.
const SizeForms = "64, 1-1024 (uniform), log:1-1048576 (each magnitude as likely), lognormal:200 (median; a few much longer)"

const (
	maxValueBytes = 16 << 20
	sigma         = 1.0 // of the logarithm: one in a hundred is ten times the median
)

// FixedSize is n bytes, always.
func FixedSize(n int) Sizes { return Sizes{min: n, max: n} }

// ParseSizes reads sizes.
func ParseSizes(s string) (z Sizes, err error) {
	kind, rest, found := strings.Cut(s, ":")
	if !found {
		kind, rest = "", s
	}
	number := func(s string) (n int) {
		n, e := strconv.Atoi(s)
		if e != nil || n < 1 || n > maxValueBytes {
			err = fmt.Errorf("%q are no sizes of values: there are %s", s, SizeForms)
		}
		return n
	}
	low, high, between := strings.Cut(rest, "-")
	switch {
	case kind == "lognormal" && !between:
		n := number(low)
		return Sizes{kind: kind, median: float64(n), min: 1, max: min(1000*n, maxValueBytes)}, err
	case kind == "" && !between:
		return FixedSize(number(low)), err
	case (kind == "" || kind == "log") && between:
		z = Sizes{kind: kind, min: number(low), max: number(high)}
		if kind == "" {
			z.kind = "uniform"
		}
		if err == nil && z.min <= z.max {
			return z, nil
		}
	}
	return z, fmt.Errorf("%q are no sizes of values: there are %s", s, SizeForms)
}

func (z Sizes) fixed() bool { return z.kind == "" }

// String is what ParseSizes reads.
func (z Sizes) String() string {
	switch z.kind {
	case "":
		return strconv.Itoa(z.min)
	case "lognormal":
		return fmt.Sprintf("lognormal:%.0f", z.median)
	case "uniform":
		return fmt.Sprintf("%d-%d", z.min, z.max)
	}
	return fmt.Sprintf("%s:%d-%d", z.kind, z.min, z.max)
}

func (z Sizes) next(random *rand.Rand) int {
	switch z.kind {
	case "uniform":
		return z.min + random.IntN(z.max-z.min+1)
	case "log":
		low, high := math.Log(float64(z.min)), math.Log(float64(z.max)+1)
		return min(int(math.Exp(low+random.Float64()*(high-low))), z.max)
	case "lognormal":
		return min(max(int(z.median*math.Exp(random.NormFloat64()*sigma)), z.min), z.max)
	}
	return z.min
}
