package store

import (
	"crema/store/slab"
)

// What a Tx has handed out stays as it is until its End, and what a snapshot has
// noted until its Release. So a value is written over where it stands only if
// nothing is lent and it is not noted, and else in another piece of memory; and
// what is gone is freed at once, or at the End, or at the Release.

// rewrite gives e the value of f, in another place if need be.
func (sh *shard) rewrite(r ref, e *entry, hash uint64, f *Effect) (ref, *entry) {
	was := e.size()
	size := sizeOf(e.keyBytes(), len(f.Value))
	place := e.place()
	sh.bytes[place] += int64(slab.Size(size) - slab.Size(was))
	if slab.Size(size) == slab.Size(was) && !sh.lent && !sh.isKept(e) {
		e.vlen = uint32(len(f.Value))
		copy(e.value(), f.Value)
		e.setEncoding(f.Encoding)
		return r, e
	}
	to := sh.space.Alloc(size)
	next := sh.at(to)
	*next = *e
	next.marks &^= noted
	next.setEncoding(f.Encoding)
	next.fill(e.key(), f.Value)
	sh.point(r, to, next, hash)
	sh.retire(r, e)
	return to, next
}

// point makes everything that refers to an entry refer to where it is now.
func (sh *shard) point(from, to ref, e *entry, hash uint64) {
	_, p := sh.indexes[e.slot()].link(hash, from)
	*p = to
	switch e.place() {
	case inWindow:
		sh.window.point(sh, e, to, to)
	case inMain:
		sh.main.point(sh, e, to, to)
	}
	if e.filed >= 0 {
		sh.deadlines.filing(int(e.filed)).r = to
	}
}

// Moved is for slab.Evacuate.
func (sh *shard) Moved(from, to ref) {
	e := sh.at(to)
	sh.point(from, to, e, sh.hashOf(e))
}

func (sh *shard) isKept(e *entry) bool { return sh.open > 0 && e.is(noted) }

// retire frees what is in no index any more, as soon as that may be.
func (sh *shard) retire(r ref, e *entry) {
	switch {
	case sh.lent:
		sh.freed = append(sh.freed, r)
		sh.odd |= oddFreed
	case sh.isKept(e):
		sh.kept = append(sh.kept, r)
	default:
		sh.space.Free(r, e.size())
	}
}

// retireSpace gives sh an empty space and frees all of the old one.
func (s *Store) retireSpace(sh *shard) {
	old := new(slab.Space)
	*old = sh.space
	if n := len(sh.spares) - 1; n >= 0 {
		sh.space, sh.spares = *sh.spares[n], sh.spares[:n]
	} else {
		sh.space = slab.Space{}
	}
	sh.freed, sh.kept = nil, nil
	sh.odd &^= oddSparse
	switch {
	case sh.lent:
		sh.wiped = append(sh.wiped, old)
		sh.odd |= oddFreed
	case sh.open > 0:
		sh.shelve = append(sh.shelve, old)
	default:
		s.cache.bury(sh, old)
	}
}

// settle ends what is lent. It is called with mu held, by whoever ends a Tx or
// has applied something without one.
func (s *Store) settle(sh *shard) {
	sh.lent = false
	if sh.odd&oddFreed == 0 {
		return
	}
	sh.odd &^= oddFreed
	for _, old := range sh.wiped {
		if sh.open > 0 {
			sh.shelve = append(sh.shelve, old)
		} else {
			s.cache.bury(sh, old)
		}
	}
	sh.wiped = nil
	for _, r := range sh.freed {
		sh.retire(r, sh.at(r))
	}
	n := len(sh.freed)
	sh.freed = emptied(sh.freed)
	if sh.space.Sparse() {
		sh.odd |= oddSparse
		sh.tidy(min(n*movesPerWrite, sweepMoves))
		s.sweeper.kick()
	}
}

// unkeep frees what was kept for snapshots. Nothing of it can be lent: it was
// gone before the Tx that is open now began.
func (s *Store) unkeep(sh *shard) {
	for _, r := range sh.kept {
		sh.space.Free(r, sh.at(r).size())
	}
	for _, old := range sh.shelve {
		s.cache.bury(sh, old)
	}
	sh.kept, sh.shelve = nil, nil
	if sh.space.Sparse() {
		sh.odd |= oddSparse
		s.sweeper.kick()
	}
}

const (
	movesPerWrite = 2  // entries that a write moves while the space is sparse
	sweepMoves    = 64 // and the sweeper, with a shard held
)

// tidy moves some entries so that less memory holds them all. Nothing may be
// lent. It waits for snapshots, which know where the entries are.
func (sh *shard) tidy(most int) {
	if sh.open == 0 && !sh.space.Evacuate(most, sh) {
		sh.odd &^= oddSparse
	}
}

// lend is before keys or values are handed out.
func (sh *shard) lend() {
	if !sh.lent {
		sh.lent = true
	}
}

// tell keeps the store's sums near those of the shards: each is off by no more
// than drift in each of them, so that a write need not touch what all share.
func (s *Store) tell(sh *shard, drift int64) {
	if d := sh.total() - sh.told[0]; d > drift || d < -drift || drift == 0 && d != 0 {
		sh.told[0] += d
		n := s.used.Add(d)
		for peak := s.peak.Load(); n > peak && !s.peak.CompareAndSwap(peak, n); {
			peak = s.peak.Load()
		}
	}
	if d := sh.bytes[inPinned] - sh.told[1]; d > drift || d < -drift || drift == 0 && d != 0 {
		sh.told[1] += d
		s.pinned.Add(d)
	}
}

// driftOf is how far a shard's counts may be ahead of the sums under a limit.
func driftOf(limit int64) int64 {
	const most = 64 << 10
	if limit <= 0 {
		return most
	}
	return min(most, limit>>14)
}
