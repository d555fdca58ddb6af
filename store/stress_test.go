package store

import (
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// Everything at once: writers with short deadlines, scripts, watchers, walks,
// flushes, swaps, snapshots, a changing limit, sweeper and evictor. Afterwards all
// is in order.
func TestEverythingAtOnce(t *testing.T) {
	const limit = 256 << 10
	s := newStore(t, Config{MaxMemory: limit, BusyAfter: time.Minute, Commit: telling(func([]Event) {})})
	s.WantEvents(ClassExpired | ClassEvicted)
	rounds := 6000
	if testing.Short() {
		rounds = 2000
	}
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 5))
			var tx Tx
			var watch Watch
			for i := range rounds {
				key := fmt.Appendf(nil, "k%d", rng.IntN(4000))
				sc := Scope{Shards: s.ShardOf(key)}
				if rng.IntN(100) == 0 {
					sc = Scope{Shards: AllShards, Latch: true, PinAll: rng.IntN(10) == 0}
				}
				s.MakeRoom()
				if rng.IntN(20) == 0 {
					s.Watch(&watch, 0, key)
				}
				if err := tx.Begin(s, s.now(), rng.IntN(2), sc); err != nil {
					t.Error(err)
					return
				}
				switch n := rng.IntN(100); {
				case n < 30:
					tx.Get(key)
				case n < 40:
					tx.Delete(key)
				case n < 45:
					if _, ok := tx.Find(key); ok {
						tx.Expire(key, tx.Now()+int64(rng.IntN(30)), false)
					}
				case sc.Shards != AllShards:
					tx.Put(key, Put{Value: make([]byte, rng.IntN(200)), Deadline: tx.Now() + 1 + int64(rng.IntN(300))})
				case n < 50:
					tx.Flush(rng.IntN(3) - 1)
				case n < 60:
					tx.Swap(0, 1)
				default:
					tx.Scan(uint64(rng.IntN(numShards)), 10, func([]byte, Entry) {})
					tx.Put(key, Put{Value: []byte("script"), Deadline: tx.Now() + 50})
				}
				watch.Dirty(tx.Now())
				s.Apply(tx.Effects())
				tx.End()
				if watch.Len() > 10 {
					s.Unwatch(&watch)
				}
				if w == 1 && i%100 == 0 {
					snap := s.Snapshot()
					if i%300 == 0 {
						if _, err := snap.WriteTo(io.Discard); err != nil {
							t.Error(err)
						}
					}
					defer snap.Release() // open for long, some never looked at
					if i%400 == 0 {
						snap.Release()
					}
				}
				if w == 0 && i%500 == 0 {
					s.Reconfigure(func(c *Config) { c.MaxMemory = limit << rng.IntN(3) })
					if err := s.Check(); err != nil {
						t.Error(err)
						return
					}
				}
			}
			s.Unwatch(&watch)
		})
	}
	wg.Wait()
	check(t, s)
	do(t, s, func(tx *Tx) { tx.Flush(-1) })
	check(t, s)
	if st := s.Stats(); st.UsedBytes != 0 || s.UsedBytes() != 0 {
		t.Errorf("an empty store uses %d bytes", st.UsedBytes)
	}
}
