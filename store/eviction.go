package store

// MakeRoom is called before a write that may grow the store, with no Tx open.
// When memory is short it evicts cached entries. It returns false when that
// would not help: pinned entries alone exceed the limit, or nothing may be
// evicted.
func (s *Store) MakeRoom() bool {
	c := s.cfg.Load()
	if c.MaxMemory <= 0 || s.used.Load() <= c.MaxMemory {
		return true
	}
	if c.Policy == NoEviction {
		return false
	}
	if s.pinned.Load() > c.MaxMemory {
		s.cache.kick() // what is cached goes all the same
		return false
	}
	s.cache.makeRoom(quotaBytes)
	return s.pinned.Load() <= c.MaxMemory
}

func (c *cache) init(s *Store) {
	c.s = s
	c.wake = make(chan struct{}, 1)
}

// run is the evictor: it finishes what MakeRoom left, makes a lowered limit
// true, and gives back the memory of what was flushed.
func (c *cache) run() {
	defer c.s.running.Done()
	for {
		select {
		case <-c.s.done:
			return
		case <-c.wake:
		}
		c.recycle()
		for c.makeRoom(quotaBytes) {
			select {
			case <-c.s.done:
				return
			default:
			}
		}
	}
}

func (c *cache) kick() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// makeRoom evicts until memory is within its limit or about quota bytes are
// free. It says whether there is more to do and a way to do it.
func (c *cache) makeRoom(quota int64) (more bool) {
	for freed := int64(0); freed < quota; {
		cfg := c.s.cfg.Load()
		if cfg.MaxMemory <= 0 || cfg.Policy == NoEviction || c.s.used.Load() <= cfg.MaxMemory {
			return false
		}
		// One batch at a time, so that writers who wait for c.mu take turns.
		c.mu.Lock()
		n, ok := c.evictBatch(cfg.MaxMemory)
		c.mu.Unlock()
		if !ok {
			return false
		}
		freed += n
	}
	c.kick()
	return true
}

// evictBatch has one shard after the other give entries until a little more is
// free than is needed. It returns how much that is, and false when nobody had
// anything to give.
func (c *cache) evictBatch(limit int64) (freed int64, ok bool) {
	used := c.s.used.Load()
	if used <= limit {
		return 0, true // another writer has made room
	}
	// A little more than is needed, or each write would need a batch of its own.
	need := used - limit + min(maxSlackBytes, limit/128)
	now := c.s.now()
	for idle := 0; freed < need && idle < numShards; c.cursor = (c.cursor + 1) % numShards {
		if n := c.evictFrom(&c.s.shards[c.cursor], now, need-freed); n > 0 {
			freed += n
			idle = 0
		} else {
			idle++
		}
	}
	return freed, freed > 0
}

// evictFrom evicts entries of one shard and returns the bytes freed. A shard
// that is latched gives nothing.
func (c *cache) evictFrom(sh *shard, now, need int64) int64 {
	if !c.tx.tryBegin(c.s, now, 0, Scope{Shards: 1 << sh.number}) {
		return 0
	}
	defer c.tx.End()
	sh.lend() // the keys of who goes
	before := sh.total()
	for n := 0; n < perTurn && before-sh.total() < need; n++ {
		r := c.loser(sh, now)
		if r == 0 {
			break
		}
		e := sh.at(r)
		c.tx.evict(sh.dbOf(e.slot()), e.key())
		if c.tx.Blocked() != nil {
			break // it is being written, pinned perhaps: it stays, for others to come
		}
		c.s.commit(&c.tx) // cached entries are no matter for a log
		c.tx.Discard()
	}
	c.s.tell(sh, 0)
	return before - sh.total()
}

// loser is who of a shard gives way next, 0 if it has no cached entry. It looks
// at no more than a few, however many have to change places.
func (c *cache) loser(sh *shard, now int64) ref {
	window, main := sh.bytes[inWindow], sh.bytes[inMain]
	if window*100 >= (window+main)*windowShare {
		for range handful {
			if sh.window.oldest == 0 {
				break
			}
			if r := c.leaveWindow(sh); r != 0 {
				return r
			}
		}
	}
	if sh.main.oldest == 0 { // all that it looked at had new values
		return sh.window.oldest
	}
	return c.leaveMain(sh, now)
}

// leaveWindow returns the oldest of the window if nobody has read it. Else it
// moves on, and 0 is returned.
func (c *cache) leaveWindow(sh *shard) ref {
	r := sh.window.oldest
	e := sh.at(r)
	switch {
	case e.is(fresh): // its value is new: it begins again
		e.marks &^= fresh | read
		sh.window.remove(sh, e)
		sh.window.push(sh, r, e)
	case e.wasRead():
		sh.setPlace(r, e, inMain)
		c.promoted.Add(1)
	default:
		c.unread.Add(1)
		return r
	}
	return 0
}

// leaveMain returns who is read least of the few at the front of main, which go
// to its end. Each look takes one from what was counted, so that nobody lives on
// having been popular once.
func (c *cache) leaveMain(sh *shard, now int64) ref {
	var least, last ref
	lowest := 1 << 8
	for n, r := 0, sh.main.oldest; n < handful && r != 0; n++ {
		e := sh.at(r)
		if f := int(frequency(e.access, now)); f < lowest {
			least, lowest = r, f
		}
		e.fade()
		last, r = r, e.newer
	}
	sh.main.rotate(sh, last)
	c.displaced.Add(1)
	return least
}

// evict is DeleteIn for want of memory.
func (tx *Tx) evict(db int, key []byte) {
	if tx.DeleteIn(db, key) {
		tx.effects[len(tx.effects)-1].evicted = true
		tx.notify(ClassEvicted, db, "evicted", key)
	}
}
