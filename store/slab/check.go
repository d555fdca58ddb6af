package slab

import (
	"fmt"
	"math/bits"
	"unsafe"
)

// Check proves that the books agree: each count is the sum of what it counts,
// and nothing is in two places. pieces and pages are all that the owner has, with
// their sizes, from Alloc and from Pages; that each of them is in use, that no
// two overlap, and that nothing else is in use, is proven as well.
func (s *Space) Check(pieces, pages map[Ref]int) error {
	var allocated int64
	slots := map[int32]int{}
	taken := map[int]bool{} // pages of runs
	for r, n := range pieces {
		allocated += int64(Size(n))
		if n <= maxSlot {
			id, slot := s.place(r)
			if id == 0 {
				return fmt.Errorf("piece %d is in no slab", r)
			}
			sl := s.slab(id)
			c := &classes[sl.class]
			if sl.class != classOf(n) || slot >= c.slots || sl.base+Ref(slot*c.size/unitBytes) != r || sl.free[slot/64]&(1<<(slot%64)) != 0 {
				return fmt.Errorf("piece %d of %d bytes is not a slot in use", r, n)
			}
			slots[id]++
			continue
		}
	}
	for r, n := range pages {
		n = (n + PageBytes - 1) &^ (PageBytes - 1)
		allocated += int64(n)
		if err := s.takePages(taken, int(r>>pageShift), n/PageBytes); err != nil {
			return err
		}
	}
	for r, n := range pieces {
		if n > maxSlot {
			if err := s.takePages(taken, int(r>>pageShift), Size(n)/PageBytes); err != nil {
				return err
			}
		}
	}
	for id := int32(1); id <= s.nslabs; id++ {
		sl := s.slab(id)
		if sl.base == 0 {
			continue
		}
		c := &classes[sl.class]
		free := 0
		for _, w := range sl.free {
			free += bits.OnesCount64(w)
		}
		if int(sl.used) != slots[id] || int(c.slots)-free != int(sl.used) {
			return fmt.Errorf("slab %d has %d slots free of %d, counts %d used, is known for %d", id, free, c.slots, sl.used, slots[id])
		}
		if err := s.takePages(taken, int(sl.base>>pageShift), int(c.pages)); err != nil {
			return err
		}
		if sl.list == 0 && id != s.draining && id != s.classes[sl.class].current && free > 0 {
			return fmt.Errorf("slab %d with %d free slots is in no list", id, free)
		}
	}
	var dirty int64
	for i, r := range s.regions {
		if r == nil {
			if s.bases[i] != nil || taken[i*regionPages] {
				return fmt.Errorf("there is no region %d, and it is in use", i)
			}
			continue
		}
		if r == &whole {
			continue
		}
		free, d := 0, 0
		for w := range r.free {
			free += bits.OnesCount64(r.free[w])
			d += bits.OnesCount64(r.dirty[w])
			if r.dirty[w]&^r.free[w] != 0 {
				return fmt.Errorf("region %d: a page in use is to be given back", i)
			}
		}
		if free != r.nfree || d != r.ndirty {
			return fmt.Errorf("region %d counts %d free and %d dirty pages, has %d and %d", i, r.nfree, r.ndirty, free, d)
		}
		dirty += int64(d) * PageBytes
		for p := range regionPages {
			if isFree := r.free[p/64]&(1<<(p%64)) != 0; isFree == taken[i*regionPages+p] {
				return fmt.Errorf("region %d: page %d is free: %v, and in use: %v", i, p, isFree, !isFree)
			}
		}
	}
	for _, l := range s.leaving {
		dirty += int64(l.left)
	}
	for first, m := range s.runs {
		for i := 0; i*regionBytes < len(m); i++ {
			if s.regions[first+i] != &whole || s.bases[first+i] != unsafe.Pointer(&m[i*regionBytes]) || !taken[(first+i)*regionPages] {
				return fmt.Errorf("region %d of the run at %d is not in use as one", i, first)
			}
		}
	}
	if paged := int64(len(taken)) * PageBytes; paged != s.paged || dirty != s.dirty || allocated != s.allocated {
		return fmt.Errorf("counts %d bytes of pieces, %d of pages in use, %d dirty; has %d, %d, %d",
			s.allocated, s.paged, s.dirty, allocated, paged, dirty)
	}
	return nil
}

func (s *Space) takePages(taken map[int]bool, at, n int) error {
	for p := at; p < at+n; p++ {
		if taken[p] {
			return fmt.Errorf("page %d is used twice", p)
		}
		taken[p] = true
	}
	return nil
}
