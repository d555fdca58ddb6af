package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// lease is what the other nodes' answers say about our leadership.
//
// It rests on the time at which each message was SENT that a node has answered
// with success. When a majority, we among them, has answered messages sent at t
// or later, then
//
//   - at t nobody led in a later term: a node that has voted in it would have
//     refused the message. That is a verification.
//   - until t+heartbeatTimeout nobody will: each of them has promised not to vote
//     so soon (promise.go). leaseTime is that, less what clocks may differ by.
//
// Raft's own verification counts answers to messages that were sent before it
// began: a leader that was stopped, and wakes, would read an old answer and
// believe it.
type lease struct {
	start  time.Time            // times are ns since then, by a clock that nobody sets
	voters func() []raft.Server // of the latest configuration
	self   raft.ServerID
	beat   func(id raft.ServerID, term uint64) // sends a heartbeat and notes the answer; it blocks

	until atomic.Int64 // the lease is valid before that; 0 there is none

	mu      sync.Mutex
	term    uint64 // of our leadership, 0 there is none
	began   int64  // when it was first heard of here
	used    bool   // the gate is open: until is set
	given   uint64 // the term in which there is no lease any more
	peers   map[raft.ServerID]*progress
	quorum  int64         // a majority answered messages sent then or later
	wanted  int64         // somebody waits for quorum to reach that
	reached chan struct{} // holds one token when it has

	next   *round // that Verify waits for; guarded by mu
	kick   chan struct{}
	rounds atomic.Int64
}

// progress is what one node has answered in our term.
type progress struct {
	sent    int64  // when the latest answered message was sent
	matched uint64 // it has the log up to here, synced
	beating bool   // a beat of ours is on its way
}

// round is one verification, shared by all who wait for it.
type round struct {
	term uint64
	done chan struct{}
	err  error // valid when done is closed
}

func newLease(self raft.ServerID) *lease {
	l := &lease{
		start: time.Now(), self: self, peers: map[raft.ServerID]*progress{},
		reached: make(chan struct{}, 1), kick: make(chan struct{}, 1),
	}
	l.next = &round{done: make(chan struct{})}
	return l
}

func (l *lease) now() int64 { return int64(time.Since(l.start)) }

// begin is called when raft has won, before the gate opens.
func (l *lease) begin(term uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.term != term {
		l.enter(term)
	}
}

func (l *lease) enter(term uint64) {
	l.term, l.began, l.used, l.quorum = term, l.now(), false, 0
	clear(l.peers)
	l.until.Store(0)
}

// use lets there be a lease from now on.
func (l *lease) use(term uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.term == term && l.given != term {
		l.used = true
		l.count()
	}
}

// end is called before anything that the lease does not cover: another node may
// be about to win votes of those who promised.
func (l *lease) end(term uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.term == term {
		l.used = false
		l.until.Store(0)
	}
}

// give ends the lease for the rest of the term.
func (l *lease) give(term uint64) {
	l.end(term)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.given = max(l.given, term)
}

// answered notes that a node has answered, with success, a message of term that
// was sent at a moment. matched is up to where it has the log, 0 when the
// message did not say.
func (l *lease) answered(id raft.ServerID, term uint64, sent int64, matched uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if term < l.term {
		return
	}
	if term > l.term { // raft has won and runGate does not know yet
		l.enter(term)
	}
	p := l.peers[id]
	if p == nil {
		p = &progress{}
		l.peers[id] = p
	}
	p.sent, p.matched = max(p.sent, sent), max(p.matched, matched)
	l.count()
}

// count finds what a majority has answered. mu is held.
func (l *lease) count() {
	var room [16]int64
	sent := room[:0]
	for _, s := range l.voters() {
		switch p := l.peers[s.ID]; {
		case s.Suffrage != raft.Voter:
		case s.ID == l.self:
			sent = append(sent, l.now())
		case p != nil:
			sent = append(sent, p.sent)
		default:
			sent = append(sent, 0)
		}
	}
	if len(sent) == 0 {
		return
	}
	slices.Sort(sent)
	l.quorum = max(l.quorum, sent[len(sent)-len(sent)/2-1])
	if l.used && l.quorum > 0 {
		l.until.Store(l.quorum + int64(leaseTime))
	}
	if l.wanted != 0 && l.quorum >= l.wanted {
		l.wanted = 0
		token(l.reached)
	}
}

func (l *lease) matched(id raft.ServerID) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.peers[id]; p != nil {
		return p.matched
	}
	return 0
}

// others is the other nodes with a vote, in order.
func (l *lease) others() (ids []string) {
	for _, s := range l.voters() {
		if s.ID != l.self && s.Suffrage == raft.Voter {
			ids = append(ids, string(s.ID))
		}
	}
	slices.Sort(ids)
	return ids
}

// compare orders nodes by how much of the log they have, then by when they
// answered last.
func (l *lease) compare(a, b string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	var x, y progress
	if p := l.peers[raft.ServerID(a)]; p != nil {
		x = *p
	}
	if p := l.peers[raft.ServerID(b)]; p != nil {
		y = *p
	}
	return cmp.Or(cmp.Compare(x.matched, y.matched), cmp.Compare(x.sent, y.sent))
}

// holders is how many others have the log up to index.
func (l *lease) holders(index uint64) (count int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.voters() {
		if p := l.peers[s.ID]; p != nil && s.ID != l.self && p.matched >= index {
			count++
		}
	}
	return count
}

// Verify returns nil once it is certain that at some moment after it was called
// nobody else led, and that this node still leads in term. With lease a valid
// lease is enough. All who wait share one round. Its error wraps
// store.ErrNotLogged.
func (n *Node) Verify(term uint64, lease bool) error {
	l := n.lease
	if now, _ := n.Lead(); now != term || term == 0 {
		return errNotLeading
	}
	if n.cfg.alone() || n.cfg.Faults.broken(BreakVerify) || lease && l.now() < l.until.Load() {
		return nil
	}
	l.mu.Lock()
	r := l.next
	l.mu.Unlock()
	token(l.kick)
	select {
	case <-r.done:
	case <-n.done:
		return ErrClosed
	}
	if r.err == nil && r.term != term {
		return errNotLeading
	}
	return r.err
}

var errNotLeading = fmt.Errorf("%w: this node does not lead any more", ErrUnavailable)

// runVerify makes the rounds, one at a time. Close ends it.
func (n *Node) runVerify() {
	defer n.running.Done()
	l := n.lease
	for {
		select {
		case <-l.kick:
		case <-n.done:
			return
		}
		l.mu.Lock()
		r := l.next
		l.next = &round{done: make(chan struct{})}
		l.mu.Unlock()
		r.term, r.err = n.verifyRound()
		close(r.done)
	}
}

// verifyRound begins after all who wait for it have called.
func (n *Node) verifyRound() (uint64, error) {
	l := n.lease
	changed := n.Changed()
	term, _ := n.Lead()
	if term == 0 {
		return 0, errNotLeading
	}
	l.rounds.Add(1)
	l.mu.Lock()
	begin := l.now()
	l.wanted = begin
	select {
	case <-l.reached: // of a round that was given up
	default:
	}
	l.count()
	l.mu.Unlock()
	n.beatSome(term)
	late := time.NewTimer(heartbeatTimeout / 30)
	defer late.Stop()
	for {
		select {
		case <-l.reached:
			// Our own part: we have not voted for anybody else up to now.
			if n.raft.Load().CurrentTerm() != term {
				return term, errNotLeading
			}
			return term, nil
		case <-late.C: // whoever was asked is slow
			n.beatAll(term)
			late.Reset(heartbeatTimeout / 3)
		case <-changed:
			return term, errNotLeading
		case <-n.done:
			return term, ErrClosed
		}
	}
}

// beatSome asks no more nodes than it takes, those who answered last.
func (n *Node) beatSome(term uint64) {
	l := n.lease
	l.mu.Lock()
	var ids []raft.ServerID
	voters := 0
	for _, s := range l.voters() {
		if s.Suffrage == raft.Voter {
			voters++
			if s.ID != l.self {
				ids = append(ids, s.ID)
			}
		}
	}
	sent := func(id raft.ServerID) int64 {
		if p := l.peers[id]; p != nil {
			return p.sent
		}
		return 0
	}
	slices.SortFunc(ids, func(a, b raft.ServerID) int { return cmp.Compare(sent(b), sent(a)) })
	l.mu.Unlock()
	for _, id := range ids[:min(len(ids), voters/2)] {
		n.beatOne(id, term)
	}
}

func (n *Node) beatAll(term uint64) {
	for _, s := range n.lease.voters() {
		if s.ID != n.lease.self && s.Suffrage == raft.Voter {
			n.beatOne(s.ID, term)
		}
	}
}

// beatOne sends a heartbeat on a goroutine that ends with the answer, or when
// nobody waits for one any more. There is at most one for a node: if its message
// was sent too early to count, it sends another.
func (n *Node) beatOne(id raft.ServerID, term uint64) {
	l := n.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.peers[id]
	if p == nil {
		p = &progress{}
		l.peers[id] = p
	}
	if p.beating {
		return
	}
	p.beating = true
	go func() {
		for again := true; again; {
			sent := l.now()
			l.beat(id, term)
			l.mu.Lock()
			again = l.term == term && l.wanted > sent
			if !again {
				p.beating = false
			}
			l.mu.Unlock()
		}
	}()
}
