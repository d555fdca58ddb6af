package cluster

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"crema/store"

	"github.com/hashicorp/raft"
)

// queue is what has been proposed and not been decided: what waits, in order,
// and the one entry in flight. It is open in one term at a time. What is proposed
// while it is shut is refused, and so is what waits when it is shut: it was
// evaluated on a state that another leader may change.
type queue struct {
	boot uint64        // of this process, at random: part of an origin
	wake chan struct{} // holds one token when something may be waiting
	shed chan struct{} // holds one token when something is to be refused

	mu      sync.Mutex // a leaf: taken with shards held
	waiting []waiter
	bytes   int           // of waiting
	room    chan struct{} // closed, and replaced, when a full queue is no longer so
	term    uint64        // in which it is open, 0 while it is shut
	closed  bool          // for good
	taken   bool          // what was taken is as good as when it was: the queue was not shut since
	refused []*store.Pending

	flight []*store.Pending // nil once landed
	origin origin           // of the flight
	landed chan struct{}    // closed when the flight has landed
}

type waiter struct {
	p     *store.Pending
	bytes int
}

// origin tells the entry in flight from all others, and in which term it was
// evaluated.
type origin struct {
	boot, number, term uint64
}

const originBytes = 24

func (o origin) bytes() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, originBytes), o.boot)
	b = binary.BigEndian.AppendUint64(b, o.number)
	return binary.BigEndian.AppendUint64(b, o.term)
}

// parseOrigin knows also those of a version that had one node only, and no term.
func parseOrigin(b []byte) (o origin, ok bool) {
	if len(b) != originBytes {
		return o, false
	}
	order := binary.BigEndian
	return origin{order.Uint64(b), order.Uint64(b[8:]), order.Uint64(b[16:])}, true
}

func newQueue() *queue {
	return &queue{
		boot: rand.Uint64(), origin: origin{}, landed: make(chan struct{}),
		wake: make(chan struct{}, 1), shed: make(chan struct{}, 1), room: make(chan struct{}),
	}
}

func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// add puts p in line, or among the refused. It returns false when the queue is
// closed.
func (q *queue) add(p *store.Pending) bool {
	w := waiter{p, sizeOf(p)}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return false
	case q.term == 0:
		q.refused = append(q.refused, p)
		token(q.shed)
		return true
	}
	q.waiting = append(q.waiting, w)
	q.bytes += w.bytes
	token(q.wake)
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

// take is what has waited longest, as much as one entry may hold. term is the
// one in which it was evaluated, and still the queue's.
func (q *queue) take() (batch []*store.Pending, bytes int, term uint64) {
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
		token(q.wake)
	}
	q.bytes -= bytes
	q.taken = true
	if wasFull && !q.full() {
		q.makeRoom()
	}
	return batch, bytes, q.term
}

func (q *queue) makeRoom() {
	close(q.room)
	q.room = make(chan struct{})
}

// fly makes batch the flight, unless the queue was shut since it was taken.
func (q *queue) fly(batch []*store.Pending, term uint64) (origin, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.term != term || !q.taken || q.closed {
		return origin{}, false
	}
	q.flight, q.origin = batch, origin{q.boot, q.origin.number + 1, term}
	q.landed = make(chan struct{})
	return q.origin, true
}

// land takes the Pendings of the flight with that origin. Whoever gets them, and
// only one does, commits or fails them.
func (q *queue) land(o origin) []*store.Pending {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.flight == nil || o != q.origin {
		return nil
	}
	flight := q.flight
	q.flight = nil
	close(q.landed)
	return flight
}

// flying is the origin of the flight, and what is closed when it has landed; nil
// when there is none.
func (q *queue) flying() (origin, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.flight == nil {
		return origin{}, nil
	}
	return q.origin, q.landed
}

// shut refuses what waits, and what comes from now on.
func (q *queue) shut() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.term, q.taken = 0, false
	for _, w := range q.waiting {
		q.refused = append(q.refused, w.p)
	}
	q.waiting, q.bytes = nil, 0
	q.makeRoom()
	token(q.shed)
}

// shedding is what is to be refused now.
func (q *queue) shedding() []*store.Pending {
	q.mu.Lock()
	defer q.mu.Unlock()
	refused := q.refused
	q.refused = nil
	return refused
}

// close lets nothing more in, for good.
func (q *queue) close() {
	q.shut()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
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
		full, room := q.full(), q.room
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
		if batch, bytes, term := n.queue.take(); len(batch) > 0 {
			n.propose(batch, bytes, term)
		}
	}
}

// runRefusals fails what the queue has refused. Close ends it.
func (n *Node) runRefusals() {
	defer n.running.Done()
	for {
		select {
		case <-n.queue.shed:
			n.refuse()
		case <-n.done:
			n.refuse()
			return
		}
	}
}

// refuse fails them in the order in which they were proposed.
func (n *Node) refuse() {
	n.refusing.Lock()
	defer n.refusing.Unlock()
	for _, p := range n.queue.shedding() {
		if n.cfg.Faults.broken(BreakExpiry) && isSweep(p) && !n.store.Doomed(p) {
			n.store.Commit(p)
			continue
		}
		n.store.Fail(p, n.refusal())
	}
}

// isSweep tells what a sweeper proposes, or looks like it.
func isSweep(p *store.Pending) bool {
	return !slices.ContainsFunc(p.Effects, func(f store.Effect) bool { return f.Op != store.OpDelete })
}

// openQueue lets in what is evaluated in term. Nothing may be pending that is
// still to be refused: it would be built upon.
func (n *Node) openQueue(term uint64) {
	q := n.queue
	for open := false; !open; {
		n.refuse()
		n.refusing.Lock()
		q.mu.Lock()
		if open = len(q.refused) == 0; open {
			q.term = term
		}
		q.mu.Unlock()
		n.refusing.Unlock()
	}
}

func (n *Node) propose(batch []*store.Pending, bytes int, term uint64) {
	batch = n.sound(batch)
	o, ok := n.queue.fly(batch, term)
	if !ok {
		n.fail(batch, n.refusal())
		return
	}
	var err error
	switch {
	case len(batch) == 1 && bytes > maxPendingBytes:
		err = ErrTooLarge
	case bytes == 0:
		n.commit(n.queue.land(o), 0) // nothing that the log has to know
		return
	default:
		effects := make([][]store.Effect, len(batch))
		for i, p := range batch {
			effects[i] = p.Effects
		}
		entry := store.AppendBatch(make([]byte, 0, bytes+effectBytes), effects)
		begin := time.Now()
		future := n.raft.Load().ApplyLog(raft.Log{Data: entry, Extensions: o.bytes()}, enqueueTimeout)
		if n.cfg.Faults.broken(BreakQuorum) {
			n.commit(n.queue.land(o), 0)
		}
		if err = future.Error(); err == nil {
			err, _ = future.Response().(error)
		}
		n.stats.entry(len(batch), len(entry), time.Since(begin))
	}
	// What the fsm has committed is no longer there.
	n.fail(n.queue.land(o), verdict(err))
}

// sound is batch without those that rest on what has failed. They fail one by
// one: one that fails makes others rest on it.
func (n *Node) sound(batch []*store.Pending) []*store.Pending {
	kept := batch[:0]
	for _, p := range batch {
		if n.store.Doomed(p) {
			n.store.Fail(p, errDoomed)
		} else {
			kept = append(kept, p)
		}
	}
	return kept
}

var errDoomed = fmt.Errorf("%w: it rested on what failed", ErrUnavailable)

// commit tells each where in the log it is; 0 where the log knows nothing of it.
func (n *Node) commit(landed []*store.Pending, index uint64) {
	for _, p := range landed {
		p.Index = index
	}
	n.store.CommitAll(landed)
}

func (n *Node) fail(landed []*store.Pending, err error) {
	for _, p := range landed {
		n.store.Fail(p, err)
	}
}
