package script

import (
	"math"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

var baseFuncs = map[string]gofn{
	"assert":                baseAssert,
	"collectgarbage":        baseCollect,
	"error":                 baseError,
	"gcinfo":                func(c call) int { c.pushNumber(memoryShown); c.pushNumber(0); return 2 },
	"getmetatable":          baseGetMeta,
	"ipairs":                baseIpairs,
	"load":                  baseLoad,
	"loadstring":            baseLoadString,
	"next":                  baseNext,
	"pairs":                 basePairs,
	"pcall":                 basePcall,
	"rawequal":              baseRawEqual,
	"rawget":                baseRawGet,
	"rawset":                baseRawSet,
	"select":                baseSelect,
	"setmetatable":          baseSetMeta,
	"tonumber":              baseToNumber,
	"tostring":              baseToString,
	"type":                  baseType,
	"unpack":                baseUnpack,
	"xpcall":                baseXpcall,
	"__redis__err__handler": baseHandler,
}

// memoryShown is what collectgarbage("count") says, in KiB: the memory of
// this process is no business of a script.
const memoryShown = 64

func (in *interp) openBase() {
	for name, f := range baseFuncs {
		in.globals.RawSetString(name, in.native(f))
	}
	in.nextPair = in.globals.RawGetString("next").(*lua.LFunction)
	in.nextIndex = in.native(ipairsStep)
}

// metamethod is a raw field of a value's metatable.
func (c call) metamethod(v lua.LValue, event string) lua.LValue {
	switch v := v.(type) {
	case *lua.LTable:
		if meta, ok := v.Metatable.(*lua.LTable); ok {
			return meta.RawGetString(event)
		}
	case *lua.LUserData:
		if meta, ok := v.Metatable.(*lua.LTable); ok {
			return meta.RawGetString(event)
		}
	}
	return lua.LNil
}

// call1 calls a function for one result.
func (c call) call1(f lua.LValue, args ...lua.LValue) lua.LValue {
	c.in.nest(c.LState)
	c.Push(f)
	for _, a := range args {
		c.Push(a)
	}
	c.Call(len(args), 1)
	c.in.nested--
	v := c.Get(-1)
	c.Pop(1)
	return v
}

// nest counts a library function that is about to call Lua.
func (in *interp) nest(L *lua.LState) {
	if in.nested >= maxNested {
		in.fail(L, "C stack overflow")
	}
	in.nested++
}

func baseAssert(c call) int {
	c.requireAny(1)
	if !c.truth(1) {
		c.fail(c.optText(2, "assertion failed!"))
	}
	return c.n()
}

func baseCollect(c call) int {
	switch what := c.optText(1, "collect"); what {
	case "count":
		c.pushNumber(memoryShown)
	case "step":
		c.Push(lua.LFalse)
	case "collect", "stop", "restart", "setpause", "setstepmul":
		c.pushNumber(0)
	default:
		c.badArg(1, "invalid option '"+what+"'")
	}
	return 1
}

func baseError(c call) int {
	v := c.Get(1)
	level := c.intOr(2, 1)
	if s, ok := toText(v); ok && level > 0 {
		v = lua.LString(where(c.LState, level) + s)
	}
	c.in.raise(c.LState, v)
	return 0
}

func baseGetMeta(c call) int {
	c.requireAny(1)
	switch v := c.Get(1).(type) {
	case *lua.LTable:
		if _, ok := c.in.reals[v]; ok {
			if v == c.in.env {
				c.Push(c.in.decoys[0])
			} else {
				c.Push(lua.LNil)
			}
			return 1
		}
	case lua.LString:
		c.Push(c.in.decoys[1])
		return 1
	}
	c.Push(c.GetMetatable(c.Get(1)))
	return 1
}

func baseSetMeta(c call) int {
	t := c.seenTable(1)
	meta := c.Get(2)
	_, isTable := meta.(*lua.LTable)
	c.require(c.n() >= 2 && (meta == lua.LNil || isTable), 2, "nil or table expected")
	if c.metamethod(t, "__metatable") != lua.LNil {
		c.fail("cannot change a protected metatable")
	}
	c.in.writable(c.LState, t).Metatable = meta
	c.SetTop(1)
	return 1
}

func baseIpairs(c call) int {
	t := c.seenTable(1)
	c.Push(c.in.nextIndex)
	c.Push(t)
	c.pushNumber(0)
	return 3
}

func ipairsStep(c call) int {
	t := c.table(1)
	i := c.integer(2) + 1
	v := t.RawGet(lua.LNumber(i))
	if v == lua.LNil {
		return 0
	}
	c.pushNumber(float64(i))
	c.Push(v)
	return 2
}

func baseNext(c call) int {
	k, v := c.table(1).Next(c.Get(2))
	c.Push(k)
	if k == lua.LNil {
		return 1
	}
	c.Push(v)
	return 2
}

func basePairs(c call) int {
	t := c.seenTable(1)
	c.Push(c.in.nextPair)
	c.Push(t)
	c.Push(lua.LNil)
	return 3
}

func baseRawEqual(c call) int {
	c.requireAny(1)
	c.requireAny(2)
	c.Push(lua.LBool(c.RawEqual(c.Get(1), c.Get(2))))
	return 1
}

func baseRawGet(c call) int {
	t := c.table(1)
	c.requireAny(2)
	c.Push(t.RawGet(c.Get(2)))
	return 1
}

func baseRawSet(c call) int {
	t := c.seenTable(1)
	c.requireAny(2)
	c.requireAny(3)
	c.in.writable(c.LState, t)
	c.rawSet(t, c.Get(2), c.Get(3))
	c.SetTop(1)
	return 1
}

// rawSet sets a field, with Lua's errors and the engine's accounting.
func (c call) rawSet(t *lua.LTable, k, v lua.LValue) {
	switch n := k.(type) {
	case *lua.LNilType:
		c.in.failBare(c.LState, "table index is nil")
	case lua.LNumber:
		if n != n {
			c.in.failBare(c.LState, "table index is NaN")
		}
		c.chargeKey(t, n)
	}
	t.RawSet(k, v)
}

func baseSelect(c call) int {
	if c.Get(1) == lua.LString("#") {
		c.pushNumber(float64(c.n() - 1))
		return 1
	}
	i, n := c.int(1), c.n()
	if i < 0 {
		i += n
	} else if i > n {
		i = n
	}
	c.require(i >= 1, 1, "index out of range")
	return n - i
}

func baseToNumber(c call) int {
	base := c.intOr(2, 10)
	if base == 10 {
		c.requireAny(1)
		if f, ok := toNumber(c.Get(1)); ok {
			c.pushNumber(f)
			return 1
		}
		c.Push(lua.LNil)
		return 1
	}
	s := c.text(1)
	c.require(base >= 2 && base <= 36, 2, "base out of range")
	if f, ok := parseBase(s, base); ok {
		c.pushNumber(f)
	} else {
		c.Push(lua.LNil)
	}
	return 1
}

// parseBase is C's strtoul with nothing but spaces around the number.
func parseBase(s string, base int) (float64, bool) {
	s = strings.Trim(s, " \t\n\v\f\r")
	neg := strings.HasPrefix(s, "-")
	if neg || strings.HasPrefix(s, "+") {
		s = s[1:]
	}
	if base == 16 && hasFold(s, "0x") {
		s = s[2:]
	}
	var n uint64
	full := false
	for i := range len(s) {
		d := digit(s[i])
		if d >= base {
			return 0, false
		}
		if n > (math.MaxUint64-uint64(d))/uint64(base) {
			full = true
		}
		n = n*uint64(base) + uint64(d)
	}
	switch {
	case len(s) == 0:
		return 0, false
	case full:
		n = math.MaxUint64
	case neg:
		n = -n
	}
	return float64(n), true
}

func digit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'z':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'Z':
		return int(c-'A') + 10
	}
	return 99
}

func baseToString(c call) int {
	c.requireAny(1)
	c.Push(c.toString(c.Get(1)))
	return 1
}

// toString is the function tostring.
func (c call) toString(v lua.LValue) lua.LValue {
	if f := c.metamethod(v, "__tostring"); f != lua.LNil {
		return c.call1(f, v)
	}
	if s, ok := toText(v); ok {
		return lua.LString(s)
	}
	return lua.LString(v.String())
}

func baseType(c call) int {
	c.requireAny(1)
	c.pushText(c.Get(1).Type().String())
	return 1
}

// maxUnpack is LUAI_MAXCSTACK, what Lua's stack takes of one call.
const maxUnpack = 8000

func baseUnpack(c call) int {
	t := c.table(1)
	from := c.intOr(2, 1)
	to := c.intOr(3, length(t))
	if from > to {
		return 0
	}
	if to-from >= maxUnpack {
		c.fail("too many results to unpack")
	}
	c.charge((to - from) * 16)
	for i := from; i <= to; i++ {
		c.Push(t.RawGet(lua.LNumber(i)))
	}
	return to - from + 1
}

// length is the operator # without metamethods.
func length(t *lua.LTable) int { return t.Len() }

func baseHandler(c call) int {
	t, ok := c.Get(1).(*lua.LTable)
	if !ok {
		t = c.CreateTable(0, 3)
		t.RawSetString("err", lua.LString("ERR "+c.toString(c.Get(1)).String()))
	}
	if source, line := position(frameAt(c.LState, 1)); line > 0 {
		t.RawSetString("source", lua.LString("@"+source))
		t.RawSetString("line", lua.LNumber(line))
	}
	c.Push(t)
	return 1
}
