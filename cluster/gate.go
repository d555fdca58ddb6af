package cluster

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"crema/store"

	"github.com/hashicorp/raft"
)

// gate says who evaluates: this node while the gate is open, else the leader of
// which we have heard.
//
// It is opened by one goroutine, runGate, when raft has won, everything that was
// committed before is applied, and the time of the new term is committed. It may
// be shut by anybody who knows a reason, at once and before raft knows it.
type gate struct {
	now  atomic.Pointer[lead]
	wake chan struct{} // holds one token when runGate is to look again

	mu      sync.Mutex // of those who replace now; guards what follows
	leaving int        // how many hand leadership over, and do not want it back meanwhile
	ended   string     // why the gate was shut last
	opened  time.Time
	changes int64 // how often another node than before came to lead
	leader  string
}

// lead is never changed, only replaced.
type lead struct {
	term    uint64 // not 0: the gate is open
	node    string
	changed chan struct{} // closed when it is replaced
}

func newGate() *gate {
	g := &gate{wake: make(chan struct{}, 1)}
	g.now.Store(&lead{changed: make(chan struct{})})
	return g
}

// Lead says who evaluates now. term is not 0 when it is this node, and node its
// own id then; else node is the leader that is known, "" when there is none.
func (n *Node) Lead() (term uint64, node string) {
	l := n.gate.now.Load()
	return l.term, l.node
}

// Changed is closed when what Lead says has changed since this call.
func (n *Node) Changed() <-chan struct{} { return n.gate.now.Load().changed }

// replace is called with mu held.
func (g *gate) replace(term uint64, node string) {
	before := g.now.Load()
	if before.term == term && before.node == node {
		return
	}
	g.now.Store(&lead{term, node, make(chan struct{})})
	close(before.changed)
}

// follow notes who leads, another node or nobody, while the gate is shut.
func (n *Node) follow(node string, term uint64) {
	g := n.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now.Load().term != 0 {
		return
	}
	g.replace(0, node)
	if node != "" {
		n.noteLeader(node, term)
	}
}

// noteLeader is called with gate.mu held.
func (n *Node) noteLeader(node string, term uint64) {
	if n.gate.leader == node {
		return
	}
	n.gate.changes++
	n.cfg.Log.Info("leader changed", "leader", node, "term", term, "before", n.gate.leader)
	n.gate.leader = node
}

// shutGate ends what this node leads, for a reason. What waits is refused, what
// is in flight gets its verdict from raft. It does not block.
func (n *Node) shutGate(reason string) {
	g := n.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.now.Load()
	if l.term == 0 {
		return
	}
	n.lease.end(l.term)
	g.replace(0, "")
	n.queue.shut()
	g.ended = reason
	n.cfg.Log.Warn("leadership lost", "term", l.term, "reason", reason, "held_for", time.Since(g.opened).Round(time.Millisecond))
	token(g.wake)
}

// runGate follows leadership. Close ends it.
func (n *Node) runGate() {
	defer n.running.Done()
	look := time.NewTicker(heartbeatTimeout / 6)
	defer look.Stop()
	raftLeads, following := false, true
	for {
		select {
		case raftLeads = <-n.notify:
			if !raftLeads {
				n.shutGate(n.whyLost())
			}
		case <-n.gate.wake:
		case <-look.C:
		case <-n.done:
			return
		}
		n.lookAround()
		term, _ := n.Lead()
		if term == 0 && !following {
			n.stepBack()
			following = true
		}
		if term == 0 && raftLeads && len(n.notify) == 0 && n.unfit() == nil {
			following = !n.stepUp()
		}
	}
}

// lookAround follows the leader that is heard.
func (n *Node) lookAround() {
	if n.transport != nil {
		term, _ := n.Lead()
		h := n.transport.heard.Load()
		silent := n.lease.now()-n.transport.heardAt.Load() > int64(heartbeatTimeout)
		switch {
		case term != 0 && h.term > term:
			n.shutGate(n.whyLost())
		case term == 0 && silent:
			n.follow("", 0)
		case term == 0 && h.term >= n.currentTerm(): // else it was the leader before
			n.follow(h.leader, h.term)
		}
	}
	if term, _ := n.Lead(); term == 0 && n.cfg.Faults.broken(BreakExpiry) {
		n.store.Lead()
	}
}

// stepBack makes the store a follower's, after the gate was shut.
func (n *Node) stepBack() {
	if !n.cfg.Faults.broken(BreakCache) {
		n.store.Follow()
	}
	n.cfg.Clock.release()
}

// stepUp opens the gate, if nothing comes between.
func (n *Node) stepUp() bool {
	r := n.raft.Load()
	term := leadingTerm(r)
	if term == 0 || n.fsm.err() != nil {
		return false
	}
	n.lease.begin(term)
	now := reading{n.cfg.Clock.wall(), time.Now()}
	if !n.cfg.Faults.broken(BreakBarrier) {
		// What fails has met the end of this leadership, of which we are told next.
		if !n.barrier(r) || n.fsm.err() != nil {
			return false
		}
		// Entries of our last term may be older than what another leader has told
		// its clients since. Also, whoever evaluated in it has ended after this.
		n.stepBack()
		now = reading{n.cfg.Clock.wall(), time.Now()}
		// Alone there was no other clock than ours.
		if !n.cfg.alone() && n.tell(term, n.store.TakeOver(now.wall)) != nil {
			return false
		}
	}
	// The lease counts on our own vote. One that is being decided, since before the
	// gate would have refused it, ends this; from here on there is none.
	if n.promise.hear(term) != nil {
		return false
	}
	g := n.gate
	n.cfg.Clock.hold(now)
	n.store.Lead()
	n.openQueue(term)
	why := n.whyWon()
	g.mu.Lock()
	if g.leaving > 0 { // said so meanwhile
		n.queue.shut()
		g.mu.Unlock()
		token(g.wake)
		return true
	}
	g.opened = time.Now()
	n.noteLeader(n.dir.meta.node, term)
	n.lease.use(term)
	g.replace(term, n.dir.meta.node)
	g.mu.Unlock()
	n.cfg.Log.Info("leadership won", "term", term, "reason", why)
	select {
	case <-n.opened:
	default:
		close(n.opened)
	}
	return true
}

func (n *Node) currentTerm() uint64 {
	if r := n.raft.Load(); r != nil {
		return r.CurrentTerm()
	}
	return 0
}

// leadingTerm is the term in which this node leads, 0 if it does not. The term
// never falls, so that it was the same when the state was read in between.
func leadingTerm(r *raft.Raft) uint64 {
	before := r.CurrentTerm()
	if r.State() != raft.Leader || r.CurrentTerm() != before {
		return 0
	}
	return before
}

// barrier waits until all that was committed before is applied. It is tried
// again where raft was too busy to take it, as after a long replay.
func (n *Node) barrier(r *raft.Raft) bool {
	for {
		err := r.Barrier(enqueueTimeout).Error()
		if !errors.Is(err, raft.ErrEnqueueTimeout) || r.State() != raft.Leader {
			return err == nil
		}
	}
}

// tell commits a reading of the clock. Without an error it is applied here, and
// this node led in term when it was committed.
func (n *Node) tell(term uint64, clock store.Clock) error {
	o := origin{n.queue.boot, 0, term}
	future := n.raft.Load().ApplyLog(raft.Log{Data: store.AppendClock(nil, clock), Extensions: o.bytes()}, enqueueTimeout)
	if err := future.Error(); err != nil {
		return err
	}
	err, _ := future.Response().(error)
	return err
}

// runClock lets the others know how far the leader's time has come, so that one
// of them can go on from there. Close ends it.
func (n *Node) runClock() {
	defer n.running.Done()
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			// A reading from after the gate was shut may be of a wall clock that was
			// set: the next leader would take it for the one that set the deadlines.
			l := n.gate.now.Load()
			now := n.cfg.Clock.Now().UnixMilli()
			if l.term != 0 && n.gate.now.Load() == l {
				n.tell(l.term, store.Clock{Now: now}) // the next one will do as well
			}
		case <-n.done:
			return
		}
	}
}

// refusal is why nothing can be proposed.
func (n *Node) refusal() error {
	select {
	case <-n.done:
		return ErrClosed
	default:
	}
	if err := n.disk.failure(); err != nil {
		return err
	}
	return fmt.Errorf("%w: this node does not lead", ErrUnavailable)
}
