package store

import (
	"sync"
	"time"
)

// shard is a thirty-second of the keys of all databases.
//
// Everything in it is written with mu held, by Apply or by the counting at a
// Tx's end; while a latch stands, by the latch's holder alone. It is read with
// mu held or, without it, by the latch's holder. An entry's access word is the
// exception: whoever evaluates writes it.
type shard struct {
	mu    sync.Mutex
	latch *latch // who keeps the shard without holding mu; nil = nobody

	number    int
	now       int64         // the latest clock reading of a Tx here, unix ms
	slots     [NumDBs]uint8 // database → indexes; SWAPDB exchanges two
	indexes   [NumDBs]index // by slot
	volatile  [NumDBs]int   // entries with a deadline, by slot
	deadlines deadlines
	window    list                   // cached entries on probation
	main      list                   // cached entries that ristretto keeps
	owed      []*entry               // what ristretto has yet to hear of
	watches   map[watchKey][]watcher // WATCH
	once      map[watchKey][]watcher // ListenOnce
	held      map[watchKey]*layer    // keys whose change is on its way through the log: the newest
	heldAll   *Pending               // a flush or a swap is
	snapshots []*Snapshot            // those that do not have all pinned entries yet
	gen       uint16                 // of the latest snapshot; the same in all shards
	bytes     [numPlaces]int64
	count     [numPlaces]int
	tally     tally
	_         [64]byte // the next shard's mutex is on another cache line
}

// tally counts what happened since ResetStats.
type tally struct{ hits, misses, expired, evicted int64 }

// latch is held by one Tx over a set of shards while it evaluates for longer
// than a mutex should be held.
type latch struct {
	since time.Time     // monotonic: wall clocks jump
	done  chan struct{} // closed when every shard is free again
}

func (sh *shard) init(number int) {
	sh.number = number
	for i := range sh.slots {
		sh.slots[i] = uint8(i)
	}
}

func (sh *shard) db(db int) *index { return &sh.indexes[sh.slots[db]] }

func (sh *shard) dbOf(slot uint8) int {
	for db, s := range sh.slots {
		if s == slot {
			return db
		}
	}
	panic("store: slot without a database")
}

// setPlace moves e between the kinds and keeps the counts. The caller charges
// the store for the difference in cost.
func (sh *shard) setPlace(e *entry, to place) {
	sh.leave(e)
	e.place = to
	sh.enter(e)
}

func (sh *shard) enter(e *entry) {
	sh.bytes[e.place] += e.cost()
	sh.count[e.place]++
	switch e.place {
	case inWindow:
		sh.window.push(e)
	case inMain:
		sh.main.push(e)
	}
}

func (sh *shard) leave(e *entry) {
	sh.bytes[e.place] -= e.cost()
	sh.count[e.place]--
	switch e.place {
	case inWindow:
		sh.window.remove(e)
	case inMain:
		sh.main.remove(e)
	}
}

// owe notes that ristretto's idea of e is out of date. Telling it takes its
// locks and its goroutine, which nobody waits for with a shard held.
func (sh *shard) owe(e *entry) {
	if e.judged && !e.owed {
		e.owed = true
		sh.owed = append(sh.owed, e)
	}
}

// setDeadline keeps the count of volatile entries and the deadlines. A later
// deadline costs nothing: e comes up at the old one and is filed again.
func (sh *shard) setDeadline(e *entry, deadline int64) {
	switch {
	case deadline == e.deadline:
		return
	case e.deadline == 0:
		sh.volatile[e.slot]++
	case deadline == 0:
		sh.volatile[e.slot]--
	}
	e.deadline = deadline
	switch {
	case deadline == 0:
		sh.deadlines.remove(e)
	case e.filed < 0:
		sh.deadlines.add(e)
	default:
		sh.deadlines.earlier(e)
	}
}
