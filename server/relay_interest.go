package server

import (
	"encoding/binary"
	"math"
	"slices"
	"time"
)

// interest is something that a node wants to hear of: a name that clients of
// its listen to, or, as one thing, the keys that have changed.
type interest struct {
	space uint8 // of space.index, or trackingSpace
	name  string
}

const (
	subscriptionSpaces = 3
	trackingSpace      = subscriptionSpaces // the count of clients that track, under no name
)

const (
	maxInterestBytes = 256 << 20 // of what one peer may tell; the names above are not relayed to it
	interestOverhead = 64        // what a name costs beside its bytes
	maxRelayedName   = 1 << 20   // bytes of a name that peers are told; a longer one is heard of on its own node alone
	interestFrame    = 32 << 10  // bytes from which on a frame is not lengthened

	agreeFor = time.Second // how long somebody who subscribes waits for the other nodes to know
)

// untold is what has changed since a peer was told, the oldest change first. The
// count is looked up when it is told, so a name is in here once, whatever happens
// to it.
type untold struct {
	list []change
	has  map[interest]struct{}
}

type change struct {
	what interest
	mark uint64 // of the first change since
}

func (u *untold) add(what interest, mark uint64) {
	if _, there := u.has[what]; there {
		return
	}
	if u.has == nil {
		u.has = map[interest]struct{}{}
	}
	u.has[what] = struct{}{}
	u.list = append(u.list, change{what, mark})
}

// relayWait is somebody who waits until a mark is known.
type relayWait struct {
	mark uint64
	node string // to this peer, "" to all
	done chan struct{}
}

// mark notes that the count of something has changed, after it has, and returns
// what to wait for.
func (r *relay) mark(what interest) uint64 {
	if len(what.name) > maxRelayedName {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.marks++
	for _, p := range r.peers {
		if !p.up {
			continue
		}
		p.untold.add(what, r.marks)
		if what.space == trackingSpace {
			p.tracks = r.marks
		}
	}
	return r.marks
}

// agree returns when the peers know of all changes up to a mark: what they
// publish from then on is heard. It waits for those with a link alone, not for
// long, and not when quit is closed. now tells at once, else as it comes.
func (r *relay) agree(mark uint64, now bool, quit <-chan struct{}) {
	if mark == 0 {
		return
	}
	if !now || !r.tell() {
		r.signal()
	}
	r.await(mark, "", quit)
}

// agreeWith is agree for one peer, of whether clients of ours track. If it does
// not know of them in time they are told to forget all they have read when it does.
func (r *relay) agreeWith(node string, quit <-chan struct{}) {
	if mark := r.untracked(node, false); mark != 0 {
		r.signal()
		r.await(mark, node, quit)
		r.untracked(node, true)
	}
}

// untracked is the mark that a peer has to know of before it is asked for clients
// that track, 0 if it does, or if there is no sense in waiting. late says that
// nobody waits any longer.
func (r *relay) untracked(node string, late bool) (mark uint64) {
	r.mu.RLock()
	p := r.peers[node]
	known := p != nil && p.up && p.known >= p.tracks
	wait := !known && !late && p != nil && p.up && !p.blind
	if wait {
		mark = p.tracks
	}
	r.mu.RUnlock()
	if known || wait {
		return mark
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.peer(node); !p.up || p.known < p.tracks {
		p.blind = true
	}
	return 0
}

func (r *relay) await(mark uint64, node string, quit <-chan struct{}) {
	r.mu.Lock()
	if r.knownTo(node) >= mark {
		r.mu.Unlock()
		return
	}
	w := relayWait{mark, node, make(chan struct{})}
	r.waiting = append(r.waiting, w)
	r.mu.Unlock()
	limit := time.NewTimer(agreeFor)
	defer limit.Stop()
	select {
	case <-w.done:
		return
	case <-limit.C:
	case <-quit:
	case <-r.done:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = slices.DeleteFunc(r.waiting, func(o relayWait) bool { return o.done == w.done })
}

// knownTo is the mark up to which a peer, or every peer, knows all changes. The
// caller holds mu.
func (r *relay) knownTo(node string) uint64 {
	known := uint64(math.MaxUint64)
	for _, p := range r.peers {
		if p.up && (node == "" || node == p.node) {
			known = min(known, p.known)
		}
	}
	return known
}

// release lets those go on who wait for what is known by now; the caller holds
// mu.
func (r *relay) release() {
	all := r.knownTo("")
	r.waiting = slices.DeleteFunc(r.waiting, func(w relayWait) bool {
		known := all
		if w.node != "" {
			known = r.knownTo(w.node)
		}
		if known < w.mark {
			return false
		}
		close(w.done)
		return true
	})
}

// tell posts what peers have not been told; false means that there is more,
// for which a link had no room.
func (r *relay) tell() (all bool) {
	r.telling.Lock()
	defer r.telling.Unlock()
	r.mu.RLock()
	peers := make([]*relayPeer, 0, len(r.peers))
	for _, p := range r.peers {
		if p.up && len(p.untold.list) > 0 {
			peers = append(peers, p)
		}
	}
	r.mu.RUnlock()
	all = true
	for _, p := range peers {
		for {
			b := r.take(p)
			if len(b.changes) == 0 {
				break
			}
			posted := r.cluster.Post(p.node, r.encode(b))
			r.told(p, b, posted)
			if !posted {
				all = false
				break
			}
		}
	}
	return all
}

// batch is what one frame tells.
type batch struct {
	changes []change
	through uint64 // who knows it knows of all changes up to this mark
	link    uint64
	reset   bool
}

// take is what to tell a peer next. It stays in the list until it is told; a
// change from now on goes to the end again.
func (r *relay) take(p *relayPeer) batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, size := 0, 0
	for n < len(p.untold.list) && size < interestFrame {
		what := p.untold.list[n].what
		delete(p.untold.has, what)
		size += len(what.name) + interestOverhead
		n++
	}
	b := batch{changes: slices.Clone(p.untold.list[:n]), through: r.marks, link: p.link, reset: p.reset}
	if n < len(p.untold.list) {
		b.through = b.changes[n-1].mark
	}
	return b
}

// told ends what take began.
func (r *relay) told(p *relayPeer, b batch, posted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.link != b.link || !p.up {
		return
	}
	if !posted {
		for _, c := range b.changes {
			p.untold.has[c.what] = struct{}{}
		}
		return
	}
	p.reset = false
	if p.untold.list = p.untold.list[len(b.changes):]; len(p.untold.list) == 0 {
		p.untold = untold{}
	}
}

// encode looks the counts up.
func (r *relay) encode(b batch) []byte {
	frame := []byte{frameInterest, 0}
	if b.reset {
		frame[1] = 1
	}
	frame = binary.AppendUvarint(frame, b.link)
	frame = binary.AppendUvarint(frame, b.through)
	tracking := r.srv.tracking.clients()
	ps := r.srv.pubsub
	ps.mu.RLock()
	defer ps.mu.RUnlock()
	for _, c := range b.changes {
		count := tracking
		if c.what.space != trackingSpace {
			count = ps.interested(spaces[c.what.space], c.what.name)
		}
		frame = append(frame, c.what.space)
		frame = binary.AppendUvarint(frame, uint64(count))
		frame = appendWord(frame, c.what.name)
	}
	return frame
}

// hearInterest keeps what a peer's clients listen to, and says so.
func (r *relay) hearInterest(node string, f *wire) {
	reset := f.byte() == 1
	ack := ackFrame{f.number(), f.number()}
	if f.bad {
		return
	}
	full, began := false, false
	r.mu.Lock()
	p := r.peer(node)
	if reset {
		p.heard = interests{}
	}
	for f.more() {
		space, count, name := f.byte(), f.number(), f.word()
		switch {
		case f.bad:
		case space == trackingSpace:
			p.tracking, began = count > 0, true
		case space > trackingSpace || len(name) > maxRelayedName || count > math.MaxInt32:
			f.bad = true
		default:
			full = !p.heard.set(space, name, int64(count)) || full
		}
	}
	r.mu.Unlock()
	if began {
		r.srv.tracking.observe()
	}
	if full {
		r.refuse("node", node, "reason", "its clients listen to too many names")
	}
	if !r.ack(node, ack) {
		r.signal()
	}
}

// ackFrame says that what a link has told up to a mark is known.
type ackFrame struct{ link, through uint64 }

// ack answers an interest. Without room in the link it is owed, and false.
func (r *relay) ack(node string, a ackFrame) bool {
	frame := binary.AppendUvarint([]byte{frameInterestAck}, a.link)
	if r.cluster.Post(node, binary.AppendUvarint(frame, a.through)) {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.peer(node); p.unacked.link != a.link || p.unacked.through < a.through {
		p.unacked = a
	}
	return false
}

// ackAgain posts the answers that are owed; false if some still are.
func (r *relay) ackAgain() (all bool) {
	owed := map[string]ackFrame{}
	r.mu.Lock()
	for node, p := range r.peers {
		if p.up && p.unacked != (ackFrame{}) {
			owed[node], p.unacked = p.unacked, ackFrame{}
		}
	}
	r.mu.Unlock()
	all = true
	for node, a := range owed {
		all = r.ack(node, a) && all
	}
	return all
}

func (r *relay) hearAck(node string, f *wire) {
	a := ackFrame{f.number(), f.number()}
	if f.bad {
		return
	}
	blind := false
	r.mu.Lock()
	if p := r.peers[node]; p != nil && p.up && p.link == a.link && a.through > p.known {
		p.known = a.through
		if p.known >= p.tracks {
			blind, p.blind = p.blind, false
		}
		r.release()
	}
	r.mu.Unlock()
	if blind {
		r.srv.tracking.lost()
	}
}
