package slab

import "unsafe"

// A run of more than a region has a mapping of its own. Were it to share regions
// with others, a value that grows would leave holes behind, each too small for
// what it is next, and soon there would be no addresses left. So its addresses go
// with it, and its numbers are free for other regions.

// whole stands for each region of such a run, and for region 0.
var whole region

// leaving is the mapping of a run that was freed. Its pages go a few at a time,
// the last first, as the kernel takes its time for each.
type leaving struct {
	m    []byte
	left int // bytes that have not gone
}

func (s *Space) mapRun(pages int) Ref {
	s.cut(pages * PageBytes) // no faster in than out
	m := mapMemory(pages * PageBytes)
	n := (pages + regionPages - 1) / regionPages
	first := s.numbers(n)
	for i := range n {
		s.bases[first+i], s.regions[first+i] = unsafe.Pointer(&m[i*regionBytes]), &whole
	}
	if s.runs == nil {
		s.runs = map[int][]byte{}
	}
	s.runs[first] = m
	return Ref(first * regionUnits)
}

// leave is freePages of a run of more than a region.
func (s *Space) leave(first, pages int) {
	m := s.runs[first]
	if len(m) != pages*PageBytes {
		panic("slab: free of what is not a run of this size")
	}
	delete(s.runs, first)
	for i := first; i < first+(pages+regionPages-1)/regionPages; i++ {
		s.bases[i], s.regions[i] = nil, nil
	}
	s.leaving = append(s.leaving, leaving{m, len(m)})
	s.cut(cutAtOnce)
}

// cutAtOnce is more than cleanAtOnce, because nobody can use what is left. It took
// longer to write.
const cutAtOnce = 16 << 20

// cut gives up to most bytes of runs that were freed back to the kernel.
func (s *Space) cut(most int) {
	for k := len(s.leaving) - 1; k >= 0 && most > 0; k-- {
		l := &s.leaving[k]
		n := min(l.left, most)
		release(unsafe.Pointer(&l.m[l.left-n]), n)
		l.left -= n
		most -= n
		s.dirty -= int64(n)
		if l.left == 0 {
			unmap(l.m)
			*l = leaving{}
			s.leaving = s.leaving[:k]
		}
	}
}

// numbers is the first of n in a row that no region has.
func (s *Space) numbers(n int) int {
	if len(s.regions) == 0 {
		s.bases, s.regions, s.hint = append(s.bases, nil), append(s.regions, &whole), 1
	}
	row := 0
	for i, r := range s.regions {
		if r != nil {
			row = 0
		} else if row++; row == n {
			return i + 1 - n
		}
	}
	first := len(s.regions) - row
	if first+n > maxRegions {
		fatal("out of addresses")
	}
	for len(s.regions) < first+n {
		s.bases, s.regions = append(s.bases, nil), append(s.regions, nil)
	}
	return first
}

func (s *Space) unmapRuns() {
	for _, m := range s.runs {
		unmap(m)
	}
	for _, l := range s.leaving {
		unmap(l.m)
	}
}
