package slab

import (
	"math"
	"unsafe"
)

// Ref is where a piece begins, in units of 8 bytes; 0 is no piece. A Space has
// 32 GiB of addresses.
type Ref uint32

const (
	unitBytes   = 8
	PageBytes   = 4 << 10
	regionBytes = 4 << 20

	regionUnits = regionBytes / unitBytes
	regionShift = 19 // Ref → region
	pageShift   = 9  // Ref → page
	regionPages = regionBytes / PageBytes
	maxRegions  = 1 << (32 - regionShift)
)

// Space is one lot of memory. Its zero value is empty and ready.
type Space struct {
	bases   []unsafe.Pointer // of the regions, by number: for At. There is no region 0
	regions []*region        // nil = no region has the number
	maps    [][]byte         // the regions that slabs and runs share; Close unmaps them
	runs    map[int][]byte   // those of one run each, by the number of its first
	leaving []leaving        // the same of runs that were freed

	slabs   []*[slabChunk]slab
	nslabs  int32
	unused  int32 // a slab that is none, +1; they are chained by next
	classes []classState

	sparse    uint64 // classes with much to gain from an evacuation, a bit each
	draining  int32  // the slab being evacuated, +1
	allocated int64  // bytes of pieces
	dirty     int64  // bytes of free pages that the kernel has not got back
	paged     int64  // bytes of pages in use
	hint      int    // no region below it has room for a slab
}

// At is the address of a piece. It stays valid until Close, or until the piece is
// freed if that is larger than a region.
func (s *Space) At(r Ref) unsafe.Pointer {
	return unsafe.Add(s.bases[r>>regionShift], uintptr(r&(regionUnits-1))*unitBytes)
}

// Allocated is how many bytes all pieces take.
func (s *Space) Allocated() int64 { return s.allocated }

// Resident is how many bytes the kernel may have given for them.
func (s *Space) Resident() int64 { return s.paged + s.dirty }

// Mapped says whether there are addresses that a Close would give back.
func (s *Space) Mapped() bool { return len(s.maps) > 0 }

// Alloc hands out a piece of n bytes. What is in it is anybody's guess.
func (s *Space) Alloc(n int) Ref {
	if n <= maxSlot {
		k := classOf(n)
		s.allocated += int64(classes[k].size)
		return s.allocSlot(k)
	}
	if n > math.MaxUint32 {
		panic("slab: a piece of more than 4 GiB")
	}
	return s.Pages(n)
}

// Free takes back a piece of n bytes.
func (s *Space) Free(r Ref, n int) {
	if n <= maxSlot {
		k := classOf(n)
		s.allocated -= int64(classes[k].size)
		s.freeSlot(r, k)
		return
	}
	s.FreePages(r, n)
}

// Reset frees all pieces at once. The addresses of the small ones stay valid.
func (s *Space) Reset() {
	s.unmapRuns()
	for _, m := range s.maps {
		release(unsafe.Pointer(&m[0]), len(m))
	}
	for i, r := range s.regions {
		switch {
		case r == &whole && i > 0:
			s.bases[i], s.regions[i] = nil, nil
		case r != nil && i > 0:
			*r = freeRegion
		}
	}
	*s = Space{bases: s.bases, regions: s.regions, maps: s.maps, hint: 1}
}

// fatal ends the process, as the runtime does that gets no memory. A panic might
// be recovered from, with the owner's lock held for ever.
func fatal(why string) {
	go panic("slab: " + why)
	select {}
}

// Close gives everything back. Every address becomes invalid.
func (s *Space) Close() {
	s.unmapRuns()
	for _, m := range s.maps {
		unmap(m)
	}
	*s = Space{}
}
