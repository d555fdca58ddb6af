package peer

// fifo is a queue of messages that are sent in chunks.
type fifo struct {
	items []message
	head  int // items before it are gone, and zero
}

func (q *fifo) empty() bool { return q.head == len(q.items) }

func (q *fifo) at(i int) *message { return &q.items[q.head+i] }

func (q *fifo) push(m message) {
	if len(q.items) == cap(q.items) && q.head > len(q.items)/2 { // else append makes room: each item is moved about once
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, m)
}

// find returns where message id is, or -1.
func (q *fifo) find(id uint64) int {
	for i, m := range q.items[q.head:] {
		if m.id == id {
			return i
		}
	}
	return -1
}

func (q *fifo) remove(i int) {
	if i == 0 {
		q.items[q.head] = message{}
		q.head++
	} else {
		last := len(q.items) - 1
		copy(q.items[q.head+i:], q.items[q.head+i+1:])
		q.items[last] = message{}
		q.items = q.items[:last]
	}
	if q.empty() {
		q.items, q.head = q.items[:0], 0
	}
}
