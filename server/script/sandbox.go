package script

import (
	"math/rand/v2"
	"strings"

	"crema/resp"

	lua "github.com/yuin/gopher-lua"
)

// interp is one interpreter with its libraries. One script at a time runs on
// it; what a script could change is made anew for each run.
//
// Scripts see the globals and the library tables through empty proxies whose
// metatables read the real table and refuse writes, because gopher-lua has no
// read-only tables. The libraries here look through the proxies.
type interp struct {
	L       *lua.LState
	limits  Limits
	guard   guard
	globals *lua.LTable                 // the real ones
	env     *lua.LTable                 // their proxy: _G and the environment of scripts
	reals   map[*lua.LTable]*lua.LTable // what a proxy stands for
	strings *lua.LTable                 // the proxy of the library string
	decoys  [2]*lua.LTable              // what getmetatable shows of _G and of strings

	hidden   map[string]*lua.Upvalue // the functions that rewritten code calls
	trap     *lua.LFunction          // runs a function for pcall
	entry    *lua.LFunction          // enter
	main     *lua.LFunction          // of the script that ran last
	mainOf   *Script                 // that script
	coFirst  *lua.LFunction          // the first Lua function of every coroutine
	coReady  *lua.LFunction          // what that one calls first
	coNative [2]lua.LGFunction       // gopher-lua's create and resume
	null     *lua.LUserData          // cjson.null

	nextPair, nextIndex *lua.LFunction // what pairs and ipairs iterate with

	// Of the running script.
	host     Host
	script   *Script
	proto    int    // of redis.setresp
	random   uint64 // of math.random; goes on from run to run
	unseeded uint64 // where random stood before math.randomseed
	reseeded bool
	json     *jsonConfig
	fresh    map[*lua.LState]*lua.LFunction // coroutines that have not started
	meter    *meter                         // once the script had to be measured
	replied  int                            // bytes of its reply so far, as it is sent
	building int64                          // bytes of strings and of the reply that are being made
	making   []*lua.LTable                  // tables that a decoder is filling
	reply    resp.Reply                     // what it answers
	list     [][]byte                       // the words of its last redis.call
	room     []byte                         // where the next words go; no byte of it is given out twice
	nested   int                            // library functions that are calling Lua
	coDepth  int                            // coroutines resumed inside each other
	coBase   int                            // nested, when the running coroutine was resumed
	worn     bool                           // not to be used again
	failed   struct {                       // where the script's last error was raised
		source string
		line   int
	}
}

// maxNested bounds library functions that call Lua that calls a library
// function, as LUAI_MAXCCALLS does.
const maxNested = 200

// gofn is a library function: it returns how many results it pushed.
type gofn func(c call) int

func newInterp(limits Limits) *interp {
	in := &interp{limits: limits, reals: make(map[*lua.LTable]*lua.LTable)}
	in.L = lua.NewState(lua.Options{
		CallStackSize:       limits.MaxStackDepth,
		RegistrySize:        256,
		RegistryMaxSize:     1 << 20,
		RegistryGrowStep:    2048,
		MinimizeStackMemory: true,
		SkipOpenLibs:        true,
	})
	L := in.L
	in.random = rand.Uint64N(1 << 48)
	in.guard.in = in
	in.guard.limit = limits.MaxMemoryBytes
	in.globals = L.NewTable()
	in.env = in.protect(in.globals)
	in.globals.RawSetString("_G", in.env)
	in.globals.RawSetString("_VERSION", lua.LString("Lua 5.1"))
	missing := L.NewTable()
	missing.RawSetString("__index", in.native(undefinedGlobal))
	in.globals.Metatable = missing

	in.openBase()
	in.strings = in.library("string", stringFuncs, nil)
	in.library("table", tableFuncs, nil)
	in.library("math", mathFuncs, mathConstants)
	in.library("bit", bitFuncs, nil)
	in.library("struct", structFuncs, nil)
	in.library("cmsgpack", msgpackFuncs, msgpackConstants)
	in.library("redis", redisFuncs, redisConstants)
	in.null = L.NewUserData()
	in.globals.RawSetString("cjson", in.protect(in.newJSON(func() *jsonConfig { return in.json })))
	in.openCoroutine()
	in.openStringMeta()

	in.hidden = make(map[string]*lua.Upvalue)
	for name, f := range map[string]gofn{hiddenConcat: concat, hiddenKey: assignedKey, hiddenFor: forBound} {
		u := &lua.Upvalue{}
		u.Close()
		u.SetValue(in.native(f))
		in.hidden[name] = u
	}
	in.trap = L.NewFunction(in.trapped)
	in.entry = L.NewFunction(in.enter)
	in.json = new(jsonConfig)
	L.Env = in.env
	L.Panic = in.onPanic
	L.SetContext(&in.guard)
	return in
}

// native makes a Lua function of a library function.
func (in *interp) native(f gofn) *lua.LFunction {
	return in.L.NewFunction(func(L *lua.LState) int { return f(call{in, L}) })
}

// library makes a global table of functions and constants, read only.
func (in *interp) library(name string, funcs map[string]gofn, constants map[string]lua.LValue) *lua.LTable {
	t := in.L.CreateTable(0, len(funcs)+len(constants))
	for name, f := range funcs {
		t.RawSetString(name, in.native(f))
	}
	for name, v := range constants {
		t.RawSetString(name, v)
	}
	p := in.protect(t)
	in.globals.RawSetString(name, p)
	return p
}

// protect makes the proxy of a table.
func (in *interp) protect(t *lua.LTable) *lua.LTable {
	meta := in.L.CreateTable(0, 2)
	meta.RawSetString("__index", t)
	meta.RawSetString("__newindex", in.native(func(c call) int {
		c.fail(textReadonly)
		return 0
	}))
	p := &lua.LTable{Metatable: meta}
	in.reals[p] = t
	return p
}

// real is the table behind a proxy, and any other table itself.
func (in *interp) real(t *lua.LTable) *lua.LTable {
	if r, ok := in.reals[t]; ok {
		return r
	}
	return t
}

// writable raises an error for a proxy.
func (in *interp) writable(L *lua.LState, t *lua.LTable) *lua.LTable {
	if _, ok := in.reals[t]; ok {
		in.failBare(L, textReadonly)
	}
	return t
}

// undefinedGlobal is asked for globals that do not exist.
func undefinedGlobal(c call) int {
	name, _ := toText(c.Get(2))
	if name == "server" { // Valkey's name for redis
		c.Push(c.in.globals.RawGetString("redis"))
		return 1
	}
	c.fail("Script attempted to access nonexistent global variable '" + name + "'")
	return 0
}

// openStringMeta gives strings their methods and their arithmetic.
func (in *interp) openStringMeta() {
	meta := in.L.NewTable()
	meta.RawSetString("__index", in.real(in.strings))
	for event, op := range arithmetic {
		meta.RawSetString(event, in.native(func(c call) int {
			a, ok := toNumber(c.Get(1))
			b, ok2 := toNumber(c.Get(c.n())) // of __unm the same one
			if !ok || !ok2 {
				if v := viewState(c.LState); v.currentFrame.Parent != nil && !v.currentFrame.Parent.Fn.IsG {
					f := v.currentFrame.Parent
					c.fail(arithText(v, f, f.Fn.Proto.Code[f.Pc-1]))
				}
				c.fail("attempt to perform arithmetic on a string value")
			}
			c.pushNumber(op(a, b))
			return 1
		}))
	}
	in.L.SetMetatable(lua.LString(""), meta)
	shown := func(event string, v lua.LValue) *lua.LTable {
		t := in.L.CreateTable(0, 1)
		t.RawSetString(event, v)
		return in.protect(t)
	}
	in.decoys = [2]*lua.LTable{
		shown("__index", in.native(undefinedGlobal)),
		shown("__index", in.strings),
	}
}

// noteDepth finds out, now and then, that the stacks have grown so much that
// the interpreter should not be kept.
func (in *interp) noteDepth() {
	if f := viewState(in.L).currentFrame; f != nil && f.Idx > 200 {
		in.worn = true
	}
}

// start prepares the interpreter for a run.
func (in *interp) start(s *Script, keys, argv [][]byte, h Host) {
	in.host, in.script, in.proto, in.reseeded = h, s, 2, false
	in.fresh, in.making = nil, in.making[:0]
	*in.json = defaultJSON
	in.nested, in.coDepth, in.coBase, in.replied, in.building = 0, 0, 0, 0, 0
	in.failed.source, in.failed.line = "", 0
	in.globals.RawSetString("KEYS", words(keys))
	in.globals.RawSetString("ARGV", words(argv))
	in.L.G.CurrentThread = in.L
	in.L.G.MainThread = in.L
}

// keepMain is the size of a script, in bytes, up to which an interpreter keeps it
// for the next run, whether it is cached still or not.
const keepMain = 64 << 10

// finish drops what the run left behind; false means that the interpreter is
// not to be used again.
func (in *interp) finish() bool {
	in.L.SetTop(0)
	if in.reseeded {
		in.random = in.unseeded
	}
	if in.script.bytes > keepMain {
		in.main, in.mainOf = nil, nil
	}
	in.host, in.script, in.fresh, in.meter, in.reply, in.guard.ctx = nil, nil, nil, nil, resp.None, nil
	clear(in.list[:cap(in.list)])
	if cap(in.room) > roomBytes {
		in.room = nil
	}
	clear(in.making[:cap(in.making)])
	in.globals.RawSetString("KEYS", lua.LNil)
	in.globals.RawSetString("ARGV", lua.LNil)
	return !in.worn && in.guard.verdict == nil && viewState(in.L).uvcache == nil && cap(viewState(in.L).reg.array) < 1<<14
}

// words makes KEYS and ARGV.
func words(list [][]byte) *lua.LTable {
	t := &lua.LTable{Metatable: lua.LNil}
	if len(list) > 0 {
		size := 0
		for _, w := range list {
			size += len(w)
		}
		var b strings.Builder // one piece of memory for all
		b.Grow(size)
		for _, w := range list {
			b.Write(w)
		}
		all := b.String()
		array := make([]lua.LValue, len(list))
		for i, w := range list {
			array[i] = lua.LString(all[:len(w)])
			all = all[len(w):]
		}
		viewTable(t).array = array
	}
	return t
}
