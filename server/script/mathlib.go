package script

import (
	"math"

	lua "github.com/yuin/gopher-lua"
)

// math1 makes a library function of a function of one number.
func math1(f func(float64) float64) gofn {
	return func(c call) int {
		c.pushNumber(f(c.number(1)))
		return 1
	}
}

// math2 makes a library function of a function of two numbers.
func math2(f func(a, b float64) float64) gofn {
	return func(c call) int {
		a := c.number(1)
		c.pushNumber(f(a, c.number(2)))
		return 1
	}
}

var mathConstants = map[string]lua.LValue{
	"pi":   lua.LNumber(math.Pi),
	"huge": lua.LNumber(math.Inf(1)),
}

var mathFuncs = map[string]gofn{
	"abs":        math1(math.Abs),
	"acos":       math1(math.Acos),
	"asin":       math1(math.Asin),
	"atan":       math1(math.Atan),
	"atan2":      math2(math.Atan2),
	"ceil":       math1(math.Ceil),
	"cos":        math1(math.Cos),
	"cosh":       math1(math.Cosh),
	"deg":        math1(func(f float64) float64 { return f / (math.Pi / 180) }),
	"exp":        math1(math.Exp),
	"floor":      math1(math.Floor),
	"fmod":       math2(math.Mod),
	"frexp":      mathFrexp,
	"ldexp":      func(c call) int { f := c.number(1); c.pushNumber(math.Ldexp(f, c.int(2))); return 1 },
	"log":        math1(math.Log),
	"log10":      math1(math.Log10),
	"max":        func(c call) int { return mathBest(c, func(a, b float64) bool { return a > b }) },
	"min":        func(c call) int { return mathBest(c, func(a, b float64) bool { return a < b }) },
	"mod":        math2(math.Mod),
	"modf":       mathModf,
	"pow":        math2(math.Pow),
	"rad":        math1(func(f float64) float64 { return f * (math.Pi / 180) }),
	"random":     mathRandom,
	"randomseed": mathRandomSeed,
	"sin":        math1(math.Sin),
	"sinh":       math1(math.Sinh),
	"sqrt":       math1(math.Sqrt),
	"tan":        math1(math.Tan),
	"tanh":       math1(math.Tanh),
}

// arithmetic is what the metatable of strings computes.
var arithmetic = map[string]func(a, b float64) float64{
	"__add": func(a, b float64) float64 { return a + b },
	"__sub": func(a, b float64) float64 { return a - b },
	"__mul": func(a, b float64) float64 { return a * b },
	"__div": func(a, b float64) float64 { return a / b },
	"__pow": math.Pow,
	"__unm": func(a, _ float64) float64 { return -a },
	"__mod": func(a, b float64) float64 {
		m := math.Mod(a, b)
		if m != 0 && (m < 0) != (b < 0) {
			m += b
		}
		return m
	},
}

func mathFrexp(c call) int {
	f, e := math.Frexp(c.number(1))
	c.pushNumber(f)
	c.pushNumber(float64(e))
	return 2
}

func mathModf(c call) int {
	f := c.number(1)
	whole := math.Trunc(f)
	part := f - whole
	if math.IsInf(f, 0) {
		part = 0
	}
	c.pushNumber(whole)
	c.pushNumber(math.Copysign(part, f))
	return 2
}

func mathBest(c call, better func(a, b float64) bool) int {
	best := c.number(1)
	for i := 2; i <= c.n(); i++ {
		if f := c.number(i); better(f, best) {
			best = f
		}
	}
	c.pushNumber(best)
	return 1
}

// mathRandomSeed seeds the rest of this run: the same numbers as in Redis.
func mathRandomSeed(c call) int {
	seed := uint32(c.int(1))
	if !c.in.reseeded {
		c.in.reseeded, c.in.unseeded = true, c.in.random
	}
	c.in.random = uint64(seed)<<16 | 0x330E
	return 0
}

// next48 is the next number of Redis's own lrand48.
func next48(x uint64) uint64 { return (x*0x5DEECE66D + 0xB) & (1<<48 - 1) }

func mathRandom(c call) int {
	c.in.random = next48(c.in.random)
	r := float64(int32(c.in.random>>17)%math.MaxInt32) / math.MaxInt32
	switch c.n() {
	case 0:
		c.pushNumber(r)
	case 1:
		to := c.int(1)
		c.require(to >= 1, 1, "interval is empty")
		c.pushNumber(math.Floor(r*float64(to)) + 1)
	case 2:
		from, to := c.int(1), c.int(2)
		c.require(from <= to, 2, "interval is empty")
		c.pushNumber(math.Floor(r*float64(to-from+1)) + float64(from))
	default:
		c.fail("wrong number of arguments")
	}
	return 1
}
