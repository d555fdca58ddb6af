package slab

import "math/bits"

// Owner is told by Evacuate where a piece is now. What was in it has been
// copied; the old place is free when Moved returns.
type Owner interface {
	Moved(from, to Ref)
}

// A class is sparse when it could do with a slab less, and a sixteenth of its slots
// are free.
func (s *Space) weigh(k uint8, c *class, st *classState) {
	all := int(st.slabs) * int(c.slots)
	if free := all - st.used; free >= int(c.slots) && free > all/16 {
		s.sparse |= 1 << k
	} else {
		s.sparse &^= 1 << k
	}
}

// Sparse says whether an Evacuate would help.
func (s *Space) Sparse() bool {
	return s.sparse != 0 || s.draining != 0 || len(s.leaving) > 0 || s.dirty > s.slack()
}

// Evacuate moves up to most pieces, gives some free pages back, and says whether
// there is more to do.
func (s *Space) Evacuate(most int, o Owner) (more bool) {
	s.cut(cleanAtOnce)
	if s.dirty > s.slack() {
		s.clean()
	}
	for ; most > 0; most-- {
		if s.draining == 0 && !s.choose() {
			break
		}
		id := s.draining
		sl := s.slab(id)
		if sl.used == 0 {
			s.draining = 0
			k := sl.class
			s.dropSlab(id)
			s.weigh(k, &classes[k], &s.classes[k])
			continue
		}
		if s.sparse&(1<<sl.class) == 0 { // others have taken the room there was
			s.draining = 0
			s.relist(id)
			continue
		}
		c := &classes[sl.class]
		slot := sl.firstUsed(c)
		from := sl.base + Ref(slot*c.size/unitBytes)
		to := s.allocSlot(sl.class)
		copy(s.bytes(to, int(c.size)), s.bytes(from, int(c.size)))
		o.Moved(from, to)
		s.freeSlot(from, sl.class)
	}
	return s.Sparse()
}

// choose begins to drain the emptiest slab of a class that is sparse.
func (s *Space) choose() bool {
	for s.sparse != 0 {
		k := uint8(bits.TrailingZeros64(s.sparse))
		for l := range fullness {
			if id := s.classes[k].lists[l]; id != 0 {
				s.unlist(id)
				s.draining = id
				return true
			}
		}
		s.sparse &^= 1 << k // all that is free is in the slab that fills up now
	}
	return false
}

func (sl *slab) firstUsed(c *class) uint32 {
	for w, free := range sl.free {
		if free != ^uint64(0) {
			if slot := uint32(w*64 + bits.TrailingZeros64(^free)); slot < c.slots {
				return slot
			}
		}
	}
	panic("slab: a slab in use without a piece")
}
