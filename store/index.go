package store

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"slices"
	"unsafe"
)

// index finds the entries of one database in one shard: a hash table of buckets
// that grows and shrinks a few buckets at a time, so that no command pays for all
// of it, and that can be walked with a stateless cursor.
//
// An entry does not know its hash: who has the key at hand has it, and who moves
// buckets has to look at the entry anyway.
//
// Only writes move buckets: a reader never changes the index.
type index struct {
	main  table
	next  table // what main is being moved to; no buckets when nothing moves
	moved int   // buckets of main below this one are empty
}

type table struct {
	buckets []bucket // a power of two
	used    int
	more    [][]ref // of full buckets, which are few
	unused  []int32 // elements of more that are empty
	piece   ref     // of the shard's space, where the buckets are once there are many
}

// bucket is what the processor fetches at once, 64 bytes: twelve entries, with a
// byte of the hash of each. So a key that is not there is nearly always found not
// to be without a look at any entry, and one that is there with a look at one.
type bucket struct {
	tags [perBucket]uint8 // of what is in refs; of empty places they mean nothing
	more int32            // those that found no room are in the table's more, +1; 0 = none
	refs [perBucket]ref   // 0 = empty
}

const (
	perBucket      = 12
	fullBucket     = 10 // grow when there are more entries than so many times the buckets
	sparseBucket   = 2  // shrink when there are fewer
	bucketsPerStep = 1  // moved by each write
	emptyPerStep   = 20 // passed by each write on the way
	fewBuckets     = 64 // are in Go's memory: a page holds as many
	bucketBytes    = int(unsafe.Sizeof(bucket{}))
)

// The low bits of the hash chose the shard and are the same all over this index.
func (t *table) bucket(hash uint64) int { return int(hash>>shardBits) & (len(t.buckets) - 1) }

func tagOf(hash uint64) uint8 { return uint8(hash >> 56) }

func (ix *index) len() int     { return ix.main.used + ix.next.used }
func (ix *index) moving() bool { return ix.next.buckets != nil }

// find returns nil and 0 for a key that is not there.
func (ix *index) find(sh *shard, hash uint64, key []byte) (*entry, ref) {
	if ix.main.buckets == nil {
		return nil, 0
	}
	if e, r := ix.main.find(sh, hash, key); e != nil {
		return e, r
	}
	if ix.moving() {
		return ix.next.find(sh, hash, key)
	}
	return nil, 0
}

func (t *table) find(sh *shard, hash uint64, key []byte) (*entry, ref) {
	l := &t.buckets[t.bucket(hash)]
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	tag := uint64(tagOf(hash))
	// The top bit of each byte that may be the tag; where one is, those above
	// it may be wrong.
	x := binary.LittleEndian.Uint64(l.tags[:8]) ^ tag*ones
	for m := (x - ones) &^ x & tops; m != 0; m &= m - 1 {
		r := l.refs[bits.TrailingZeros64(m)/8]
		if r == 0 {
			continue
		}
		if e := sh.at(r); e.hasKey(key) {
			return e, r
		}
	}
	x = uint64(binary.LittleEndian.Uint32(l.tags[8:])) ^ tag*ones
	for m := (x - ones) &^ x & (tops >> 32); m != 0; m &= m - 1 {
		r := l.refs[8+bits.TrailingZeros64(m)/8]
		if r == 0 {
			continue
		}
		if e := sh.at(r); e.hasKey(key) {
			return e, r
		}
	}
	if l.more != 0 {
		for _, r := range t.more[l.more-1] {
			if e := sh.at(r); e.hasKey(key) {
				return e, r
			}
		}
	}
	return nil, 0
}

func (e *entry) hasKey(key []byte) bool {
	return int(e.klen) == min(len(key), longKey) && string(e.key()) == string(key)
}

// insert adds an entry whose key is not there yet.
func (ix *index) insert(sh *shard, hash uint64, r ref) {
	if ix.main.buckets == nil {
		ix.main.make(sh, 1)
	}
	ix.step(sh)
	if n := len(ix.main.buckets); !ix.moving() && ix.main.used >= n*fullBucket {
		ix.begin(sh, 2*n)
	}
	t := &ix.main
	if ix.moving() {
		t = &ix.next
	}
	t.insert(hash, r)
}

// remove takes out an entry that is there.
func (ix *index) remove(sh *shard, hash uint64, r ref) {
	t, p := ix.link(hash, r)
	*p = 0
	t.used--
	t.close(sh, &t.buckets[t.bucket(hash)])
	ix.step(sh)
	if n := len(ix.main.buckets); !ix.moving() && n > 1 && ix.main.used < n*sparseBucket {
		ix.begin(sh, n/2)
	}
}

// link is what refers to an entry that is there, and the table that has it.
func (ix *index) link(hash uint64, r ref) (*table, *ref) {
	for _, t := range [2]*table{&ix.main, &ix.next} {
		if t.buckets == nil {
			continue
		}
		l := &t.buckets[t.bucket(hash)]
		for i := range l.refs {
			if l.refs[i] == r {
				return t, &l.refs[i]
			}
		}
		for i, other := range t.rest(l) {
			if other == r {
				return t, &t.more[l.more-1][i]
			}
		}
	}
	panic("store: entry is not in its index")
}

// rest is the entries of a bucket that found no room in it.
func (t *table) rest(l *bucket) []ref {
	if l.more == 0 {
		return nil
	}
	return t.more[l.more-1]
}

func (t *table) insert(hash uint64, r ref) {
	t.used++
	l := &t.buckets[t.bucket(hash)]
	for i := range l.refs {
		if l.refs[i] == 0 {
			l.refs[i], l.tags[i] = r, tagOf(hash)
			return
		}
	}
	if l.more == 0 {
		if n := len(t.unused); n > 0 {
			l.more, t.unused = t.unused[n-1]+1, t.unused[:n-1]
		} else {
			t.more = append(t.more, nil)
			l.more = int32(len(t.more))
		}
	}
	rest := &t.more[l.more-1]
	if *rest == nil {
		*rest = make([]ref, 0, 4) // rarely more
	}
	*rest = append(*rest, r)
}

// close puts one that found no room where one has gone.
func (t *table) close(sh *shard, l *bucket) {
	if l.more == 0 {
		return
	}
	rest := &t.more[l.more-1]
	n := len(*rest)
	last := (*rest)[n-1]
	*rest = (*rest)[:n-1]
	if last != 0 {
		to := slices.Index(l.refs[:], 0)
		if to >= 0 {
			l.refs[to], l.tags[to] = last, tagOf(sh.hashOf(sh.at(last)))
		} else {
			(*rest)[slices.Index(*rest, 0)] = last
		}
	}
	if n == 1 {
		t.unused = append(t.unused, l.more-1)
		l.more = 0
	}
}

func (t *table) make(sh *shard, buckets int) {
	if buckets < fewBuckets {
		t.buckets = make([]bucket, buckets)
		return
	}
	t.piece = sh.space.Zeroed(buckets * bucketBytes)
	t.buckets = unsafe.Slice((*bucket)(sh.space.At(t.piece)), buckets)
}

func (t *table) drop(sh *shard) {
	if t.piece != 0 {
		sh.space.FreePages(t.piece, len(t.buckets)*bucketBytes)
	}
	*t = table{}
}

func (ix *index) begin(sh *shard, buckets int) {
	ix.next.make(sh, buckets)
	ix.moved = 0
}

// step moves a bucket. Growth doubles, so at one bucket a write the move is over
// long before the next one is due.
func (ix *index) step(sh *shard) {
	if !ix.moving() {
		return
	}
	empty := emptyPerStep
	for n := 0; n < bucketsPerStep && ix.moved < len(ix.main.buckets); ix.moved++ {
		l := &ix.main.buckets[ix.moved]
		was := ix.main.used
		for i, r := range l.refs {
			if r != 0 {
				ix.move(sh, r)
				l.refs[i] = 0
			}
		}
		for _, r := range ix.main.rest(l) {
			ix.move(sh, r)
		}
		if l.more != 0 {
			ix.main.more[l.more-1], l.more = nil, 0
		}
		if ix.main.used < was {
			n++
		} else if empty--; empty == 0 {
			ix.moved++
			break
		}
	}
	if ix.moved == len(ix.main.buckets) {
		ix.main.drop(sh)
		ix.main, ix.next, ix.moved = ix.next, table{}, 0
	}
}

func (ix *index) move(sh *shard, r ref) {
	ix.main.used--
	ix.next.insert(sh.hashOf(sh.at(r)), r)
}

// scan visits the bucket at cursor, and in the larger table all buckets that it
// splits into, and returns the next cursor: 0 after the last. It counts the bits
// of the cursor from the top, as Redis does: whatever the table's size is at the
// next call, the buckets already visited are exactly those whose entries have been
// seen, so an entry that stays is returned at least once.
func (ix *index) scan(sh *shard, cursor uint64, visit func(*entry)) uint64 {
	if ix.main.buckets == nil {
		return 0
	}
	small, large := &ix.main, &ix.next
	if !ix.moving() {
		mask := uint64(len(small.buckets) - 1)
		small.visit(sh, cursor&mask, visit)
		return nextCursor(cursor, mask)
	}
	if len(small.buckets) > len(large.buckets) {
		small, large = large, small
	}
	narrow, wide := uint64(len(small.buckets)-1), uint64(len(large.buckets)-1)
	small.visit(sh, cursor&narrow, visit)
	for {
		large.visit(sh, cursor&wide, visit)
		cursor = nextCursor(cursor, wide)
		if cursor&(narrow^wide) == 0 {
			return cursor
		}
	}
}

func (t *table) visit(sh *shard, number uint64, visit func(*entry)) {
	t.each(sh, &t.buckets[number], func(_ ref, e *entry) bool { visit(e); return true })
}

// each visits every entry of a bucket until visit returns false, and says whether
// it never did. visit may free the entry.
func (t *table) each(sh *shard, l *bucket, visit func(ref, *entry) bool) bool {
	for _, r := range l.refs {
		if r != 0 && !visit(r, sh.at(r)) {
			return false
		}
	}
	for _, r := range t.rest(l) {
		if !visit(r, sh.at(r)) {
			return false
		}
	}
	return true
}

func nextCursor(cursor, mask uint64) uint64 {
	return bits.Reverse64(bits.Reverse64(cursor|^mask) + 1)
}

// each is the same for all buckets.
func (ix *index) each(sh *shard, visit func(ref, *entry) bool) bool {
	for _, t := range [2]*table{&ix.main, &ix.next} {
		for i := range t.buckets {
			if !t.each(sh, &t.buckets[i], visit) {
				return false
			}
		}
	}
	return true
}

// random is an entry of a random bucket, nil when that bucket is empty.
func (ix *index) random(sh *shard) *entry {
	total := len(ix.main.buckets) + len(ix.next.buckets)
	if total == 0 {
		return nil
	}
	i := rand.IntN(total)
	t := &ix.main
	if i >= len(t.buckets) {
		i -= len(t.buckets)
		t = &ix.next
	}
	n := 0
	var picked *entry
	t.visit(sh, uint64(i), func(e *entry) {
		if n++; rand.IntN(n) == 0 {
			picked = e
		}
	})
	return picked
}
