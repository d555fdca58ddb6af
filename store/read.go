package store

import "math/bits"

// underlying is the entry beneath the effects, expired or not: that of the store
// or, for a Tx that is Ahead, the one that is pending. Without a log nothing is
// ever held, and that is one look at a bit.
func (tx *Tx) underlying(db int, key []byte, hash uint64) *entry {
	if tx.flushed&(1<<db) != 0 {
		return nil
	}
	if len(tx.swaps) > 0 {
		db = int(tx.base[db])
	}
	sh := tx.shard(hash)
	if sh.holds {
		if l := tx.meet(sh, db, key); l != nil {
			return l.seen()
		}
	}
	e, _ := sh.db(db).find(sh, hash, key)
	return e
}

// look is a key as this Tx sees it: live with its entry, or not.
// stored is the entry beneath, if there is one, and at the position of the
// effect on the key, if there is one.
func (tx *Tx) look(db int, key []byte, hash uint64) (seen Entry, live bool, stored *entry, at int) {
	at = -1
	if len(tx.effects) > 0 {
		at = tx.pending(db, key, hash)
	}
	if at >= 0 {
		switch f := &tx.effects[at]; f.Op {
		case OpDelete:
			return Entry{}, false, nil, at
		case OpPut:
			seen = Entry{f.Value, f.Deadline, f.Pinned, f.Encoding}
			return seen, !expired(f.Deadline, tx.now), nil, at
		}
	}
	stored = tx.underlying(db, key, hash)
	if stored == nil {
		tx.beyond = true
		return Entry{}, false, nil, at
	}
	if stored.place() == inPinned {
		tx.beyond = true
	}
	seen = stored.view()
	if at >= 0 { // OpExpire
		seen.Deadline, seen.Pinned = tx.effects[at].Deadline, tx.effects[at].Pinned
	}
	if expired(seen.Deadline, tx.now) {
		tx.beyond = true
		return Entry{}, false, stored, at
	}
	return seen, true, stored, at
}

// Get is a read: it counts a hit or a miss and an access.
func (tx *Tx) Get(key []byte) (Entry, bool) {
	hash := tx.s.hash(key)
	e, live, stored, _ := tx.look(tx.db, key, hash)
	if !live {
		tx.misses++
		return Entry{}, false
	}
	tx.hits++
	tx.touch(stored, hash)
	tx.lend(stored, hash)
	return e, true
}

// lend is before a stored value is handed out.
func (tx *Tx) lend(stored *entry, hash uint64) {
	if stored != nil {
		i := hash & (numShards - 1)
		tx.s.shards[i].lend()
		tx.lent |= 1 << i
	}
}

// Return says that nothing of what tx has handed out is used any more, so that
// the next command finds nothing lent. It comes after Discard.
func (tx *Tx) Return() {
	for set := tx.lent; set != 0; set &= set - 1 {
		sh := &tx.s.shards[bits.TrailingZeros64(uint64(set))]
		unlock := sh.lockLatched()
		tx.s.settle(sh)
		unlock()
	}
	tx.lent = 0
	tx.small = emptied(tx.small)
}

// hand is lend before a write, which would rather find nothing lent: a small
// value is copied.
func (tx *Tx) hand(e *Entry, stored *entry, hash uint64) {
	if stored == nil {
		return
	}
	if len(e.Value) > smallValue {
		tx.lend(stored, hash)
		return
	}
	at := len(tx.small)
	tx.small = append(tx.small, e.Value...)
	e.Value = tx.small[at:len(tx.small):len(tx.small)]
}

// smallValue is room for a number or the token of a lock.
const smallValue = 64

// lendAll is before keys of all shards are.
func (tx *Tx) lendAll() {
	for i := range tx.s.shards {
		tx.s.shards[i].lend()
	}
	tx.lent = AllShards
}

// Peek is a read that leaves no trace in the access information: TTL, EXISTS,
// TYPE. It counts a hit or a miss.
func (tx *Tx) Peek(key []byte) (Entry, bool) {
	hash := tx.s.hash(key)
	e, live, stored, _ := tx.look(tx.db, key, hash)
	if live {
		tx.hits++
		tx.lend(stored, hash)
	} else {
		tx.misses++
	}
	return e, live
}

// Find is a look before a write: it counts an access, but no hit or miss.
func (tx *Tx) Find(key []byte) (Entry, bool) { return tx.FindIn(tx.db, key) }

// FindIn is Find in another database.
func (tx *Tx) FindIn(db int, key []byte) (Entry, bool) {
	hash := tx.s.hash(key)
	e, live, stored, _ := tx.look(db, key, hash)
	if live {
		tx.touch(stored, hash)
		tx.hand(&e, stored, hash)
	}
	return e, live
}

// touch counts an access.
func (tx *Tx) touch(e *entry, hash uint64) {
	if e == nil || tx.scope.NoTouch {
		return
	}
	if now := touched(e.access, tx.now); now != e.access {
		e.access = now
	}
	tx.looked = hash
	if e.place() == inPinned {
		return
	}
	if tx.latch == nil && !e.is(read) { // others may set marks while a latch stands
		e.marks |= read
	}
}

// OnlyCached says that all that tx has learnt from the store is what is in live
// cached entries: it has looked at no pinned, absent, expired or held key, at
// no watch, and walked over none. A Tx that has not looked has learnt nothing.
func (tx *Tx) OnlyCached() bool { return !tx.beyond }

// Freq is what OBJECT FREQ shows: Redis's logarithmic counter, decayed.
func (tx *Tx) Freq(key []byte) (int, bool) {
	access, ok := tx.access(key)
	return int(frequency(access, tx.now)), ok
}

// IdleTime is what OBJECT IDLETIME shows, in seconds.
func (tx *Tx) IdleTime(key []byte) (int64, bool) {
	access, ok := tx.access(key)
	return idleSeconds(access, tx.now), ok
}

func (tx *Tx) access(key []byte) (uint32, bool) {
	_, live, stored, _ := tx.look(tx.db, key, tx.s.hash(key))
	switch {
	case !live:
		return 0, false
	case stored == nil: // put by this Tx
		return newAccess(tx.now), true
	}
	return stored.access, true
}

// Memory is what MEMORY USAGE shows: the bytes that key and value cost,
// as maxmemory counts them.
func (tx *Tx) Memory(key []byte) (int, bool) {
	e, live, stored, _ := tx.look(tx.db, key, tx.s.hash(key))
	switch {
	case !live:
		return 0, false
	case stored != nil:
		return int(stored.cost()), true
	}
	return int(costOf(sizeOf(len(key), len(e.Value)))), true
}
