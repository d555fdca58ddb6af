package server_test

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"crema/server"
)

// pipelinesFor is how long pipelines and single commands are compared, for each
// kind of server.
const pipelinesFor = 2 * time.Second

// The same random commands come to one server in pipelines and to another one by
// one. Replies, keyspace events, invalidations, MONITOR, SLOWLOG, commandstats,
// errorstats and what is left in the store have to be the same.
func TestPipelinesAreCommands(t *testing.T) {
	inPairs(t, func(t *testing.T, kind string, many, one *server.Server, clock *atomic.Int64, seed uint64) {
		n := uint64(*firstFlag)
		for start := time.Now(); time.Since(start) < pipelinesFor; n++ {
			lines := pipelineTalk{nativeTalk{rand.New(rand.NewPCG(seed, n))}}.lines()
			now := clock.Load()
			alike(t, func() (a, b []string) {
				clock.Store(now)
				a = hearAll(t, many.Addr(), lines, clock, len(lines))
				clock.Store(now)
				b = hearAll(t, one.Addr(), lines, clock, 1)
				if kind == "durable" {
					a, b = logged(a), logged(b)
				}
				return coarse(a), coarse(b)
			}, "seed %d, sequence %d", seed, n)
		}
		t.Logf("%d sequences, seed %d", n-uint64(*firstFlag), seed)
	})
}

// coarse rounds what remains of a key's time to ten seconds: a pipeline may take some.
func coarse(all []string) []string {
	for i, line := range all {
		if strings.HasPrefix(line, "PTTL") {
			all[i] = seconds.ReplaceAllStringFunc(line, func(text string) string {
				n, _ := strconv.Atoi(strings.TrimSuffix(text, "s"))
				return strconv.Itoa((n+5)/10*10) + "s"
			})
		}
	}
	return all
}

var seconds = regexp.MustCompile(`\d+s\b`)

// logged leaves out what depends on when the log answers: whether what concerns
// this node alone is announced before it, what is looked at twice, and how old what
// was seen on its way is said to be.
func logged(all []string) []string {
	var kept, events []string
	for _, line := range all {
		switch {
		case strings.Contains(line, "invalidate") || strings.Contains(line, "keymiss") || strings.Contains(line, "keyspace_") && strings.HasPrefix(line, "info"),
			strings.HasPrefix(line, "OBJECT IDLETIME"):
		case strings.HasPrefix(line, "event"):
			events = append(events, line)
		default:
			kept = append(kept, line)
		}
	}
	slices.Sort(events)
	return append(kept, events...)
}

// pipelineTalk makes what is said.
type pipelineTalk struct{ nativeTalk }

func (g pipelineTalk) value() string {
	return g.pick("a", "12", "", "3.5", "a\r\n\x00", strings.Repeat("v", 64), strings.Repeat("w", 65), strings.Repeat("x", 1000), strings.Repeat("y", 20_000))
}
func (g pipelineTalk) ms() string    { return g.pick("100000", "200000", "0", "-5", "x") }
func (g pipelineTalk) count() string { return g.pick("0", "1", "5", "100", "-1", "x") }

func (g pipelineTalk) lines() (all [][]string) {
	all = append(all, []string{"SELECT", "2"}, []string{"SET", "full", "x"}, []string{"SELECT", "0"}) // so that maxmemory is exceeded
	for range 150 {
		switch n := g.IntN(100); {
		case n < 80:
			all = append(all, g.data())
		case n < 83: // none of the times to live, or some would end at that moment
			all = append(all, []string{"later", g.pick("110000", "150000", "1000000")})
		case n < 86:
			all = append(all, []string{g.pick("MULTI", "EXEC", "EXEC", "DISCARD")})
		case n < 88: // full, and nothing is evicted, which would happen at any time
			all = append(all, []string{"CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1"})
		case n < 91:
			all = append(all, []string{"CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", g.pick("volatile-lfu", "allkeys-lfu")})
		default:
			all = append(all, [][]string{
				{"SELECT", g.pick("0", "1")}, {"WATCH", g.key()}, {"UNWATCH"}, {"FLUSHDB"}, {"DBSIZE"}, {"PUBLISH", "__key__:x", "y"},
				{"AUTH", "reader", "secret2"}, {"AUTH", "alice", "secret"}, {"AUTH", "alice", "secret"}, {"CLIENT", "NO-TOUCH", g.pick("ON", "OFF")},
				{"CLIENT", "TRACKING", g.pick("ON", "OFF", "OFF"), "REDIRECT", "$listener"}, {"HELLO", g.pick("2", "3")}, {"NOSUCH", "x"},
				{"EVAL", "return redis.call('get', KEYS[1])", "1", g.key()}, {"OBJECT", "ENCODING", g.key()}, {"ECHO", "x"},
			}[g.IntN(16)])
		}
	}
	return append(all, []string{"DISCARD"}, []string{"AUTH", "alice", "secret"}, []string{"CONFIG", "SET", "maxmemory", "0"})
}

func (g pipelineTalk) data() []string {
	key, other, v, ms, n := g.key(), g.key(), g.value(), g.ms(), g.count()
	return [][]string{
		{"GET", key}, {"GET", key}, {"GET", key}, {"MGET", key, other, "none"}, {"GETRANGE", key, n, g.count()}, {"STRLEN", key},
		{"SET", key, v}, {"SET", key, v}, {"SET", key, v, "PX", ms}, {"SET", key, v, "PX", ms}, {"SET", key, v, "NX"}, {"SET", key, v, "XX", "GET"}, {"SET", key, v, "KEEPTTL"},
		{"SETNX", key, v}, {"PSETEX", key, ms, v}, {"GETSET", key, v}, {"GETDEL", key}, {"GETEX", key, "PX", ms}, {"MSET", key, v, other, v}, {"MSETNX", key, v, other, v},
		{"INCR", key}, {"DECRBY", key, n}, {"INCRBYFLOAT", key, g.pick("1.5", "x", "inf")}, {"APPEND", key, v}, {"APPEND", key, v},
		{"SETRANGE", key, g.pick("0", "10", "-1", "300000", "1100000"), v}, {"DEL", key, other}, {"UNLINK", key}, {"EXISTS", key, other}, {"TOUCH", key, other}, {"TYPE", key},
		{"PERSIST", key}, {"PEXPIRE", key, ms, g.pick("NX", "XX")}, {"PEXPIRE", key, ms},
		{"RENAME", key, other}, {"RENAMENX", key, other}, {"COPY", key, other, "REPLACE"}, {"COPY", key, other, "DB", "1"}, {"MOVE", key, "1"},
		{"SET", key}, {"GET"},
	}[g.IntN(41)]
}
