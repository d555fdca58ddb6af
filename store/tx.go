package store

import "strconv"

// Tx is one evaluation: what it reads is the store as it is plus what it has
// itself recorded, and what it records are effects, which change nothing until
// they are applied. A Tx belongs to one goroutine and is reused: between End
// and Begin it holds nothing, and in the steady state it allocates nothing.
type Tx struct {
	s     *Store
	now   int64
	db    int
	scope Scope
	latch *latch // our own, when scope.Latch
	open  bool

	effects []Effect         // at most one per (db, key), in the order of the keys' first change
	byHash  map[uint64]int32 // the last effect with a hash, once there are many
	swaps   []Effect         // in order; they happen before all other effects
	bytes   int64            // what the effects' keys and values add up to
	flushed uint32           // databases emptied before the effects, a bit each
	base    [NumDBs]uint8    // which database of the store a database was, before swaps; valid when len(swaps) > 0
	all     []Effect         // what Effects returned last, when it had to be put together

	blocked *Pending // who holds a key that this Tx has looked at, and keeps it from going on
	built   bool     // has looked at what others have pending
	beyond  bool     // has looked at something else than live cached entries

	lent         Shards // of which stored keys or values have been handed out
	small        []byte // copies of values that were handed out
	digits       []byte // of Integers, until Discard
	events       []Event
	hits, misses int64
	looked       uint64 // hash of the last key whose access was counted
	warmed       int    // what Warm has come across; nobody reads it
}

// Scope is what a Tx may touch and how it holds it.
type Scope struct {
	Shards  Shards
	Latch   bool // hold latches, not mutexes: others wait, and are told ErrBusy when that takes long
	PinAll  bool // every write pins: scripts, EXEC under WATCH
	NoTouch bool // reads leave the access information alone
	Ahead   bool // what is pending is seen as if it were committed: see Builds
}

const (
	fewEffects   = 8    // as many are searched one by one
	keepCapacity = 1024 // a Tx that grew beyond this many elements lets them go
)

func (tx *Tx) Now() int64    { return tx.now }
func (tx *Tx) DB() int       { return tx.db }
func (tx *Tx) Select(db int) { tx.db = db }

// Shards is what the Tx holds until its end.
func (tx *Tx) Shards() Shards { return tx.scope.Shards }

// MaxValue is the size in bytes that no value may grow beyond.
func (tx *Tx) MaxValue() int64 { return tx.s.cfg.Load().MaxValueBytes }

// Integer is a number as a value, in memory of the Tx's own.
func (tx *Tx) Integer(n int64) []byte {
	at := len(tx.digits)
	tx.digits = strconv.AppendInt(tx.digits, n, 10)
	return tx.digits[at:len(tx.digits):len(tx.digits)]
}

// Policy is what gives way when memory is short: it decides whether OBJECT
// tells frequencies or idle times.
func (tx *Tx) Policy() Policy { return tx.s.cfg.Load().Policy }

// Effects is what has been recorded so far: swaps, then flushes, then at most
// one effect per key. It is valid until the next change, Discard or End.
func (tx *Tx) Effects() []Effect {
	if len(tx.swaps) == 0 && tx.flushed == 0 {
		return tx.effects
	}
	tx.all = append(tx.all[:0], tx.swaps...)
	if tx.flushed == allFlushed {
		tx.all = append(tx.all, Effect{Op: OpFlush, DB: AllDBs})
	} else {
		for db := range NumDBs {
			if tx.flushed&(1<<db) != 0 {
				tx.all = append(tx.all, Effect{Op: OpFlush, DB: uint8(db)})
			}
		}
	}
	tx.all = append(tx.all, tx.effects...)
	return tx.all
}

const allFlushed = 1<<NumDBs - 1

// PendingBytes is about what the effects recorded so far cost.
func (tx *Tx) PendingBytes() int64 { return tx.bytes }

// Events is what Notify has recorded so far, in order.
func (tx *Tx) Events() []Event { return tx.events }

// Notify records a keyspace event of the current database, if anybody listens
// to its class.
func (tx *Tx) Notify(class EventClass, name string, key []byte) { tx.notify(class, tx.db, name, key) }

// NotifyIn is Notify for another database.
func (tx *Tx) NotifyIn(db int, class EventClass, name string, key []byte) {
	tx.notify(class, db, name, key)
}

func (tx *Tx) notify(class EventClass, db int, name string, key []byte) {
	if EventClass(tx.s.events.Load())&class != 0 {
		tx.events = append(tx.events, Event{class, db, name, key})
	}
}

// Discard forgets effects and events. After Apply it lets the same Tx go on.
func (tx *Tx) Discard() {
	tx.effects = emptied(tx.effects)
	tx.swaps = emptied(tx.swaps)
	tx.all = emptied(tx.all)
	tx.events = emptied(tx.events)
	if tx.digits = tx.digits[:0]; cap(tx.digits) > keepCapacity {
		tx.digits = nil
	}
	tx.flushed, tx.bytes = 0, 0
	tx.blocked, tx.built, tx.beyond = nil, false, false
	if len(tx.byHash) > keepCapacity {
		tx.byHash = nil
	} else {
		clear(tx.byHash)
	}
}

// emptied keeps the capacity of a slice for the next command, without what its
// elements point to.
func emptied[E any](s []E) []E {
	if len(s) == 0 {
		return s
	}
	if cap(s) > keepCapacity {
		return nil
	}
	clear(s)
	return s[:0]
}

// pending is the position of the effect on a key, -1 if it has none.
func (tx *Tx) pending(db int, key []byte, hash uint64) int {
	if len(tx.effects) <= fewEffects {
		for i := range tx.effects {
			f := &tx.effects[i]
			if f.hash == hash && int(f.DB) == db && string(f.Key) == string(key) {
				return i
			}
		}
		return -1
	}
	i, ok := tx.byHash[hash]
	for ok && i >= 0 {
		f := &tx.effects[i]
		if int(f.DB) == db && string(f.Key) == string(key) {
			return int(i)
		}
		i = f.chain
	}
	return -1
}

// record adds the effect on a key that has none yet.
func (tx *Tx) record(f *Effect) {
	tx.effects = append(tx.effects, *f)
	tx.bytes += f.bytes()
	if n := len(tx.effects); n == fewEffects+1 {
		tx.indexEffects()
	} else if n > fewEffects {
		tx.indexEffect(n - 1)
	}
}

// bytes is about what an effect costs while it waits, and the entry after it.
func (f *Effect) bytes() int64 { return int64(entryShare + headBytes + len(f.Key) + len(f.Value)) }

func (tx *Tx) indexEffects() {
	if tx.byHash == nil {
		tx.byHash = make(map[uint64]int32)
	}
	clear(tx.byHash)
	if len(tx.effects) <= fewEffects {
		return
	}
	for i := range tx.effects {
		tx.indexEffect(i)
	}
}

func (tx *Tx) indexEffect(i int) {
	f := &tx.effects[i]
	f.chain = -1
	if earlier, ok := tx.byHash[f.hash]; ok {
		f.chain = earlier
	}
	tx.byHash[f.hash] = int32(i)
}

// Flush empties a database, or all of them when db is -1. Keys that were written
// before in the same Tx have been touched, though nothing is left of that.
func (tx *Tx) Flush(db int) {
	tx.noteAllHeld()
	kept := tx.effects[:0]
	for _, f := range tx.effects {
		switch {
		case db >= 0 && int(f.DB) != db:
			kept = append(kept, f)
		case f.Op != OpExpire:
			kept = append(kept, Effect{Op: OpDelete, DB: f.DB, Key: f.Key, hash: f.hash, hashed: true, Local: true})
		}
	}
	clear(tx.effects[len(kept):])
	tx.effects = kept
	if db < 0 {
		tx.swaps, tx.flushed = emptied(tx.swaps), allFlushed
	} else {
		tx.flushed |= 1 << db
	}
	tx.indexEffects()
	tx.bytes = 0
	for i := range tx.effects {
		tx.bytes += tx.effects[i].bytes()
	}
}

// Swap exchanges two databases. What was recorded before moves with them, so
// that the swap can be written down as having happened first.
func (tx *Tx) Swap(a, b int) {
	if a == b {
		return
	}
	tx.noteAllHeld()
	if len(tx.swaps) == 0 {
		for i := range tx.base {
			tx.base[i] = uint8(i)
		}
	}
	tx.swaps = append(tx.swaps, Effect{Op: OpSwap, DB: uint8(a), DB2: uint8(b)})
	tx.base[a], tx.base[b] = tx.base[b], tx.base[a]
	was := tx.flushed
	tx.flushed = was&^(1<<a|1<<b) | (was>>a&1)<<b | (was>>b&1)<<a
	for i := range tx.effects {
		switch f := &tx.effects[i]; int(f.DB) {
		case a:
			f.DB = uint8(b)
		case b:
			f.DB = uint8(a)
		}
	}
}
