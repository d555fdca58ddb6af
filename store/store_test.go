package store

import (
	"fmt"
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
	if n := testing.AllocsPerRun(1000, func() {
		tx.Begin(s, now, 0, Scope{Shards: shards})
		tx.Get(key)
		tx.End()
	}); n != 0 {
		t.Errorf("GET allocates %v times", n)
	}
	if n := testing.AllocsPerRun(1000, func() {
		tx.Begin(s, now, 0, Scope{Shards: shards})
		tx.Put(key, Put{Value: value})
		s.Apply(tx.Effects())
		tx.End()
	}); n != 1 {
		t.Errorf("SET over an old value allocates %v times, want once for the value", n)
	}
}

// TestEntryOverhead measures what entryOverhead claims.
func TestEntryOverhead(t *testing.T) {
	if testing.Short() {
		t.Skip("measures memory")
	}
	const n, valueBytes = 200_000, 64
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
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
	real := float64(heap()-before) / n
	claimed := float64(s.used.Load()) / n
	t.Logf("an entry of 16 + %d bytes takes %.0f bytes of heap, %.0f of maxmemory", valueBytes, real, claimed)
	if real > claimed*1.1 || real < claimed*0.8 {
		t.Errorf("entryOverhead is %d, measured %.0f", entryOverhead, real-16-valueBytes)
	}
	runtime.KeepAlive(s)

	// The same for a full cache, where ristretto has most of the entries.
	s = nil
	before = heap()
	const limit = 24 << 20
	s = newStore(t, Config{MaxMemory: limit})
	c := session{s: s}
	value := string(make([]byte, valueBytes))
	for i := range 2 * n {
		c.set(t, fmt.Sprintf("key:%012d", i), value, hour)
	}
	c = session{}
	real = float64(heap() - before)
	st := s.Stats()
	t.Logf("a cache of %d bytes with %d of %d entries in main takes %.0f bytes of heap", int64(limit), st.MainEntries, st.CachedEntries, real)
	if real > limit*1.15 || real < limit*0.75 {
		t.Errorf("mainOverhead is %d, and a full cache takes %.2f times the memory it was given", mainOverhead, real/limit)
	}
}

func BenchmarkGet(b *testing.B) {
	s := newStore(b, Config{})
	keys := benchKeys(b, s)
	b.RunParallel(func(pb *testing.PB) {
		var tx Tx
		for i := 0; pb.Next(); i++ {
			k := keys[i%len(keys)]
			tx.Begin(s, 1_700_000_000_000, 0, Scope{Shards: s.ShardOf(k)})
			tx.Get(k)
			tx.End()
		}
	})
}

func BenchmarkSet(b *testing.B) {
	s := newStore(b, Config{})
	keys := benchKeys(b, s)
	value := make([]byte, 64)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var tx Tx
		for i := 0; pb.Next(); i++ {
			k := keys[i%len(keys)]
			tx.Begin(s, 1_700_000_000_000, 0, Scope{Shards: s.ShardOf(k)})
			tx.Put(k, Put{Value: value})
			s.Apply(tx.Effects())
			tx.End()
		}
	})
}

// BenchmarkSetFull writes new keys into a store that has to evict for each.
func BenchmarkSetFull(b *testing.B) {
	s := newStore(b, Config{MaxMemory: 32 << 20})
	value := make([]byte, 64)
	deadline := s.now() + 3_600_000
	var tx Tx
	key := make([]byte, 0, 32)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		key = fmt.Appendf(key[:0], "key:%012d", i)
		s.MakeRoom()
		tx.Begin(s, 1_700_000_000_000, 0, Scope{Shards: s.ShardOf(key)})
		tx.Put(key, Put{Value: value, Deadline: deadline})
		s.Apply(tx.Effects())
		tx.End()
	}
}

func benchKeys(b *testing.B, s *Store) [][]byte {
	keys := make([][]byte, 100_000)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key:%012d", i)
		put(b, s, string(keys[i]), "0123456789012345678901234567890123456789012345678901234567890123", 0)
	}
	b.ResetTimer()
	return keys
}
