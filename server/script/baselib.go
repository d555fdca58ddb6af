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

// concat is the operator .. with all operands of a chain.
func concat(c call) int {
	n := c.n()
	total, plain := 0, true
	for i := 1; i <= n; i++ {
		switch v := c.Get(i).(type) {
		case lua.LString:
			total += len(v)
		case lua.LNumber:
			total += 24
		default:
			plain = false
		}
	}
	c.charge(total)
	if plain {
		buf := make([]byte, 0, total)
		for i := 1; i <= n; i++ {
			buf = appendText(buf, c.Get(i))
		}
		c.Push(lua.LString(textOf(buf)))
		return 1
	}
	right := c.Get(n)
	for i := n - 1; i >= 1; i-- {
		right = c.concat2(c.Get(i), right, i)
	}
	c.Push(right)
	return 1
}

// concat2 joins operands i and i+1, of which the right one may be a result.
func (c call) concat2(left, right lua.LValue, i int) lua.LValue {
	l, ok := toText(left)
	r, ok2 := toText(right)
	if ok && ok2 {
		c.charge(len(l) + len(r))
		return lua.LString(l + r)
	}
	for _, v := range []lua.LValue{left, right} {
		if f := c.metamethod(v, "__concat"); f != lua.LNil {
			return c.call1(f, left, right)
		}
	}
	bad, at := right, i+1
	if !ok {
		bad, at = left, i
	}
	kind := bad.Type().String()
	if p := viewState(c.LState).currentFrame.Parent; p != nil && !p.Fn.IsG {
		a := argA(p.Fn.Proto.Code[p.Pc-1])
		c.fail("attempt to concatenate " + describe(p.Fn.Proto, p.Pc-1, a+at, kind))
	}
	c.fail("attempt to concatenate a " + kind + " value")
	return nil
}

// freeKey is the largest key that needs no accounting: an array of that many
// slots is as cheap as the instruction is slow.
const freeKey = 1024

// assignedKey accounts for the array that an assignment to a key may make.
func assignedKey(c call) int {
	v := c.Get(1)
	if n, ok := v.(lua.LNumber); ok && n > freeKey && n < 1<<26 && float64(n) == math.Floor(float64(n)) {
		c.charge(int(n) * 16)
	}
	c.SetTop(1)
	return 1
}

// forBound makes a number of a bound of a numeric for.
func forBound(c call) int {
	f, ok := toNumber(c.Get(1))
	if !ok {
		c.fail("'for' " + c.Get(2).String() + " must be a number")
	}
	c.pushNumber(f)
	return 1
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
		if n > freeKey && n < 1<<26 {
			c.charge(int(n) * 16)
		}
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

func baseLoadString(c call) int {
	s := c.text(1)
	return c.load(s, c.optText(2, s))
}

func baseLoad(c call) int {
	f := c.function(1)
	name := c.optText(2, "=(load)")
	var b strings.Builder
	for {
		v, failed := c.in.protected(c.LState, f)
		if failed != nil {
			c.Push(lua.LNil)
			c.Push(failed.Object)
			return 2
		}
		piece := lua.LValue(lua.LNil)
		if len(v) > 0 {
			piece = v[0]
		}
		s, ok := toText(piece)
		if piece != lua.LNil && !ok {
			c.Push(lua.LNil)
			c.pushText("reader function must return a string")
			return 2
		}
		if s == "" {
			break
		}
		c.charge(len(s))
		if b.WriteString(s); b.Len() > c.in.limits.MaxScriptBytes {
			break // refused by load
		}
	}
	return c.load(b.String(), name)
}

// load compiles a chunk that a script made.
func (c call) load(source, name string) int {
	var proto *lua.FunctionProto
	var err error
	switch {
	case strings.HasPrefix(source, "\x1b"):
		c.Push(lua.LNil)
		c.pushText(chunkName(name) + ": bad header in precompiled chunk")
		return 2
	case len(source) > c.in.limits.MaxScriptBytes:
		c.Push(lua.LNil)
		c.pushText("chunk too large")
		return 2
	default:
		c.charge(len(source) * 20)
		c.step(len(source))
		proto, err = compile(source, chunkName(name))
	}
	if err != nil {
		c.Push(lua.LNil)
		c.pushText(err.Error())
		return 2
	}
	c.Push(c.in.closure(proto))
	return 1
}

// closure makes a function of a compiled chunk.
func (in *interp) closure(proto *lua.FunctionProto) *lua.LFunction {
	f := &lua.LFunction{Env: in.env, Proto: proto}
	if n := int(proto.NumUpvalues); n > 0 {
		f.Upvalues = make([]*lua.Upvalue, n)
		for i := range f.Upvalues {
			f.Upvalues[i] = in.hidden[proto.DbgUpvalues[i]]
		}
	}
	return f
}

// chunkName is Lua's luaO_chunkid.
func chunkName(name string) string {
	const room = 60
	switch {
	case strings.HasPrefix(name, "="):
		return name[1:min(len(name), room)]
	case strings.HasPrefix(name, "@"):
		return name[1:]
	}
	line, _, more := strings.Cut(name, "\n")
	if most := room - len(`[string "..."]`) - 1; len(line) > most {
		line, more = line[:most], true
	}
	if more {
		line += "..."
	}
	return `[string "` + line + `"]`
}

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

func appendText(dst []byte, v lua.LValue) []byte {
	switch v := v.(type) {
	case lua.LString:
		return append(dst, v...)
	case lua.LNumber:
		return appendNumber(dst, float64(v), 14)
	}
	return dst
}
