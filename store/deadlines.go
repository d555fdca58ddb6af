package store

import "unsafe"

// deadlines is a heap of the entries of one shard that have a deadline, the
// earliest first, four children to a parent. An entry may be filed under an
// earlier deadline than it has by now, never under a later one.
//
// It lives in pieces of the shard's space, so that growing copies nothing.
type deadlines struct {
	n      int
	chunks []*[filingsEach]filing
	pieces []ref // the chunks
}

// filing is a deadline in unix ms and whose it is, in 12 bytes.
type filing struct {
	low, high uint32
	r         ref
}

const (
	filingsEach = 1 << 10 // three pages
	chunkBytes  = int(unsafe.Sizeof([filingsEach]filing{}))
)

func (f *filing) at() int64 { return int64(uint64(f.high)<<32 | uint64(f.low)) }

func (f *filing) due(at int64) { f.low, f.high = uint32(at), uint32(uint64(at)>>32) }

func (d *deadlines) filing(i int) *filing {
	return &d.chunks[uint(i)/filingsEach][uint(i)%filingsEach]
}

func (d *deadlines) add(sh *shard, r ref, e *entry) {
	if d.n == len(d.chunks)*filingsEach {
		piece := sh.space.Pages(chunkBytes)
		d.pieces = append(d.pieces, piece)
		d.chunks = append(d.chunks, (*[filingsEach]filing)(sh.space.At(piece)))
	}
	f := filing{r: r}
	f.due(e.deadline)
	d.n++
	d.up(sh, d.n-1, f)
}

// earlier refiles e if its deadline has moved before what it is filed under.
func (d *deadlines) earlier(sh *shard, e *entry) {
	f := *d.filing(int(e.filed))
	if e.deadline < f.at() {
		f.due(e.deadline)
		d.up(sh, int(e.filed), f)
	}
}

func (d *deadlines) remove(sh *shard, e *entry) {
	if e.filed < 0 {
		return
	}
	i := int(e.filed)
	e.filed = -1
	d.n--
	if i < d.n {
		last := *d.filing(d.n)
		if i > 0 && d.filing((i-1)/4).at() > last.at() {
			d.up(sh, i, last)
		} else {
			d.down(sh, i, last)
		}
	}
	// One chunk too many is kept for the next.
	if k := len(d.chunks) - 1; k > 0 && d.n <= (k-1)*filingsEach {
		sh.space.FreePages(d.pieces[k], chunkBytes)
		d.chunks[k] = nil
		d.chunks, d.pieces = d.chunks[:k], d.pieces[:k]
	}
}

// due appends to dead up to limit entries that have expired. Those that come
// up although their deadline has moved on are filed again. came is how many
// came up in all: fewer than limit means that no more will.
func (d *deadlines) due(sh *shard, now int64, limit int, dead []*entry) (_ []*entry, came int) {
	dead = d.collect(sh, now, 0, limit, dead)
	came = len(dead)
	kept := dead[:0]
	for _, e := range dead {
		if expired(e.deadline, now) {
			kept = append(kept, e)
			continue
		}
		f := *d.filing(int(e.filed))
		f.due(e.deadline)
		d.down(sh, int(e.filed), f)
	}
	return kept, came
}

func (d *deadlines) collect(sh *shard, now int64, i, limit int, up []*entry) []*entry {
	if i >= d.n || len(up) >= limit || !expired(d.filing(i).at(), now) {
		return up
	}
	up = append(up, sh.at(d.filing(i).r))
	for child := 4*i + 1; child <= 4*i+4; child++ {
		up = d.collect(sh, now, child, limit, up)
	}
	return up
}

// countExpired counts, by slot, entries that have expired and are still here,
// limit of them at most. They are what the top of the heap is made of.
func (d *deadlines) countExpired(sh *shard, now int64, limit int, n *[NumDBs]int) {
	left := limit
	var walk func(i int)
	walk = func(i int) {
		if i >= d.n || left == 0 || !expired(d.filing(i).at(), now) {
			return
		}
		if e := sh.at(d.filing(i).r); expired(e.deadline, now) {
			n[e.slot()]++
		}
		left--
		for child := 4*i + 1; child <= 4*i+4; child++ {
			walk(child)
		}
	}
	walk(0)
}

// up puts f where i is or nearer to the top, down where i is or below.
func (d *deadlines) up(sh *shard, i int, f filing) {
	at := f.at()
	for i > 0 {
		parent := d.filing((i - 1) / 4)
		if parent.at() <= at {
			break
		}
		d.put(sh, i, *parent)
		i = (i - 1) / 4
	}
	d.put(sh, i, f)
}

func (d *deadlines) down(sh *shard, i int, f filing) {
	at := f.at()
	for 4*i+1 < d.n {
		least := 4*i + 1
		first := d.filing(least).at()
		for child := least + 1; child < min(4*i+5, d.n); child++ {
			if other := d.filing(child).at(); other < first {
				least, first = child, other
			}
		}
		if at <= first {
			break
		}
		d.put(sh, i, *d.filing(least))
		i = least
	}
	d.put(sh, i, f)
}

func (d *deadlines) put(sh *shard, i int, f filing) {
	*d.filing(i) = f
	sh.at(f.r).filed = int32(i)
}
