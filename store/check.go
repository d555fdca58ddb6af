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
	var told [2]int64
	for i := range s.shards {
		s.tell(&s.shards[i], s.drift.Load()) // there may be a new limit, and less drift
		if err := s.shards[i].check(s, i); err != nil {
			return fmt.Errorf("shard %d: %w", i, err)
		}
		used += s.shards[i].total()
		pinned += s.shards[i].bytes[inPinned]
		for k, n := range s.shards[i].told {
			told[k] += n
		}
	}
	if got := s.used.Load(); got != told[0] || abs(got-used) > numShards*s.drift.Load() {
		return fmt.Errorf("used bytes are %d, shards have %d and told of %d", got, used, told[0])
	}
	if got := s.pinned.Load(); got != told[1] || abs(got-pinned) > numShards*s.drift.Load() {
		return fmt.Errorf("pinned bytes are %d, shards have %d and told of %d", got, pinned, told[1])
	}
	return nil
}

func (sh *shard) check(s *Store, number int) error {
	var bytes [numPlaces]int64
	var count [numPlaces]int
	var filed int
	pieces := map[ref]int{}
	slots := 0
	for _, slot := range sh.slots {
		slots |= 1 << slot
	}
	if slots != allFlushed {
		return fmt.Errorf("databases share slots: %v", sh.slots)
	}
	for slot := range sh.indexes {
		ix := &sh.indexes[slot]
		if err := ix.check(sh); err != nil {
			return fmt.Errorf("slot %d: %w", slot, err)
		}
		volatile := 0
		var err error
		ix.each(sh, func(r ref, e *entry) bool {
			err = sh.checkEntry(s, number, slot, e)
			if err != nil {
				return false
			}
			pieces[r] = e.size()
			bytes[e.place()] += e.cost()
			count[e.place()]++
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
	if filed != sh.deadlines.n {
		return fmt.Errorf("%d deadlines filed, %d volatile keys", sh.deadlines.n, filed)
	}
	for i := range filed {
		f := sh.deadlines.filing(i)
		if e := sh.at(f.r); int(e.filed) != i || f.at() > e.deadline {
			return fmt.Errorf("%q due at %d is filed at %d in place %d, not %d", e.key(), e.deadline, f.at(), i, e.filed)
		}
		if i > 0 && sh.deadlines.filing((i-1)/4).at() > f.at() {
			return fmt.Errorf("deadline %d comes before its parent", i)
		}
	}
	if err := sh.window.check(sh, inWindow, count[inWindow]); err != nil {
		return fmt.Errorf("window: %w", err)
	}
	if err := sh.main.check(sh, inMain, count[inMain]); err != nil {
		return fmt.Errorf("main: %w", err)
	}
	if err := sh.checkMemory(pieces); err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	for k, all := range sh.watches {
		if len(all) == 0 {
			return fmt.Errorf("nobody watches %q", k.key)
		}
	}
	for k, top := range sh.held {
		for l, above := top, (*layer)(nil); l != nil; l, above = l.below, l {
			if l.above != above || l.by.layers == nil || l.key != k {
				return fmt.Errorf("a layer of %q is out of place", k.key)
			}
		}
	}
	return nil
}

func (sh *shard) checkEntry(s *Store, number, slot int, e *entry) error {
	hash := s.hash(e.key())
	found, _ := sh.indexes[slot].find(sh, hash, e.key())
	switch {
	case int(hash&(numShards-1)) != number:
		return fmt.Errorf("%q is in the wrong place", e.key())
	case found != e:
		return fmt.Errorf("%q is not found, or is there twice", e.key())
	case int(e.slot()) != slot:
		return fmt.Errorf("%q believes to be in slot %d, is in %d", e.key(), e.slot(), slot)
	case e.place() >= numPlaces:
		return fmt.Errorf("%q is of no kind", e.key())
	case (e.deadline == 0) != (e.filed < 0):
		return fmt.Errorf("%q is due at %d and filed at %d", e.key(), e.deadline, e.filed)
	}
	return nil
}

// checkMemory compares the space with what there is: the entries, what has yet
// to be freed, and the pieces of indexes and deadlines.
func (sh *shard) checkMemory(pieces map[ref]int) error {
	if sh.lent || len(sh.freed)+len(sh.wiped) > 0 {
		return fmt.Errorf("something is lent, and nobody has the shard")
	}
	if sh.open == 0 && len(sh.kept)+len(sh.shelve) > 0 {
		return fmt.Errorf("%d entries are kept for no snapshot", len(sh.kept))
	}
	for _, r := range sh.kept {
		if pieces[r] != 0 {
			return fmt.Errorf("an entry is there, and is to be freed")
		}
		pieces[r] = sh.at(r).size()
	}
	pages := map[ref]int{}
	for slot := range sh.indexes {
		for _, t := range [2]*table{&sh.indexes[slot].main, &sh.indexes[slot].next} {
			if t.piece != 0 {
				pages[t.piece] = len(t.buckets) * bucketBytes
			}
		}
	}
	for _, r := range sh.deadlines.pieces {
		pages[r] = chunkBytes
	}
	return sh.space.Check(pieces, pages)
}

func abs(n int64) int64 { return max(n, -n) }

func (ix *index) check(sh *shard) error {
	for n, t := range [2]*table{&ix.main, &ix.next} {
		if bits.OnesCount(uint(len(t.buckets))) > 1 {
			return fmt.Errorf("table of %d buckets", len(t.buckets))
		}
		used := 0
		for i := range t.buckets {
			l := &t.buckets[i]
			for k, r := range l.refs {
				switch {
				case r != 0 && l.tags[k] != tagOf(sh.hashOf(sh.at(r))):
					return fmt.Errorf("%q has another's tag", sh.at(r).key())
				case r == 0 && l.more != 0:
					return fmt.Errorf("bucket %d has room, and entries that found none", i)
				}
			}
			var err error
			t.each(sh, l, func(_ ref, e *entry) bool {
				if used++; n == 0 && i < ix.moved {
					err = fmt.Errorf("bucket %d has moved and is not empty", i)
				} else if t.bucket(sh.hashOf(e)) != i {
					err = fmt.Errorf("%q is in bucket %d", e.key(), i)
				}
				return err == nil
			})
			if err != nil {
				return err
			}
		}
		if used != t.used {
			return fmt.Errorf("table counts %d entries, has %d", t.used, used)
		}
	}
	return nil
}

func (l *list) check(sh *shard, where place, count int) error {
	n := 0
	var last ref
	for r := l.oldest; r != 0; r = sh.at(r).newer {
		if e := sh.at(r); e.place() != where || e.older != last {
			return fmt.Errorf("%q does not belong after its neighbour", e.key())
		}
		last = r
		n++
	}
	if last != l.newest || n != count {
		return fmt.Errorf("has %d entries, counts %d", n, count)
	}
	return nil
}
