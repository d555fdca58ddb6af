package slab

// The sizes of slots. Below 128 bytes they are 8 apart, above an eighth; each is
// as large as it can be without making a slot fewer in its slab, so that the
// largest are a quarter apart.
const (
	minSlot   = 48
	maxSlot   = 8 << 10 // what is larger is a run of pages
	fineSlots = 1 << 10 // sizes up to here are looked up by 8 bytes, above by 128
)

// slabPages is how many pages a slab of slots of a size has. Few, because each
// size has a slab that is half empty.
func slabPages(size int) int {
	if size <= 4<<10 {
		return 4
	}
	return 8
}

type class struct {
	size  uint32
	slots uint32 // in a slab
	pages uint32 // of a slab
	recip uint32 // 2^32/size rounded up: offset * recip >> 32 is offset / size
}

var (
	classes []class
	fine    [fineSlots/8 + 1]uint8
	coarse  [maxSlot/128 + 1]uint8
)

func init() {
	last := 0
	for size := minSlot; last < maxSlot; {
		pages := slabPages(size)
		slots := pages * PageBytes / size
		fit := min(pages*PageBytes/slots&^7, maxSlot) // the largest with as many slots
		if slabPages(fit) != pages {
			fit = size
		}
		classes = append(classes, class{
			size: uint32(fit), slots: uint32(slots), pages: uint32(pages),
			recip: uint32((1<<32 + uint64(fit) - 1) / uint64(fit)),
		})
		last = fit
		step := 8
		for 16*step <= fit {
			step *= 2
		}
		size = fit + step
	}
	k := 0
	for i := range fine {
		for int(classes[k].size) < i*8 {
			k++
		}
		fine[i] = uint8(k)
	}
	k = 0
	for i := range coarse {
		for int(classes[k].size) < i*128 {
			k++
		}
		coarse[i] = uint8(k)
	}
}

// classOf is the class for a piece of n bytes, n at most maxSlot.
func classOf(n int) uint8 {
	if n <= fineSlots {
		return fine[(n+7)/8]
	}
	k := coarse[n/128]
	for int(classes[k].size) < n {
		k++
	}
	return k
}

// Size is what a piece of n bytes takes.
func Size(n int) int {
	if n <= maxSlot {
		return int(classes[classOf(n)].size)
	}
	return (n + PageBytes - 1) &^ (PageBytes - 1)
}
