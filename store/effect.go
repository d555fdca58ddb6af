package store

import "slices"

// Op is what an Effect does. The numbers stand in logs and snapshots.
type Op uint8

const (
	OpPut    Op = iota + 1 // Key holds Value, with Deadline, Pinned and Encoding as given
	OpExpire               // Key has Deadline and is Pinned as given; no Key, no change
	OpDelete               // Key is gone
	OpFlush                // DB is empty, or all are when DB is AllDBs
	OpSwap                 // DB and DB2 change places
)

// AllDBs in Effect.DB names every database.
const AllDBs = 0xff

// Effect is one absolute change: applying it twice is applying it once (a swap
// excepted), and nothing in it depends on a clock or on what was there.
type Effect struct {
	Op       Op
	DB, DB2  uint8
	Encoding Encoding
	Pinned   bool
	Deadline int64 // unix ms, 0 = none
	Key      []byte
	Value    []byte
	Local    bool // of a key that is not pinned before nor after: no other node has to know

	hash      uint64 // of Key in this store, when hashed
	hashed    bool
	evicted   bool  // a deletion for want of memory, counted as such
	wasPinned bool  // the entry beneath is pinned, expired or not
	chain     int32 // the earlier effect of the same Tx with this hash, -1 = none
}

// Replicated says whether any of effects has to go through the log.
func Replicated(effects []Effect) bool {
	return slices.ContainsFunc(effects, func(f Effect) bool { return !f.Local })
}

// EventClass is a set of classes of keyspace events, the letters of
// notify-keyspace-events.
type EventClass uint32

const (
	ClassGeneric EventClass = 1 << iota // g
	ClassString                         // $
	ClassList                           // l
	ClassSet                            // s
	ClassHash                           // h
	ClassZset                           // z
	ClassStream                         // t
	ClassExpired                        // x
	ClassEvicted                        // e
	ClassKeyMiss                        // m
	ClassNew                            // n
)

// Event is one keyspace event. Key is valid until the Tx ends.
type Event struct {
	Class EventClass
	DB    int
	Name  string
	Key   []byte
}
