package store

// deadlines is a heap of the entries that have a deadline, the earliest first.
// An entry may be filed under an earlier deadline than it has by now, never
// under a later one.
type deadlines []filing

type filing struct {
	at int64 // unix ms
	e  *entry
}

func (d *deadlines) add(e *entry) {
	*d = append(*d, filing{e.deadline, e})
	e.filed = int32(len(*d) - 1)
	d.up(len(*d) - 1)
}

// earlier refiles e if its deadline has moved before what it is filed under.
func (d *deadlines) earlier(e *entry) {
	f := &(*d)[e.filed]
	if e.deadline < f.at {
		f.at = e.deadline
		d.up(int(e.filed))
	}
}

func (d *deadlines) remove(e *entry) {
	if e.filed < 0 {
		return
	}
	i, last := int(e.filed), len(*d)-1
	e.filed = -1
	moved := (*d)[last]
	(*d)[last] = filing{}
	*d = (*d)[:last]
	if i < last {
		(*d)[i] = moved
		moved.e.filed = int32(i)
		d.down(i)
		d.up(int(moved.e.filed))
	}
	if cap(*d) > 64 && last*2 < cap(*d) {
		*d = append(make(deadlines, 0, last+last/4), *d...)
	}
}

// due appends to dead up to limit entries that have expired. Those that come
// up although their deadline has moved on are filed again. came is how many
// came up in all: fewer than limit means that no more will.
func (d *deadlines) due(now int64, limit int, dead []*entry) (_ []*entry, came int) {
	dead = d.collect(now, 0, limit, dead)
	came = len(dead)
	kept := dead[:0]
	for _, e := range dead {
		if expired(e.deadline, now) {
			kept = append(kept, e)
			continue
		}
		(*d)[e.filed].at = e.deadline
		d.down(int(e.filed))
	}
	return kept, came
}

func (d deadlines) collect(now int64, i, limit int, up []*entry) []*entry {
	if i >= len(d) || len(up) >= limit || !expired(d[i].at, now) {
		return up
	}
	up = append(up, d[i].e)
	up = d.collect(now, 2*i+1, limit, up)
	return d.collect(now, 2*i+2, limit, up)
}

// countExpired counts, by slot, entries that have expired and are still here,
// limit of them at most. They are what the top of the heap is made of.
func (d deadlines) countExpired(now int64, limit int, n *[NumDBs]int) {
	left := limit
	var walk func(i int)
	walk = func(i int) {
		if i >= len(d) || left == 0 || !expired(d[i].at, now) {
			return
		}
		if e := d[i].e; expired(e.deadline, now) {
			n[e.slot]++
		}
		left--
		walk(2*i + 1)
		walk(2*i + 2)
	}
	walk(0)
}

func (d deadlines) up(i int) {
	f := d[i]
	for i > 0 {
		parent := (i - 1) / 2
		if d[parent].at <= f.at {
			break
		}
		d[i] = d[parent]
		d[i].e.filed = int32(i)
		i = parent
	}
	d[i] = f
	f.e.filed = int32(i)
}

func (d deadlines) down(i int) {
	f := d[i]
	for {
		child := 2*i + 1
		if child >= len(d) {
			break
		}
		if child+1 < len(d) && d[child+1].at < d[child].at {
			child++
		}
		if f.at <= d[child].at {
			break
		}
		d[i] = d[child]
		d[i].e.filed = int32(i)
		i = child
	}
	d[i] = f
	f.e.filed = int32(i)
}
