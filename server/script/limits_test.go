package script

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"crema/resp"
)

// fakeHost answers every command with its last word.
type fakeHost struct {
	called atomic.Int64
	onCall func()
	log    []string
}

func (h *fakeHost) Call(words [][]byte) resp.Reply {
	h.called.Add(1)
	if h.onCall != nil {
		h.onCall()
	}
	if string(words[0]) == "error" {
		return resp.Error("ERR as you wish")
	}
	return resp.Bulk(words[len(words)-1])
}

func (h *fakeHost) Log(_ int, text string) { h.log = append(h.log, text) }
func (h *fakeHost) SetProto(int)           {}

// heap is what the process holds.
func heap() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// settled is the heap when collections find nothing more to free: what pools hold,
// and what waits for a finalizer, takes several.
func settled() int64 {
	for before := heap(); ; {
		runtime.GC()
		now := heap()
		if now >= before {
			return now
		}
		before = now
	}
}

// highest runs f and returns the most that the heap held meanwhile.
func highest(f func()) int64 {
	stop, done := make(chan struct{}), make(chan int64)
	go func() {
		var top int64
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				done <- max(top, heap())
				return
			case <-tick.C:
				top = max(top, heap())
			}
		}
	}()
	f()
	close(stop)
	return <-done
}

// TestMemoryIsBounded runs scripts that want all the memory there is.
func TestMemoryIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes under the race detector")
	}
	const limit = 32 << 20
	e := New(Limits{MaxMemoryBytes: limit})
	scripts := map[string]string{
		"doubling":          `local s='x' while true do s=s..s end`,
		"doubling format":   `local s='x' while true do s=string.format('%s%s',s,s) end`,
		"rep":               `return string.rep('x',1e10)`,
		"rep overflow":      `return string.rep(string.rep('x',1000),2^31-1)`,
		"rep in pcall":      `while true do pcall(string.rep,'x',1e9) end`,
		"table":             `local t={} for i=1,1e9 do t[i]=i end`,
		"table of floats":   `local t={} for i=1,1e9 do t[i]=i+0.5 end`,
		"one float of many": `local t={} local x=0.5 for i=1,1e9 do for j=1,32 do x=x+1 end t[i]=x end`,
		"strings":           `local t={} for i=1,1e9 do t[#t+1]='value'..i end`,
		"keys":              `local t={} for i=1,1e9 do t['k'..i]=true end`,
		"deleted keys":      `local t={} for i=1,1e9 do t['k'..i]=true t['k'..i]=nil end`,
		"tables":            `local t={} for i=1,1e9 do t={t} end`,
		"sparse":            `local k={} for i=1,1e9 do local t={} t[60000000]=1 k[i]=t end`,
		"sparse small":      `local k={} for i=1,1e9 do local t={} t[1000]=1 t[1000]=nil k[i]=t end`,
		"sparse rawset":     `local k={} for i=1,1e9 do local t={} rawset(t,60000000,1) k[i]=t end`,
		"sparse insert":     `local k={} for i=1,1e9 do local t={} table.insert(t,60000000,1) t[50000]=1 k[i]=t end`,
		"constructor":       `local k={} for i=1,1e9 do k[i]={[60000000]=1} end`,
		"closures":          `local t={} for i=1,1e9 do t[i]=function() return i end end`,
		"coroutines":        `local t={} for i=1,1e9 do t[i]=coroutine.create(function() coroutine.yield() end) end`,
		"in a coroutine":    `coroutine.wrap(function() local s='x' while true do s=s..s end end)()`,
		"swallowed":         `while true do pcall(function() local s='x' while true do s=s..s end end) end`,
		"swallowed by co":   `while true do coroutine.resume(coroutine.create(function() local t={} while true do t[#t+1]={} end end)) end`,
		"concat":            `local t={} for i=1,1000 do t[i]=string.rep('x',100000) end return #table.concat(t)`,
		"concat shared":     `local s=string.rep('x',1e6) local t={} for i=1,1000 do t[i]=s end return #table.concat(t)`,
		"gsub":              `return #string.gsub(string.rep('x',1e6),'x',string.rep('y',10000))`,
		"gsub callback":     `local y=string.rep('y',1e5) return #string.gsub(string.rep('x',1e6),'x',function() return y end)`,
		"substrings":        `local t={} local s=string.rep('x',1e6) for i=1,1e9 do t[i]=s:sub(1,1e6-1) end`,
		"upper":             `local t={} local s=string.rep('x',1e6) for i=1,1e9 do t[i]=s:upper() end`,
		"loadstring":        `local t={} for i=1,1e9 do t[i]=loadstring('return '..i) end`,
		"cjson encode":      `local s=string.rep('x',1e6) local t={} for i=1,1000 do t[i]=s end return #cjson.encode(t)`,
		"cjson sparse":      `cjson.encode_sparse_array(true,0,0) return #cjson.encode({[60000000]=1})`,
		"cjson decode":      `return #cjson.decode('['..string.rep('[],',5e6)..'1]')`,
		"cjson new":         `local t={} for i=1,1e9 do t[i]=cjson.new() end`,
		"cmsgpack pack":     `local s=string.rep('x',1e6) local t={} for i=1,1000 do t[i]=s end return #cmsgpack.pack(t)`,
		"cmsgpack unpack":   `return #cmsgpack.unpack('\221\0\127\255\255'..string.rep('\144',2^23))`,
		"cmsgpack key":      `return cmsgpack.unpack('\129\206\3\255\255\240\1')[67108848] and cmsgpack.unpack('\129\206\3\200\255\240\1')`,
		"struct pack":       `local s=string.rep('x',1e6) return #struct.pack(string.rep('s',1000),unpack((function() local t={} for i=1,1000 do t[i]=s end return t end)()))`,
		"varargs":           `local t={} for i=1,7000 do t[i]=i end local k={} local function f(...) return {...} end for i=1,1e9 do k[i]=f(unpack(t)) end`,
		"reply":             `local t={} for i=1,20 do t={t,t} end for i=1,20 do t={t,t} end return t`,
		"format shared":     `local s=string.rep('x',1e6) local t={} for i=1,1000 do t[i]=s end return #string.format(string.rep('%s',1000),unpack(t))`,
		"log":               `local s=string.rep('x',1e6) local t={} for i=1,1000 do t[i]=s end redis.log(1,unpack(t))`,
		"reply strings":     `local s=string.rep('x',1e6) local t={} for i=1,1e5 do t[i]=s end return t`,
		"gmatch":            `local t={} local s=string.rep('x ',1e6) for w in s:gmatch('.*') do t[#t+1]=w for i=1,1e9 do t[#t+1]=s:match('.*') end end`,
		"metatable":         `local t=setmetatable({},{__index=function(t,k) rawset(t,k,{k}) return {} end}) for i=1,1e9 do local x=t[i] end`,
		"arg":               `local k={} local function f(...) k[#k+1]=arg end local t={} for i=1,5000 do t[i]=i end for i=1,1e9 do f(unpack(t)) end`,
		"call words":        `local t={} for i=1,7000 do t[i]=string.rep('x',1e6) end redis.call(unpack(t))`,
		"call results":      `local t={} local s=string.rep('x',1e6) for i=1,1e9 do t[i]=redis.call('echo',s) end`,
	}
	for name, source := range scripts {
		t.Run(name, func(t *testing.T) {
			debug.FreeOSMemory()
			before := heap()
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			var r resp.Reply
			var err error
			start := time.Now()
			top := highest(func() {
				var s *Script
				if s, err = e.Prepare([]byte(source)); err == nil {
					r, err = e.Run(ctx, s, nil, nil, &fakeHost{})
				}
			})
			grown := (top - before) >> 20
			if !errors.Is(err, ErrMemory) {
				t.Errorf("answered %.200s, %v after %v", show(r, 2), err, time.Since(start))
			}
			if grown > 8*limit>>20 {
				t.Errorf("the heap grew by %d MiB at a limit of %d MiB", grown, limit>>20)
			}
			if testing.Verbose() {
				t.Logf("%d MiB, %v, %v", grown, time.Since(start).Round(time.Millisecond), err)
			}
		})
	}
}

// slow is what nothing here takes, on whatever machine: what is not refused or
// stopped goes on for minutes or for ever.
const slow = 30 * time.Second

// TestLargeStrings makes strings and replies far beyond the limits of a server:
// each is refused before it is made, which bounds the time as well as the heap.
func TestLargeStrings(t *testing.T) {
	e := New(Limits{})
	const y = `local y=string.rep('b',4000) `
	const big = `local y=string.rep('b',1e8) `
	const many = `local y=string.rep('b',1e7) local t={} for i=1,1000 do t[i]=y end `
	for name, c := range map[string]struct {
		source string
		want   error
	}{
		"gsub":           {y + `return #string.gsub(string.rep('a',1e6),'a',y)`, ErrMemory},
		"gsub captures":  {y + `return #string.gsub(string.rep('a',1e6),'a',y..'%0'..y)`, ErrMemory},
		"gsub function":  {y + `return #string.gsub(string.rep('a',1e6),'a',function() return y end)`, ErrMemory},
		"gsub table":     {y + `return #string.gsub(string.rep('a',1e6),'a',{a=y})`, ErrMemory},
		"gsub nested":    {y + `local function f(n) return (string.gsub(string.rep('a',2e4),'a',function() if n>0 then n=n-1 return f(n) end return y end)) end return #f(20)`, ErrMemory},
		"gsub in pcall":  {y + `while true do pcall(string.gsub,string.rep('a',1e6),'a',y) end`, ErrMemory},
		"format":         {big + `return #string.format(string.rep('%s',10),y,y,y,y,y,y,y,y,y,y)`, ErrMemory},
		"format q":       {`local s=string.rep('\0',7e7) return #string.format('%q',s)`, ErrMemory},
		"concat":         {big + `return #(y..y..y)`, ErrMemory},
		"rep":            {big + `return #string.rep(y,10)`, ErrMemory},
		"table.concat":   {many + `return #table.concat(t)`, ErrMemory},
		"cjson":          {many + `return #cjson.encode(t)`, ErrMemory},
		"cjson escapes":  {`return #cjson.encode(string.rep('\1',6e7))`, ErrMemory},
		"cmsgpack":       {many + `return #cmsgpack.pack(t)`, ErrMemory},
		"struct":         {many + `return #struct.pack(string.rep('s',1000),unpack(t))`, ErrMemory},
		"reply":          {many + `return t`, ErrReply},
		"reply ok":       {many + `for i=1,1000 do t[i]={ok=y} end return t`, ErrReply},
		"reply err":      {many + `for i=1,1000 do t[i]={err=y} end return t`, ErrReply},
		"reply map":      {many + `redis.setresp(3) return {map=t}`, ErrReply},
		"reply verbatim": {many + `for i=1,1000 do t[i]={verbatim_string={format='txt',string=y}} end return t`, ErrMemory},
		"reply number":   {many + `for i=1,1000 do t[i]={big_number=y} end return t`, ErrMemory},
		"reply nested":   {many + `local u={} for i=1,1000 do u[i]=t end return u`, ErrReply},
	} {
		t.Run(name, func(t *testing.T) {
			debug.FreeOSMemory()
			before := heap()
			start := time.Now()
			var err error
			top := highest(func() { _, err = eval(e, &fakeHost{}, c.source, nil, nil) })
			took, grown := time.Since(start), (top-before)>>20
			if !errors.Is(err, c.want) {
				t.Errorf("%v", err)
			}
			if took > slow {
				t.Errorf("took %v", took)
			}
			if limit := DefaultLimits.MaxMemoryBytes >> 20; grown > limit*2 {
				t.Errorf("the heap grew by %d MiB at a limit of %d MiB", grown, limit)
			}
			if testing.Verbose() {
				t.Logf("%d MiB, %v", grown, took.Round(time.Millisecond))
			}
		})
	}
}

// TestLargeStringsWithin makes what the limits allow.
func TestLargeStringsWithin(t *testing.T) {
	e := New(Limits{})
	for source, want := range map[string]string{
		`return #string.gsub(string.rep('a',1e5),'a',string.rep('b',1000))`:                                            "100000000",
		`local y=string.rep('b',1000) return #string.gsub(string.rep('a',1e5),'a',function() return y end)`:            "100000000",
		`local y=string.rep('b',5e7) return #string.format('%s%s',y,y)`:                                                "100000000",
		`local s=string.rep('"',2e7) return #string.format('%q',s)`:                                                    "40000002",
		`return #cjson.encode(string.rep('"',2e7))`:                                                                    "40000002",
		`local y=string.rep('b',1e7) local t={} for i=1,10 do t[i]=y end return #cmsgpack.pack(t)`:                     "100000051",
		`local n=0 for i=1,300 do n=n+#string.gsub(string.rep('a',1000),'a',string.rep('b',10000)) end return n`:       "3000000000",
		`local ok for i=1,100 do ok=pcall(string.gsub,string.rep('a',4000),'a',function(c) x.y=1 end) end return {ok}`: "",
	} {
		r, err := eval(e, &fakeHost{}, source, nil, nil)
		if err != nil || !strings.Contains(show(r, 2), want) {
			t.Errorf("%s\n got %.200s, %v\nwant %s", source, show(r, 2), err, want)
		}
	}
	if s := "a\"b\\c\nd\re\x00\x01"; len(quote(nil, s)) != quotedLen(s) {
		t.Errorf("%q takes %d bytes, foretold were %d", s, len(quote(nil, s)), quotedLen(s))
	}
	r, err := eval(e, &fakeHost{}, `local y=string.rep('b',1e7) local t={} for i=1,50 do t[i]=y end return t`, nil, nil)
	if err != nil || len(r.Elems) != 50 {
		t.Errorf("a reply of 500 MB: %d parts, %v", len(r.Elems), err)
	}
}

// TestManyFunctions compiles sources that are nothing but functions.
func TestManyFunctions(t *testing.T) {
	e := New(Limits{})
	before := heap()
	top := highest(func() {
		_, err := e.Load([]byte(strings.Repeat("f=function()end ", 2e5)))
		if want := "ERR Error compiling script (new function): user_script:1: chunk has too many functions"; err == nil || err.Error() != want {
			t.Error(err)
		}
	})
	if grown := (top - before) >> 20; grown > 1024 {
		t.Errorf("the heap grew by %d MiB", grown)
	}
	if _, err := e.Load([]byte(strings.Repeat("f=function()end ", maxFunctions-1))); err != nil {
		t.Error(err)
	}
}

// TestStopped ends scripts that would not end, wherever they are.
func TestStopped(t *testing.T) {
	e := New(Limits{})
	scripts := map[string]string{
		"loop":             `while true do end`,
		"repeat":           `repeat until false`,
		"for":              `for i=1,math.huge do end`,
		"pcall":            `while true do pcall(error) end`,
		"nested pcall":     `local function f() pcall(f) f() end while true do pcall(f) end`,
		"xpcall":           `while true do xpcall(error,function() while true do end end) end`,
		"redis.pcall":      `while true do redis.pcall('error') end`,
		"redis.call":       `while true do pcall(redis.call,'error') end`,
		"coroutine":        `local co=coroutine.wrap(function() while true do end end) while true do pcall(co) end`,
		"coroutines":       `while true do coroutine.wrap(function() end)() end`,
		"resume in resume": `local function f() coroutine.wrap(f)() end while true do pcall(f) end`,
		"find":             `return string.find(string.rep('a',30000),string.rep('a-',200)..'b')`,
		"find classes":     `return string.find(string.rep('a',1e6),'.-.-.-.-b')`,
		"match":            `return string.match(string.rep('a',1e6),string.rep('a*',50)..'b')`,
		"balance":          `return string.find(string.rep('(',1e7),'%b()')`,
		"back reference":   `return string.find(string.rep('a',1e5),'(.*)(.*)%1%2b')`,
		"gsub":             `while true do string.gsub(string.rep('a',1e5),'a','b') end`,
		"gsub callback":    `return string.gsub('a','a',function() while true do end end)`,
		"gmatch":           `while true do for w in string.gmatch(string.rep('a ',1e4),'%a') do end end`,
		"sort":             `local t={} for i=1,1e5 do t[i]=i%7 end while true do table.sort(t,function(a,b) return a<b end) end`,
		"sort callback":    `table.sort({3,2,1},function() while true do end end)`,
		"concat":           `local t={} for i=1,1e5 do t[i]='x' end while true do table.concat(t) end`,
		"insert":           `local t={} for i=1,1e9 do table.insert(t,1,i) end`,
		"remove":           `local t={} for i=1,3e5 do t[i]=i end while true do table.insert(t,1,1) table.remove(t,1) end`,
		"unpack":           `local t={} for i=1,7000 do t[i]=i end while true do select('#',unpack(t)) end`,
		"foreach":          `table.foreach({1},function() while true do end end)`,
		"next":             `local t={} for i=1,1e5 do t['k'..i]=1 end while true do for k in pairs(t) do end end`,
		"deleted keys":     `local t={} for i=1,1e5 do t['k'..i]=1 end for i=1,1e5 do t['k'..i]=nil end while true do next(t) end`,
		"length of holes":  `local t={} for i=1,1e6 do t[i]=i end for i=1,1e6 do t[i]=nil end while true do local n=#t end`,
		"cjson":            `local t={} for i=1,1e5 do t[i]=i end while true do cjson.decode(cjson.encode(t)) end`,
		"cmsgpack":         `local t={} for i=1,1e5 do t[i]=i end while true do cmsgpack.unpack(cmsgpack.pack(t)) end`,
		"struct":           `local f=string.rep(' ',1e6) while true do struct.size(f) end`,
		"metamethods":      `local t=setmetatable({},{__index=function() while true do end end}) return t.x`,
		"tostring":         `return tostring(setmetatable({},{__tostring=function() while true do end end}))`,
		"load":             `while true do load(function() return ' ' end) end`,
		"loadstring":       `local s=string.rep('a=1 ',1e5) while true do loadstring(s) end`,
		"sha1hex":          `local s=string.rep('x',1e7) while true do redis.sha1hex(s) end`,
		"lower":            `local s=string.rep('x',1e7) while true do s:lower() end`,
		"find plain":       `local s=string.rep('x',1e7) while true do s:find('xy',1,true) end`,
		"format":           `local s=string.rep('%5d',1e5) while true do pcall(string.format,s,unpack({},1,7000)) end`,
		"overflow":         `local function f() return 1+f() end while true do pcall(f) end`,
		"error handler":    `xpcall(function() error('x') end,function() while true do end end)`,
	}
	for name, source := range scripts {
		t.Run(name, func(t *testing.T) {
			s, err := e.Prepare([]byte(source))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(30*time.Millisecond, cancel)
			start := time.Now()
			r, err := e.Run(ctx, s, nil, nil, &fakeHost{})
			took := time.Since(start)
			if !errors.Is(err, ErrKilled) {
				t.Errorf("answered %.200s, %v", show(r, 2), err)
			}
			if took > slow {
				t.Errorf("stopped only after %v", took)
			}
			if testing.Verbose() {
				t.Log(took.Round(time.Millisecond))
			}
		})
	}
}

// TestDeep runs scripts that nest what they can.
func TestDeep(t *testing.T) {
	e := New(Limits{})
	for _, c := range []struct{ source, want string }{
		{`local function f() return 1+f() end return {pcall(f)}`, "stack overflow"},
		{`local t={} t[1]=t return t`, "reached lua stack limit"},
		{`local t={} for i=1,10000 do t={t} end return t`, "reached lua stack limit"},
		{`local t={} t.map={a=t} return t`, "reached lua stack limit"},
		{`local t={} for i=1,10000 do t={t} end return {pcall(cjson.encode,t)}`, "excessive nesting"},
		{`cjson.encode_max_depth(1e9) local t={} t[1]=t return {pcall(cjson.encode,t)}`, "excessive nesting"},
		{`cjson.decode_max_depth(1e9) return {pcall(cjson.decode,string.rep('[',1e6))}`, "too many nested"},
		{`return {pcall(cmsgpack.unpack,string.rep('\145',1e6))}`, "stack overflow"},
		{`local mt={} mt.__index=function(t,k) return t[k] end local t=setmetatable({},mt) return {pcall(function() return t.x end)}`, "overflow"},
		{`local mt={} mt.__add=function(a,b) return a+b end local t=setmetatable({},mt) return {pcall(function() return t+t end)}`, "overflow"},
		{`local mt={} mt.__concat=function(a,b) return a..b end local t=setmetatable({},mt) return {pcall(function() return t..t end)}`, "overflow"},
		{`local mt={} mt.__tostring=function(a) return tostring(a) end local t=setmetatable({},mt) return {pcall(tostring,t)}`, "overflow"},
		{`local function f() return pcall(f) end return {f()}`, ""},
		{`local function f() return coroutine.wrap(f)() end return {pcall(f)}`, "overflow"},
		{`local function f(s) return string.gsub(s,'.',f) end return {pcall(f,'x')}`, "overflow"},
		{`local function f(a,b) table.sort({1,2,3},f) return a<b end return {pcall(f,1,2)}`, "overflow"},
		{`local t=setmetatable({},{}) getmetatable(t).__index=t return {pcall(function() return t.x end)}`, ""},
		{`return loadstring('return '..string.rep('(',1e5)..'1'..string.rep(')',1e5)) and 1 or 0`, ""},
		{`return {loadstring('return '..string.rep('{',1e5)..string.rep('}',1e5))}`, ""},
		{`return {loadstring('return '..string.rep('-',1e5)..'1')}`, ""},
		{`return {loadstring('return 1'..string.rep('+1',1e5))}`, ""},
		{`return {loadstring('return 1'..string.rep('..1',1e5))}`, ""},
		{`return {loadstring(string.rep('do ',1e5)..string.rep('end ',1e5))}`, ""},
		{`return {loadstring('local a='..string.rep('a.',1e5)..'a')}`, ""},
		{`return {loadstring('return {'..string.rep('1,',1e5)..'}')}`, ""},
		{`local s={} for i=1,2e5 do s[i]='a'..i..'=1' end return (select(2,loadstring(table.concat(s,' '))))`, "overflow"},
		{`local s={} for i=1,1e5 do s[i]='local t={a'..i..'='..i..'}' end return {loadstring(table.concat(s,' '))}`, ""},
		{`return {loadstring(string.rep('if x then y() end ',5e4))}`, ""},
		{`return {loadstring(string.rep('f(function() return 1 end) ',5e4))}`, ""},
		{`return {loadstring('return '..string.rep('a and b or ',5e4)..'c')}`, ""},
		{`return {loadstring('if a then '..string.rep('elseif a then b() ',5e4)..'end')}`, ""},
		{`return {loadstring(string.rep('do local a=1 end ',5e4))}`, ""},
		{`return {loadstring('return f'..string.rep('(1)',5e4))}`, ""},
		{`return {loadstring('return "'..string.rep('x',2e6)..'"')}`, ""},
		{`return {loadstring(string.rep(' ',2e6))}`, ""},
		{`return (select(2,loadstring(string.rep('goto a ::a:: ',5e4))))`, "="},
	} {
		start := time.Now()
		r, err := eval(e, &fakeHost{}, c.source, nil, nil)
		if err != nil || !strings.Contains(show(r, 2), c.want) {
			t.Errorf("%s\n got %.200s, %v\nwant %s", c.source, show(r, 2), err, c.want)
		}
		if took := time.Since(start); took > slow {
			t.Errorf("%s\ntook %v", c.source, took)
		}
	}
}

// TestManyRunsLeaveNothing sees that runs do not add up.
func TestManyRunsLeaveNothing(t *testing.T) {
	e := New(Limits{})
	run := func(n int) {
		for range n {
			eval(e, &fakeHost{}, `local t={} for i=1,100 do t[i]='v'..i end redis.call('set',KEYS[1],t[1]) return t`, [][]byte{[]byte("k")}, nil)
			eval(e, &fakeHost{}, `pcall(error,'x') local co=coroutine.wrap(function() coroutine.yield(1) end) co() error('y')`, nil, nil)
		}
	}
	run(100)
	before := settled()
	run(2000)
	if grown := settled() - before; grown > 4<<20 {
		t.Errorf("2000 runs left %d bytes", grown)
	}
}
