package cluster

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"crema/store"

	"github.com/hashicorp/raft"
)

// queue is what has been proposed and not been decided: what waits, in order,
// and the one entry in flight.
type queue struct {
	boot uint64        // of this process, at random: the first half of an origin
	wake chan struct{} // holds one token when something may be waiting

	mu      sync.Mutex // a leaf: taken with shards held
	waiting []waiter
	bytes   int           // of waiting
	room    chan struct{} // closed, and replaced, when a full queue is no longer so
	closed  bool

	flight []*store.Pending // nil once landed
	number uint64           // of the flight: the second half of its origin
}

type waiter struct {
	p     *store.Pending
	bytes int
}

func newQueue() *queue {
	return &queue{boot: rand.Uint64(), wake: make(chan struct{}, 1), room: make(chan struct{})}
}

// add puts p in line. It returns false when the queue is closed.
func (q *queue) add(p *store.Pending) bool {
	w := waiter{p, sizeOf(p)}
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	q.waiting = append(q.waiting, w)
	q.bytes += w.bytes
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// sizeOf is about how many bytes p takes in an entry.
func sizeOf(p *store.Pending) int {
	n := 0
	for i := range p.Effects {
		if f := &p.Effects[i]; !f.Local {
			n += len(f.Key) + len(f.Value) + effectBytes
		}
	}
	return n
}

const effectBytes = 24 // of an effect beside its key and value, at most

func (q *queue) full() bool { return q.bytes >= maxQueueBytes || len(q.waiting) >= maxQueuePendings }

// take makes the next flight of what has waited longest, as much as one entry
// may hold, and returns it with its origin.
func (q *queue) take() (batch []*store.Pending, origin []byte, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	wasFull := q.full()
	n := 0
	for n < len(q.waiting) && n < maxEntryPendings && bytes < maxEntryBytes {
		w := q.waiting[n]
		if n > 0 && bytes+w.bytes > maxEntryBytes && w.bytes > maxEntryBytes/2 {
			break // a large one has an entry to itself
		}
		batch = append(batch, w.p)
		bytes += w.bytes
		n++
	}
	clear(q.waiting[:n])
	if q.waiting = q.waiting[n:]; len(q.waiting) == 0 {
		q.waiting = nil
	} else {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
	q.bytes -= bytes
	if wasFull && !q.full() {
		close(q.room)
		q.room = make(chan struct{})
	}
	q.number++
	q.flight = batch
	return batch, q.origin(), bytes
}

// origin is what tells the entry in flight from all others. mu is held.
func (q *queue) origin() []byte {
	b := make([]byte, 0, 16)
	b = binary.BigEndian.AppendUint64(b, q.boot)
	return binary.BigEndian.AppendUint64(b, q.number)
}

// land takes the Pendings of the flight with that origin. Whoever gets them, and
// only one does, commits or fails them.
func (q *queue) land(origin []byte) []*store.Pending {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.flight == nil || string(origin) != string(q.origin()) {
		return nil
	}
	flight := q.flight
	q.flight = nil
	return flight
}

// close lets nothing more in, and returns what is left.
func (q *queue) close() []*store.Pending {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	left := make([]*store.Pending, 0, len(q.waiting))
	for _, w := range q.waiting {
		left = append(left, w.p)
	}
	q.waiting, q.bytes = nil, 0
	close(q.room)
	q.room = make(chan struct{})
	return left
}

// Propose puts p in line for the log, which will Commit or Fail it. It does not
// block, and is called with p's shards held, so that the line is in the order of
// evaluation.
func (n *Node) Propose(p *store.Pending) {
	if !n.queue.add(p) {
		go n.store.Fail(p, ErrClosed) // not here: our caller holds the shards
	}
}

// Full says whether more is waiting than should be. Whoever is about to
// evaluate calls WaitRoom first, with no Tx open.
func (n *Node) Full() bool {
	n.queue.mu.Lock()
	defer n.queue.mu.Unlock()
	return n.queue.full()
}

// WaitRoom returns when the queue is not full.
func (n *Node) WaitRoom() {
	q := n.queue
	for {
		q.mu.Lock()
		full, room := q.full() && !q.closed, q.room
		q.mu.Unlock()
		if !full {
			return
		}
		<-room
	}
}

// runQueue is the one that proposes. Close ends it.
func (n *Node) runQueue() {
	defer n.proposing.Done()
	for {
		select {
		case <-n.queue.wake:
		case <-n.done:
			return
		}
		// Let those whom the last entry has woken propose first what comes next:
		// without this every other entry is nearly empty.
		runtime.Gosched()
		if batch, origin, bytes := n.queue.take(); len(batch) > 0 {
			n.propose(batch, origin, bytes)
		}
	}
}

func (n *Node) propose(batch []*store.Pending, origin []byte, bytes int) {
	err := n.closedGate()
	switch {
	case err != nil:
	case len(batch) == 1 && bytes > maxPendingBytes:
		err = ErrTooLarge
	case bytes == 0:
		n.commit(n.queue.land(origin)) // nothing that the log has to know
		return
	default:
		effects := make([][]store.Effect, len(batch))
		for i, p := range batch {
			effects[i] = p.Effects
		}
		entry := store.AppendBatch(make([]byte, 0, bytes+effectBytes), effects)
		begin := time.Now()
		err = n.raft.ApplyLog(raft.Log{Data: entry, Extensions: origin}, enqueueTimeout).Error()
		n.stats.entry(len(batch), len(entry), time.Since(begin))
	}
	// What the fsm has committed is no longer there.
	n.fail(n.queue.land(origin), verdict(err))
}

func (n *Node) commit(landed []*store.Pending) {
	for _, p := range landed {
		n.store.Commit(p)
	}
}

func (n *Node) fail(landed []*store.Pending, err error) {
	for _, p := range landed {
		n.store.Fail(p, err)
	}
}
