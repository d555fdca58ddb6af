package server

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"crema/store"
)

// Log makes effects survive the process. A server without one applies what it
// evaluates at once; with one, a command whose effects matter is answered when
// the log has them.
type Log interface {
	// Propose gives the log one Tx's effects, in the order of the calls. It
	// does not wait: the log calls Commit or Fail of the store when it knows.
	Propose(p *store.Pending)
	// WaitRoom returns when the log has caught up enough to be given more.
	WaitRoom()
	// Info is names and values for INFO's raft section.
	Info() [][2]string
	// Resign closes the gate and hands leadership over, if this node has it. It
	// returns when another leader is known, or ctx ends.
	Resign(ctx context.Context)
	// Close ends the log. What it is given from then on fails.
	Close() error
}

// Leadership says who evaluates.
type Leadership interface {
	// Lead says who evaluates now. term is not 0 when it is this node, and node
	// is its own id then; else node is the leader that is known, "" if there is
	// none.
	Lead() (term uint64, node string)
	// Changed is closed when what Lead says has changed since this call.
	Changed() <-chan struct{}
	// Verify returns nil once it is certain that at some moment after it was
	// called nobody else led, and that this node still leads in term. With lease
	// a valid lease is enough. Its error wraps store.ErrNotLogged.
	Verify(term uint64, lease bool) error
	// Replicas is how many other nodes are known to hold the log up to index,
	// synced.
	Replicas(index uint64) int
}

// Links reach the servers of the other nodes.
type Links interface {
	// Call asks a peer's server and waits for its answer. The error wraps
	// store.ErrNotLogged when the request was certainly not delivered; any other
	// leaves open whether it was.
	Call(node string, request []byte) (answer []byte, err error)
	// Post sends one frame, in order and without an answer; false when there is
	// no link or its outbox is full, and the frame is dropped.
	Post(node string, frame []byte) bool
}

// Cluster is what a server needs of the nodes that it is one of, which may be
// itself alone. cluster.Node is a Cluster.
type Cluster interface {
	Log
	Leadership
	Links
}

// Peer is what a server is to its cluster: the other end of other nodes' Links,
// and told of its own.
type Peer interface {
	// Answer answers a Call, on a goroutine of its own. It may take as long as a
	// command takes.
	Answer(node string, request []byte) (answer []byte)
	// Hear is told what was Posted, one frame of a node after the other, in the
	// order of Post. It does not block for long.
	Hear(node string, frame []byte)
	// Linked says that there is a link to node. What is posted from within this
	// call goes first.
	Linked(node string)
	// Unlinked says that the link to node is down.
	Unlinked(node string)
	// Left says that node's link to us is down: what it has told us is void.
	Left(node string)
}

// The first byte of a request, and of a frame, says what it is.
const (
	requestRun     = 1 + iota // commands of a pipeline: forward.go
	requestExec               // a transaction
	requestWatch              // keys for a session on the leader: session_remote.go
	requestWait               // WAIT
	requestKill               // SCRIPT KILL
	requestHear               // a frame, to be answered when it was heard
	requestCluster            // an operator's change of the cluster
	requestHistory            // messages that a node lacks: history_peers.go
)

const (
	frameUnwatch = 1 + iota // the end of a session on the leader
	frameScript             // a script to know: shared.go
	frameFlush              // SCRIPT FLUSH
	frameConfig             // CONFIG SET of what all nodes agree on
	frameRelay   = 32       // from here on: relay.go
)

// peers is the other nodes as this server knows them, and what they ask of it.
type peers struct {
	s      *Server
	opened chan struct{} // closed when s.cluster is known
	asked  asked

	mu     sync.Mutex               // of those who change linked
	linked atomic.Pointer[[]string] // replaced, never changed
}

func newPeers(s *Server) *peers {
	p := &peers{s: s, opened: make(chan struct{})}
	p.linked.Store(new([]string))
	return p
}

// all is every node to which there is a link.
func (p *peers) all() []string { return *p.linked.Load() }

// alone tells whether this server has no other nodes.
func (s *Server) alone() bool {
	if m := s.members(); m != nil {
		return len(m.Members()) < 2
	}
	return len(s.peers.all()) == 0
}

// post sends a frame to all of them. One that is not reached is told the whole
// when its link is up again, or never.
func (p *peers) post(frame []byte) {
	for _, node := range p.all() {
		p.s.cluster.Post(node, frame)
	}
}

// ready waits until s.cluster is there to answer with; false means never.
func (p *peers) ready() bool {
	<-p.opened
	return p.s.cluster != nil
}

// tellWithin is how long whoever has changed what all nodes know waits for them.
const tellWithin = time.Second

// tell is post that waits until all have heard, or their links end, or the time
// is up. What is posted may be overtaken by requests; this not.
func (p *peers) tell(frame []byte) {
	nodes := p.all()
	if len(nodes) == 0 {
		return
	}
	request := append([]byte{requestHear}, frame...)
	heard := make(chan struct{}, len(nodes))
	for _, node := range nodes {
		go func() {
			p.s.cluster.Call(node, request) // its link is down, or it has heard: nothing more is to be done
			heard <- struct{}{}
		}()
	}
	timer := time.NewTimer(tellWithin)
	defer timer.Stop()
	for range nodes {
		select {
		case <-heard:
		case <-timer.C:
			return
		}
	}
}

func (p *peers) Answer(node string, request []byte) []byte {
	if len(request) == 0 || !p.ready() {
		return nil
	}
	p.asked.begin()
	defer p.asked.end()
	switch kind, body := request[0], request[1:]; {
	case kind == requestRun:
		return p.s.answerRun(body)
	case kind == requestExec:
		return p.s.answerExec(node, body)
	case kind == requestWatch:
		return p.s.answerWatch(node, body)
	case kind == requestWait:
		return p.s.answerWait(body)
	case kind == requestKill:
		return p.s.answerKill()
	case kind == requestHear:
		p.Hear(node, body)
		return []byte{answerDone}
	case kind == requestCluster:
		return p.s.answerOperator(body)
	case kind == requestHistory:
		return p.s.pubsub.histories.answer(body)
	}
	return nil // of a version to come: no answer is one that nobody understands
}

func (p *peers) Hear(node string, frame []byte) {
	if len(frame) == 0 || !p.ready() {
		return
	}
	switch kind, body := frame[0], frame[1:]; {
	case kind >= frameRelay:
		p.s.relay.hear(node, frame)
	case kind == frameUnwatch:
		p.s.hearUnwatch(node, body)
	case kind == frameScript:
		p.s.hearScript(body)
	case kind == frameFlush:
		p.s.scripts.engine.Flush()
	case kind == frameConfig:
		p.s.hearConfig(node, body)
	}
}

func (p *peers) Linked(node string) {
	if !p.ready() {
		return
	}
	p.s.relay.linked(node)
	p.s.pubsub.histories.linked(node)
	p.s.tellScripts(node)
	p.change(func(nodes []string) []string { return append(nodes, node) })
}

func (p *peers) Unlinked(node string) {
	if !p.ready() {
		return
	}
	p.change(func(nodes []string) []string {
		return slices.DeleteFunc(nodes, func(n string) bool { return n == node })
	})
	p.s.relay.unlinked(node)
	p.s.pubsub.histories.unlinked(node)
}

func (p *peers) Left(node string) {
	if !p.ready() {
		return
	}
	p.s.sessions.left(p.s.store, node)
	p.s.relay.left(node)
	p.s.pubsub.histories.left(node)
}

func (p *peers) change(edit func([]string) []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := edit(slices.Clone(p.all()))
	p.linked.Store(&next)
}
