package store

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
	if sh.odd&oddSparse != 0 && !sh.lent {
		sh.tidy(movesPerWrite)
	}
	slot := sh.slots[f.DB]
	e, r := sh.indexes[slot].find(sh, hash, f.Key)
	if e != nil && !f.Local {
		sh.preserve(e)
	}
	there := e != nil
	gone := there && expired(e.deadline, sh.now)
	switch f.Op {
	case OpPut:
		s.put(sh, slot, e, r, gone, hash, f)
	case OpExpire:
		if there {
			sh.setKind(r, e, f.Pinned)
			s.setDeadline(sh, r, e, f.Deadline)
		}
	case OpDelete:
		if there {
			if gone {
				sh.tally.expired++
			} else if f.evicted {
				sh.tally.evicted++
			}
			sh.drop(r, e, hash)
		}
	}
	// A Delete of what was never stored is a key that the same Tx made and
	// removed: it was touched all the same.
	if sh.odd&oddWatched != 0 && (there || f.Op != OpExpire) {
		s.touch(sh, int(f.DB), f.Key, gone && f.Op == OpDelete)
	}
	if sh.odd&oddSparse == 0 && sh.space.Sparse() {
		sh.odd |= oddSparse
		s.sweeper.kick()
	}
	s.tell(sh, s.drift.Load())
	if latched {
		sh.mu.Unlock()
	}
}

func (s *Store) put(sh *shard, slot uint8, e *entry, r ref, gone bool, hash uint64, f *Effect) {
	if gone { // another life of the same key
		sh.tally.expired++
		sh.drop(r, e, hash)
		e = nil
	}
	if e == nil {
		r, e = sh.create(slot, hash, f)
	} else {
		r, e = sh.rewrite(r, e, hash, f)
		sh.setKind(r, e, f.Pinned)
		sh.renew(r, e)
	}
	s.setDeadline(sh, r, e, f.Deadline)
}

// create adds a key that is not there yet, with no deadline so far.
func (sh *shard) create(slot uint8, hash uint64, f *Effect) (ref, *entry) {
	r := sh.space.Alloc(sizeOf(len(f.Key), len(f.Value)))
	e := sh.at(r)
	p := inWindow
	if f.Pinned {
		p = inPinned
	}
	*e = entry{access: newAccess(sh.now), filed: -1, where: whereOf(slot, p, f.Encoding)}
	e.fill(f.Key, f.Value)
	sh.indexes[slot].insert(sh, hash, r)
	sh.enter(r, e)
	return r, e
}

func (s *Store) setDeadline(sh *shard, r ref, e *entry, deadline int64) {
	sh.setDeadline(r, e, deadline)
	if e.filed == 0 && deadline != 0 {
		s.sweeper.expect(sh.deadlines.filing(0).at())
	}
}

// setKind pins e or makes it cached. A cached entry stays where it is on its
// way out; one that was pinned begins that way.
func (sh *shard) setKind(r ref, e *entry, pinned bool) {
	switch p := e.place(); {
	case pinned && p != inPinned:
		sh.setPlace(r, e, inPinned)
	case !pinned && p == inPinned:
		sh.setPlace(r, e, inWindow)
	}
}

// renew gives a cached entry with a new value the probation that a new key has:
// how often the old value was read says little about who waits for this one.
func (sh *shard) renew(r ref, e *entry) {
	switch e.place() {
	case inWindow:
		e.marks |= fresh // it goes to the end of the queue when it comes up
	case inMain:
		sh.setPlace(r, e, inWindow)
	}
}

// drop takes e out of everything.
func (sh *shard) drop(r ref, e *entry, hash uint64) {
	sh.setDeadline(r, e, 0)
	sh.leave(e)
	sh.indexes[e.slot()].remove(sh, hash, r)
	sh.retire(r, e)
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

// wipe forgets a whole shard at once. The memory goes when nobody reads it.
func (s *Store) wipe(sh *shard) {
	s.retireSpace(sh)
	for slot := range sh.indexes {
		sh.indexes[slot], sh.volatile[slot] = index{}, 0
	}
	sh.deadlines = deadlines{}
	sh.window, sh.main = list{}, list{}
	sh.bytes, sh.count = [numPlaces]int64{}, [numPlaces]int{}
	s.tell(sh, 0)
}

func (s *Store) empty(sh *shard, slot uint8) {
	if n := sh.indexes[slot].len(); n == 0 {
		return
	} else if n == sh.entries() {
		s.wipe(sh)
		return
	}
	ix := &sh.indexes[slot]
	ix.each(sh, func(r ref, e *entry) bool {
		sh.setDeadline(r, e, 0)
		sh.leave(e)
		sh.retire(r, e)
		return true
	})
	ix.main.drop(sh)
	ix.next.drop(sh)
	*ix = index{}
	s.tell(sh, 0)
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
