package store

import (
	"math/bits"
	"math/rand/v2"
)

// index finds the entries of one database in one shard: a chained hash table
// that grows and shrinks a few buckets at a time, so that no command pays for
// all of it, and that can be walked with a stateless cursor.
//
// Only writes move buckets: a reader never changes the index.
type index struct {
	main  table
	next  table // what main is being moved to; no buckets when nothing moves
	moved int   // buckets of main below this one are empty
}

type table struct {
	buckets []*entry // a power of two
	used    int
}

const (
	minBuckets     = 4
	bucketsPerStep = 2  // moved by each write
	emptyPerStep   = 20 // passed by each write on the way
	sparse         = 8  // shrink when fewer than one entry in so many buckets
)

// The low bits of the hash chose the shard and are the same all over this index.
func (t *table) bucket(hash uint64) int { return int(hash>>shardBits) & (len(t.buckets) - 1) }

func (ix *index) len() int     { return ix.main.used + ix.next.used }
func (ix *index) moving() bool { return ix.next.buckets != nil }

func (ix *index) find(hash uint64, key []byte) *entry {
	if ix.main.buckets == nil {
		return nil
	}
	for e := ix.main.buckets[ix.main.bucket(hash)]; e != nil; e = e.next {
		if e.hash == hash && e.key == string(key) {
			return e
		}
	}
	if ix.moving() {
		for e := ix.next.buckets[ix.next.bucket(hash)]; e != nil; e = e.next {
			if e.hash == hash && e.key == string(key) {
				return e
			}
		}
	}
	return nil
}

// insert adds an entry whose key is not there yet.
func (ix *index) insert(e *entry) {
	if ix.main.buckets == nil {
		ix.main.buckets = make([]*entry, minBuckets)
	}
	ix.step()
	if !ix.moving() && ix.main.used >= len(ix.main.buckets) {
		ix.begin(2 * len(ix.main.buckets))
	}
	t := &ix.main
	if ix.moving() {
		t = &ix.next
	}
	t.link(e)
}

// remove takes out an entry that is there.
func (ix *index) remove(e *entry) {
	if !ix.main.unlink(e) && !(ix.moving() && ix.next.unlink(e)) {
		panic("store: entry is not in its index")
	}
	ix.step()
	if n := len(ix.main.buckets); !ix.moving() && n > minBuckets && ix.main.used*sparse < n {
		ix.begin(max(minBuckets, 1<<bits.Len(uint(ix.main.used))))
	}
}

func (t *table) link(e *entry) {
	b := &t.buckets[t.bucket(e.hash)]
	e.next = *b
	*b = e
	t.used++
}

func (t *table) unlink(e *entry) bool {
	for p := &t.buckets[t.bucket(e.hash)]; *p != nil; p = &(*p).next {
		if *p == e {
			*p = e.next
			e.next = nil
			t.used--
			return true
		}
	}
	return false
}

func (ix *index) begin(buckets int) {
	ix.next = table{buckets: make([]*entry, buckets)}
	ix.moved = 0
}

// step moves a few buckets. Growth doubles, so at two buckets a write the move
// is over long before the next one is due.
func (ix *index) step() {
	if !ix.moving() {
		return
	}
	empty := emptyPerStep
	for n := 0; n < bucketsPerStep && ix.moved < len(ix.main.buckets); {
		e := ix.main.buckets[ix.moved]
		if e == nil {
			ix.moved++
			if empty--; empty == 0 {
				return
			}
			continue
		}
		for e != nil {
			following := e.next
			ix.next.link(e)
			ix.main.used--
			e = following
		}
		ix.main.buckets[ix.moved] = nil
		ix.moved++
		n++
	}
	if ix.moved == len(ix.main.buckets) {
		ix.main, ix.next, ix.moved = ix.next, table{}, 0
	}
}

// scan visits the bucket at cursor, and in the larger table all buckets that
// it splits into, and returns the next cursor: 0 after the last. It counts the
// bits of the cursor from the top, as Redis does: whatever the table's size is
// at the next call, the buckets already visited are exactly those whose
// entries have been seen, so an entry that stays is returned at least once.
func (ix *index) scan(cursor uint64, visit func(*entry)) uint64 {
	if ix.main.buckets == nil {
		return 0
	}
	small, large := &ix.main, &ix.next
	if !ix.moving() {
		mask := uint64(len(small.buckets) - 1)
		small.visit(cursor&mask, visit)
		return nextCursor(cursor, mask)
	}
	if len(small.buckets) > len(large.buckets) {
		small, large = large, small
	}
	narrow, wide := uint64(len(small.buckets)-1), uint64(len(large.buckets)-1)
	small.visit(cursor&narrow, visit)
	for {
		large.visit(cursor&wide, visit)
		cursor = nextCursor(cursor, wide)
		if cursor&(narrow^wide) == 0 {
			return cursor
		}
	}
}

func (t *table) visit(bucket uint64, visit func(*entry)) {
	for e := t.buckets[bucket]; e != nil; e = e.next {
		visit(e)
	}
}

func nextCursor(cursor, mask uint64) uint64 {
	return bits.Reverse64(bits.Reverse64(cursor|^mask) + 1)
}

// each visits every entry until visit returns false, and says whether it never did.
func (ix *index) each(visit func(*entry) bool) bool {
	for _, t := range [2]*table{&ix.main, &ix.next} {
		for _, e := range t.buckets {
			for ; e != nil; e = e.next {
				if !visit(e) {
					return false
				}
			}
		}
	}
	return true
}

// random is an entry of a random bucket, nil when that bucket is empty.
func (ix *index) random() *entry {
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
	for e := t.buckets[i]; e != nil; e = e.next {
		if n++; rand.IntN(n) == 0 {
			picked = e
		}
	}
	return picked
}
