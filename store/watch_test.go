package store

import "testing"

func TestWatch(t *testing.T) {
	key := []byte("k")
	for _, c := range []struct {
		name   string
		before func(tx *Tx, clk *clock)
		change func(tx *Tx, clk *clock)
		dirty  bool
	}{
		{"nothing", nil, nil, false},
		{"created", nil, func(tx *Tx, _ *clock) { tx.Put(key, Put{}) }, true},
		{"other key", nil, func(tx *Tx, _ *clock) { tx.Put([]byte("j"), Put{}) }, false},
		{"other database", nil, func(tx *Tx, _ *clock) { tx.PutIn(1, key, Put{}) }, false},
		{"overwritten", plainK, func(tx *Tx, _ *clock) { tx.Put(key, Put{}) }, true},
		{"deadline", plainK, func(tx *Tx, c *clock) { tx.Expire(key, c.in(100), false) }, true},
		{"deleted", plainK, func(tx *Tx, _ *clock) { tx.Delete(key) }, true},
		{"deleted, absent", nil, func(tx *Tx, _ *clock) { tx.Delete(key) }, false},
		{"read", plainK, func(tx *Tx, _ *clock) { tx.Get(key) }, false},
		{"flushed", plainK, func(tx *Tx, _ *clock) { tx.Flush(0) }, true},
		{"flushed all", plainK, func(tx *Tx, _ *clock) { tx.Flush(-1) }, true},
		{"flushed, absent", nil, func(tx *Tx, _ *clock) { tx.Put([]byte("j"), Put{}); tx.Flush(-1) }, false},
		{"flushed other", plainK, func(tx *Tx, _ *clock) { tx.Flush(1) }, false},
		{"swapped", plainK, func(tx *Tx, _ *clock) { tx.Swap(0, 1) }, true},
		{"swapped in", func(tx *Tx, _ *clock) { tx.PutIn(1, key, Put{}) }, func(tx *Tx, _ *clock) { tx.Swap(0, 1) }, true},
		{"swapped, absent", nil, func(tx *Tx, _ *clock) { tx.Swap(0, 1) }, false},
		{"expired since", ttlK, func(_ *Tx, c *clock) { c.pass(11) }, true},
		{"expired and swept", ttlK, func(tx *Tx, c *clock) { c.pass(11); tx.now += 11; tx.Delete(key) }, true},
		{"expired before", deadK, nil, false},
		{"expired before, swept", deadK, func(tx *Tx, _ *clock) { tx.Delete(key) }, false},
		{"expired before, created", deadK, func(tx *Tx, _ *clock) { tx.Put(key, Put{}) }, true},
		{"expired before, flushed", deadK, func(tx *Tx, _ *clock) { tx.Flush(0) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			clk := newClock()
			s := newStore(t, clk.config())
			s.SetActiveExpire(false)
			if c.before != nil {
				do(t, s, func(tx *Tx) { c.before(tx, clk) })
			}
			var w Watch
			s.Watch(&w, 0, key)
			s.Watch(&w, 0, key)
			if c.change != nil {
				do(t, s, func(tx *Tx) { c.change(tx, clk) })
			}
			if got := w.Dirty(s.now()); got != c.dirty {
				t.Errorf("dirty: %v, want %v", got, c.dirty)
			}
			check(t, s)
			s.Unwatch(&w)
			put(t, s, "k", "again", 0)
			if w.Dirty(s.now()) || w.Len() != 0 {
				t.Error("dirty after UNWATCH")
			}
			for i := range s.shards {
				if len(s.shards[i].watches) != 0 {
					t.Error("the registry still knows of it")
				}
			}
		})
	}
}

func plainK(tx *Tx, _ *clock)  { tx.Put([]byte("k"), Put{}) }
func ttlK(tx *Tx, clk *clock)  { tx.Put([]byte("k"), Put{Deadline: clk.in(10)}) }
func deadK(tx *Tx, clk *clock) { ttlK(tx, clk); clk.pass(11) }
