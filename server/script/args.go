package script

import (
	"math"
	"strconv"

	lua "github.com/yuin/gopher-lua"
)

// call is one call of a library function: its arguments from 1.
type call struct {
	in *interp
	*lua.LState
}

func (c call) n() int { return c.GetTop() }

// kind names an argument's type as luaL_typerror does.
func (c call) kind(n int) string {
	if n > c.n() {
		return "no value"
	}
	return c.Get(n).Type().String()
}

func (c call) wrong(n int, want string) {
	c.in.badArg(c.LState, n, want+" expected, got "+c.kind(n))
}

func (c call) fail(text string)           { c.in.fail(c.LState, text) }
func (c call) badArg(n int, why string)   { c.in.badArg(c.LState, n, why) }
func (c call) step(n int)                 { c.in.guard.step(c.LState, n) }
func (c call) charge(n int)               { c.in.guard.charge(c.LState, int64(n)) }
func (c call) pushText(s string)          { c.Push(lua.LString(s)) }
func (c call) pushNumber(f float64)       { c.Push(lua.LNumber(f)) }
func (c call) missing(n int) bool         { return n > c.n() || c.Get(n) == lua.LNil }
func (c call) text(n int) string          { return c.textOr(n, "string") }
func (c call) integer(n int) int          { return clampInt(c.number(n)) }
func (c call) truth(n int) bool           { return lua.LVAsBool(c.Get(n)) }
func (c call) requireAny(n int)           { c.require(n <= c.n(), n, "value expected") }
func (c call) table(n int) *lua.LTable    { return c.in.real(c.seenTable(n)) }
func (c call) ownTable(n int) *lua.LTable { return c.in.writable(c.LState, c.seenTable(n)) }

func (c call) require(ok bool, n int, why string) {
	if !ok {
		c.badArg(n, why)
	}
}

func (c call) textOr(n int, want string) string {
	s, ok := toText(c.Get(n))
	if !ok {
		c.wrong(n, want)
	}
	return s
}

func (c call) number(n int) float64 {
	f, ok := toNumber(c.Get(n))
	if !ok {
		c.wrong(n, "number")
	}
	return f
}

func (c call) integerOr(n, i int) int {
	if c.missing(n) {
		return i
	}
	return c.integer(n)
}

// int is luaL_checkint: the low 32 bits.
func (c call) int(n int) int { return int(int32(truncate(c.number(n)))) }

func (c call) intOr(n, i int) int {
	if c.missing(n) {
		return i
	}
	return c.int(n)
}

func (c call) optText(n int, s string) string {
	if c.missing(n) {
		return s
	}
	return c.text(n)
}

func (c call) seenTable(n int) *lua.LTable {
	t, ok := c.Get(n).(*lua.LTable)
	if !ok {
		c.wrong(n, "table")
	}
	return t
}

func (c call) function(n int) *lua.LFunction {
	f, ok := c.Get(n).(*lua.LFunction)
	if !ok {
		c.wrong(n, "function")
	}
	return f
}

// clampInt is the cast of a Lua number to an int, within a range in which
// sums of two do not overflow.
func clampInt(f float64) int {
	const far = 1 << 52
	switch {
	case f != f:
		return math.MinInt32
	case f > far:
		return far
	case f < -far:
		return -far
	}
	return int(f)
}

func itoa(n int) string { return strconv.Itoa(n) }
