package script

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestCache(t *testing.T) {
	e := New(Limits{MaxEvalScripts: 3, MaxCacheBytes: 64 << 10, MaxScriptBytes: 20 << 10})
	kept, err := e.Load([]byte("return 'kept'"))
	if err != nil || len(kept.SHA) != 40 {
		t.Fatal(kept, err)
	}
	var all []*Script
	for i := range 5 {
		s, err := e.Prepare([]byte(fmt.Sprint("return ", i)))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	for i, s := range all {
		if e.Exists(s.SHA) != (i >= 2) {
			t.Errorf("script %d: cached is %v", i, e.Exists(s.SHA))
		}
	}
	if e.Len() != 4 || !e.Exists(kept.SHA) {
		t.Errorf("%d scripts", e.Len())
	}
	if _, err := e.Run(context.Background(), all[0], nil, nil, &fakeHost{}); !errors.Is(err, ErrNoScript) {
		t.Errorf("a forgotten script: %v", err)
	}
	e.Load([]byte("return 4")) // keeps what EVAL cached
	for i := 10; i < 20; i++ {
		e.Prepare([]byte(fmt.Sprint("return ", i)))
	}
	if !e.Exists(all[4].SHA) {
		t.Error("SCRIPT LOAD after EVAL was forgotten")
	}
	if _, err := e.Load([]byte(strings.Repeat(" ", 30<<10))); err == nil {
		t.Error("a script beyond the limit was cached")
	}
	if e.MemoryUsage() > 64<<10 {
		t.Errorf("%d bytes of scripts", e.MemoryUsage())
	}
	e.Flush()
	if e.Len() != 0 || e.MemoryUsage() != 0 || e.Exists(kept.SHA) {
		t.Error("Flush left something")
	}
}

// TestCacheIsFull loads more scripts than there is room for: the evaluated ones
// go first, then the loaded one that was used longest ago.
func TestCacheIsFull(t *testing.T) {
	const limit = 64 << 10
	e := New(Limits{MaxCacheBytes: limit})
	add := func(f func([]byte) (*Script, error), name string) *Script {
		s, err := f([]byte("return '" + strings.Repeat("x", 4000) + name + "'"))
		if err != nil || !e.Exists(s.SHA) || e.MemoryUsage() > limit {
			t.Fatalf("%s: %v, %d bytes", name, err, e.MemoryUsage())
		}
		return s
	}
	first, second := add(e.Load, "first"), add(e.Load, "second")
	promoted := add(e.Prepare, "promoted")
	add(e.Load, "promoted")
	var evaluated []*Script
	for i := range 30 {
		evaluated = append(evaluated, add(e.Prepare, fmt.Sprint("e", i)))
	}
	if e.Exists(evaluated[0].SHA) || !e.Exists(evaluated[29].SHA) || !e.Exists(first.SHA) || !e.Exists(second.SHA) || !e.Exists(promoted.SHA) {
		t.Error("EVAL did not push out the oldest of its own scripts")
	}
	for i := 0; e.Exists(evaluated[29].SHA); i++ {
		if add(e.Load, fmt.Sprint("l", i)); !e.Exists(first.SHA) {
			t.Fatal("a loaded script went before an evaluated one")
		}
	}
	if e.Find([]byte(strings.ToUpper(first.SHA))) != first {
		t.Fatal("a cached script was not found")
	}
	for i := 0; e.Exists(second.SHA); i++ {
		add(e.Load, fmt.Sprint("m", i))
	}
	if !e.Exists(first.SHA) || !e.Exists(promoted.SHA) {
		t.Error("another than the script used longest ago was forgotten")
	}
	if _, err := e.Run(context.Background(), second, nil, nil, &fakeHost{}); !errors.Is(err, ErrNoScript) {
		t.Error(err)
	}
	huge, err := e.Load([]byte("return '" + strings.Repeat("x", 2*limit) + "'"))
	if err != nil || !e.Exists(huge.SHA) || e.Len() != 1 {
		t.Errorf("a script larger than the cache: %v, %d scripts", err, e.Len())
	}
	if add(e.Prepare, "after"); e.Len() != 1 {
		t.Error("a script larger than the cache stayed when there was another")
	}
}

// TestCacheAccounting compares what scripts cost with what the engine says.
func TestCacheAccounting(t *testing.T) {
	for name, source := range map[string]string{
		"lock":      lockScript + " --%d",
		"calls":     "local a=%d " + strings.Repeat("if redis.call('get',KEYS[1]) == ARGV[1] then a = a + 1 end\n", 50),
		"text":      "return '" + strings.Repeat("x", 10000) + "%d'",
		"functions": "local t=%d " + strings.Repeat("f=function() end ", 100),
	} {
		e := New(Limits{})
		e.Load([]byte("return 1"))
		before := settled()
		for i := range 1000 {
			if _, err := e.Load([]byte(fmt.Sprintf(source, i))); err != nil {
				t.Fatal(err)
			}
		}
		grown, said := settled()-before, e.MemoryUsage()
		if said < grown*7/10 || said > grown*3/2 {
			t.Errorf("%s: 1000 scripts cost %d bytes, the engine says %d", name, grown, said)
		}
		if testing.Verbose() {
			t.Logf("%s: %d bytes each, accounted %d", name, grown/1000, said/1000)
		}
		runtime.KeepAlive(e)
	}
}

func TestCompileErrors(t *testing.T) {
	e := New(Limits{})
	for source, want := range map[string]string{
		"return (":                "ERR Error compiling script (new function): user_script:1: unexpected symbol near '<eof>'",
		"local a = 1\n\nfoo(":     "ERR Error compiling script (new function): user_script:3: unexpected symbol near '<eof>'",
		"break":                   "ERR Error compiling script (new function): user_script:1: no loop to break near '<eof>'",
		"return $":                "ERR Error compiling script (new function): user_script:1: unexpected symbol near '$'",
		"goto x":                  "ERR Error compiling script (new function): user_script:1: '=' expected near 'x'",
		"#!js\nreturn 1":          "ERR Unexpected engine in script shebang: #!js",
		"#!lua flags=x\nreturn 1": "ERR Unexpected flag in script shebang: x",
	} {
		if _, err := e.Load([]byte(source)); err == nil || err.Error() != want {
			t.Errorf("%q\n got %v\nwant %s", source, err, want)
		}
	}
	s, err := e.Load([]byte("#!lua flags=no-writes,allow-oom\nreturn 1"))
	if want := (Flags{Declared: true, NoWrites: true, AllowOOM: true}); err != nil || s.Flags != want {
		t.Errorf("%+v, %v", s.Flags, err)
	}
}

// TestNothingLeaks runs a script that changes what it can, then one that looks.
func TestNothingLeaks(t *testing.T) {
	e := New(Limits{MaxIdle: 1})
	const look = `local r={} for k,v in pairs(_G) do r[#r+1]=k..type(v) end table.sort(r)
		for _,n in ipairs({'string','table','math','redis','cjson'}) do for k,v in pairs(_G[n]) do r[#r+1]=n..k..type(v) end end
		table.sort(r)
		r[#r+1]=cjson.encode_max_depth() r[#r+1]=tostring((cjson.encode_sparse_array())) r[#r+1]=cjson.encode_number_precision()
		r[#r+1]=tostring(coroutine.running()) r[#r+1]=('x'):upper() r[#r+1]=tostring(getmetatable('').__index==string)
		r[#r+1]=redis.call('get',KEYS[1]) r[#r+1]=tostring(ARGV[1]) r[#r+1]=tostring(true)
		return r`
	answer := func() string {
		r, err := eval(e, &fakeHost{}, look, [][]byte{[]byte("key")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return show(r, 2)
	}
	want := answer()
	for _, source := range []string{
		`cjson.encode_max_depth(3) cjson.encode_sparse_array(true) cjson.encode_number_precision(2)`,
		`redis.setresp(3)`,
		`KEYS[5]='x' ARGV[1]='y' KEYS.n=1`,
		`pcall(function() string.upper=1 end) pcall(function() _G.x=1 end) pcall(rawset,_G,'x',1) pcall(rawset,string,'upper',1)`,
		`pcall(setmetatable,_G,{}) pcall(setmetatable,string,{}) pcall(function() getmetatable('').__index=nil end) pcall(function() getmetatable(_G).__index=nil end)`,
		`pcall(table.insert,string,1) pcall(table.remove,redis) pcall(table.sort,math) pcall(rawset,getmetatable(''),'__index',1)`,
		`local co=coroutine.create(function() coroutine.yield() end) coroutine.resume(co) error('x')`,
		`local co=coroutine.wrap(function() local function f() return f() + 1 end f() end) pcall(co) error({err='x'})`,
		`local function f() return 1+f() end return f()`,
		`math.randomseed(1) return math.random()`,
	} {
		eval(e, &fakeHost{}, source, nil, nil)
		if got := answer(); got != want {
			t.Errorf("after %s\n got %s\nwant %s", source, got, want)
		}
	}
}

func TestLog(t *testing.T) {
	h := &fakeHost{}
	eval(New(Limits{}), h, `redis.log(redis.LOG_WARNING,'a',1.5,'b')`, nil, nil)
	if len(h.log) != 1 || h.log[0] != "a 1.5 b" {
		t.Errorf("%q", h.log)
	}
}

// TestAtOnce runs scripts from many goroutines on one engine.
func TestAtOnce(t *testing.T) {
	e := New(Limits{})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			key := fmt.Sprint("key", g)
			for i := range 50 {
				source := fmt.Sprintf(`local s=KEYS[1] for i=1,%d do s=s..i end return redis.call('echo',s)`, i%7)
				r, err := eval(e, &fakeHost{}, source, [][]byte{[]byte(key)}, nil)
				if err != nil || !strings.HasPrefix(string(r.Bytes), key) {
					t.Errorf("%s, %v", show(r, 2), err)
				}
			}
		})
	}
	wg.Wait()
}

const lockScript = `if redis.call("get",KEYS[1]) == ARGV[1] then return redis.call("del",KEYS[1]) else return 0 end`

func BenchmarkLockScript(b *testing.B) {
	e := New(Limits{})
	s, err := e.Load([]byte(lockScript))
	if err != nil {
		b.Fatal(err)
	}
	keys, argv := [][]byte{[]byte("lock:1")}, [][]byte{[]byte("lock:1")} // the host echoes, so they are equal
	h := &fakeHost{}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Run(context.Background(), s, keys, argv, h); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoad compiles scripts that differ.
func BenchmarkLoad(b *testing.B) {
	e := New(Limits{})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := e.Load([]byte(fmt.Sprint("return redis.call('set',KEYS[1],", i, ")"))); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoop(b *testing.B) {
	e := New(Limits{})
	s, _ := e.Load([]byte(`local t={} for i=1,1000 do t[i]=i*2 end local n=0 for i,v in ipairs(t) do n=n+v end return n`))
	b.ReportAllocs()
	for b.Loop() {
		e.Run(context.Background(), s, nil, nil, &fakeHost{})
	}
}

func BenchmarkNewInterpreter(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		newInterp(DefaultLimits)
	}
}
