return x
-----
x=1
-----
local a = nil; return a.b
-----
return foo.bar.baz
-----
return redis.call("nosuch")
-----
return redis.pcall("nosuch")
-----
return redis.call("get")
-----
return redis.call()
-----
return redis.pcall()
-----
return redis.call({})
-----
return redis.pcall({})
-----
return redis.call("ping", true)
-----
error("abc")
-----
error({err="My Err"})
-----
error()
-----
error("abc",0)
-----
error("abc",2)
-----
error({err="a", source="s", line=3})
-----

error(setmetatable({},{__tostring=function() return "x" end, __index={err="q"}}))
-----
return redis.error_reply("X")
-----
return redis.error_reply("My Err")
-----
return redis.error_reply("-MY err")
-----
return redis.error_reply("")
-----
return redis.error_reply()
-----
return redis.error_reply(1)
-----
return redis.error_reply("a b c\n")
-----
return redis.error_reply("a\r\nb c").err
-----
return redis.status_reply("a\r\nb")
-----
return redis.status_reply()
-----
return {err="a\nb"}
-----
string.sub=1
-----
_G.x=1
-----
rawset(_G,"x",1)
-----
rawset(string,"x",1)
-----
setmetatable(_G,{})
-----
setmetatable(string,{})
-----
setmetatable("",{})
-----
table.insert(string,1)
-----
table.sort(redis)
-----
return type(getmetatable(_G))
-----
return type(getmetatable(""))
-----
getmetatable("").__index=1
-----
return getmetatable("").__index==string
-----
return type(getmetatable(string))
-----
KEYS=1
-----
KEYS[1]="a" return KEYS
-----
return {KEYS[1],ARGV[1],#KEYS,#ARGV}
-----
return redis.sha1hex("a")
-----
return redis.sha1hex()
-----
return redis.sha1hex(12)
-----
redis.log(1)
-----
redis.log("a","b")
-----
redis.log(9,"b")
-----
redis.log(redis.LOG_DEBUG,"b",1)
-----
return redis.setresp(4)
-----
return redis.setresp()
-----
return redis.setresp(3)
-----
return redis.set_repl(99)
-----
return redis.set_repl()
-----
return redis.set_repl(redis.REPL_ALL)
-----
return redis.replicate_commands()
-----
return redis.breakpoint()
-----
return redis.debug("x")
-----
return {redis.REPL_ALL,redis.REPL_AOF,redis.REPL_NONE,redis.REPL_REPLICA,redis.REPL_SLAVE}
-----
return {redis.LOG_DEBUG,redis.LOG_VERBOSE,redis.LOG_NOTICE,redis.LOG_WARNING}
-----
math.randomseed(0) return {math.random(1000),math.random(1000),math.random(5,10)}
-----
math.randomseed(7) return {tostring(math.random()),tostring(math.random())}
-----
math.randomseed(5) return {math.random(1000),math.random(1000)}
-----
math.randomseed(-5.5) return {math.random(1000),math.random(1000)}
-----
return math.random(0)
-----
return math.random(1,0)
-----
return math.random(1,2,3)
-----
return type(collectgarbage("count"))
-----
return collectgarbage()
-----
return collectgarbage("x")
-----
return collectgarbage("step")
-----
return collectgarbage("stop")
-----
return type(gcinfo())
-----
return loadstring("return 5")()
-----
return {type(loadstring("x=")),(loadstring("return 1+1"))()}
-----
local n=0 return load(function() n=n+1 if n==1 then return "return " elseif n==2 then return "7" end end)()
-----
return {load(function() error("x") end)}
-----
return {load(function() return 1==1 end)}
-----
return tostring(0/0)
-----
return tostring(-(0/0))
-----
return {tostring(1e15),tostring(1e14),tostring(123456789012345678),tostring(2^53),tostring(1e100),tostring(3.0),tostring(0.1),tostring(1/3),tostring(-1.5e-10),tostring(1/0),tostring(-1/0),tostring(100),tostring(1e5)}
-----
return {1e15 .. "",0.1+0.2 .. "",7 .. "",2^0.5 .."",1e100 .."",-0.0 .. ""}
-----
return 1e300
-----
return -1e300
-----
return 0/0
-----
return 3.99
-----
return -3.99
-----
return {1,2,nil,4}
-----
return {double=3.5}
-----
return {double="x"}
-----
return {double=1e20}
-----
return {double=0.1}
-----
return {double=1/0}
-----
return {map={a=1}}
-----
return {set={a=true}}
-----
return {big_number="123"}
-----
return {big_number="12\r\n3"}
-----
return {verbatim_string={string="x",format="txt"}}
-----
return {verbatim_string={string="x"}}
-----
return {ok=1}
-----
return {err=1}
-----
return {ok="fine",err="bad"}
-----
return {ok="fine",1,2}
-----
return {map={[1]={set={x=1}}}}
-----
return print
-----
return function() end
-----
return cjson.null
-----
return coroutine.create(function() end)
-----
return true
-----
return false
-----
return nil
-----
return
-----
return 1,2,3
-----
return {true,false,{nil,1}}
-----
return {true,false,1}
-----
return {{err="x y"},{ok="z"},1}
-----
return "a\0b"
-----
return tostring(nil)..1
-----
return 1 .. {}
-----
local q; return "a".."b"..q
-----
return "a" .. nil
-----
return 1 .. print
-----
local t = {} return t.x .. "a"
-----
return #nil
-----
local n; return #n
-----
return nil+1
-----
local n; return n+1
-----
local t={} return 1+t.x
-----
return {}+1
-----
return "abc"+1
-----
local a="x" return a*1
-----
return -{}
-----
return -"2"
-----
return {}<{}
-----
return 1<"2"
-----
return nil<1
-----
return 1>nil
-----
return 1>=nil
-----
return {}<1
-----
return "a"<"b"
-----
local a a()
-----
local a={} a.b()
-----
local a={} a:b()
-----
local a={} a.b.c=1
-----
local a={} a.b.c.d=1
-----
local a={} return a[1][2]
-----
local a={b=5} a.b()
-----
local up local function f() return up.x end return f()
-----
local up local function f() up() end f()
-----
redis.nosuch()
-----
string.nosuch("x")
-----
("x"):nosuch()
-----
(1)()
-----
local i=3 return (5).x
-----
for i=1,"x" do end
-----
for i="a",2 do end
-----
for i=1,2,{} do end
-----
for i=1,nil do end
-----
local n=0 for i="1","3" do n=n+i end return n
-----
for i in 5 do end
-----
return {"010"+0,"0x10"+0," 7 "+0,"1e2"*1,"-0x10"+0}
-----
return {0x10,010,1e2,.5e1,3.,0xff}
-----
local function f() return f() end local function g() return 1+g() end g()
-----
local function r(n) if n==0 then return 0 end return 1+r(n-1) end return r(10000)
-----
return {pcall(redis.call)}
-----
local ok,e=pcall(redis.call,"nosuch") local r={} for k,v in pairs(e) do r[#r+1]=k.."="..tostring(v) end table.sort(r) return r
-----
local e=redis.pcall("get") local r={} for k,v in pairs(e) do r[#r+1]=k.."="..tostring(v) end table.sort(r) return r
-----
redis.call("set","k",0.1) return redis.call("get","k")
-----
redis.call("set","k",1e20) return redis.call("get","k")
-----
redis.call("set","k",3) return redis.call("get","k")
-----
redis.call("set","k",-1.5e300) return redis.call("get","k")
-----
redis.call("set","k",1/0) return redis.call("get","k")
-----
return redis.call("set","k","v")
-----
return redis.call("set","k","v").ok
-----
return redis.call("incr","n{1}")
-----
redis.call("set","k","v") return redis.call("incr","k")
-----
redis.call("set","k","v") return redis.pcall("incr","k")
-----
redis.call("set","k","v") return redis.pcall("incr","k").err
-----
redis.call("del","k") return {redis.call("get","k"),redis.call("exists","k"),redis.call("mget","k","k")}
-----
if redis.call("get",KEYS[1])==ARGV[1] then return redis.call("del",KEYS[1]) else return 0 end
-----
redis.call("set",KEYS[1],ARGV[1]) if redis.call("get",KEYS[1])==ARGV[1] then return redis.call("del",KEYS[1]) else return 0 end
-----
redis.setresp(3) return true
-----
redis.setresp(3) return false
-----
redis.setresp(3) return nil
-----
redis.call("del","h") redis.call("hset","h","a",1) redis.setresp(3) return redis.call("hgetall","h")
-----
redis.call("del","h") redis.call("hset","h","a",1) return redis.call("hgetall","h")
-----
redis.call("del","h") redis.call("hset","h","a",1) redis.setresp(3) return redis.call("hgetall","h").map.a
-----
redis.call("sadd","s","a") redis.setresp(3) return tostring(redis.call("smembers","s").set.a)
-----
redis.setresp(3) return tostring(redis.call("get","nosuchkey"))
-----
return tostring(redis.call("get","nosuchkey"))
-----
redis.call("zadd","z",1.5,"a") redis.setresp(3) return type(redis.call("zscore","z","a").double)
-----
redis.call("zadd","z",1.5,"a") return redis.call("zscore","z","a")
-----
redis.setresp(3) return {double=1.5}
-----
redis.setresp(3) return {map={a=true}}
-----
redis.setresp(3) return {set={a=true}}
-----
redis.setresp(3) local v=redis.call("info","nosuchsection") return type(v)
-----
#!lua
return 1
-----
#!lua flags=no-writes
return 2
-----
#!lua foo
-----
#!lua foo
return 1
-----
#!js
return 1
-----
#!lua flags=x
return 1
-----
#!lua flags=no-writes,allow-stale
return 1
-----
#!
return 1
-----
#!lua
x=1
-----
#!lua

error("line three")
-----
return __redis__err__handler == nil
-----
return {xpcall(function() error("x") end, function(e) return e.."!" end)}
-----
return {xpcall(function() error({1}) end, function(e) return e end)}
-----
return {xpcall(function() return 1,2,3 end, function(e) return e end)}
-----
return {xpcall(function() error("x") end, function(e) error("y") end)}
-----
return {pcall(error)}
-----
return {pcall(error,"x")}
-----
return {pcall(error,"x",0)}
-----
return {pcall(function() local a; a.b=1 end)}
-----
return {pcall(function() return 1,2,nil,4 end)}
-----
return {pcall(5)}
-----
return pcall()
-----
local x=1 local function get() return x end pcall(error,"a") x=2 return get()
-----
local g pcall(function() local y=7 g=function() y=y+1 return y end error("z") end) return {g(),g()}
-----
local g local co=coroutine.create(function() local y=7 g=function() y=y+1 return y end error("z") end) coroutine.resume(co) return {g(),g()}
-----
local t={} for i=1,3 do t[i]=function() i=i+1 return i end end return {t[1](),t[1](),t[2](),t[3]()}
-----
return tostring(coroutine.running())
-----
local co=coroutine.create(function(a,b) local c=coroutine.yield(a+b) local d,e=coroutine.yield(c*2) return d+e end) return {{coroutine.resume(co,1,2)},{coroutine.resume(co,10)},{coroutine.resume(co,3,4)},{coroutine.resume(co)},coroutine.status(co)}
-----
local co=coroutine.wrap(function() for i=1,3 do coroutine.yield(i) end end) return {co(),co(),co()}
-----
local co=coroutine.wrap(function() error("boom") end) return {pcall(co)}
-----
local co=coroutine.wrap(function() error({err="ERR boom"}) end) co()
-----
local co=coroutine.wrap(function() local a; a() end) co()
-----
local co=coroutine.wrap(function() return 1 end) co() co()
-----
coroutine.yield(1)
-----
return {pcall(coroutine.yield,1)}
-----
local co co=coroutine.create(function() return coroutine.status(co), coroutine.resume(co) end) return {coroutine.resume(co)}
-----
local co=coroutine.create(function() pcall(function() coroutine.yield(1) end) return 2 end) return {coroutine.resume(co)}
-----
return coroutine.resume(1)
-----
return coroutine.create(1)
-----
local t={} t[nil]=1
-----
local t={} t[0/0]=1
-----
local t={} rawset(t,nil,1)
-----
return {[nil]=1}
-----
string.rep()
-----
string.rep("x")
-----
string.rep("x",{})
-----
("x"):rep({})
-----
string.rep("x","y")
-----
return string.rep("ab","3")
-----
return string.rep("x",-1)
-----
return {("abc"):byte(1,-1)}
-----
return {("abc"):byte()}
-----
return {("abc"):byte(10)}
-----
return {("abc"):byte(-1),("abc"):byte(0)}
-----
return string.char(65,66,0,255)
-----
return string.char(256)
-----
return string.char(-1)
-----
return {("hello"):sub(2,-2),("hello"):sub(-3),("hello"):sub(0),("hello"):sub(10),("hello"):sub(2,1),("hello"):sub(-100,2)}
-----
return {("aÀb"):upper(),("AÀB"):lower(),("abc"):reverse(),("abc"):len(),#"a\0b"}
-----
return string.format("%d","x")
-----
return string.format("%d")
-----
return string.format("%d",3.7)
-----
return string.format("%5.2f|%-5s|%05d|%x|%g|%i|%c|%e|%o|%u|%X|%%",1,"a",3,255,0.1,5,65,1,8,3,255)
-----
return string.format("%q","a\nb\0c\"\\\r1")
-----
return string.format("%s %s %s",1,"x",1.5)
-----
return string.format("%s",nil)
-----
return string.format("%s",{})
-----
return string.format("%s",true)
-----
return string.format("%10.3s|","abcdef")
-----
return string.format("%+d % d %#x %#o",5,5,255,8)
-----
return string.format("%-10d|%+.3e|%G",42,12345.678,1e-10)
-----
return string.format("%.14g %.17g %.3g %g %g %g",0.1,0.1,1234567,1e20,123456,1234567)
-----
return string.format("%g %g %g %f",1/0,-1/0,0/0,1/0)
-----
return string.format("%a",1)
-----
return string.format("%y",1)
-----
return string.format("%",1)
-----
return string.format("%0100d",1)
-----
return string.format("%123d",1)
-----
return string.format("%.123d",1)
-----
return string.format("%x",-1)
-----
return string.format("%5s|%-5s|%5d|%-5d|%05.1f","a","b",1,2,3.14159)
-----
return string.format("%s", "a\0b")
-----
return string.format("%d %d",2^53,-2^31)
-----
return {("abc"):find("b",1,true)}
-----
return {string.find("abc","")}
-----
return {string.find("abc","",10)}
-----
return {string.find("abc","c",-1)}
-----
return {string.find("abc","(b)(c)")}
-----
return {string.find("abc","()b()")}
-----
return {string.find("a.b",".",1,true)}
-----
return {string.find("a\0b","%z")}
-----
return {string.match("key=val","(%w+)=(%w+)")}
-----
return {string.match("hello","l+")}
-----
return {string.match("hello","^h(.-)o$")}
-----
return {string.match("hello","x")}
-----
return {string.match("f(a(b)c)d","%b()")}
-----
return {string.match("THE (quick) fox","%((%a+)%)")}
-----
return {string.match("abcabc","(abc)%1")}
-----
return {string.gsub("THE (quick) fox","%f[%a]%a+","X")}
-----
return {string.match("2024-01-02","(%d+)-(%d+)-(%d+)")}
-----
return {string.match("  trim  ","^%s*(.-)%s*$")}
-----
return {string.match("x^y","[%^x]+")}
-----
return {string.match("a-z","[a%-z]+"),string.match("b]","[]]"),string.match("b","[^]a]")}
-----
return {string.gsub("abc","%w","%0%0")}
-----
return {string.gsub("hello world","o",{o="0"})}
-----
return {string.gsub("hello world","(o)",function(c) return c:upper() end,1)}
-----
return {string.gsub("hello","",".")}
-----
return {string.gsub("abc",".",{a=1,b=false})}
-----
return {string.gsub("abc","(a)(b)","%2%1")}
-----
return {string.gsub("abc","%w",function() return nil end)}
-----
return string.gsub("abc","%w",function() return {} end)
-----
return string.gsub("abc","%w",{a={}})
-----
return string.gsub("abc","(","")
-----
return string.gsub("abc","%","")
-----
return string.gsub("abc","[a","")
-----
return string.gsub("abc",")","")
-----
return string.gsub("abc",".","%2")
-----
return string.gsub("abc",".","%")
-----
return string.gsub("abc",".")
-----
return string.gsub("abc",".",1)
-----
return string.gsub("abc",".",true)
-----
return string.find("abc","%1")
-----
return string.find("abc","%b")
-----
return string.find("abc","%f")
-----
return {string.gsub("abc d","%s*","-")}
-----
local r={} for k,v in string.gmatch("a=1, b=2","(%w+)=(%w+)") do r[#r+1]=k..v end return r
-----
local r={} for w in string.gmatch("one two  three","%a+") do r[#r+1]=w end return r
-----
local r={} for p in string.gmatch("abc","()") do r[#r+1]=p end return r
-----
local r={} for w in string.gfind("one two","%a+") do r[#r+1]=w end return r
-----
return {table.concat({1,2,3},","),table.concat({},","),table.concat({1,2,3},",",2),table.concat({1,2,3},",",2,3),table.concat({1,1.5,"x"})}
-----
return table.concat({1,2,{}},",")
-----
return table.concat({1,2,3},",",1,5)
-----
return table.concat(1)
-----
table.insert({},1,2,3)
-----
table.insert({})
-----
table.insert(nil,1)
-----
local t={1,2,3} table.insert(t,2,9) table.insert(t,7) return t
-----
local t={1,2,3} return {table.remove(t),table.remove(t,1),t[1],#t,table.remove({}),0}
-----
local t={1,2,3} table.remove(t,2) return t
-----
local t={5,2,8,1,9,3} table.sort(t) return t
-----
local t={5,2,8,1,9,3} table.sort(t,function(a,b) return a>b end) return t
-----
local t={"b","a","C","10","9"} table.sort(t) return t
-----
local t={3,1,2} table.sort(t,function(a,b) return true end) return t
-----
local t={} for i=1,20 do t[i]={k=i%3,v=i} end table.sort(t,function(a,b) return a.k<b.k end) local r={} for i=1,20 do r[i]=t[i].v end return r
-----
table.sort({1,"x"})
-----
table.sort({1,2,3},5)
-----
return {table.getn({1,2,3}),table.maxn({1,2,[10]=3}),table.maxn({}),table.maxn({[1.5]=1})}
-----
local r={} table.foreach({1,2},function(k,v) r[#r+1]=k*v end) table.foreachi({3,4},function(k,v) r[#r+1]=k*v end) return r
-----
table.setn({},1)
-----
return {#{1,2,nil,4},#{nil,nil,3},#{n=1},#{}}
-----
return {unpack({1,2,3},2),unpack({1,2},1,3)}
-----
return unpack({},1,1e8)
-----
return unpack(1)
-----
return {select("#",1,nil,nil),select(2,"a","b","c")}
-----
return {select(-1,1,2,3)}
-----
return select(0)
-----
return select(-5,1)
-----
return select("x")
-----
return {tonumber("10",2),tonumber("10",36),tonumber("zz",36),tonumber("0x1F"),tonumber("1e1"),tonumber(" 5 "),tonumber("5 ")}
-----
return {tostring(tonumber("")),tostring(tonumber("x")),tostring(tonumber("9",8)),tostring(tonumber("0x")),tostring(tonumber("1_0")),tostring(tonumber("inf")),tostring(tonumber("nan")),tostring(tonumber("0b1")),tostring(tonumber({})),tostring(tonumber("1 2"))}
-----
return tonumber()
-----
return tonumber("1",1)
-----
return tonumber(1,99)
-----
return {type(1),type("x"),type({}),type(nil),type(print == nil),type(type),type(cjson.null)}
-----
return type()
-----
return {tostring(true),tostring("x"),tostring(setmetatable({},{__tostring=function() return "custom" end}))}
-----
return tostring()
-----
return tostring(setmetatable({},{__tostring=function() return 1 end}))
-----
return assert(false)
-----
return assert(nil,"msg")
-----
return assert(false,{err="ERR tbl"})
-----
return {assert(1,2,3)}
-----
return assert()
-----
return {rawget({5},1),rawequal("a","a"),rawequal({},{})}
-----
return rawget(1,1)
-----
return {next({})}
-----
return {next({7})}
-----
return next(1)
-----
return ipairs()
-----
return pairs(nil)
-----
for k,v in pairs(5) do end
-----
local n=0 for k,v in pairs({1,2,3,a=1,b=2}) do n=n+1 end return n
-----
local n=0 for i,v in ipairs({1,2,nil,4}) do n=n+v end return n
-----
return setmetatable(1,{})
-----
return setmetatable({},1)
-----
return setmetatable(setmetatable({},{__metatable=1}),{})
-----
return getmetatable(setmetatable({},{__metatable="locked"}))
-----
local t=setmetatable({},{__index=function(t,k) return k.."!" end}) return {t.a,t.b}
-----
local t=setmetatable({},{__newindex=function(t,k,v) rawset(t,k,v*2) end}) t.a=5 return t.a
-----
local mt={} mt.__add=function(a,b) return 42 end mt.__concat=function(a,b) return "cat" end mt.__call=function(self,x) return x end mt.__unm=function() return -1 end mt.__eq=function() return true end mt.__lt=function() return true end mt.__le=function() return false end local t,u=setmetatable({},mt),setmetatable({},mt) return {t+1,1+t,t.."x","x"..t,"a".."b"..t,t(9),-t,t==u,t<u,t<=u}
-----
local f = function(...) return select("#",...), ... end return {f(1,nil,3)}
-----
local f = function(...) return arg.n end return f(1,2,3)
-----
local t={f=function(self,x) return self.v+x end,v=1} return t:f(2)
-----
do local x=1 end return x
-----
return {math.floor(1.5),math.ceil(1.2),math.abs(-3),math.max(1,5,3),math.min(2,1),math.sqrt(16),math.pow(2,8),math.fmod(7,3),math.mod(7,3),math.fmod(-7,3)}
-----
return {tostring(math.pi),tostring(math.huge),tostring(-math.huge),tostring(math.sin(1)),tostring(math.cos(1)),tostring(math.tan(1)),tostring(math.exp(1)),tostring(math.log(10)),tostring(math.log10(1000)),tostring(math.atan2(1,2)),tostring(math.asin(1)),tostring(math.acos(0)),tostring(math.atan(1)),tostring(math.sinh(1)),tostring(math.cosh(1)),tostring(math.tanh(1)),tostring(math.deg(1)),tostring(math.rad(90))}
-----
local a,b=math.frexp(8) local c,d=math.modf(3.7) local e,f=math.modf(-3.7) return {tostring(a),b,c,tostring(d),e,tostring(f),math.ldexp(0.5,4)}
-----
return math.floor()
-----
return math.floor("x")
-----
return math.floor("3.7")
-----
return math.max()
-----
return math.floor({})
-----
return {tostring(-0),tostring(0*-1),-5%3,5%-3,tostring(5.5%2)}
-----
return {7/2,2^10,tostring(7/2),tostring(1/0),10%3}
-----
return {1==1.0,"1"==1,nil==false,"a"~="b"}
-----
return {not nil,not 0,1 and 2,nil or 3,false and 1}
-----
return bit.band(0xff,0x0f)
-----
return {bit.tobit(0xffffffff),bit.tobit(2^40+1),bit.tohex(255),bit.tohex(255,4),bit.tohex(255,-4),bit.bnot(0),bit.band(7,3,2),bit.bor(1,2,4),bit.bxor(5,3),bit.lshift(1,31),bit.rshift(-1,28),bit.arshift(-16,2),bit.rol(0x12345678,8),bit.ror(0x12345678,8),bit.bswap(0x12345678),bit.lshift(1,33)}
-----
return {bit.tobit(1.5),bit.tobit(2.5),bit.tobit(-1.5),bit.tobit("7"),bit.tobit(1e15),bit.tohex(-1),bit.tohex(1,0),bit.tohex(1,20)}
-----
return bit.band("x")
-----
return bit.band()
-----
return bit.tobit({})
-----
return {bit.band(1),bit.lshift(1,-1),bit.tobit(0/0)}
-----
return cjson.encode({1,2,{a=1}})
-----
return {cjson.encode({}),cjson.encode({{}}),cjson.encode("x"),cjson.encode(1),cjson.encode(1.5),cjson.encode(true),cjson.encode(nil),cjson.encode(cjson.null),cjson.encode({1,cjson.null,3})}
-----
return cjson.encode("a\"b\\c/d\b\f\n\r\t\1\127\0é")
-----
return cjson.encode({[1]=1,[100]=2})
-----
return cjson.encode({[1]=1,[3]=2})
-----
return cjson.encode({[1.5]=1})
-----
return cjson.encode({[-1]=1})
-----
return cjson.encode({[1]=1,[12]=2})
-----
return cjson.encode({1,2,3,[20]=2})
-----
return cjson.encode(print)
-----
return cjson.encode({print})
-----
return cjson.encode({[true]=1})
-----
return cjson.encode({[print]=1})
-----
return cjson.encode(0/0)
-----
return cjson.encode(1/0)
-----
return {cjson.encode(1e15),cjson.encode(0.1),cjson.encode(1/3),cjson.encode(123456789012345),cjson.encode(1e100),cjson.encode(-0.5),cjson.encode(1e14)}
-----
return cjson.encode()
-----
return cjson.encode(1,2)
-----
local t={} for i=1,1001 do t={t} end return cjson.encode(t)
-----
local t={} for i=1,999 do t={t} end return #cjson.encode(t)
-----
local t={} t[1]=t return cjson.encode(t)
-----
return cjson.decode('{"a":1}').a
-----
local d=cjson.decode('[1,"x",null,true,false,{"k":[1,2]},1.5,-2e3,"\\u00e9\\n\\ud83d\\ude00"]') return {d[1],d[2],d[3]==cjson.null,d[4],tostring(d[5]),d[6].k[2],tostring(d[7]),d[8],d[9]}
-----
return tostring(cjson.decode("12345678901234567890"))
-----
return {cjson.decode("1"),cjson.decode('"x"'),cjson.decode(" [1] ")[1]}
-----
return cjson.decode("{")
-----
return cjson.decode("")
-----
return cjson.decode("[1,2")
-----
return cjson.decode("[1,]")
-----
return cjson.decode("{a:1}")
-----
return cjson.decode('{"a" 1}')
-----
return cjson.decode('{"a":1 "b":2}')
-----
return cjson.decode("nul")
-----
return cjson.decode("[1] x")
-----
return cjson.decode('"abc')
-----
return cjson.decode('"\\x"')
-----
return cjson.decode('"\\u12"')
-----
return cjson.decode('"\\ud800"')
-----
return cjson.decode('"\\ud800\\u0041"')
-----
return cjson.decode('"\\udc00"')
-----
return cjson.decode('"a\nb"')
-----
return cjson.decode("tru")
-----
return cjson.decode("-")
-----
return cjson.decode("01")
-----
return {tostring(cjson.decode("nan")),tostring(cjson.decode("inf")),tostring(cjson.decode("-inf")),tostring(cjson.decode("Infinity")),cjson.decode("0x10")}
-----
return {cjson.decode("1.")}
-----
return {cjson.decode(".5")}
-----
return {cjson.decode("+5")}
-----
return {tostring(cjson.decode("1e5")),tostring(cjson.decode("1E-2")),tostring(cjson.decode("-0"))}
-----
return cjson.decode("[1e]")
-----
return cjson.decode("]")
-----
return cjson.decode("@")
-----
return cjson.decode("\0")
-----
return cjson.decode()
-----
return cjson.decode({})
-----
return cjson.decode(12)
-----
return cjson.decode(string.rep("[",1001)..string.rep("]",1001))
-----
return type(cjson.decode(string.rep("[",1000)..string.rep("]",1000)))
-----
return cjson.decode(string.rep('{"a":',1001))
-----
return {cjson.encode_sparse_array(),cjson.encode_max_depth(),cjson.decode_max_depth(),cjson.encode_number_precision(),cjson.encode_keep_buffer(),cjson.encode_invalid_numbers(),cjson.decode_invalid_numbers()}
-----
local c=cjson.new() c.encode_sparse_array(true) return c.encode({[1]=1,[100]=2})
-----
local c=cjson.new() c.encode_sparse_array(true,2,3) return c.encode({[1]=1,[100]=2})
-----
local c=cjson.new() c.encode_number_precision(3) return c.encode(1/3)
-----
local c=cjson.new() c.encode_number_precision(20) return c.encode(1/3)
-----
local c=cjson.new() c.encode_max_depth(2) return c.encode({{{}}})
-----
local c=cjson.new() c.decode_max_depth(2) return c.decode("[[[]]]")
-----
local c=cjson.new() c.encode_invalid_numbers(true) return {c.encode(0/0),c.encode(1/0)}
-----
local c=cjson.new() c.encode_invalid_numbers("null") return {c.encode(0/0),c.encode(1/0)}
-----
local c=cjson.new() c.decode_invalid_numbers(false) return c.decode("nan")
-----
local c=cjson.new() return c.encode_invalid_numbers("x")
-----
local c=cjson.new() return c.encode_max_depth(0)
-----
local c=cjson.new() return c.encode_sparse_array(1)
-----
local c=cjson.new() local r={} for k,v in pairs(c) do r[#r+1]=k end table.sort(r) return r
-----
return {cjson._NAME,cjson._VERSION,cmsgpack._NAME,cmsgpack._VERSION,cmsgpack._COPYRIGHT,cmsgpack._DESCRIPTION,_VERSION}
-----
return {cmsgpack.pack(1),cmsgpack.pack(-1),cmsgpack.pack(127),cmsgpack.pack(128),cmsgpack.pack(255),cmsgpack.pack(256),cmsgpack.pack(65536),cmsgpack.pack(2^32),cmsgpack.pack(2^53),cmsgpack.pack(-33),cmsgpack.pack(-128),cmsgpack.pack(-129),cmsgpack.pack(-32769),cmsgpack.pack(-2^31-1),cmsgpack.pack(-32)}
-----
return {cmsgpack.pack(1.5),cmsgpack.pack(0.1),cmsgpack.pack(1e300),cmsgpack.pack(1/0),cmsgpack.pack(0/0),cmsgpack.pack(2^63),cmsgpack.pack(2^64),cmsgpack.pack(-2^63)}
-----
return {cmsgpack.pack("a"),cmsgpack.pack(string.rep("x",31)),cmsgpack.pack(string.rep("x",32)),cmsgpack.pack(string.rep("x",256)),#cmsgpack.pack(string.rep("x",65536)),cmsgpack.pack(true),cmsgpack.pack(false),cmsgpack.pack(nil)}
-----
return {cmsgpack.pack({1,2,3}),cmsgpack.pack({}),cmsgpack.pack({a=1}),cmsgpack.pack({[1]=1,[3]=3}),cmsgpack.pack({[0]=1}),cmsgpack.pack({{1},{2}}),cmsgpack.pack({1,nil,3})}
-----
local t={} for i=1,20 do t[i]=i end return cmsgpack.pack(t)
-----
return {cmsgpack.pack(1,2,"x")}
-----
return cmsgpack.pack()
-----
return cmsgpack.pack(print)
-----
local t={} t[1]=t return #cmsgpack.pack(t)
-----
local t={{{{{{{{{{{{{{{{{{{1}}}}}}}}}}}}}}}}}}} return cmsgpack.pack(t)
-----
local p=cmsgpack.unpack(cmsgpack.pack({1,"x",true,{a=1.5}})) return {p[1],p[2],p[3],tostring(p[4].a)}
-----
return {cmsgpack.unpack(cmsgpack.pack(1,2,3))}
-----
return {cmsgpack.unpack_one(cmsgpack.pack(1,2,3))}
-----
return {cmsgpack.unpack_one(cmsgpack.pack(1,2,3),1)}
-----
return {cmsgpack.unpack_one(cmsgpack.pack(1,2,3),2)}
-----
return {cmsgpack.unpack_limit(cmsgpack.pack(1,2,3),2)}
-----
return {cmsgpack.unpack_limit(cmsgpack.pack(1,2,3),2,1)}
-----
return {cmsgpack.unpack_limit(cmsgpack.pack(1,2,3),0)}
-----
return {cmsgpack.unpack_limit(cmsgpack.pack(1,2,3),1,10)}
-----
return {cmsgpack.unpack_limit(cmsgpack.pack(1,2,3),-1,0)}
-----
return cmsgpack.unpack("\147\1\2")
-----
return cmsgpack.unpack("\193")
-----
return {cmsgpack.unpack("")}
-----
return cmsgpack.unpack("\219\255\255\255\255x")
-----
return cmsgpack.unpack("\221\255\255\255\255x")
-----
return {cmsgpack.unpack("\204\255"),cmsgpack.unpack("\205\1\2"),cmsgpack.unpack("\206\1\2\3\4"),cmsgpack.unpack("\208\255"),cmsgpack.unpack("\209\255\254"),cmsgpack.unpack("\210\255\255\255\254"),cmsgpack.unpack("\211\255\255\255\255\255\255\255\254"),cmsgpack.unpack("\202\63\192\0\0"),tostring(cmsgpack.unpack("\207\255\255\255\255\255\255\255\255"))}
-----
return {cmsgpack.unpack("\196\1a"),cmsgpack.unpack("\197\0\1a"),cmsgpack.unpack("\198\0\0\0\1a"),cmsgpack.unpack("\217\1a"),cmsgpack.unpack("\218\0\1a"),cmsgpack.unpack("\129\161a\161b").a,cmsgpack.unpack("\222\0\1\161a\161b").a,cmsgpack.unpack("\223\0\0\0\1\161a\161b").a,cmsgpack.unpack("\220\0\1\5")[1]}
-----
return cmsgpack.unpack("\129\192\1")
-----
return {cmsgpack.unpack(12)}
-----
return cmsgpack.unpack()
-----
return cmsgpack.unpack(string.rep("\145",100000))
-----
return {struct.pack("b",1),struct.pack("B",255),struct.pack("h",-2),struct.pack("H",65535),struct.pack("l",1),struct.pack("L",1),struct.pack("T",1),struct.pack("f",1.5),struct.pack("d",1.5),struct.pack("i",1),struct.pack("I",1)}
-----
return {struct.pack(">i4",1),struct.pack("<i4",1),struct.pack(">I2",258),struct.pack("!4bi",1,2),struct.pack("bxi",1,2),struct.pack("s","abc"),struct.pack("c3","abcd"),struct.pack("c0","abc"),struct.pack(">d",1.5),struct.pack(">f",1.5),struct.pack("=h",1)}
-----
return {struct.unpack("i4",struct.pack("i4",-5))}
-----
return {struct.unpack(">I2I2",struct.pack(">I2I2",1,2))}
-----
return {struct.unpack("s","abc\0def")}
-----
return {struct.unpack("Bc0","\3abcdef")}
-----
return {struct.unpack("i4","abc")}
-----
return {struct.unpack("i4","abcdefgh",5)}
-----
return struct.unpack("i4","abcdefgh",6)
-----
return struct.unpack("s","abc")
-----
return struct.unpack("c0","abc")
-----
return struct.unpack("i4","abcdefgh",0)
-----
return struct.unpack("i4","abcdefgh",-1)
-----
return {struct.size("i4"),struct.size("bhld"),struct.size("!8bd"),struct.size("c10"),struct.size("bxx")}
-----
return struct.size("s")
-----
return struct.size("c0")
-----
return struct.pack("y",1)
-----
return struct.pack("i33",1)
-----
return struct.pack("!3i",1)
-----
return struct.pack("i4")
-----
return struct.pack("i4","x")
-----
return struct.pack("c5","abc")
-----
return {struct.pack("i8",-1),struct.pack("I8",2^40),struct.pack("i1",300),struct.pack("I3",66051),struct.pack(">I3",66051)}
-----
return {struct.unpack("I3",struct.pack("I3",66051)),struct.unpack(">i8",struct.pack(">i8",-2)),struct.unpack("b","\255"),struct.unpack("B","\255"),tostring(struct.unpack("f",struct.pack("f",0.1))),tostring(struct.unpack("d",struct.pack("d",0.1)))}
-----
return struct.pack("i99999999999",1)
-----
return struct.unpack("c99999999999","x")
-----
return struct.pack("c2147483647","x")
-----
return {struct.pack("i16",-1),struct.pack("!16i16",1)}
-----
return struct.pack()
-----
return struct.pack("  i4 ",7)
-----
local r={} for k in pairs(_G) do r[#r+1]=k end table.sort(r) return r
-----
local r={} for _,n in ipairs({"string","table","math","redis","bit","struct","cmsgpack","cjson","coroutine"}) do for k,v in pairs(_G[n]) do r[#r+1]=n.."."..k..":"..type(v) end end table.sort(r) return r
-----
return {redis.REDIS_VERSION,redis.REDIS_VERSION_NUM}
-----
return redis.acl_check_cmd("nosuch")
-----
return redis.acl_check_cmd("get","x")
-----
return redis.acl_check_cmd()
-----
local t={} for i=1,10 do t[i]=i end t[5]=nil t[10]=nil return #t
-----
local s="" for i=1,10 do s=s..i end return s
-----
local t={} t[#t+1]="a" t[#t+1]="b" return t
-----
local a,b=1,2 a,b=b,a return {a,b}
-----
local t={1,2} t[1],t[2]=t[2],t[1] return t
-----
local i,t=1,{} i,t[i]=i+1,20 return {i,t[1],tostring(t[2])}
-----
while true do break end repeat local x=1 until x==1 return 1
-----
if nil then return 1 elseif false then return 2 else return 3 end
-----
local s=[[
line]] return s..[==[x]]y]==]
-----
return "\65\066\10\\\"\'a\
b"
-----
-- comment
--[[ multi
line ]] return 1
-----
return (...)
-----
return select("#",...)
-----
local a,b,c=1,2,3 a,b,c=c,a,b return {a,b,c}
-----
local a=1 local t={} a,t[a]=5,6 return {a,t[1],tostring(t[5])}
-----
local t={} t.a,t.b,t.c=1,2 return {t.a,t.b,tostring(t.c)}
-----
local function f() return 1,2,3 end local a,b,c,d a,b,c,d=0,f() return {a,b,c,d}
-----
local t={} t.x.y,t.z=1,2
-----
local u u.a,u.b=1,2
-----
local a,b=1,2 local f=function() a,b=b,a end f() return {a,b}
-----
local function f(q) q=tostring(q) return q end return f(5)
-----
local function f(a,q) q=tostring(q)..a return q end return f(1,2)
-----
local t={} local a,b=1,"two" b=t[2] and a return tostring(b)
-----
local a,b=1,2 b=tonumber(nil) and (true and a<=b) return tostring(b)
-----
local f=function() return f end return f()
-----
local function f() return f end return type(f())
-----
local f=1 local f=function() return f end return f()
