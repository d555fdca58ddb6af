package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"
	"sync/atomic"
)

// A snapshot is the pinned entries and the leader's clock, and nothing else:
//
//	magic (8 bytes)
//	length (4 bytes, little endian) and entry, of KindClock if a clock was ever heard
//	length and entry, of KindEffects with nothing but Puts, as often as is needed
//	0 (4 bytes)  number of Puts (8 bytes)  CRC-32C of all before it (4 bytes)
//
// Puts are in the order of their databases and keys, blocks end at the same
// places, so that equal states are equal bytes whatever way they came about.
const magic = "crema\x00s\x01"

const (
	blockBytes = 64 << 10 // a block ends with the entry that makes it so large
	readStep   = 1 << 20  // memory is taken as bytes arrive, not as a length promises
)

// Snapshot is the pinned entries as they were at one moment.
//
// Taking it does no more than to begin a new generation. An entry of an earlier
// one is noted and brought into the new one by whoever comes first: WriteTo on
// its walk over the shards, a few buckets at a time, or somebody about to
// change it. A note is a reference: until Release what is noted is neither
// written over nor moved, and its memory is not used again.
//
// Every snapshot is walked to its end, by Release if need be. So no pinned entry
// is more than a few generations old, and 16 bits are enough to tell.
type Snapshot struct {
	s        *Store
	gen      uint16
	clock    *heard
	dbs      [NumDBs]uint8 // database by slot; swaps are the same in all shards
	released atomic.Bool
	parts    [numShards][]pinnedKey // each guarded by its shard's mutex while the shard knows of the snapshot
}

type pinnedKey struct {
	e        *entry // for its key and its value
	deadline int64
	db       uint8
	encoding Encoding
}

// Snapshot takes the state of this moment, which must not be in the middle of
// an Apply under latches or of an ApplyClock: who applies the log also calls
// this. It holds all shards for an instant and does not wait for latches. The
// caller Releases it.
func (s *Store) Snapshot() *Snapshot {
	snap := &Snapshot{s: s}
	for i := range s.shards {
		s.shards[i].mu.Lock()
	}
	snap.clock = s.clock.Load()
	for db, slot := range s.shards[0].slots {
		snap.dbs[slot] = uint8(db)
	}
	snap.gen = s.shards[0].gen + 1
	for i := range s.shards {
		sh := &s.shards[i]
		sh.gen = snap.gen
		sh.snapshots = append(sh.snapshots, snap)
		sh.open++
	}
	s.users.Add(1)
	s.give(AllShards)
	return snap
}

// preserve is called with mu held before a pinned entry changes: the snapshots
// that do not have it as it is note it. One that becomes pinned is too new for all
// of them.
func (sh *shard) preserve(e *entry) {
	if e.place() != inPinned || e.gen() == sh.gen {
		return
	}
	for _, snap := range sh.snapshots {
		if int16(snap.gen-e.gen()) > 0 { // generations wrap
			part := &snap.parts[sh.number]
			*part = append(*part, pinnedKey{e, e.deadline, snap.dbs[e.slot()], e.encoding()})
			e.marks |= noted
		}
	}
	e.setGen(sh.gen)
}

// preserveAll is preserve before everything changes.
func (sh *shard) preserveAll() {
	if len(sh.snapshots) == 0 {
		return
	}
	for slot := range sh.indexes {
		sh.indexes[slot].each(sh, func(_ ref, e *entry) bool { sh.preserve(e); return true })
	}
	sh.snapshots = nil
}

const walkBuckets = 16 // looked at with a shard held

// walk notes what is left to note in one shard. Entries that stay are met
// whatever becomes of the index between two steps; others were noted when they
// went.
func (snap *Snapshot) walk(sh *shard) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !slices.Contains(sh.snapshots, snap) {
		return // walked, or all has changed
	}
	snap.reserve(sh)
	for slot := range sh.indexes {
		cursor := uint64(0)
		for first := true; first || cursor != 0; first = false {
			for range walkBuckets {
				cursor = sh.indexes[slot].scan(sh, cursor, sh.preserve)
				if cursor == 0 {
					break
				}
			}
			sh.mu.Unlock()
			sh.mu.Lock()
			if !slices.Contains(sh.snapshots, snap) {
				return // all has changed meanwhile
			}
		}
	}
	sh.snapshots = slices.DeleteFunc(sh.snapshots, func(other *Snapshot) bool { return other == snap })
}

// reserve takes the memory for a part without the shard held.
func (snap *Snapshot) reserve(sh *shard) {
	n := sh.count[inPinned]
	if cap(snap.parts[sh.number]) >= n {
		return
	}
	sh.mu.Unlock()
	part := make([]pinnedKey, 0, n+n/8)
	sh.mu.Lock()
	snap.parts[sh.number] = append(part, snap.parts[sh.number]...)
}

// Release lets go of what the snapshot keeps. It may be called twice.
func (snap *Snapshot) Release() {
	if snap.released.Swap(true) {
		return
	}
	for i := range snap.s.shards {
		sh := &snap.s.shards[i]
		snap.walk(sh)
		sh.mu.Lock()
		if sh.open--; sh.open == 0 {
			snap.s.unkeep(sh)
		}
		sh.mu.Unlock()
	}
	clear(snap.parts[:])
	snap.s.leave()
}

// sorted is all keys in the order of the snapshot.
func (snap *Snapshot) sorted() []*pinnedKey {
	total := 0
	for i := range snap.s.shards {
		snap.walk(&snap.s.shards[i])
		total += len(snap.parts[i])
	}
	all := make([]*pinnedKey, 0, total)
	for _, part := range snap.parts {
		for i := range part {
			all = append(all, &part[i])
		}
	}
	slices.SortFunc(all, func(a, b *pinnedKey) int {
		if a.db != b.db {
			return int(a.db) - int(b.db)
		}
		return bytes.Compare(a.e.key(), b.e.key())
	})
	return all
}

// WriteTo writes the snapshot. The store goes on meanwhile.
func (snap *Snapshot) WriteTo(w io.Writer) (n int64, err error) {
	all := snap.sorted()
	out := snapshotWriter{w: w}
	out.write([]byte(magic))
	if snap.clock != nil {
		out.block(AppendClock(out.begin(), Clock{Now: snap.clock.now}))
	}
	for i := 0; i < len(all) && out.err == nil; {
		b := append(out.begin(), entryVersion, byte(KindEffects))
		for ; i < len(all) && len(b) < blockBytes; i++ {
			k := all[i]
			b = appendEffect(b, &Effect{
				Op: OpPut, DB: k.db, Key: k.e.key(), Value: k.e.value(),
				Deadline: k.deadline, Pinned: true, Encoding: k.encoding,
			})
		}
		out.block(seal(b, lengthBytes))
	}
	out.end(len(all))
	return out.n, out.err
}

const (
	lengthBytes = 4
	countBytes  = 8
)

type snapshotWriter struct {
	w   io.Writer
	buf []byte
	n   int64
	sum uint32 // of all that was written
	err error  // the first one
}

// begin is room for a length, to append to.
func (w *snapshotWriter) begin() []byte { return append(w.buf[:0], 0, 0, 0, 0) }

// block writes an entry after its length, for which b has room.
func (w *snapshotWriter) block(b []byte) {
	length := len(b) - lengthBytes
	if int64(length) > math.MaxUint32 {
		w.err = fmt.Errorf("snapshot: a value of %d bytes is too large", length)
		return
	}
	binary.LittleEndian.PutUint32(b, uint32(length))
	w.write(b)
	w.buf = b
}

func (w *snapshotWriter) write(b []byte) {
	if w.err != nil {
		return
	}
	n, err := w.w.Write(b)
	w.n += int64(n)
	w.sum = crc32.Update(w.sum, castagnoli, b)
	if err != nil {
		w.err = fmt.Errorf("write snapshot: %w", err)
	}
}

func (w *snapshotWriter) end(count int) {
	w.write(binary.LittleEndian.AppendUint64(w.begin(), uint64(count)))
	w.write(binary.LittleEndian.AppendUint32(nil, w.sum))
}
