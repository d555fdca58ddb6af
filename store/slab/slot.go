package slab

import (
	"math/bits"
	"unsafe"
)

const (
	bitmapWords = (4*PageBytes/minSlot + 63) / 64
	slabChunk   = 64 // slabs are never moved: a request must not copy them all
	fullness    = 4  // lists of slabs that are neither full nor empty: up to a quarter used, a half …
)

// slab is a run of pages cut into slots of one class.
type slab struct {
	free       [bitmapWords]uint64
	base       Ref
	next, prev int32 // in the list of its fullness; slabs are numbered from 1, 0 = none
	used       uint16
	class      uint8
	list       uint8 // which list, +1; 0 = none: full, current, or being evacuated
}

type classState struct {
	current int32           // where the next slot comes from, 0 = none
	lists   [fullness]int32 // the fullest are last
	slabs   int32
	used    int // slots
}

func (s *Space) slab(id int32) *slab {
	id--
	return &s.slabs[id/slabChunk][id%slabChunk]
}

func (s *Space) allocSlot(k uint8) Ref {
	if s.classes == nil {
		s.classes = make([]classState, len(classes))
	}
	c, st := &classes[k], &s.classes[k]
	if st.current == 0 {
		st.current = s.fullest(k)
	}
	sl := s.slab(st.current)
	slot := uint32(0)
	for w := range sl.free {
		if m := sl.free[w]; m != 0 {
			slot = uint32(w*64 + bits.TrailingZeros64(m))
			sl.free[w] = m & (m - 1)
			break
		}
	}
	sl.used++
	st.used++
	if uint32(sl.used) == c.slots {
		st.current = 0
	}
	return sl.base + Ref(slot*c.size/unitBytes)
}

// fullest takes a slab with a free slot from the lists, or makes one.
func (s *Space) fullest(k uint8) int32 {
	st := &s.classes[k]
	for l := fullness - 1; l >= 0; l-- {
		if id := st.lists[l]; id != 0 {
			s.unlist(id)
			return id
		}
	}
	return s.newSlab(k)
}

func (s *Space) newSlab(k uint8) int32 {
	id := s.unused
	if id != 0 {
		s.unused = s.slab(id).next
	} else {
		if s.nslabs%slabChunk == 0 {
			s.slabs = append(s.slabs, new([slabChunk]slab))
		}
		s.nslabs++
		id = s.nslabs
	}
	c := &classes[k]
	base, _ := s.allocPages(int(c.pages))
	*s.slab(id) = slab{base: base, class: k}
	sl := s.slab(id)
	for i := uint32(0); i < c.slots; i++ {
		sl.free[i/64] |= 1 << (i % 64)
	}
	s.own(base, int(c.pages), id)
	s.classes[k].slabs++
	return id
}

func (s *Space) own(base Ref, pages int, id int32) {
	owner := &s.regions[base>>regionShift].owner
	at := int(base&(regionUnits-1)) >> pageShift
	for p := at; p < at+pages; p++ {
		owner[p] = id
	}
}

// place is the slab that a piece is in, and its number there.
func (s *Space) place(r Ref) (id int32, slot uint32) {
	id = s.regions[r>>regionShift].owner[(r&(regionUnits-1))>>pageShift]
	sl := s.slab(id)
	return id, uint32(uint64(r-sl.base) * unitBytes * uint64(classes[sl.class].recip) >> 32)
}

func (s *Space) freeSlot(r Ref, k uint8) {
	id, slot := s.place(r)
	c, st, sl := &classes[k], &s.classes[k], s.slab(id)
	if sl.class != k || sl.free[slot/64]&(1<<(slot%64)) != 0 {
		panic("slab: free of what is not a piece of this size")
	}
	if poisoned {
		poison(s.bytes(r, int(c.size)))
	}
	sl.free[slot/64] |= 1 << (slot % 64)
	sl.used--
	st.used--
	switch {
	case id == st.current || id == s.draining:
	case sl.used == 0:
		s.dropSlab(id)
	default:
		s.relist(id)
	}
	s.weigh(k, c, st)
}

// relist puts a slab that is not full into the list of its fullness.
func (s *Space) relist(id int32) {
	sl := s.slab(id)
	l := uint8(uint32(sl.used)*fullness/classes[sl.class].slots) + 1
	if sl.list == l {
		return
	}
	if sl.list != 0 {
		s.unlist(id)
	}
	head := &s.classes[sl.class].lists[l-1]
	sl.list, sl.prev, sl.next = l, 0, *head
	if *head != 0 {
		s.slab(*head).prev = id
	}
	*head = id
}

func (s *Space) unlist(id int32) {
	sl := s.slab(id)
	if sl.prev != 0 {
		s.slab(sl.prev).next = sl.next
	} else {
		s.classes[sl.class].lists[sl.list-1] = sl.next
	}
	if sl.next != 0 {
		s.slab(sl.next).prev = sl.prev
	}
	sl.list, sl.next, sl.prev = 0, 0, 0
}

// dropSlab gives up a slab with nothing in it.
func (s *Space) dropSlab(id int32) {
	sl := s.slab(id)
	if sl.list != 0 {
		s.unlist(id)
	}
	pages := int(classes[sl.class].pages)
	s.own(sl.base, pages, 0)
	s.freePages(sl.base, pages)
	s.classes[sl.class].slabs--
	*sl = slab{next: s.unused}
	s.unused = id
}

// bytes is a piece as a slice.
func (s *Space) bytes(r Ref, n int) []byte { return unsafe.Slice((*byte)(s.At(r)), n) }
