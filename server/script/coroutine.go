package script

import (
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

// maxCoroutines bounds coroutines that resume each other, which recurse on
// the goroutine's stack.
const maxCoroutines = 180

// firstSource is the function that every coroutine starts with. What the
// interpreter raises in a thread gets Lua's words only after ready.
const firstSource = "return function(ready, f, ...) ready() return f(...) end"

var firstProto = func() *lua.FunctionProto {
	chunk, err := parse.Parse(strings.NewReader(firstSource), "=coroutine")
	if err != nil {
		panic(err)
	}
	outer, err := lua.Compile(chunk, "=coroutine")
	if err != nil {
		panic(err)
	}
	finishProto(outer)
	return outer.FunctionPrototypes[0]
}()

func (in *interp) openCoroutine() {
	L := in.L
	L.Push(L.NewFunction(lua.OpenCoroutine))
	L.Call(0, 1)
	native := L.Get(-1).(*lua.LTable)
	L.Pop(1)
	in.coNative = [2]lua.LGFunction{
		native.RawGetString("create").(*lua.LFunction).GFunction,
		native.RawGetString("resume").(*lua.LFunction).GFunction,
	}
	in.coFirst = &lua.LFunction{Env: in.env, Proto: firstProto}
	in.coReady = in.native(func(c call) int {
		c.Panic = c.in.onPanic
		return 0
	})
	L.Options = lua.Options{
		CallStackSize:       min(in.limits.MaxStackDepth, 4000),
		RegistrySize:        64,
		RegistryMaxSize:     1 << 18,
		RegistryGrowStep:    512,
		MinimizeStackMemory: true,
	}
	in.library("coroutine", coroutineFuncs, nil)
}

var coroutineFuncs = map[string]gofn{
	"create":  func(c call) int { c.Push(c.newThread()); return 1 },
	"resume":  coResume,
	"running": coRunning,
	"status":  func(c call) int { c.pushText(c.status(c.thread(1))); return 1 },
	"wrap":    coWrap,
	"yield":   coYield,
}

func (c call) thread(n int) *lua.LState {
	th, ok := c.Get(n).(*lua.LState)
	c.require(ok, n, "coroutine expected")
	return th
}

// newThread makes a coroutine of the function that is the first argument.
func (c call) newThread() *lua.LState {
	f, ok := c.Get(1).(*lua.LFunction)
	c.require(ok && !f.IsG, 1, "Lua function expected")
	c.charge(threadBytes)
	c.SetTop(0)
	c.Push(c.in.coFirst)
	c.in.coNative[0](c.LState)
	th := c.Get(-1).(*lua.LState)
	c.SetTop(0)
	th.SetContext(&c.in.guard)
	if c.in.fresh == nil {
		c.in.fresh = make(map[*lua.LState]*lua.LFunction)
	}
	c.in.fresh[th] = f
	c.in.worn = true
	return th
}

func (c call) status(th *lua.LState) string {
	current := c.in.L.G.CurrentThread
	switch {
	case th == current:
		return "running"
	case th.Dead:
		return "dead"
	}
	for p := current.Parent; p != nil; p = p.Parent {
		if p == th {
			return "normal"
		}
	}
	return "suspended"
}

// resume runs a coroutine with arguments: its results, or its error value.
func (c call) resume(th *lua.LState, args []lua.LValue) (results []lua.LValue, ok bool) {
	in := c.in
	if s := c.status(th); s != "suspended" {
		return []lua.LValue{lua.LString("cannot resume " + s + " coroutine")}, false
	}
	if in.coDepth >= maxCoroutines {
		return []lua.LValue{lua.LString("C stack overflow")}, false
	}
	c.SetTop(0)
	c.Push(th)
	if f, first := in.fresh[th]; first {
		delete(in.fresh, th)
		c.Push(in.coReady)
		c.Push(f)
	}
	for _, a := range args {
		c.Push(a)
	}
	in.coDepth++
	nested, base, making, building := in.nested, in.coBase, len(in.making), in.building
	in.coBase = in.nested
	n := in.coNative[1](c.LState)
	in.nested, in.coBase = nested, base
	in.coDepth--
	top := c.n()
	ok = lua.LVAsBool(c.Get(top - n + 1))
	for i := top - n + 2; i <= top; i++ {
		results = append(results, c.Get(i))
	}
	c.SetTop(0)
	if !ok {
		in.making, in.building = in.making[:making], building
		if len(results) == 1 && results[0] == lua.LString("lua callstack overflow") {
			results[0] = lua.LString(textOverflow)
		}
	}
	return results, ok
}

func coResume(c call) int {
	results, ok := c.resume(c.thread(1), c.args(2))
	return c.answer(ok, results...)
}

func coRunning(c call) int {
	if c.LState == c.in.L {
		c.Push(lua.LNil)
	} else {
		c.Push(c.LState)
	}
	return 1
}

func coWrap(c call) int {
	th := c.newThread()
	c.Push(c.NewClosure(func(L *lua.LState) int {
		c := call{c.in, L}
		results, ok := c.resume(th, c.args(1))
		if !ok {
			v := results[0]
			if s, ok := toText(v); ok {
				v = lua.LString(where(L, 1) + s)
			}
			c.in.raise(L, v)
		}
		for _, v := range results {
			c.Push(v)
		}
		return len(results)
	}, th))
	return 1
}

// coYield may run only where nothing but Lua is between it and the resume:
// the interpreter cannot leave a library function half way.
func coYield(c call) int {
	if c.Parent == nil || c.in.nested != c.in.coBase {
		c.in.failBare(c.LState, textYield)
	}
	return -1
}
