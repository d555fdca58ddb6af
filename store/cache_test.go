package store

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// session is one connection's use of the store.
type session struct {
	tx Tx
	s  *Store
}

func (c *session) begin(t testing.TB, key []byte) {
	if err := c.tx.Begin(c.s, c.s.now(), 0, Scope{Shards: c.s.ShardOf(key)}); err != nil {
		t.Error(err)
	}
}

// set answers false for OOM.
func (c *session) set(t testing.TB, key, value string, ttl int64) bool {
	if !c.s.MakeRoom() {
		return false
	}
	k := []byte(key)
	c.begin(t, k)
	defer c.tx.End()
	deadline := int64(0)
	if ttl > 0 {
		deadline = c.tx.Now() + ttl
	}
	c.tx.Put(k, Put{Value: []byte(value), Deadline: deadline})
	c.s.Apply(c.tx.Effects())
	return true
}

func (c *session) get(t testing.TB, key string) (string, bool) {
	k := []byte(key)
	c.begin(t, k)
	defer c.tx.End()
	e, ok := c.tx.Get(k)
	return string(e.Value), ok
}

func (c *session) del(t testing.TB, key string) {
	k := []byte(key)
	c.begin(t, k)
	defer c.tx.End()
	c.tx.Delete(k)
	c.s.Apply(c.tx.Effects())
}

const hour = 3_600_000

// fill writes cached keys and reads each once, so that they go to main.
func fill(t testing.TB, s *Store, prefix string, n int) {
	c := session{s: s}
	for i := range n {
		k := fmt.Sprint(prefix, i)
		if !c.set(t, k, "0123456789012345678901234567890123456789", hour) {
			t.Fatal("OOM")
		}
		c.get(t, k)
	}
}

// The contract of a full cache, in one run: whatever is read of a cached key is
// the newest value or nothing, a value just written is there, pinned keys are
// all there, and walks agree with reads.
func TestFullCacheIsNeverWrong(t *testing.T) {
	const limit = 2 << 20
	s := newStore(t, Config{MaxMemory: limit})
	c := session{s: s}
	const pinned = 500
	for i := range pinned {
		c.set(t, fmt.Sprint("pinned", i), "stays", 0)
	}
	fill(t, s, "old", 20_000)
	if st := s.Stats(); st.MainEntries == 0 || st.Evicted == 0 {
		t.Fatalf("the cache is not full: %+v", st)
	}
	// Each writer owns keys and knows what it wrote last; readers know only
	// that a key's version never goes back.
	const writers, keysEach = 4, 3000
	rounds := 20_000
	if testing.Short() {
		rounds = 5000
	}
	var newest [writers][keysEach]atomic.Int64
	var stop atomic.Bool
	var readers, wg sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			c := session{s: s}
			for !stop.Load() {
				w, k := rand.IntN(writers), rand.IntN(keysEach)
				atLeast := newest[w][k].Load()
				v, ok := c.get(t, fmt.Sprintf("w%d:%d", w, k))
				version := int64(0)
				fmt.Sscan(v, &version)
				if ok && version < atLeast {
					t.Errorf("w%d:%d reads %d after %d was acknowledged", w, k, version, atLeast)
				}
			}
		})
	}
	for w := range writers {
		wg.Go(func() {
			c := session{s: s}
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range rounds {
				k := rng.IntN(keysEach)
				if rng.IntN(2) == 0 {
					k = rng.IntN(50) // a few are hot
				}
				key := fmt.Sprintf("w%d:%d", w, k)
				switch rng.IntN(10) {
				case 0:
					// A reader may see the key until the deletion is done: that
					// is no version at all, so newest stays as it is.
					c.del(t, key)
					if v, ok := c.get(t, key); ok {
						t.Errorf("%s reads %q after its deletion", key, v)
					}
				case 1, 2, 3:
					if v, ok := c.get(t, key); ok && v != fmt.Sprint(newest[w][k].Load()) {
						t.Errorf("%s reads %q, its only writer wrote %d", key, v, newest[w][k].Load())
					}
				default:
					// Twice at once: the second must win.
					c.set(t, key, fmt.Sprint(2*i+1), hour)
					c.set(t, key, fmt.Sprint(2*i+2), hour)
					newest[w][k].Store(int64(2*i + 2))
					if v, ok := c.get(t, key); !ok || v != fmt.Sprint(2*i+2) {
						t.Errorf("%s reads %q (%v) right after %d was written", key, v, ok, 2*i+2)
					}
				}
			}
		})
	}
	wg.Wait()
	stop.Store(true)
	readers.Wait()
	check(t, s)
	if used := s.UsedBytes(); used > limit+limit/10 {
		t.Errorf("used %d of %d bytes", used, limit)
	}
	for i := range pinned {
		if v, ok := c.get(t, fmt.Sprint("pinned", i)); !ok || v != "stays" {
			t.Fatalf("pinned%d reads %q (%v)", i, v, ok)
		}
	}
	do(t, s, func(tx *Tx) {
		n := 0
		tx.Each(func(k []byte, _ Entry) bool { n++; return true })
		seen := map[string]bool{}
		for cursor, first := uint64(0), true; first || cursor != 0; first = false {
			cursor = tx.Scan(cursor, 100, func(k []byte, _ Entry) { seen[string(k)] = true })
		}
		if n != tx.Len() || len(seen) != n {
			t.Errorf("KEYS has %d, SCAN %d, DBSIZE %d", n, len(seen), tx.Len())
		}
		if k, ok := tx.RandomKey(); !ok || !seen[string(k)] {
			t.Errorf("RANDOMKEY says %q (%v)", k, ok)
		}
	})
}

// A newcomer is not thrown away at the door, however warm the residents are.
func TestNewcomersGetProbation(t *testing.T) {
	s := newStore(t, Config{MaxMemory: 4 << 20})
	fill(t, s, "resident", 120_000) // until the shares have settled
	c := session{s: s}
	for range 5 {
		for i := 90_000; i < 120_000; i++ {
			c.get(t, fmt.Sprint("resident", i))
		}
	}
	before := s.Stats()
	// A tenth of the window passes; each newcomer has to live through that.
	wait := before.WindowEntries / 10
	lost := 0
	for i := range 5000 {
		c.set(t, fmt.Sprint("new", i), "0123456789012345678901234567890123456789", hour)
		if i >= wait {
			if _, ok := c.get(t, fmt.Sprint("new", i-wait)); !ok {
				lost++
			}
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d newcomers were lost while %d others came", lost, 5000-wait, wait)
	}
	st := s.Stats()
	share := float64(st.WindowBytes) / float64(st.CachedBytes)
	if share < 0.4 || share > 0.6 {
		t.Errorf("the window has %.0f %% of the cached bytes", share*100)
	}
	check(t, s)
}

// A flood of keys that nobody asks for passes through the windows: those that
// are asked for stay.
func TestUnreadKeysGoFirst(t *testing.T) {
	s := newStore(t, Config{MaxMemory: 4 << 20})
	fill(t, s, "resident", 60_000)
	before := s.Stats()
	if before.MainEntries == 0 {
		t.Fatalf("%+v", before)
	}
	c := session{s: s}
	const flood = 60_000
	for i := range flood {
		c.set(t, fmt.Sprint("flood", i), "0123456789012345678901234567890123456789", hour)
		if i == flood/2 { // all that is left of the residents' windows has gone by
			before = s.Stats()
		}
	}
	if st := s.Stats(); st.Promoted != before.Promoted || st.MainEntries < before.MainEntries*9/10 || st.Evicted == before.Evicted {
		t.Errorf("promoted %d, then %d; in main %d, then %d; evicted %d", before.Promoted, st.Promoted, before.MainEntries, st.MainEntries, st.Evicted)
	}
	check(t, s)
}

func TestPinnedFillsMemory(t *testing.T) {
	s := newStore(t, Config{MaxMemory: 1 << 20})
	fill(t, s, "cached", 10_000)
	c := session{s: s}
	n := 0
	for ; c.set(t, fmt.Sprint("pinned", n), "v", 0); n++ {
		if n > 100_000 {
			t.Fatal("pinned keys grow without end")
		}
	}
	for i := range n {
		if _, ok := c.get(t, fmt.Sprint("pinned", i)); !ok {
			t.Fatalf("pinned%d of %d was evicted", i, n)
		}
	}
	st := s.Stats()
	if st.PinnedBytes < 1<<20 || st.UsedBytes > 1<<20+4096 {
		t.Errorf("OOM at %+v", st)
	}
	if c.set(t, "cached", "v", hour) {
		t.Error("a cached write found room where there is none")
	}
	check(t, s)
	for i := range n / 2 {
		c.del(t, fmt.Sprint("pinned", i))
	}
	if !c.set(t, "cached", "v", hour) {
		t.Error("OOM with half of the memory free")
	}
	check(t, s)
}

func TestNoEviction(t *testing.T) {
	s := newStore(t, Config{MaxMemory: 100_000, Policy: NoEviction})
	c := session{s: s}
	n := 0
	for ; c.set(t, fmt.Sprint("k", n), "v", hour); n++ {
	}
	if st := s.Stats(); st.DBs[0].Keys != n || st.Evicted != 0 || n == 0 {
		t.Errorf("wrote %d: %+v", n, st)
	}
}

func TestSmallerLimitIsMadeTrue(t *testing.T) {
	evicted := make(chan struct{}, 1)
	s := newStore(t, Config{MaxMemory: 8 << 20, Commit: telling(func(all []Event) {
		for _, e := range all {
			if e.Name != "evicted" || e.Class != ClassEvicted {
				t.Errorf("event %+v", e)
			}
		}
		select {
		case evicted <- struct{}{}:
		default:
		}
	})})
	s.WantEvents(ClassEvicted)
	fill(t, s, "k", 30_000)
	s.Reconfigure(func(c *Config) { c.MaxMemory = 1 << 20 })
	for timeout := time.After(20 * time.Second); s.UsedBytes() > 1<<20; {
		select {
		case <-evicted:
		case <-timeout:
			t.Fatalf("still %d bytes", s.UsedBytes())
		}
	}
	check(t, s)
}

// A flush of a full cache leaves nothing behind.
func TestFlushOfAFullCache(t *testing.T) {
	for _, all := range []bool{true, false} {
		s := newStore(t, Config{MaxMemory: 1 << 20})
		do(t, s, func(tx *Tx) { tx.PutIn(1, []byte("elsewhere"), Put{}) })
		for range 3 {
			fill(t, s, "k", 10_000)
			check(t, s)
			do(t, s, func(tx *Tx) {
				if all {
					tx.Flush(-1)
				} else {
					tx.Flush(0)
				}
			})
			if n := s.Stats().CachedBytes; n != 0 {
				t.Errorf("%d cached bytes after a flush", n)
			}
			check(t, s)
		}
	}
}

// Entries that change kind, size or database while they are in main.
func TestChangesOfMainEntries(t *testing.T) {
	s := newStore(t, Config{MaxMemory: 1 << 19})
	rng := rand.New(rand.NewPCG(7, 7))
	var tx Tx
	for i := range 30_000 {
		if !s.MakeRoom() {
			t.Fatal("OOM")
		}
		key := fmt.Appendf(nil, "k%d", rng.IntN(6000))
		if err := tx.Begin(s, s.now(), rng.IntN(2), Scope{Shards: AllShards, Latch: i%50 == 0}); err != nil {
			t.Fatal(err)
		}
		p := Put{Value: make([]byte, rng.IntN(300)), Deadline: tx.Now() + hour}
		switch n := rng.IntN(100); {
		case n < 35:
			tx.Put(key, p)
		case n < 60:
			tx.Get(key)
		case n < 75:
			tx.Delete(key)
		case n < 85:
			if _, ok := tx.Find(key); ok {
				tx.Expire(key, 0, true)
			}
		case n < 99:
			tx.Delete(key)
			tx.Put(key, p)
		case i%20 == 0:
			tx.Swap(0, 1)
		case i%33 == 0:
			tx.Flush(1)
		}
		s.Apply(tx.Effects())
		tx.End()
		if i%1000 == 0 {
			check(t, s)
		}
	}
	check(t, s)
	if st := s.Stats(); st.MainEntries == 0 || st.Evicted == 0 {
		t.Errorf("nothing was evicted from main: %+v", st)
	}
}

// An eviction that races with scripts waits for them and is done after.
func TestEvictionPassesLatchesOver(t *testing.T) {
	s := newStore(t, Config{MaxMemory: 1 << 20})
	fill(t, s, "k", 10_000)
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		var tx Tx
		for !stop.Load() {
			if err := tx.Begin(s, s.now(), 0, Scope{Shards: AllShards, Latch: true, PinAll: true}); err != nil {
				t.Error(err)
				return
			}
			tx.Len()
			if k, ok := tx.RandomKey(); ok {
				tx.Delete(k)
			}
			s.Apply(tx.Effects())
			tx.End()
			runtime.Gosched()
		}
	})
	fill(t, s, "l", 20_000)
	stop.Store(true)
	wg.Wait()
	check(t, s)
	session := session{s: s}
	session.set(t, "one more", "", hour)
	if used := s.UsedBytes(); used > 1<<20+4096 {
		t.Errorf("used %d bytes", used)
	}
	check(t, s)
}
