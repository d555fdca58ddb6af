package store

import (
	"math/rand/v2"
	"unsafe"

	"crema/store/slab"
)

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
	inMain                // cached, has been read on probation
	numPlaces
)

// ref is where an entry is in the space of its shard; 0 is nowhere.
type ref = slab.Ref

// entry is the head of a piece of memory that the collector does not see, and
// key and value stand behind it. It belongs to its shard. A pointer to it is
// good for as long as the shard is held and nothing is applied: the entry moves
// when its value no longer fits, and when its slab is evacuated.
type entry struct {
	deadline int64  // unix ms, 0 = none
	older    ref    // in the list of its place (window and main); of a pinned entry the generation, see gen
	newer    ref    //
	access   uint32 // 24 bits of seconds, 8 bits of logarithmic counter
	filed    int32  // position in the shard's deadlines, -1 = none
	vlen     uint32
	klen     uint16 // longKey: four bytes after the head say it
	where    uint8  // slot, place and encoding: 4, 2 and 2 bits
	marks    uint8
}

const (
	fresh = 1 << iota // has a new value since it entered the window
	read              // was read while cached; latched scopes do not set it
	noted             // an open snapshot may refer to it here: it is not written over, nor is its memory used again
)

const (
	headBytes = int(unsafe.Sizeof(entry{}))

	// What an entry costs beside its piece: its share of the index, of the
	// deadlines and of the books about slabs. TestEntryOverhead measures it.
	entryShare = 24
)

func (e *entry) key() []byte {
	n := e.keyBytes()
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(e), sizeOf(n, 0)-n)), n)
}

// value is the stored bytes themselves. Who hands them out lends the shard.
func (e *entry) value() []byte {
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(e), sizeOf(e.keyBytes(), 0))), e.vlen)
}

func (e *entry) keyBytes() int {
	if e.klen < longKey {
		return int(e.klen)
	}
	return int(*e.long())
}

// long is the length of a key for which klen has no room.
func (e *entry) long() *uint32 { return (*uint32)(unsafe.Add(unsafe.Pointer(e), headBytes)) }

const (
	longKey   = 1<<16 - 1
	longBytes = 4
)

// fill writes key and value into a piece that has room for them.
func (e *entry) fill(key, value []byte) {
	e.klen, e.vlen = uint16(min(len(key), longKey)), uint32(len(value))
	if len(key) >= longKey {
		*e.long() = uint32(len(key))
	}
	copy(e.key(), key)
	copy(e.value(), value)
}

// gen is the latest snapshot that has a pinned entry, or that it is too new for.
func (e *entry) gen() uint16       { return uint16(e.older) }
func (e *entry) setGen(gen uint16) { e.older = ref(gen) }

func (e *entry) slot() uint8        { return e.where >> 4 }
func (e *entry) place() place       { return place(e.where >> 2 & 3) }
func (e *entry) encoding() Encoding { return Encoding(e.where & 3) }

func whereOf(slot uint8, p place, enc Encoding) uint8 { return slot<<4 | uint8(p)<<2 | uint8(enc) }

func (e *entry) setPlace(p place)         { e.where = e.where&^(3<<2) | uint8(p)<<2 }
func (e *entry) setEncoding(enc Encoding) { e.where = e.where&^3 | uint8(enc) }

// wasRead says whether anybody has asked for e since it was written.
func (e *entry) wasRead() bool { return e.is(read) || e.access&0xff > lfuInit }

func (e *entry) is(mark uint8) bool { return e.marks&mark != 0 }

// size is how many bytes e takes, costOf how many it costs in all.
func (e *entry) size() int { return sizeOf(e.keyBytes(), int(e.vlen)) }

func sizeOf(key, value int) int {
	if key >= longKey {
		return headBytes + longBytes + key + value
	}
	return headBytes + key + value
}

func costOf(size int) int64 { return int64(entryShare + slab.Size(size)) }

func (e *entry) cost() int64 {
	return costOf(e.size())
}

// looseEntry is an entry in Go's memory, in no shard.
func looseEntry(key, value []byte) *entry {
	words := make([]uint64, sizeOf(len(key), len(value))/8+1)
	e := (*entry)(unsafe.Pointer(&words[0]))
	e.filed = -1
	e.fill(key, value)
	return e
}

// expired is Redis's rule: a key lives through the millisecond of its deadline.
func expired(deadline, now int64) bool { return deadline != 0 && now > deadline }

func (e *entry) view() Entry {
	return Entry{Value: e.value(), Deadline: e.deadline, Pinned: e.place() == inPinned, Encoding: e.encoding()}
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

// fade takes one from the counter.
func (e *entry) fade() {
	if e.access&0xff > 0 {
		e.access--
	}
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
