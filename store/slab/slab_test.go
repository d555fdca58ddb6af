package slab

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

func TestSizes(t *testing.T) {
	if len(classes) > 64 {
		t.Fatalf("%d classes, sparse has 64 bits", len(classes))
	}
	t.Logf("%d classes", len(classes))
	for n := range maxSlot + 3*PageBytes {
		size := Size(n)
		if size < n || size%8 != 0 {
			t.Fatalf("a piece of %d bytes takes %d", n, size)
		}
		if n >= 96 && n <= maxSlot && float64(size) > 1.26*float64(n) {
			t.Errorf("a piece of %d bytes takes %d", n, size)
		}
	}
	for _, c := range classes {
		whole := c.pages * PageBytes
		if left := whole - c.slots*c.size; left > whole/10 {
			t.Errorf("slots of %d bytes leave %d of %d over", c.size, left, whole)
		}
		for slot := range c.slots {
			if got := uint32(uint64(slot*c.size) * uint64(c.recip) >> 32); got != slot {
				t.Fatalf("slot %d of %d bytes is taken for %d", slot, c.size, got)
			}
		}
	}
}

// model knows what should be in every piece.
type model struct {
	s      Space
	pieces map[Ref]int
	fills  map[Ref]uint64
	order  []Ref
	where  map[Ref]int
}

func newModel() *model {
	return &model{pieces: map[Ref]int{}, fills: map[Ref]uint64{}, where: map[Ref]int{}}
}

func (m *model) add(r Ref, n int, fill uint64) {
	m.pieces[r], m.fills[r], m.where[r] = n, fill, len(m.order)
	m.order = append(m.order, r)
}

func (m *model) drop(r Ref) {
	i, last := m.where[r], m.order[len(m.order)-1]
	m.order[i], m.where[last] = last, i
	m.order = m.order[:len(m.order)-1]
	delete(m.pieces, r)
	delete(m.fills, r)
	delete(m.where, r)
}

// pattern is what a piece holds: something all along its edges, where another
// that overlaps would be seen.
func pattern(dst []byte, fill uint64) {
	for len(dst) >= 8 {
		binary.LittleEndian.PutUint64(dst, fill)
		step := 8
		if len(dst) > 4096 {
			step = 512
		}
		dst = dst[step:]
	}
}

func (m *model) alloc(n int) {
	r := m.s.Alloc(n)
	fill := rand.Uint64()
	pattern(m.s.bytes(r, n), fill)
	m.add(r, n, fill)
}

func (m *model) free(t *testing.T, r Ref) {
	m.verify(t, r)
	m.s.Free(r, m.pieces[r])
	m.drop(r)
}

func (m *model) verify(t *testing.T, r Ref) {
	n := m.pieces[r]
	got := m.s.bytes(r, n)
	want := append([]byte(nil), got...)
	pattern(want, m.fills[r])
	if !bytes.Equal(got, want) {
		t.Fatalf("piece %d of %d bytes was written to by somebody else", r, n)
	}
}

func (m *model) Moved(from, to Ref) {
	n, fill := m.pieces[from], m.fills[from]
	m.drop(from)
	m.add(to, n, fill)
}

func (m *model) check(t *testing.T) {
	t.Helper()
	if err := m.s.Check(m.pieces, nil); err != nil {
		t.Fatal(err)
	}
}

func size(rng *rand.Rand) int {
	n := 1 << rng.IntN(12)
	if rng.IntN(50) == 0 {
		n = 1 << (12 + rng.IntN(10))
	}
	return n + rng.IntN(n)
}

func TestModel(t *testing.T) {
	for _, seed := range []uint64{1, 2, rand.Uint64()} {
		rng := rand.New(rand.NewPCG(seed, 0))
		m := newModel()
		for step := range 60_000 {
			// It grows, shrinks to a few, and grows again.
			if grow := step/10_000%2 == 0; len(m.order) == 0 || rng.IntN(100) < 62 == grow && len(m.order) < 8000 {
				m.alloc(size(rng))
			} else {
				m.free(t, m.order[rng.IntN(len(m.order))])
			}
			if rng.IntN(3) == 0 {
				m.s.Evacuate(4, m)
			}
			if step%2000 == 0 {
				m.check(t)
			}
		}
		for _, r := range m.order {
			m.verify(t, r)
		}
		for len(m.order) > 0 {
			m.free(t, m.order[0])
		}
		for m.s.Evacuate(100, m) {
		}
		m.check(t)
		if m.s.Allocated() != 0 {
			t.Errorf("seed %d: an empty space has %d bytes", seed, m.s.Allocated())
		}
		m.s.Close()
	}
}

// Whatever remains of many pieces, evacuation brings what is held close to it.
func TestEvacuation(t *testing.T) {
	m := newModel()
	defer m.s.Close()
	for range 200_000 {
		m.alloc(80 + rand.IntN(60))
	}
	for len(m.order) > 60_000 {
		m.free(t, m.order[rand.IntN(len(m.order))])
	}
	before := float64(m.s.Resident()) / float64(m.s.Allocated())
	for m.s.Evacuate(100, m) {
	}
	after := float64(m.s.Resident()) / float64(m.s.Allocated())
	t.Logf("resident %.2f × allocated, after evacuation %.2f", before, after)
	if after > 1.2 {
		t.Errorf("resident is %.2f × allocated after evacuation", after)
	}
	for _, r := range m.order {
		m.verify(t, r)
	}
	m.check(t)
}

func TestLargePieces(t *testing.T) {
	m := newModel()
	defer m.s.Close()
	for range 3 {
		for _, n := range []int{3 << 20, regionBytes, regionBytes + 1, 5*regionBytes - 7, 100, 20 << 10} {
			m.alloc(n)
		}
		m.check(t)
		for len(m.order) > 0 {
			m.free(t, m.order[len(m.order)/2])
		}
		m.check(t)
	}
	for m.s.Evacuate(1, m) {
	}
	if n := len(m.s.regions); n > 13 {
		t.Errorf("%d regions: what was freed is not used again", n)
	}
	if r := m.s.Resident(); r > 2*minSlack {
		t.Errorf("%d bytes are resident, none are in use", r)
	}
}

func TestReset(t *testing.T) {
	m := newModel()
	for range 3 {
		for range 2000 {
			m.alloc(size(rand.New(rand.NewPCG(1, 1))))
		}
		old := m.s.bytes(m.order[0], 8)
		m.s.Reset()
		if old[0] != 0 {
			t.Error("the kernel has not got the memory back")
		}
		m = &model{s: m.s, pieces: map[Ref]int{}, fills: map[Ref]uint64{}, where: map[Ref]int{}}
		m.check(t)
		if m.s.Allocated() != 0 || m.s.Resident() != 0 {
			t.Errorf("%d bytes allocated, %d resident", m.s.Allocated(), m.s.Resident())
		}
	}
	if n := len(m.s.maps); n > 2 {
		t.Errorf("%d mappings", n)
	}
	m.s.Close()
}

func TestZeroed(t *testing.T) {
	m := newModel()
	defer m.s.Close()
	m.alloc(300 << 10)
	m.free(t, m.order[0])
	for i, b := range m.s.bytes(m.s.Zeroed(200<<10), 200<<10) {
		if b != 0 {
			t.Fatalf("byte %d is %d", i, b)
		}
	}
}

func BenchmarkAllocFree(b *testing.B) {
	var s Space
	defer s.Close()
	b.ReportAllocs()
	refs := make([]Ref, 100_000)
	for i := range refs {
		refs[i] = s.Alloc(120)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		i := rng.IntN(len(refs))
		s.Free(refs[i], 120)
		refs[i] = s.Alloc(120)
	}
}

// A value that grows to half a gigabyte a piece at a time leaves no holes that would
// use up the addresses, whatever small pieces come in between.
func TestGrowth(t *testing.T) {
	m := newModel()
	defer m.s.Close()
	var was Ref
	for n := 1 << 20; n <= 512<<20; n += 1 << 20 {
		r := m.s.Alloc(n)
		*(*byte)(m.s.At(r + Ref((n-1)/unitBytes))) = 1
		if was != 0 {
			m.s.Free(was, m.pieces[was])
			delete(m.pieces, was)
		}
		was, m.pieces[r] = r, n
		m.pieces[m.s.Alloc(5<<10)] = 5 << 10
		if n%(128<<20) == 0 {
			m.check(t)
		}
	}
	if n := len(m.s.regions); n > 4*512<<20/regionBytes {
		t.Errorf("%d regions were needed", n)
	}
	for m.s.Evacuate(1, m) {
	}
	m.check(t)
	if m.s.Resident() > m.s.Allocated()*5/4 {
		t.Errorf("%d bytes are resident, %d in use", m.s.Resident(), m.s.Allocated())
	}
	m.s.Reset()
	clear(m.pieces)
	m.check(t)
}
