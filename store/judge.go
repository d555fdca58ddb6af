package store

import (
	"errors"
	"slices"
)

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
// true, and tells ristretto what it is owed when no write comes to do it.
func (c *cache) run() {
	defer c.s.running.Done()
	for {
		select {
		case <-c.s.done:
			return
		case <-c.wake:
		}
		for c.makeRoom(quotaBytes) {
			select {
			case <-c.s.done:
				return
			default:
			}
		}
		c.mu.Lock()
		c.settleDebts() // or what ristretto remembers of deleted entries would wait for the next shortage
		c.mu.Unlock()
	}
}

func (c *cache) kick() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *cache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dismiss()
}

// makeRoom judges batches until memory is within its limit or about quota bytes
// are free. It says whether there is more to do and a way to do it.
func (c *cache) makeRoom(quota int64) (more bool) {
	for freed := int64(0); freed < quota; {
		cfg := c.s.cfg.Load()
		if cfg.MaxMemory <= 0 || cfg.Policy == NoEviction || c.s.used.Load() <= cfg.MaxMemory {
			return false
		}
		// One batch at a time, so that writers who wait for c.mu take turns.
		c.mu.Lock()
		n, ok := c.judgeBatch(cfg.MaxMemory)
		c.mu.Unlock()
		if !ok {
			return false
		}
		freed += n
	}
	c.kick()
	return true
}

// judgeBatch takes the oldest entries from the windows, lets ristretto judge
// them and deletes whom it does not keep. It returns the bytes freed, and false
// when there was nobody to judge.
func (c *cache) judgeBatch(limit int64) (freed int64, ok bool) {
	used := c.s.used.Load()
	if used <= limit {
		return 0, true // another writer has made room
	}
	c.settleDebts()
	c.appoint(limit)
	// A little more than is needed, or each write would need a batch of its own.
	need := used - limit + min(maxSlackBytes, limit/128)
	cost := c.leaveWindows(need)
	if len(c.batch) == 0 {
		c.demote()
		c.settleDebts()
		cost = c.leaveWindows(need)
	}
	if len(c.batch) == 0 {
		return 0, false
	}
	c.share(limit, cost)
	c.offerBatch()
	freed, err := c.evictLosers()
	return freed, err == nil
}

// share gives ristretto its part of the cached memory. It grows by a quarter
// of each batch, so that every batch frees something although those who are
// kept cost more than before; and it shrinks by no more than a batch, because
// ristretto makes a smaller limit true all at once.
func (c *cache) share(limit, batch int64) {
	target := max((limit-c.s.pinned.Load())*mainShare/100, 1)
	held := c.judge.MaxCost() - c.judge.RemainingCost()
	switch {
	case held > target:
		target = max(target, held-batch)
	case held+batch/4 < target:
		target = max(held+batch/4, 1)
	}
	c.judge.UpdateMaxCost(target)
}

// leaveWindows moves the oldest entries of the next few windows to main, until
// they cost as much as is needed, and lists them in c.batch. A window gives by
// its length: were all to give the same, their lengths would drift apart at
// random, and a newcomer in a short one would soon be its oldest.
func (c *cache) leaveWindows(need int64) (cost int64) {
	c.batch = c.batch[:0]
	// Twice around, because entries with new values are passed over once.
	for range 2 * numShards {
		if len(c.batch) >= batchEntries || cost >= need {
			break
		}
		sh := &c.s.shards[c.cursor]
		c.cursor = (c.cursor + 1) % numShards
		sh.mu.Lock()
		if sh.latch == nil {
			before := len(c.batch)
			cost += c.leaveWindow(sh, need-cost)
			c.s.charge(int64(len(c.batch)-before)*mainOverhead, 0)
		}
		sh.mu.Unlock()
	}
	return cost
}

func (c *cache) leaveWindow(sh *shard, need int64) (cost int64) {
	length := sh.count[inWindow]
	c.usual = max(1, c.usual+(length-c.usual)/8)
	most := min((perWindow*length+c.usual-1)/c.usual, batchEntries)
	for n := 0; n < min(most, length) && cost < need; n++ {
		e := sh.window.oldest
		if e.fresh {
			e.fresh = false
			sh.window.remove(e)
			sh.window.push(e)
			continue
		}
		sh.setPlace(e, inMain)
		e.judged = true
		cost += e.cost()
		c.batch = append(c.batch, offer{e, e.cost()})
	}
	return cost
}

// demote sends the oldest entries of main back to their windows, to be judged
// again: the way to make main smaller when nobody is on probation.
func (c *cache) demote() {
	n := 0
	for i := range c.s.shards {
		sh := &c.s.shards[(c.cursor+i)%numShards]
		sh.mu.Lock()
		for k := 0; sh.latch == nil && k < perWindow && n < batchEntries && sh.main.oldest != nil; k++ {
			e := sh.main.oldest
			sh.setPlace(e, inWindow)
			sh.owe(e)
			c.s.charge(-mainOverhead, 0)
			n++
		}
		sh.mu.Unlock()
	}
}

// offerBatch lets ristretto judge c.batch and collects the losers.
func (c *cache) offerBatch() {
	for _, o := range c.batch {
		key := o.e.judgeKey()
		// Two entries of one hash cannot both be kept. The Get also counts
		// for the newcomer, as its write did.
		if other, ok := c.judge.Get(key); ok && other != o.e {
			c.losers = append(c.losers, o.e)
			continue
		}
		if !c.judge.Set(key, o.e, o.cost) {
			c.losers = append(c.losers, o.e) // its buffer is full: never with one batch
		}
	}
	c.judge.Wait()
	c.offered.Add(int64(len(c.batch)))
}

// settleDebts tells ristretto of the entries that have left main.
func (c *cache) settleDebts() {
	if c.stale.Load() && !c.restart() {
		return // ristretto's opinions count for little until then
	}
	if c.judge == nil {
		return
	}
	told := 0
	for i := range c.s.shards {
		for _, e := range c.debts(&c.s.shards[i]) {
			// Another entry of the same hash may stand there by now.
			if known, ok := c.judge.Get(e.judgeKey()); ok && known == e {
				c.judge.Del(e.judgeKey())
				told++
			}
		}
	}
	if told > 0 {
		c.judge.Wait()
	}
	c.evictLosers()
}

// debts takes what a shard owes, but for those who are back in main by now.
func (c *cache) debts(sh *shard) []*entry {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if len(sh.owed) == 0 {
		return nil
	}
	left := sh.owed[:0]
	for _, e := range sh.owed {
		e.owed = false
		if e.place != inMain {
			e.judged = false
			left = append(left, e)
		}
	}
	sh.owed = nil
	return left
}

// evictLosers deletes those whom ristretto did not keep, unless they have been
// pinned or are gone already. It returns the bytes freed.
func (c *cache) evictLosers() (freed int64, err error) {
	if len(c.losers) == 0 && len(c.limbo) == 0 {
		return 0, nil
	}
	lost := append(c.losers, c.limbo...)
	c.losers, c.limbo = nil, c.limbo[:0]
	slices.SortFunc(lost, func(a, b *entry) int { return a.shard() - b.shard() })
	for rest := lost; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].shard() == rest[0].shard() {
			n++
		}
		bytes, e := c.evict(rest[0].shard(), rest[:n])
		freed += bytes
		err = errors.Join(err, e)
		rest = rest[n:]
	}
	c.losers = emptied(lost)
	return freed, err
}

func (c *cache) evict(shard int, lost []*entry) (freed int64, err error) {
	if !c.tx.tryBegin(c.s, c.s.now(), 0, Scope{Shards: 1 << shard}) {
		c.limbo = append(c.limbo, lost...)
		return 0, nil
	}
	defer c.tx.End()
	sh := &c.s.shards[shard]
	before := sh.total()
	for _, e := range lost {
		// The index may hold another life of this key by now, which is
		// somebody's newest value: only this very entry goes.
		if e.place == inMain && sh.indexes[e.slot].find(e.hash, bytesOf(e.key)) == e {
			c.tx.evict(sh.dbOf(e.slot), bytesOf(e.key))
		}
	}
	if c.tx.Blocked() != nil { // one of them is being written, pinned perhaps
		c.limbo = append(c.limbo, lost...)
		return 0, nil
	}
	c.s.commit(&c.tx) // cached entries are no matter for a log
	return before - sh.total(), nil
}

// evict is DeleteIn for want of memory.
func (tx *Tx) evict(db int, key []byte) {
	if tx.DeleteIn(db, key) {
		tx.effects[len(tx.effects)-1].evicted = true
		tx.notify(ClassEvicted, db, "evicted", key)
	}
}
