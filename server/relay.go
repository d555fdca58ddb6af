package server

import (
	"sync"
	"sync/atomic"
	"time"
)

// relay is what this node and the others tell each other beside commands:
// messages (relay_messages.go), who listens to what, so that messages go only
// where somebody hears them (relay_interest.go), and which keys have changed,
// for clients that track (relay_touched.go). None of it goes through the log.
//
// A message takes one hop: what came from a peer goes to this node's own
// clients alone.
//
// A peer forgets what it was told when its side of the link ends, and is told
// the whole again when there is a new one; until then it relays nothing to us.
//
// Caveats: a client that tracks on a node that does not lead may be told that a
// key is invalid which it has read just behind the change, and a NOLOOP one is
// told of its own changes. A name above maxRelayedName is heard on its node alone.
type relay struct {
	srv     *Server
	cluster Cluster       // set by open, before anything else is called
	done    chan struct{} // closed by close
	ended   sync.Once     // closes done
	wake    chan struct{} // holds one token when run has something to do

	// Whoever holds telling computes counts and posts them, so that the newest
	// count of a name is told last. Taken before pubsub's mutex.
	telling sync.Mutex

	mu      sync.RWMutex // guards what follows; no other is taken under it
	peers   map[string]*relayPeer
	marks   uint64 // changes of interest so far
	waiting []relayWait

	touches touches
	stats   relayStats
}

// relayPeer is another node.
type relayPeer struct {
	node string

	// What it is told, over our link.
	up     bool
	link   uint64 // how many links there have been, so that an answer is of this one
	reset  bool   // the next frame begins anew
	untold untold
	known  uint64 // it knows of all changes up to this mark
	tracks uint64 // the mark under which it learns whether clients of ours track
	blind  bool   // it was asked for tracking clients without knowing of them

	// What it has told us, over its link.
	heard    interests
	tracking bool     // clients of its track
	owesAll  bool     // it must be told that all keys have changed: a frame was lost
	unacked  ackFrame // an answer that our link had no room for
}

// relayStats is for INFO.
type relayStats struct {
	out     atomic.Int64 // messages posted to a peer
	in      atomic.Int64 // messages from peers
	dropped atomic.Int64 // messages that a link had no room for
	refused atomic.Int64 // frames and names of peers that are over a limit or make no sense

	dropLog, refuseLog minutely
}

// The first byte of a frame.
const (
	frameMessage      = frameRelay + iota // PUBLISH
	frameShardMessage                     // SPUBLISH
	frameInterest                         // how many of a node's clients listen to what
	frameInterestAck                      // so much of it is known
	frameTouched                          // keys that have changed
	frameTouchedAll                       // all of them may have
	frameKept                             // PUBLISH to a channel with a history
	frameHistory                          // how far a node has come: history_peers.go
)

const (
	relayPace  = time.Millisecond     // between what is collected before it is told
	relayRetry = 5 * time.Millisecond // after an outbox had no room
)

func newRelay(s *Server) *relay {
	return &relay{
		srv:   s,
		done:  make(chan struct{}),
		wake:  make(chan struct{}, 1),
		peers: map[string]*relayPeer{},
	}
}

// open begins: cl reaches the other nodes. The two goroutines that it starts end
// with close.
func (r *relay) open(cl Cluster) {
	r.cluster = cl
	r.srv.pubsub.relay, r.srv.tracking.relay = r, r
	go r.run()
	go r.watch()
}

// close ends what open began, if it did.
func (r *relay) close() { r.ended.Do(func() { close(r.done) }) }

// run tells what others left to be told, in batches.
func (r *relay) run() {
	pace := time.NewTimer(0)
	defer pace.Stop()
	for {
		select {
		case <-r.wake:
		case <-r.done:
			return
		}
		wait := relayPace
		told, acked, touched := r.tell(), r.ackAgain(), r.tellTouched()
		if !told || !acked || !touched {
			wait = relayRetry
			r.signal()
		}
		pace.Reset(wait)
		select {
		case <-pace.C:
		case <-r.done:
			return
		}
	}
}

func (r *relay) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// watch sees to it that no client goes on with what it read under another
// leader, whose changes of it we may not have heard of.
func (r *relay) watch() {
	for {
		changed := r.cluster.Changed() // first, or the next change could be missed
		r.srv.tracking.lost()
		if r.leads() {
			r.touchedAll()
		}
		select {
		case <-changed:
		case <-r.done:
			return
		}
	}
}

// peer is the node of that name; the caller holds mu.
func (r *relay) peer(node string) *relayPeer {
	p := r.peers[node]
	if p == nil {
		p = &relayPeer{node: node}
		r.peers[node] = p
	}
	return p
}

// hear is Peer.Hear for the kinds of frames above.
func (r *relay) hear(node string, frame []byte) {
	f := wire{b: frame[1:]}
	switch frame[0] {
	case frameMessage, frameShardMessage:
		r.hearMessage(&f, frame[0] == frameShardMessage)
	case frameKept:
		r.hearKept(node, &f)
	case frameHistory:
		r.srv.pubsub.histories.hearMark(node, &f)
	case frameInterest:
		r.hearInterest(node, &f)
	case frameInterestAck:
		r.hearAck(node, &f)
	case frameTouched:
		r.hearTouched(&f)
	case frameTouchedAll:
		r.srv.tracking.lost()
	} // else of a version to come
	if f.bad {
		r.refuse("node", node, "frame", frame[0], "bytes", len(frame))
	}
}

// refuse counts what a peer said that is over a limit or makes no sense.
func (r *relay) refuse(what ...any) {
	r.stats.refused.Add(1)
	if r.stats.refuseLog.allow() {
		r.srv.log.Warn("ignoring what a peer says", what...)
	}
}

// linked is Peer.Linked: it tells the whole.
func (r *relay) linked(node string) {
	r.link(node)
	r.tell()
	r.signal() // for what had no room, and what was owed before
}

// link begins to tell a peer everything.
func (r *relay) link(node string) {
	r.telling.Lock()
	defer r.telling.Unlock()
	r.mu.Lock()
	p := r.peer(node)
	p.up, p.reset, p.known, p.untold = true, true, 0, untold{}
	p.link++
	p.owesAll = p.tracking // what happened meanwhile it has not heard of
	r.marks++
	p.tracks = r.marks
	p.untold.add(interest{space: trackingSpace}, r.marks)
	r.mu.Unlock()
	// What is listened to from now on is marked, so nothing is left out.
	names := r.srv.pubsub.interests()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, what := range names {
		p.untold.add(what, r.marks)
	}
}

// unlinked is Peer.Unlinked: nobody waits for the peer any more.
func (r *relay) unlinked(node string) {
	r.mu.Lock()
	p := r.peer(node)
	p.up, p.untold = false, untold{}
	r.forget(p)
	r.release()
	r.mu.Unlock()
	r.lostLeader(node) // it will not tell us of changes, not knowing that we track
}

// left is Peer.Left: what the peer has told is void.
func (r *relay) left(node string) {
	r.mu.Lock()
	p := r.peer(node)
	p.heard, p.tracking, p.unacked = interests{}, false, ackFrame{}
	r.forget(p)
	r.mu.Unlock()
	r.srv.tracking.observe()
	r.lostLeader(node) // what it told us of changes may have been lost
}

// forget forgets a peer that is gone altogether; the caller holds mu.
func (r *relay) forget(p *relayPeer) {
	if !p.up && p.heard.empty() && !p.tracking {
		delete(r.peers, p.node)
	}
}

// lostLeader is called when one of the links between us and node has ended.
func (r *relay) lostLeader(node string) {
	if term, leader := r.cluster.Lead(); term == 0 && leader == node {
		r.srv.tracking.lost()
	}
}

// info writes INFO's lines.
func (r *relay) info(t *infoText) {
	t.line("relayed_messages_out", r.stats.out.Load())
	t.line("relayed_messages_in", r.stats.in.Load())
	t.line("relayed_messages_dropped", r.stats.dropped.Load())
	t.line("relayed_frames_refused", r.stats.refused.Load())
}

// minutely lets something be logged once a minute.
type minutely struct{ last atomic.Int64 } // unix minutes

func (m *minutely) allow() bool {
	now := time.Now().Unix() / 60
	last := m.last.Load()
	return now != last && m.last.CompareAndSwap(last, now)
}
