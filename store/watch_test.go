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

// told counts what a ListenOnce hears.
type told map[string]int

func (l told) Touched(db int, key []byte) { l[string(key)]++ }

func TestListenOnce(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(tx *Tx, clk *clock)
		change func(tx *Tx, clk *clock)
		told   int
		kept   int64 // keys still listened to
	}{
		{"nothing", nil, nil, 0, 1},
		{"created", nil, func(tx *Tx, _ *clock) { tx.Put([]byte("k"), Put{}) }, 1, 0},
		{"other key", nil, func(tx *Tx, _ *clock) { tx.Put([]byte("j"), Put{}) }, 0, 1},
		{"other database", nil, func(tx *Tx, _ *clock) { tx.PutIn(1, []byte("k"), Put{}) }, 0, 1},
		{"deadline", plainK, func(tx *Tx, c *clock) { tx.Expire([]byte("k"), c.in(100), false) }, 1, 0},
		{"deleted", plainK, func(tx *Tx, _ *clock) { tx.Delete([]byte("k")) }, 1, 0},
		{"deleted, absent", nil, func(tx *Tx, _ *clock) { tx.Delete([]byte("k")) }, 0, 1},
		{"flushed", plainK, func(tx *Tx, _ *clock) { tx.Flush(0) }, 0, 0},
		{"flushed, absent", nil, func(tx *Tx, _ *clock) { tx.Flush(0) }, 0, 0},
		{"flushed other", plainK, func(tx *Tx, _ *clock) { tx.Flush(1) }, 0, 0},
		{"swapped", plainK, func(tx *Tx, _ *clock) { tx.Swap(0, 1) }, 1, 0},
		{"swapped, absent", nil, func(tx *Tx, _ *clock) { tx.Swap(0, 1) }, 0, 1},
		{"expired and swept", ttlK, func(tx *Tx, c *clock) { c.pass(11); tx.now += 11; tx.Delete([]byte("k")) }, 1, 0},
		{"expired before, swept", deadK, func(tx *Tx, _ *clock) { tx.Delete([]byte("k")) }, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			clk := newClock()
			s := newStore(t, clk.config())
			s.SetActiveExpire(false)
			if c.before != nil {
				do(t, s, func(tx *Tx) { c.before(tx, clk) })
			}
			a, b := told{}, told{}
			do(t, s, func(tx *Tx) {
				tx.ListenOnce("k", &a)
				tx.ListenOnce("k", &b)
			})
			if c.change != nil {
				do(t, s, func(tx *Tx) { c.change(tx, clk) })
			}
			if a["k"] != c.told || b["k"] != c.told || s.Listened() != c.kept {
				t.Errorf("told %d and %d times, want %d; %d keys left, want %d", a["k"], b["k"], c.told, s.Listened(), c.kept)
			}
			s.Unlisten(0, "k", &a)
			s.ForgetListened(0)
			if want := c.told + int(c.kept); a["k"] != c.told || b["k"] != want || s.Listened() != 0 {
				t.Errorf("after Unlisten and ForgetListened told %d and %d times, want %d and %d; %d keys left", a["k"], b["k"], c.told, want, s.Listened())
			}
			check(t, s)
		})
	}
}
