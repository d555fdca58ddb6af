package store

import "unsafe"

// Apply makes effects true, in order. It is the only code that changes what the
// store holds, but for Restore and ApplyClock, which replace and move all of it.
// The caller holds their shards through a Tx, whose effects they usually are;
// the store copies keys and values.
func (s *Store) Apply(effects []Effect) {
	for i := range effects {
		f := &effects[i]
		switch f.Op {
		case OpFlush:
			s.applyFlush(int(f.DB))
			if s.cache.stale.Load() {
				s.cache.kick()
			}
		case OpSwap:
			s.applySwap(int(f.DB), int(f.DB2))
		default:
			s.applyKey(f)
		}
	}
	if o := s.observer.Load(); o != nil {
		(*o).Applied(effects)
	}
}

// lockLatched completes the right to write to a shard of our scope: a latch
// alone lets its holder read, because others read the counts with mu alone.
func (sh *shard) lockLatched() (unlock func()) {
	if sh.latch == nil {
		return func() {}
	}
	sh.mu.Lock()
	return sh.mu.Unlock
}

func (s *Store) applyKey(f *Effect) {
	hash := f.hash
	if !f.hashed {
		hash = s.hash(f.Key)
	}
	sh := &s.shards[hash&(numShards-1)]
	latched := sh.latch != nil
	if latched {
		sh.mu.Lock()
	}
	slot := sh.slots[f.DB]
	e := sh.indexes[slot].find(hash, f.Key)
	if e != nil && !f.Local {
		sh.preserve(e)
	}
	gone := e != nil && expired(e.deadline, sh.now)
	switch f.Op {
	case OpPut:
		s.put(sh, slot, e, gone, hash, f)
	case OpExpire:
		if e != nil {
			s.expire(sh, e, f)
		}
	case OpDelete:
		if e != nil {
			if gone {
				sh.tally.expired++
			} else if f.evicted {
				sh.tally.evicted++
			}
			s.drop(sh, e)
		}
	}
	// A Delete of what was never stored is a key that the same Tx made and
	// removed: it was touched all the same.
	if len(sh.watches)+len(sh.once) != 0 && (e != nil || f.Op != OpExpire) {
		s.touch(sh, int(f.DB), f.Key, gone && f.Op == OpDelete)
	}
	if len(sh.owed) >= owedAtOnce {
		s.cache.kick()
	}
	if latched {
		sh.mu.Unlock()
	}
}

func (s *Store) put(sh *shard, slot uint8, e *entry, gone bool, hash uint64, f *Effect) {
	if gone { // another life of the same key
		sh.tally.expired++
		s.drop(sh, e)
		e = nil
	}
	if e == nil {
		e = sh.create(slot, hash, f)
		s.charge(e.cost(), e.pinnedCost())
	} else {
		value := f.ownValue()
		cost, pinned := e.cost(), e.pinnedCost()
		sh.bytes[e.place] += int64(len(value) - len(e.value))
		e.value, e.encoding = value, f.Encoding
		sh.setKind(e, f.Pinned)
		sh.renew(e)
		s.charge(e.cost()-cost, e.pinnedCost()-pinned)
	}
	s.setDeadline(sh, e, f.Deadline)
}

// create adds a key that is not there yet, with no deadline so far.
func (sh *shard) create(slot uint8, hash uint64, f *Effect) *entry {
	e := &entry{
		hash: hash, key: f.ownKey(), value: f.ownValue(), access: newAccess(sh.now),
		filed: -1, slot: slot, place: inWindow, encoding: f.Encoding, gen: sh.gen,
	}
	if f.Pinned {
		e.place = inPinned
	}
	sh.indexes[slot].insert(e)
	sh.enter(e)
	return e
}

func (f *Effect) ownKey() string {
	if f.owned {
		return unsafe.String(unsafe.SliceData(f.Key), len(f.Key))
	}
	return string(f.Key)
}

func (f *Effect) ownValue() []byte {
	if f.owned {
		return f.Value
	}
	return copied(f.Value)
}

// copied takes one allocation, exactly as large as the value.
func copied(value []byte) []byte { return append(make([]byte, 0, len(value)), value...) }

func (s *Store) expire(sh *shard, e *entry, f *Effect) {
	cost, pinned := e.cost(), e.pinnedCost()
	sh.setKind(e, f.Pinned)
	s.charge(e.cost()-cost, e.pinnedCost()-pinned)
	s.setDeadline(sh, e, f.Deadline)
}

func (s *Store) setDeadline(sh *shard, e *entry, deadline int64) {
	sh.setDeadline(e, deadline)
	if e.filed == 0 && len(sh.deadlines) > 0 {
		s.sweeper.expect(sh.deadlines[0].at)
	}
}

// setKind pins e or makes it cached. A cached entry stays where it is on its
// way out; one that was pinned begins that way.
func (sh *shard) setKind(e *entry, pinned bool) {
	switch {
	case pinned && e.place != inPinned:
		sh.owe(e)
		sh.setPlace(e, inPinned)
	case !pinned && e.place == inPinned:
		sh.setPlace(e, inWindow)
	}
}

// renew gives a cached entry with a new value the probation that a new key has:
// how often the old value was read says little about who waits for this one.
func (sh *shard) renew(e *entry) {
	switch e.place {
	case inWindow:
		e.fresh = true // it goes to the end of the queue when it comes up
	case inMain:
		sh.owe(e)
		sh.setPlace(e, inWindow)
	}
}

func (e *entry) pinnedCost() int64 {
	if e.place == inPinned {
		return e.cost()
	}
	return 0
}

// drop takes e out of everything. Ristretto may keep a pointer to it for a
// while, so it lets go of the value.
func (s *Store) drop(sh *shard, e *entry) {
	s.charge(-e.cost(), -e.pinnedCost())
	sh.setDeadline(e, 0)
	sh.leave(e)
	sh.indexes[e.slot].remove(e)
	e.place, e.value = nowhere, nil
	sh.owe(e)
}

func (s *Store) applyFlush(db int) {
	for i := range s.shards {
		sh := &s.shards[i]
		unlock := sh.lockLatched()
		sh.preserveAll()
		s.forgetAll(sh)
		for n := range NumDBs {
			if db == AllDBs || db == n {
				s.touchAll(sh, n)
			}
		}
		if db == AllDBs {
			s.wipe(sh)
		} else {
			s.empty(sh, sh.slots[db])
		}
		unlock()
	}
}

// wipe forgets a whole shard at once. What ristretto holds of it is forgotten
// with everything else it holds.
func (s *Store) wipe(sh *shard) {
	s.charge(-sh.total(), -sh.bytes[inPinned])
	if sh.count[inMain] > 0 || len(sh.owed) > 0 {
		s.cache.stale.Store(true)
	}
	for slot := range sh.indexes {
		sh.indexes[slot], sh.volatile[slot] = index{}, 0
	}
	sh.deadlines, sh.owed = nil, nil
	sh.window, sh.main = list{}, list{}
	sh.bytes, sh.count = [numPlaces]int64{}, [numPlaces]int{}
}

func (s *Store) empty(sh *shard, slot uint8) {
	if n := sh.indexes[slot].len(); n == 0 {
		return
	} else if n == sh.entries() {
		s.wipe(sh)
		return
	}
	sh.indexes[slot].each(func(e *entry) bool {
		s.charge(-e.cost(), -e.pinnedCost())
		sh.setDeadline(e, 0)
		sh.leave(e)
		e.place, e.value = nowhere, nil
		sh.owe(e)
		return true
	})
	sh.indexes[slot] = index{}
}

func (s *Store) applySwap(a, b int) {
	for i := range s.shards {
		sh := &s.shards[i]
		unlock := sh.lockLatched()
		s.touchSwapped(sh, a, b)
		sh.slots[a], sh.slots[b] = sh.slots[b], sh.slots[a]
		unlock()
	}
}

func (sh *shard) total() int64 {
	return sh.bytes[inPinned] + sh.bytes[inWindow] + sh.bytes[inMain]
}

func (sh *shard) entries() int {
	return sh.count[inPinned] + sh.count[inWindow] + sh.count[inMain]
}

func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
