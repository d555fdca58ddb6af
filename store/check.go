package store

import (
	"fmt"
	"math/bits"
)

// Check proves what must always be so: that every entry is found by its hash
// and stands in exactly the queues and heaps it should, and that every count is
// the sum of what it counts. It waits for latches and holds all shards.
func (s *Store) Check() error {
	s.cache.mu.Lock() // so that nobody is half way through a judgement
	defer s.cache.mu.Unlock()
	s.hold(AllShards)
	defer s.give(AllShards)
	var used, pinned int64
	for i := range s.shards {
		if err := s.shards[i].check(s, i); err != nil {
			return fmt.Errorf("shard %d: %w", i, err)
		}
		used += s.shards[i].total()
		pinned += s.shards[i].bytes[inPinned]
	}
	if got := s.used.Load(); got != used {
		return fmt.Errorf("used bytes are %d, shards have %d", got, used)
	}
	if got := s.pinned.Load(); got != pinned {
		return fmt.Errorf("pinned bytes are %d, shards have %d", got, pinned)
	}
	return s.cache.check()
}

// check compares ristretto with what the shards believe of it. Debts and limbo
// explain a difference, so it looks no further while there are any.
func (c *cache) check() error {
	if c.judge == nil || c.stale.Load() || len(c.limbo) > 0 {
		return nil
	}
	known := make(map[*entry]bool)
	c.judge.IterValues(func(e *entry) bool { known[e] = true; return false })
	var kept int
	var cost int64
	for i := range c.s.shards {
		sh := &c.s.shards[i]
		if len(sh.owed) > 0 {
			return nil
		}
		for e := sh.main.oldest; e != nil; e = e.newer {
			if !known[e] {
				return fmt.Errorf("%q is not known to ristretto", e.key)
			}
		}
		kept += sh.count[inMain]
		cost += sh.bytes[inMain]
	}
	if held := c.judge.MaxCost() - c.judge.RemainingCost(); kept != len(known) || cost != held {
		return fmt.Errorf("ristretto holds %d entries of %d bytes, main %d of %d", len(known), held, kept, cost)
	}
	return nil
}

func (sh *shard) check(s *Store, number int) error {
	var bytes [numPlaces]int64
	var count [numPlaces]int
	var filed int
	slots := 0
	for _, slot := range sh.slots {
		slots |= 1 << slot
	}
	if slots != allFlushed {
		return fmt.Errorf("databases share slots: %v", sh.slots)
	}
	for slot := range sh.indexes {
		ix := &sh.indexes[slot]
		if err := ix.check(); err != nil {
			return fmt.Errorf("slot %d: %w", slot, err)
		}
		volatile := 0
		var err error
		ix.each(func(e *entry) bool {
			err = sh.checkEntry(s, number, slot, e)
			if err != nil {
				return false
			}
			bytes[e.place] += e.cost()
			count[e.place]++
			if e.deadline != 0 {
				volatile++
			}
			return true
		})
		if err != nil {
			return err
		}
		if volatile != sh.volatile[slot] {
			return fmt.Errorf("slot %d counts %d volatile keys, has %d", slot, sh.volatile[slot], volatile)
		}
		filed += volatile
	}
	if bytes != sh.bytes || count != sh.count {
		return fmt.Errorf("counts %v in %v bytes, has %v in %v", sh.count, sh.bytes, count, bytes)
	}
	if filed != len(sh.deadlines) {
		return fmt.Errorf("%d deadlines filed, %d volatile keys", len(sh.deadlines), filed)
	}
	for i, f := range sh.deadlines {
		if int(f.e.filed) != i || f.at > f.e.deadline {
			return fmt.Errorf("%q due at %d is filed at %d in place %d, not %d", f.e.key, f.e.deadline, f.at, i, f.e.filed)
		}
		if i > 0 && sh.deadlines[(i-1)/2].at > f.at {
			return fmt.Errorf("deadline %d comes before its parent", i)
		}
	}
	if err := sh.window.check(inWindow, count[inWindow]); err != nil {
		return fmt.Errorf("window: %w", err)
	}
	if err := sh.main.check(inMain, count[inMain]); err != nil {
		return fmt.Errorf("main: %w", err)
	}
	for k, all := range sh.watches {
		if len(all) == 0 {
			return fmt.Errorf("nobody watches %q", k.key)
		}
	}
	for k, top := range sh.held {
		for l, above := top, (*layer)(nil); l != nil; l, above = l.below, l {
			if l.above != above || l.by.layers == nil || (watchKey{l.db, l.key}) != k {
				return fmt.Errorf("a layer of %q is out of place", k.key)
			}
		}
	}
	return nil
}

func (sh *shard) checkEntry(s *Store, number, slot int, e *entry) error {
	switch {
	case e.hash != s.hash(bytesOf(e.key)) || e.shard() != number:
		return fmt.Errorf("%q is in the wrong place", e.key)
	case sh.indexes[slot].find(e.hash, bytesOf(e.key)) != e:
		return fmt.Errorf("%q is not found, or is there twice", e.key)
	case int(e.slot) != slot:
		return fmt.Errorf("%q believes to be in slot %d, is in %d", e.key, e.slot, slot)
	case e.place >= numPlaces:
		return fmt.Errorf("%q is of no kind", e.key)
	case e.place == inMain && !e.judged:
		return fmt.Errorf("%q is kept without having been judged", e.key)
	case e.place != inMain && e.judged && !e.owed:
		return fmt.Errorf("ristretto was not told that it lost %q", e.key)
	case (e.deadline == 0) != (e.filed < 0):
		return fmt.Errorf("%q is due at %d and filed at %d", e.key, e.deadline, e.filed)
	}
	return nil
}

func (ix *index) check() error {
	for n, t := range [2]*table{&ix.main, &ix.next} {
		if bits.OnesCount(uint(len(t.buckets))) > 1 {
			return fmt.Errorf("table of %d buckets", len(t.buckets))
		}
		used := 0
		for i, e := range t.buckets {
			if n == 0 && i < ix.moved && e != nil {
				return fmt.Errorf("bucket %d has moved and is not empty", i)
			}
			for ; e != nil; e = e.next {
				if t.bucket(e.hash) != i {
					return fmt.Errorf("%q is in bucket %d", e.key, i)
				}
				used++
			}
		}
		if used != t.used {
			return fmt.Errorf("table counts %d entries, has %d", t.used, used)
		}
	}
	return nil
}

func (l *list) check(where place, count int) error {
	n := 0
	var last *entry
	for e := l.oldest; e != nil; e = e.newer {
		if e.place != where || e.older != last {
			return fmt.Errorf("%q does not belong after its neighbour", e.key)
		}
		last = e
		n++
	}
	if last != l.newest || n != count {
		return fmt.Errorf("has %d entries, counts %d", n, count)
	}
	return nil
}
