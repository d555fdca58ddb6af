package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// Which effects go through the log, and as what.
func TestLocal(t *testing.T) {
	k := []byte("k")
	cached := func(tx *Tx, c *clock) { tx.Put(k, Put{Value: []byte("c"), Deadline: c.in(50)}) }
	pinned := func(tx *Tx, c *clock) { tx.Put(k, Put{Value: []byte("p"), Deadline: c.in(50), Sure: true}) }
	del := func(tx *Tx, _ *clock) { tx.Delete(k) }
	flush := func(tx *Tx, _ *clock) { tx.Flush(0) }
	swap := func(tx *Tx, _ *clock) { tx.Swap(0, 1) }
	expire := func(tx *Tx, c *clock) { tx.Expire(k, c.in(99), false) }
	persist := func(tx *Tx, _ *clock) { tx.Expire(k, 0, true) }
	type steps []func(*Tx, *clock)
	for _, c := range []struct {
		name   string
		before func(*Tx, *clock)
		pass   int64 // ms before the change
		change steps
		log    string // the ops that others are told: Put, Expire, Delete, Flush, Swap
	}{
		{"cached", nil, 0, steps{cached}, ""},
		{"cached over cached", cached, 0, steps{cached}, ""},
		{"cached deleted", cached, 0, steps{del}, ""},
		{"cached expired and deleted", cached, 60, steps{del}, ""},
		{"cached, another deadline", cached, 0, steps{expire}, ""},
		{"cached, persisted", cached, 0, steps{persist}, "P"},
		{"cached, another deadline, persisted", cached, 0, steps{expire, persist}, "P"},
		{"cached made pinned", cached, 0, steps{pinned}, "P"},
		{"pinned", nil, 0, steps{pinned}, "P"},
		{"pinned, another deadline", nil, 0, steps{pinned, expire}, "P"},
		{"pinned deleted", pinned, 0, steps{del}, "D"},
		{"pinned expired and deleted", pinned, 60, steps{del}, "D"},
		{"pinned expired, cached now", pinned, 60, steps{cached}, "D"},
		{"pinned, another deadline later", pinned, 0, steps{expire}, "E"},
		{"pinned persisted", pinned, 0, steps{persist}, "E"},
		{"pinned deleted, cached now", pinned, 0, steps{del, cached}, "D"},
		{"pinned deleted, cached, deleted", pinned, 0, steps{del, cached, del}, "D"},
		{"pinned deleted, pinned again", pinned, 0, steps{del, pinned}, "P"},
		{"pinned and deleted at once", nil, 0, steps{pinned, del}, ""},
		{"cached, pinned and deleted at once", cached, 0, steps{pinned, del}, ""},
		{"flush", cached, 0, steps{flush}, "F"},
		{"pinned, flushed, cached now", pinned, 0, steps{flush, cached}, "F"},
		{"pinned, flushed, pinned again", pinned, 0, steps{flush, pinned}, "FP"},
		{"swap", cached, 0, steps{swap}, "S"},
		{"pinned, swapped away, cached", pinned, 0, steps{swap, cached}, "S"},
		{"pinned, cached after a deletion, swapped", pinned, 0, steps{del, cached, swap}, "SD"},
		{"nothing", nil, 0, steps{del}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			clk := newClock()
			s := newStore(t, clk.config())
			s.SetActiveExpire(false)
			if c.before != nil {
				do(t, s, func(tx *Tx) { c.before(tx, clk) })
			}
			clk.pass(c.pass)
			do(t, s, func(tx *Tx) {
				for _, f := range c.change {
					f(tx, clk)
				}
				told, err := DecodeEffects(AppendEffects(nil, tx.Effects()))
				got := ""
				for _, f := range told {
					got += string(" PEDFS"[f.Op])
				}
				if err != nil || got != c.log || Replicated(tx.Effects()) != (c.log != "") {
					t.Errorf("%q is told, want %q; of %+v", got, c.log, tx.Effects())
				}
			})
			check(t, s)
		})
	}
}

// A leader with a full cache, and a follower whose clock is a minute ahead and
// who hears of nothing but the log: after each batch both snapshots are the same
// bytes, and the follower holds nothing else.
func TestFollowerHasWhatIsPinned(t *testing.T) {
	for _, seed := range []uint64{1, 2, rand.Uint64()} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { runFollower(t, seed) })
	}
}

func runFollower(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	clk, ahead := newClock(), newClock()
	ahead.pass(60_000)
	follower := newStore(t, Config{Now: ahead.Now})
	follower.Follow()
	var log [][]byte
	commit := func(s *Store, tx *Tx) {
		effects := tx.Effects()
		if !Replicated(effects) {
			s.Apply(effects)
			return
		}
		entry := AppendEffects(nil, effects)
		s.Apply(effects)
		log = append(log, entry)
		if err := follower.ApplyEntry(entry); err != nil {
			t.Error(err)
		}
	}
	var leader *Store
	leader = newStore(t, Config{
		Now: clk.Now, MaxMemory: 20_000,
		// What is cached changes now and then.
		Cache:  func(key []byte) bool { return bytes.HasPrefix(key, []byte{'k', byte('0' + clk.ms.Load()/100%10)}) },
		Commit: func(tx *Tx) *Pending { commit(leader, tx); return nil },
	})
	leader.SetActiveExpire(false) // swept by hand
	var tx Tx
	for step := range 800 {
		clk.pass(int64(rng.IntN(8)))
		leader.MakeRoom()
		if err := tx.Begin(leader, clk.ms.Load(), rng.IntN(2), Scope{Shards: AllShards, Latch: rng.IntN(3) == 0}); err != nil {
			t.Fatal(err)
		}
		for range 1 + rng.IntN(12) {
			key := fmt.Appendf(nil, "k%d", rng.IntN(300))
			p := Put{Value: make([]byte, rng.IntN(200)), Sure: rng.IntN(3) == 0, Encoding: Encoding(rng.IntN(3))}
			if rng.IntN(3) > 0 {
				p.Deadline = tx.Now() + int64(rng.IntN(300))
			}
			switch n := rng.IntN(100); {
			case n < 60:
				tx.PutIn(rng.IntN(3), key, p)
			case n < 75:
				tx.Delete(key)
			case n < 95:
				if _, ok := tx.Find(key); ok {
					tx.Expire(key, p.Deadline, p.Deadline == 0 || p.Sure)
				}
			case n < 97:
				tx.Swap(rng.IntN(3), rng.IntN(3))
			case n < 98:
				tx.Flush(rng.IntN(4) - 1)
			default:
				tx.Select(rng.IntN(3))
			}
		}
		commit(leader, &tx)
		tx.End()
		if rng.IntN(10) == 0 {
			sweepNow(t, leader)
		}
		if rng.IntN(100) == 0 {
			c := Clock{Now: clk.ms.Load(), Extend: int64(rng.IntN(50))}
			leader.ApplyClock(c)
			log = append(log, AppendClock(nil, c))
			if err := follower.ApplyEntry(log[len(log)-1]); err != nil {
				t.Fatal(err)
			}
		}
		if st := follower.Stats(); st.CachedEntries != 0 {
			t.Fatalf("step %d: the follower has %d cached entries", step, st.CachedEntries)
		}
		if !bytes.Equal(snapshotBytes(t, leader), snapshotBytes(t, follower)) {
			t.Fatalf("step %d: leader and follower differ", step)
		}
		if step%50 == 0 {
			check(t, leader)
			check(t, follower)
		}
	}
	if st := leader.Stats(); st.Evicted == 0 || st.Expired == 0 {
		t.Errorf("an easy run: %+v", st)
	}
	again := newStore(t, ahead.config())
	again.Follow()
	for _, entry := range log {
		if err := again.ApplyEntry(entry); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(snapshotBytes(t, again), snapshotBytes(t, leader)) {
		t.Error("the log read again gives another state")
	}
}

func TestEmptyCached(t *testing.T) {
	clk := newClock()
	s := newStore(t, Config{Now: clk.Now, MaxMemory: 3 << 18, Commit: telling(func(e []Event) { t.Errorf("events %v", e) })})
	fill(t, s, "c", 8000)
	c := session{s: s}
	c.set(t, "pinned", "stays", 0)
	s.WantEvents(ClassEvicted | ClassExpired)
	cachedKey := ""
	do(t, s, func(tx *Tx) {
		tx.Each(func(k []byte, e Entry) bool { cachedKey = string(k); return e.Pinned })
		tx.Swap(0, 4)
	})
	if st := s.Stats(); st.MainEntries == 0 || st.WindowEntries == 0 {
		t.Fatalf("%+v", st)
	}
	evicted := s.Stats().Evicted
	var cached, pinned Watch
	s.Watch(&cached, 4, []byte(cachedKey))
	s.Watch(&pinned, 4, []byte("pinned"))
	before := snapshotBytes(t, s)
	snap := s.Snapshot()
	defer snap.Release()
	s.EmptyCached()
	check(t, s)
	if st := s.Stats(); st.CachedEntries != 0 || st.CachedBytes != 0 || st.PinnedEntries != 1 || st.Evicted != evicted {
		t.Errorf("%+v", st)
	}
	if !cached.Dirty(0) || pinned.Dirty(0) {
		t.Errorf("watchers of cached and pinned: %v %v", cached.Dirty(0), pinned.Dirty(0))
	}
	if !bytes.Equal(written(t, snap), before) || !bytes.Equal(snapshotBytes(t, s), before) {
		t.Error("the pinned side has changed")
	}
	s.WantEvents(0)
	fill(t, s, "again", 8000)
	s.EmptyCached()
	check(t, s)
}

func TestFollowersDoNotSweep(t *testing.T) {
	events := make(chan string, 10)
	s := newStore(t, Config{Commit: telling(func(all []Event) { events <- string(all[0].Key) })})
	s.WantEvents(ClassExpired)
	s.Follow()
	deadline := s.now() + 1
	if err := s.ApplyEntry(AppendEffects(nil, []Effect{{Op: OpPut, Key: []byte("k"), Deadline: deadline, Pinned: true}})); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // nothing happens: there is no event to wait for
	if _, ok := get(t, s, "k"); ok {
		t.Error("what has expired was served")
	}
	if n := s.Stats().PinnedEntries; n != 1 || len(events) != 0 {
		t.Error("a follower has swept")
	}
	s.Lead()
	if k := <-events; k != "k" {
		t.Errorf("%s expired", k)
	}
	check(t, s)
}

// A lock of 30 s, and the leader dies. Whatever the next leader believes the
// time to be, the lock has its 30 s, less what has passed.
func TestTakeOver(t *testing.T) {
	for _, offset := range []time.Duration{-time.Minute, 0, time.Minute} {
		t.Run(offset.String(), func(t *testing.T) {
			old := newClock()
			clk := newClock()
			clk.pass(offset.Milliseconds())
			next := newStore(t, clk.config())
			next.Follow()
			for _, entry := range [][]byte{
				AppendClock(nil, Clock{Now: old.ms.Load()}),
				AppendEffects(nil, []Effect{
					{Op: OpPut, Key: []byte("lock"), Deadline: old.in(30_000), Pinned: true},
					{Op: OpPut, Key: []byte("forever"), Pinned: true},
				}),
			} {
				if err := next.ApplyEntry(entry); err != nil {
					t.Fatal(err)
				}
			}
			// It may have come through a snapshot as well.
			image := snapshotBytes(t, next)
			next = newStore(t, clk.config())
			next.Follow()
			if err := next.Restore(bytes.NewReader(image)); err != nil {
				t.Fatal(err)
			}
			var w Watch
			next.Watch(&w, 0, []byte("lock"))
			first := next.TakeOver(clk.Now())
			if err := next.ApplyEntry(AppendClock(nil, first)); err != nil {
				t.Fatal(err)
			}
			next.Lead()
			if first.Extend > 0 != w.Dirty(0) {
				t.Errorf("moved by %d ms, watcher told: %v", first.Extend, w.Dirty(0))
			}
			check(t, next)
			passed := max(offset, 0).Milliseconds() - first.Extend // of the test's own time
			if passed < 0 || passed > 5000 {
				t.Fatalf("moved by %d ms with a clock %v ahead", first.Extend, offset)
			}
			left := 30_000 + max(-offset, 0).Milliseconds() - passed
			clk.pass(left)
			sweepNow(t, next)
			if _, ok := get(t, next, "lock"); !ok {
				t.Errorf("the lock is gone after %d ms", left)
			}
			clk.pass(1)
			sweepNow(t, next)
			if st := next.Stats(); st.PinnedEntries != 1 || st.DBs[0].Expires != 0 {
				t.Errorf("the lock is still there: %+v", st.DBs[0])
			}
			check(t, next)
			if again := next.TakeOver(clk.Now()); again.Now != clk.ms.Load() {
				t.Errorf("%+v", again)
			}
		})
	}
	if c := newStore(t, Config{}).TakeOver(time.UnixMilli(77)); c != (Clock{Now: 77}) {
		t.Errorf("the first leader of all begins with %+v", c)
	}
}

func TestBadEntriesChangeNothing(t *testing.T) {
	s := newStore(t, Config{})
	body := []byte{1, 1}
	body = appendEffect(body, &Effect{Op: OpPut, Key: []byte("k"), Pinned: true})
	for _, entry := range [][]byte{nil, seal(append(body, 9, 0, 0), 0), seal([]byte{1, 2}, 0), seal([]byte{1, 7}, 0)} {
		if err := s.ApplyEntry(entry); !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrNewer) && !errors.Is(err, ErrTruncated) {
			t.Error(err)
		}
	}
	if s.Stats().PinnedEntries != 0 || later(1<<62, 1<<62) != 1<<62 || later(-5, 5) != 1 {
		t.Error("something has changed")
	}
}
