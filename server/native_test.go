package server_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
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
	inPairs(t, func(t *testing.T, _ string, native, inLua *server.Server, clock *atomic.Int64, seed uint64) {
		runs := native.CountNatives()
		inLua.OnlyLua()
		n := uint64(*firstFlag)
		for start := time.Now(); time.Since(start) < nativeFor || unused(runs) != "" && time.Since(start) < time.Minute; n++ {
			lines := nativeTalk{rand.New(rand.NewPCG(seed, n))}.lines()
			now := clock.Load()
			alike(t, func() (a, b []string) {
				clock.Store(now)
				a = hearAll(t, native.Addr(), lines, clock, 1)
				clock.Store(now)
				return a, hearAll(t, inLua.Addr(), lines, clock, 1)
			}, "seed %d, sequence %d", seed, n)
		}
		t.Logf("%d sequences, seed %d", n-uint64(*firstFlag), seed)
		if lua := unused(runs); lua != "" {
			t.Errorf("never run natively: %s", lua)
		}
	})
}

// inPairs has two servers compared that are alike, without a log and with one,
// and their clock.
func inPairs(t *testing.T, compare func(t *testing.T, kind string, a, b *server.Server, clock *atomic.Int64, seed uint64)) {
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
			seed := *seedFlag
			if seed == 0 {
				seed = rand.Uint64N(1_000_000_000)
			}
			compare(t, kind, start(), start(), &clock, seed)
		})
	}
}

// alike demands that the same is heard of both. What is left of a key's time tells
// of a server that stood still for a moment: those are heard once more.
func alike(t *testing.T, hear func() (a, b []string), where string, args ...any) {
	t.Helper()
	began := time.Now()
	a, b := hear()
	for tries := 3; tries > 0 && !slices.Equal(a, b) && time.Since(began) > 200*time.Millisecond; tries-- {
		began = time.Now()
		a, b = hear()
	}
	for i := range max(len(a), len(b)) {
		if x, y := lineAt(a, i), lineAt(b, i); x != y {
			t.Fatalf("%s:\nthe first  %.300s\nthe second %.300s\nafter\n%s", fmt.Sprintf(where, args...), x, y, strings.Join(a[max(0, i-60):min(i, len(a))], "\n"))
		}
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

// What remains of a key's time may be more than Lua's numbers hold, or than there is
// room for more.
func TestNativesAtTheEndOfTime(t *testing.T) {
	native, inLua := serving(t, server.Config{}), serving(t, server.Config{})
	inLua.OnlyLua()
	a, b := connect(t, native.Addr()), connect(t, inLua.Addr())
	for _, source := range server.NativeScripts() {
		for _, deadline := range []string{
			"4503599627370496", "4505400000000000", "9007199254740992", "9009000000000000", // PTTL around 2^52 and 2^53
			"4503599627370496000", "9007199254740992000", "9223372036854775807", // TTL, and the last there is
		} {
			for _, argv := range [][]string{{"a", "100001", "0"}, {"a", "1099511627776", "0"}, {"a", "100001", "1"}} {
				for _, words := range [][]string{
					{"SET", "k", "a", "PXAT", deadline}, append([]string{"EVAL", source, "1", "k"}, argv...), {"PEXPIRETIME", "k"},
				} {
					got, want := a.do(words...).text(), b.do(words...).text()
					x, _ := strconv.ParseInt(strings.TrimPrefix(got, "(integer) "), 10, 64)
					y, _ := strconv.ParseInt(strings.TrimPrefix(want, "(integer) "), 10, 64)
					if got != want && (x == 0 || max(x-y, y-x) > patience.Milliseconds()) {
						t.Fatalf("%s, with a deadline of %s: %s, in Lua %s", words, deadline, got, want)
					}
				}
			}
		}
	}
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
		{"if redis", "--[[ x ]] if redis"}, {"if redis", "do end if redis"}, {" end", " end --[[ end"}, {" end", " end\x00"}, {"'del'", "'del'--"}, {"if redis", "-- x\rredis.call('incr', 'n')\nif redis"}, {"redis.call", "server.call"},
	} {
		source := strings.ReplaceAll(release, change[0], change[1])
		if lua, ok := server.Recognises(source); ok || source == release {
			t.Errorf("taken for %q: %s", lua, source)
		}
	}
	if _, ok := server.Recognises(`return redis.call('set', KEYS[1], ARGV[1], "nx' , 'px", ARGV[2])`); ok {
		t.Error("a literal is taken for two")
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
