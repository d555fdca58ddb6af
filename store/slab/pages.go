package slab

import (
	"math/bits"
	"unsafe"
)

// region is 4 MiB of addresses.
type region struct {
	free   [regionPages / 64]uint64 // a bit for each page that nobody has
	dirty  [regionPages / 64]uint64 // of the free ones, those the kernel has not got back
	nfree  int
	ndirty int
	owner  [regionPages]int32 // the slab that a page belongs to, +1; 0 = none
}

// freeRegion is one that nobody has used.
var freeRegion = func() (r region) {
	r.nfree = regionPages
	for w := range r.free {
		r.free[w] = ^uint64(0)
	}
	return r
}()

const (
	minSlack    = 32 << 10 // free pages that are kept
	slackShare  = 32       // of those in use, one to so many
	cleanAtOnce = 1 << 20
)

// allocPages hands out a run of pages, and says whether they have been used
// before: else they are zeros.
func (s *Space) allocPages(n int) (_ Ref, used bool) {
	s.paged += int64(n) * PageBytes
	if n > regionPages {
		return s.mapRun(n), false
	}
	for i := max(s.hint, 1); i < len(s.regions); i++ {
		r := s.regions[i]
		if r == nil {
			continue
		}
		if r.nfree == 0 && i == s.hint {
			s.hint++
		}
		if r.nfree < n {
			continue
		}
		if at := r.find(n); at >= 0 {
			return Ref(i*regionUnits + at<<pageShift), s.take(i, at, n)
		}
	}
	i := s.mapRegion()
	return Ref(i * regionUnits), s.take(i, 0, n)
}

// mapRegion adds a region.
func (s *Space) mapRegion() int {
	i := s.numbers(1)
	m := mapMemory(regionBytes)
	s.maps = append(s.maps, m)
	r := new(region)
	*r = freeRegion
	s.bases[i], s.regions[i] = unsafe.Pointer(&m[0]), r
	s.hint = min(s.hint, i)
	return i
}

// take marks n pages of region i as taken.
func (s *Space) take(i, at, n int) (used bool) {
	r := s.regions[i]
	r.nfree -= n
	for end := at + n; at < end; at++ {
		bit := uint64(1) << (at % 64)
		r.free[at/64] &^= bit
		if r.dirty[at/64]&bit != 0 {
			r.dirty[at/64] &^= bit
			r.ndirty--
			s.dirty -= PageBytes
			used = true
		}
	}
	return used
}

// find is the first of n free pages in a row, -1 if there are none.
func (r *region) find(n int) int {
	run := 0
	for w, free := range r.free {
		if free == 0 {
			run = 0
			continue
		}
		if free == ^uint64(0) {
			if run += 64; run >= n {
				return w*64 + 64 - run
			}
			continue
		}
		for b := 0; b < 64; {
			if zeros := bits.TrailingZeros64(free >> b); zeros > 0 {
				run = 0
				b += zeros
				continue
			}
			ones := min(bits.TrailingZeros64(^(free >> b)), 64-b)
			if run+ones >= n {
				return w*64 + b - run
			}
			run += ones
			b += ones
		}
	}
	return -1
}

func (s *Space) freePages(ref Ref, n int) {
	if poisoned {
		poison(s.bytes(ref, n*PageBytes))
	}
	s.paged -= int64(n) * PageBytes
	s.dirty += int64(n) * PageBytes
	i, at := int(ref>>regionShift), int(ref&(regionUnits-1))>>pageShift
	if n > regionPages {
		s.leave(i, n)
		return
	}
	s.hint = min(s.hint, i)
	r := s.regions[i]
	r.nfree += n
	r.ndirty += n
	for end := at + n; at < end; at++ {
		r.free[at/64] |= 1 << (at % 64)
		r.dirty[at/64] |= 1 << (at % 64)
	}
	if s.dirty > s.slack() {
		s.clean()
	}
}

func (s *Space) slack() int64 { return max(minSlack, s.paged/slackShare) }

// clean gives free pages back to the kernel until half of the slack is left, but
// no more than cleanAtOnce: the kernel takes its time for each. The last regions
// go first: what is new is taken from the first.
func (s *Space) clean() {
	most := max(s.slack()/2, s.dirty-cleanAtOnce)
	for i := len(s.regions) - 1; i > 0 && s.dirty > most; i-- {
		r := s.regions[i]
		if r == nil {
			continue
		}
		for p := 0; r.ndirty > 0 && s.dirty > most; {
			w := r.dirty[p/64] >> (p % 64)
			if w == 0 {
				p = (p/64 + 1) * 64
				continue
			}
			p += bits.TrailingZeros64(w)
			from := p
			for p < regionPages && p-from < cleanAtOnce/PageBytes && r.dirty[p/64]&(1<<(p%64)) != 0 {
				r.dirty[p/64] &^= 1 << (p % 64)
				p++
			}
			release(unsafe.Add(s.bases[i], from*PageBytes), (p-from)*PageBytes)
			r.ndirty -= p - from
			s.dirty -= int64(p-from) * PageBytes
		}
	}
}

// Pages is Alloc of whole pages, which Evacuate leaves where they are.
func (s *Space) Pages(n int) Ref {
	r, _ := s.pages(n)
	return r
}

// Zeroed is Pages with nothing in them.
func (s *Space) Zeroed(n int) Ref {
	r, used := s.pages(n)
	if used {
		clear(s.bytes(r, n))
	}
	return r
}

func (s *Space) pages(n int) (r Ref, used bool) {
	pages := (n + PageBytes - 1) / PageBytes
	s.allocated += int64(pages) * PageBytes
	return s.allocPages(pages)
}

// FreePages takes back what Pages or Zeroed gave.
func (s *Space) FreePages(r Ref, n int) {
	pages := (n + PageBytes - 1) / PageBytes
	s.allocated -= int64(pages) * PageBytes
	s.freePages(r, pages)
}
