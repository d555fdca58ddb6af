package store

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// clock is a wall clock that stands still until it is told to go on.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.ms.Store(1_700_000_000_000)
	return c
}

func (c *clock) Now() time.Time    { return time.UnixMilli(c.ms.Load()) }
func (c *clock) pass(d int64)      { c.ms.Add(d) }
func (c *clock) in(ms int64) int64 { return c.ms.Load() + ms }
func (c *clock) config() Config    { return Config{Now: c.Now} }
func newStore(t testing.TB, c Config) *Store {
	t.Helper()
	s := New(c)
	t.Cleanup(s.Close)
	return s
}

// do runs f in a Tx over everything and applies what it recorded.
func do(t testing.TB, s *Store, f func(tx *Tx)) {
	t.Helper()
	var tx Tx
	if err := tx.Begin(s, s.now(), 0, Scope{Shards: AllShards}); err != nil {
		t.Fatal(err)
	}
	defer tx.End()
	f(&tx)
	s.Apply(tx.Effects())
}

func put(t testing.TB, s *Store, key, value string, deadline int64) {
	t.Helper()
	do(t, s, func(tx *Tx) { tx.Put([]byte(key), Put{Value: []byte(value), Deadline: deadline}) })
}

func get(t testing.TB, s *Store, key string) (value string, ok bool) {
	t.Helper()
	do(t, s, func(tx *Tx) {
		var e Entry
		e, ok = tx.Get([]byte(key))
		value = string(e.Value)
	})
	return value, ok
}

func check(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
}

func TestKinds(t *testing.T) {
	glob := func(prefix string) func([]byte) bool {
		return func(k []byte) bool { return len(k) >= len(prefix) && string(k[:len(prefix)]) == prefix }
	}
	type step func(tx *Tx, k []byte, deadline int64)
	plain := func(tx *Tx, k []byte, _ int64) { tx.Put(k, Put{}) }
	ttl := func(tx *Tx, k []byte, d int64) { tx.Put(k, Put{Deadline: d}) }
	sure := func(tx *Tx, k []byte, d int64) { tx.Put(k, Put{Deadline: d, Sure: true}) }
	expire := func(tx *Tx, k []byte, d int64) { tx.Expire(k, d+1, false) }
	persist := func(tx *Tx, k []byte, _ int64) { tx.Expire(k, 0, true) }
	del := func(tx *Tx, k []byte, _ int64) { tx.Delete(k) }
	for _, c := range []struct {
		name   string
		policy Policy
		key    string
		steps  []step
		pinned bool
	}{
		{"plain", VolatileLFU, "k", []step{plain}, true},
		{"ttl", VolatileLFU, "k", []step{ttl}, false},
		{"ttl, then plain", VolatileLFU, "k", []step{ttl, plain}, true},
		{"conditional", VolatileLFU, "k", []step{sure}, true},
		{"pinned stays pinned", VolatileLFU, "k", []step{plain, ttl}, true},
		{"a deletion ends it", VolatileLFU, "k", []step{plain, del, ttl}, false},
		{"expire leaves pinned", VolatileLFU, "k", []step{plain, expire}, true},
		{"expire leaves cached", VolatileLFU, "k", []step{ttl, expire}, false},
		{"persist pins", VolatileLFU, "k", []step{ttl, persist}, true},
		{"allkeys: plain", AllKeysLFU, "k", []step{plain}, false},
		{"allkeys: change in place", AllKeysLFU, "k", []step{plain, sure}, true},
		{"noeviction: ttl", NoEviction, "k", []step{ttl}, true},
		{"pin glob", VolatileLFU, "pin:k", []step{ttl}, true},
		{"cache glob", VolatileLFU, "cache:k", []step{plain}, false},
		{"cache glob, change in place", NoEviction, "cache:k", []step{sure}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			clk := newClock()
			s := newStore(t, Config{Now: clk.Now, Policy: c.policy, Pin: glob("pin:"), Cache: glob("cache:")})
			together := newStore(t, Config{Now: clk.Now, Policy: c.policy, Pin: glob("pin:"), Cache: glob("cache:")})
			k := []byte(c.key)
			for _, st := range c.steps {
				do(t, s, func(tx *Tx) { st(tx, k, clk.in(1000)) })
				check(t, s)
			}
			do(t, together, func(tx *Tx) {
				for _, st := range c.steps {
					st(tx, k, clk.in(1000))
				}
			})
			for _, s := range []*Store{s, together} {
				do(t, s, func(tx *Tx) {
					if e, ok := tx.Find(k); !ok || e.Pinned != c.pinned {
						t.Errorf("pinned: %v (exists %v), want %v", e.Pinned, ok, c.pinned)
					}
				})
			}
		})
	}
}

func TestPinAllPins(t *testing.T) {
	clk := newClock()
	s := newStore(t, clk.config())
	var tx Tx
	if err := tx.Begin(s, s.now(), 0, Scope{Shards: AllShards, PinAll: true, Latch: true}); err != nil {
		t.Fatal(err)
	}
	tx.Put([]byte("lock"), Put{Value: []byte("me"), Deadline: clk.in(1000)})
	s.Apply(tx.Effects())
	if e, _ := tx.Find([]byte("lock")); !e.Pinned {
		t.Error("a script's write is not pinned")
	}
	tx.End()
	check(t, s)
}

func TestFrequencyAndIdleTime(t *testing.T) {
	clk := newClock()
	s := newStore(t, clk.config())
	put(t, s, "k", "v", 0)
	freq := func() (n int) {
		do(t, s, func(tx *Tx) { n, _ = tx.Freq([]byte("k")) })
		return
	}
	if n := freq(); n != 5 {
		t.Errorf("a new key has frequency %d, want 5", n)
	}
	get(t, s, "k")
	if n := freq(); n != 6 {
		t.Errorf("the first access makes it %d, want 6", n)
	}
	put(t, s, "k", "w", 0)
	if n := freq(); n < 6 || n > 7 {
		t.Errorf("overwriting makes it %d, want 6 or 7", n)
	}
	clk.pass(3 * 60_000)
	if n := freq(); n > 4 {
		t.Errorf("three minutes later it is %d, want 3 or 4", n)
	}
	do(t, s, func(tx *Tx) {
		if idle, ok := tx.IdleTime([]byte("k")); !ok || idle != 180 {
			t.Errorf("idle for %d s (%v), want 180", idle, ok)
		}
	})
	for range 5000 {
		get(t, s, "k")
	}
	if n := freq(); n < 20 || n > 60 {
		t.Errorf("5000 accesses make it %d", n)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	s := newStore(t, Config{})
	key, value := []byte("some:key:12345"), make([]byte, 64)
	put(t, s, string(key), "x", 0)
	var tx Tx
	now := s.now()
	shards := s.ShardOf(key)
	for _, c := range []struct {
		name string
		run  func()
	}{
		{"GET", func() { tx.Get(key) }},
		{"SET of the same size", func() { tx.Put(key, Put{Value: value}) }},
		{"SET with a TTL", func() { tx.Put(key, Put{Value: value, Deadline: now + hour}) }},
		{"SET of another size", func() { tx.Put(key, Put{Value: value[:rand.IntN(64)]}) }},
		{"EXPIRE", func() { tx.Expire(key, now+hour, false) }},
		{"INCR", func() {
			if e, ok := tx.Find(key); ok {
				tx.Put(key, Put{Value: e.Value, Sure: true})
			}
		}},
		{"DEL and SET", func() {
			tx.Delete(key)
			s.Apply(tx.Effects())
			tx.Discard()
			tx.Put(key, Put{Value: value})
		}},
	} {
		if n := testing.AllocsPerRun(1000, func() {
			tx.Begin(s, now, 0, Scope{Shards: shards})
			c.run()
			s.Apply(tx.Effects())
			tx.End()
		}); n != 0 {
			t.Errorf("%s allocates %v times", c.name, n)
		}
	}
}

// TestEntryOverhead measures what entryShare claims.
func TestEntryOverhead(t *testing.T) {
	if testing.Short() {
		t.Skip("measures memory")
	}
	const n, valueBytes = 400_000, 64
	heap := func() int64 {
		least := int64(math.MaxInt64)
		for { // pools and finalizers take several collections
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			if now := int64(m.HeapAlloc); now < least {
				least = now
			} else {
				return now
			}
		}
	}
	s := newStore(t, Config{})
	deadline := s.now() + 3_600_000
	before := heap()
	var tx Tx
	for i := range n {
		key := fmt.Appendf(nil, "key:%012d", i)
		tx.Begin(s, s.now(), 0, Scope{Shards: s.ShardOf(key)})
		tx.Put(key, Put{Value: make([]byte, valueBytes), Deadline: deadline + int64(i)})
		s.Apply(tx.Effects())
		tx.End()
	}
	st := s.Stats()
	onHeap := float64(heap()-before) / n
	real := onHeap + float64(st.ResidentBytes)/n
	claimed := float64(st.UsedBytes) / n
	t.Logf("an entry of 16 + %d bytes takes %.1f bytes, %.1f of them of heap, %.1f of maxmemory", valueBytes, real, onHeap, claimed)
	if real > claimed*1.1 || real < claimed*0.8 {
		t.Errorf("entryShare is %d, measured %.0f", entryShare, real-claimed+entryShare)
	}
	runtime.KeepAlive(s)

	// The same for a full cache.
	s = nil
	before = heap()
	const limit = 24 << 20
	s = newStore(t, Config{MaxMemory: limit})
	c := session{s: s}
	value := string(make([]byte, valueBytes))
	for i := range n {
		k := fmt.Sprintf("key:%012d", i)
		c.set(t, k, value, hour)
		c.get(t, k)
	}
	c = session{}
	st = s.Stats()
	real = float64(heap()-before) + float64(st.ResidentBytes)
	t.Logf("a cache of %d bytes with %d of %d entries in main takes %.0f bytes", int64(limit), st.MainEntries, st.CachedEntries, real)
	if real > limit*1.15 || real < limit*0.75 {
		t.Errorf("a full cache takes %.2f times the memory it was given", real/limit)
	}
}
