package server_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"crema/server"
)

// nativeFor is how long the natives and Lua are compared, for each kind of server.
const nativeFor = 2 * time.Second

// The scripts that have natives are run natively by one server and in Lua by
// another, with the same random keys, arguments, states and settings. Replies,
// keyspace events, invalidations, MONITOR, SLOWLOG, commandstats, errorstats and
// what is left in the store have to be the same.
func TestNativesAreLua(t *testing.T) {
	for _, kind := range []string{"standalone", "durable"} {
		t.Run(kind, func(t *testing.T) {
			var clock atomic.Int64
			clock.Store(1_800_000_000_000)
			cfg := talkative
			cfg.Now = func() time.Time { return time.UnixMilli(clock.Load()) }
			start := func() *server.Server {
				if kind == "durable" {
					cfg.OpenLog = durable(t.TempDir())
				}
				return serving(t, cfg)
			}
			native, inLua := start(), start()
			runs := native.CountNatives()
			inLua.OnlyLua()
			seed := *seedFlag
			if seed == 0 {
				seed = rand.Uint64N(1_000_000_000)
			}
			n := uint64(*firstFlag)
			for start := time.Now(); time.Since(start) < nativeFor || unused(runs) != "" && time.Since(start) < time.Minute; n++ {
				lines := nativeTalk{rand.New(rand.NewPCG(seed, n))}.lines()
				now := clock.Load()
				a := hearAll(t, native.Addr(), lines, &clock)
				clock.Store(now)
				b := hearAll(t, inLua.Addr(), lines, &clock)
				for i := range max(len(a), len(b)) {
					if x, y := lineAt(a, i), lineAt(b, i); x != y {
						t.Fatalf("seed %d, sequence %d:\nnative %s\nLua    %s\nafter\n%s", seed, n, x, y, strings.Join(a[max(0, i-60):min(i, len(a))], "\n"))
					}
				}
			}
			t.Logf("%d sequences, seed %d", n-uint64(*firstFlag), seed)
			if lua := unused(runs); lua != "" {
				t.Errorf("never run natively: %s", lua)
			}
		})
	}
}

// unused is a script that has not been run natively, "" if all have.
func unused(runs map[string]*atomic.Int64) string {
	for lua, count := range runs {
		if count.Load() == 0 {
			return lua
		}
	}
	return ""
}

func lineAt(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "(nothing)"
}

// What is not the shape of a script that has a native is none, however close.
func TestShapes(t *testing.T) {
	const release = `if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end`
	for _, source := range server.NativeScripts() {
		for _, s := range []string{source, respaced(source), source + ";"} {
			if lua, ok := server.Recognises(s); !ok || lua != source {
				t.Errorf("taken for %q, %v: %s", lua, ok, s)
			}
		}
	}
	for _, change := range [][2]string{
		{"'get'", "'getdel'"}, {"'get'", "'ge' .. 't'"}, {"'get'", `'\103et'`}, {"'get'", "[[get]]"}, {"'get'", `"get'`}, {"KEYS[1])", "KEYS[2])"},
		{"KEYS[1])", "KEYS[1.0])"}, {"==", "~="}, {"ARGV[1]", "ARGV[1]..''"}, {"ARGV[1]", "KEYS[1]"}, {"return 0", "return 1"}, {"return 0", "return -0"},
		{"return 0", "return 0x0"}, {"return 0", "return 00"}, {"redis.call", "redis.pcall"}, {"if redis", "#!lua\nif redis"}, {"if redis", "local redis = nil if redis"},
		{"if redis", "--[[ x ]] if redis"}, {"if redis", "do end if redis"}, {" end", " end --[[ end"}, {" end", " end\x00"}, {"'del'", "'del'--"}, {"redis.call", "server.call"},
	} {
		source := strings.ReplaceAll(release, change[0], change[1])
		if lua, ok := server.Recognises(source); ok || source == release {
			t.Errorf("taken for %q: %s", lua, source)
		}
	}
	if _, ok := server.Recognises(release + strings.Repeat(" ", 4096)); ok {
		t.Error("a script over the limit has a native")
	}
}

// A native allocates nothing: no more than EXISTS with as many words, behind the
// same door.
func TestNativeAllocations(t *testing.T) {
	srv := serving(t, server.Config{})
	door := srv.Client()
	defer door.Close()
	count := func(words ...any) float64 {
		return testing.AllocsPerRun(1000, func() { door.Do(context.Background(), words...) })
	}
	source := server.NativeScripts()[0]
	r, err := door.Do(context.Background(), "SCRIPT", "LOAD", source)
	if err != nil {
		t.Fatal(err)
	}
	door.Do(context.Background(), "SET", "lock", "another", "PX", "100000")
	plain := count("EXISTS", "a", "b", "c", "d")
	for _, script := range [][]any{{"EVALSHA", string(r.Bytes)}, {"EVAL", source}} {
		for _, key := range []string{"lock", "none"} {
			if n := count(append(script, "1", key, "token")...); n > plain {
				t.Errorf("%s of %s: %v allocations, EXISTS has %v", script[0], key, n, plain)
			}
		}
	}
}

// A run of a native, and of the same script in Lua, beside the socket.
func BenchmarkReleaseScript(b *testing.B) {
	for _, onlyLua := range []bool{false, true} {
		b.Run(map[bool]string{false: "native", true: "lua"}[onlyLua], func(b *testing.B) {
			srv := serving(b, server.Config{})
			if onlyLua {
				srv.OnlyLua()
			}
			door := srv.Client()
			defer door.Close()
			r, err := door.Do(context.Background(), "SCRIPT", "LOAD", server.NativeScripts()[0])
			if err != nil {
				b.Fatal(err)
			}
			sha := string(r.Bytes)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := door.Do(context.Background(), "EVALSHA", sha, "1", "lock", "token"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
