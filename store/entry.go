package store

import "math/rand/v2"

// Encoding is how OBJECT ENCODING sees a string. The numbers stand in logs and
// snapshots.
type Encoding uint8

const (
	Plain  Encoding = iota // derive it: int, embstr or raw from the value
	Raw                    // grown in place: always raw
	Embstr                 // never int
)

// Entry is what a command sees of a key.
type Entry struct {
	Value    []byte // valid until the Tx ends; never changed by the reader
	Deadline int64  // unix ms, 0 = none
	Pinned   bool
	Encoding Encoding
}

// place says which kind an entry is of and, for a cached one, how far it has
// come on its way out.
type place uint8

const (
	inPinned place = iota // may not be forgotten
	inWindow              // cached, on probation: frequency does not judge it yet
	inMain                // cached, kept by ristretto until ristretto says otherwise
	numPlaces

	nowhere = numPlaces // deleted; whoever still has a pointer may see this
)

// entry is one key. It belongs to its shard and keeps its identity while the
// key lives: a new value replaces the slice, which nobody edits.
type entry struct {
	next     *entry // in the index bucket
	older    *entry // in the list of its place (window and main)
	newer    *entry
	hash     uint64
	deadline int64 // unix ms, 0 = none
	key      string
	value    []byte
	access   uint32 // 24 bits of seconds, 8 bits of logarithmic counter
	filed    int32  // position in the shard's deadlines, -1 = none
	slot     uint8  // which of the shard's indexes holds it
	place    place
	encoding Encoding
	owed     bool   // stands in shard.owed: ristretto has to be told about it
	judged   bool   // ristretto has taken it or been offered it, and not been told that it left
	fresh    bool   // has a new value since it entered the window
	gen      uint16 // the latest snapshot that has it, or that it is too new for
}

const (
	// What an entry costs beside its key and value: the struct, the slack of
	// three size classes, its index buckets and its place among the deadlines.
	// TestEntryOverhead measures it.
	entryOverhead = 128

	// What ristretto's maps and counters cost for each key it keeps, measured
	// by the same test.
	mainOverhead = 240
)

// judgeKey is what ristretto knows e by. The slot makes the same key of two
// databases two keys, and stays the same when they are swapped.
func (e *entry) judgeKey() uint64 { return e.hash ^ uint64(e.slot)*0x9e3779b97f4a7c15 }

func (e *entry) shard() int { return int(e.hash & (numShards - 1)) }

func (e *entry) cost() int64 {
	n := int64(entryOverhead + len(e.key) + len(e.value))
	if e.place == inMain {
		n += mainOverhead
	}
	return n
}

// expired is Redis's rule: a key lives through the millisecond of its deadline.
func expired(deadline, now int64) bool { return deadline != 0 && now > deadline }

func (e *entry) view() Entry {
	return Entry{Value: e.value, Deadline: e.deadline, Pinned: e.place == inPinned, Encoding: e.encoding}
}

// Redis's LFU: an 8-bit counter that grows with the logarithm of the accesses
// (lfu-log-factor 10) and loses one a minute (lfu-decay-time 1). Where Redis
// keeps 16 bits of minutes for it or 24 bits of seconds for LRU, the seconds
// serve both here, so that FREQ and IDLETIME are right under every policy.
const (
	lfuInit      = 5
	lfuLogFactor = 10
	accessMask   = 1<<24 - 1
)

func newAccess(now int64) uint32 { return uint32(now/1000)&accessMask<<8 | lfuInit }

// idleSeconds is the age of the last access; a clock that went back gives 0.
func idleSeconds(access uint32, now int64) int64 {
	age := (uint32(now/1000) - access>>8) & accessMask
	if age > accessMask/2 {
		return 0
	}
	return int64(age)
}

// frequency is the counter after the decay that time has brought.
func frequency(access uint32, now int64) uint8 {
	counter := int64(access & 0xff)
	return uint8(max(counter-idleSeconds(access, now)/60, 0))
}

func touched(access uint32, now int64) uint32 {
	counter := uint32(frequency(access, now))
	if counter < 255 {
		base := uint32(0)
		if counter > lfuInit {
			base = counter - lfuInit
		}
		if odds := base*lfuLogFactor + 1; odds == 1 || rand.Uint32N(odds) == 0 {
			counter++
		}
	}
	return uint32(now/1000)&accessMask<<8 | counter
}

// list is an intrusive queue of entries, oldest first.
type list struct{ oldest, newest *entry }

func (l *list) push(e *entry) {
	e.older, e.newer = l.newest, nil
	if l.newest != nil {
		l.newest.newer = e
	} else {
		l.oldest = e
	}
	l.newest = e
}

func (l *list) remove(e *entry) {
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		l.oldest = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		l.newest = e.older
	}
	e.older, e.newer = nil, nil
}

// before puts the whole of other in front of l and leaves it empty.
func (l *list) before(other *list) {
	if other.newest == nil {
		return
	}
	if l.oldest != nil {
		other.newest.newer, l.oldest.older = l.oldest, other.newest
	} else {
		l.newest = other.newest
	}
	l.oldest = other.oldest
	*other = list{}
}
