package store

import (
	"hash/maphash"
	"sync"
	"time"
	"unsafe"

	"crema/store/slab"
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

	odd   uint8 // what a write has to see to beside its key: odd… bits; only with mu held, latch or not
	holds bool  // held or heldAll is not empty
	lent  bool  // a Tx has been given keys or values that stand in space: none changes nor is used again until its End
	space slab.Space
	seed  maphash.Seed // the store's

	number    int
	now       int64         // the latest clock reading of a Tx here, unix ms
	slots     [NumDBs]uint8 // database → indexes; SWAPDB exchanges two
	indexes   [NumDBs]index // by slot
	volatile  [NumDBs]int   // entries with a deadline, by slot
	deadlines deadlines
	window    list                   // cached entries on probation
	main      list                   // cached entries that have been read on probation
	watches   map[watchKey][]watcher // WATCH
	once      map[watchKey][]watcher // ListenOnce
	held      map[watchKey]*layer    // keys whose change is on its way through the log: the newest
	heldAll   *Pending               // a flush or a swap is
	snapshots []*Snapshot            // those that do not have all pinned entries yet
	gen       uint16                 // of the latest snapshot; the same in all shards
	bytes     [numPlaces]int64
	count     [numPlaces]int
	told      [2]int64 // what the store's sums have of total() and of bytes[inPinned]
	tally     tally

	open   int           // snapshots that may refer to noted entries
	freed  []ref         // entries that are gone, to be freed when nothing is lent
	kept   []ref         // and those to be freed when no snapshot is open
	wiped  []*slab.Space // the same of whole spaces
	shelve []*slab.Space
	spares []*slab.Space // empty ones, for the next flush
	_      [64]byte      // the next shard's mutex is on another cache line
}

// The bits of odd.
const (
	oddWatched = 1 << iota // watches or once
	oddFreed               // freed or wiped
	oddSparse              // space has much to gain from moving entries
)

// tally counts what happened since ResetStats.
type tally struct{ hits, misses, expired, evicted int64 }

// latch is held by one Tx over a set of shards while it evaluates for longer
// than a mutex should be held.
type latch struct {
	since time.Time     // monotonic: wall clocks jump
	done  chan struct{} // closed when every shard is free again
}

func (sh *shard) init(number int, seed maphash.Seed) {
	sh.number, sh.seed = number, seed
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

func (sh *shard) at(r ref) *entry { return (*entry)(sh.space.At(r)) }

func (sh *shard) hashOf(e *entry) uint64 { return maphash.Bytes(sh.seed, e.key()) }

// setPlace moves e between the kinds and keeps the counts.
func (sh *shard) setPlace(r ref, e *entry, to place) {
	sh.leave(e)
	e.setPlace(to)
	sh.enter(r, e)
}

func (sh *shard) enter(r ref, e *entry) {
	p := e.place()
	sh.bytes[p] += e.cost()
	sh.count[p]++
	switch p {
	case inPinned:
		e.setGen(sh.gen)
	case inWindow:
		sh.window.push(sh, r, e)
	case inMain:
		sh.main.push(sh, r, e)
	}
}

func (sh *shard) leave(e *entry) {
	p := e.place()
	sh.bytes[p] -= e.cost()
	sh.count[p]--
	switch p {
	case inWindow:
		sh.window.remove(sh, e)
	case inMain:
		sh.main.remove(sh, e)
	}
}

// setDeadline keeps the count of volatile entries and the deadlines. A later
// deadline costs nothing: e comes up at the old one and is filed again.
func (sh *shard) setDeadline(r ref, e *entry, deadline int64) {
	switch {
	case deadline == e.deadline:
		return
	case e.deadline == 0:
		sh.volatile[e.slot()]++
	case deadline == 0:
		sh.volatile[e.slot()]--
	}
	e.deadline = deadline
	switch {
	case deadline == 0:
		sh.deadlines.remove(sh, e)
	case e.filed < 0:
		sh.deadlines.add(sh, r, e)
	default:
		sh.deadlines.earlier(sh, e)
	}
}

func (sh *shard) total() int64 {
	return sh.bytes[inPinned] + sh.bytes[inWindow] + sh.bytes[inMain]
}

func (sh *shard) entries() int {
	return sh.count[inPinned] + sh.count[inWindow] + sh.count[inMain]
}

// bytesOf and stringOf are the same bytes, which nobody changes.
func bytesOf(s string) []byte  { return unsafe.Slice(unsafe.StringData(s), len(s)) }
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
