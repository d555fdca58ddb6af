package server

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"math"
	"time"

	"crema/server/gateway"
)

// Nodes have the same histories because whoever is behind asks:
//
//	mark   once a second, and when a link is up, a node tells how far it has come
//	ask    a node that has come less far, or sees a hole, asks the one that told
//	merge  it is sent what it lacks, and told what is not kept any more
//
// A message that comes behind a hole is held until the hole is filled. So
// messages that a link had no room for come late; so does what only some nodes
// had got of one that was killed, or is cut off from some; and a node that
// begins anew has the histories before its first stream begins.

// origin is what is known of one life of one node.
type origin struct {
	node    string    // that it is of, if it was heard from that itself
	last    time.Time // that something was heard of it
	retired bool      // it is silent for so long that nobody needs its place any more

	heard uint64        // number of the newest message that came; one behind a hole may be held
	held  []heldMessage // in order
	since time.Time     // when the hole was seen, or became smaller
}

type heldMessage struct {
	message message
	sent    time.Time
}

// historyPeer is another node.
type historyPeer struct {
	linked bool // by our link
	synced bool // it has told everything since
	asking bool // a goroutine asks it; ends by itself
	again  bool // it is to be asked once more
}

const (
	maxHeld      = 4096            // messages of one origin; those behind are fetched
	maxHeldBytes = 16 << 10        // of each; a larger one is fetched
	heldFor      = 3 * time.Second // a hole that nobody can fill is a gap then
	settleFor    = time.Second     // how long a stream waits for a node that has just begun
	answerBytes  = 4 << 20         // about what one answer may hold; one message more fits a frame
	maxOrigins   = 4096            // of a position that a peer tells
)

func randomBits() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

// origin is the one of that name; the caller holds mu.
func (h *histories) origin(o gateway.Origin) *origin {
	known := h.origins[o]
	if known == nil {
		known = &origin{last: time.Now()}
		h.origins[o] = known
	}
	return known
}

func (h *histories) peer(node string) *historyPeer {
	p := h.peers[node]
	if p == nil {
		p = &historyPeer{}
		h.peers[node] = p
	}
	return p
}

// near tells whether a node can be asked by itself.
func (h *histories) near(node string) bool {
	p := h.peers[node]
	return p != nil && p.linked
}

// stir wakes those who wait for a peer's state; the caller holds mu.
func (h *histories) stir() {
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *histories) linked(node string) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.peer(node).linked = true
	h.tell(node)
	h.ask(node)
	h.stir() // there is somebody to wait for
}

func (h *histories) unlinked(node string) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.peer(node)
	p.linked, p.synced = false, false
	h.stir()
}

// left is for when what a node was telling us has ended: it may have told others
// more.
func (h *histories) left(string) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for other, p := range h.peers {
		if p.linked {
			h.ask(other)
		}
	}
}

func (h *histories) tellAll() {
	if h.srv.pubsub.relay == nil {
		return
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	for node, p := range h.peers {
		if p.linked {
			h.tell(node)
		}
	}
}

// tell posts a mark, behind all messages that it covers; the caller holds mu. What
// has no room is told a second later.
func (h *histories) tell(node string) {
	frame := binary.AppendUvarint([]byte{frameHistory}, uint64(h.own))
	h.srv.pubsub.relay.cluster.Post(node, appendPosition(frame, h.position))
}

func appendPosition(b []byte, p gateway.Position) []byte {
	b = binary.AppendUvarint(b, uint64(len(p)))
	for _, at := range p {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(at.Origin)), at.Seq)
	}
	return b
}

func (w *wire) position() (p gateway.Position) {
	n := w.count()
	if n > maxOrigins {
		w.bad = true
	}
	for ; n > 0 && !w.bad; n-- {
		if at := w.place(); !w.bad {
			p = p.With(at.Origin, at.Seq)
		}
	}
	return p
}

func (w *wire) place() gateway.Place {
	at := gateway.Place{Origin: gateway.Origin(w.number()), Seq: w.number()}
	if at.Seq == 0 || at.Seq > math.MaxInt64 {
		w.bad = true
	}
	return at
}

// hearMark looks whether a peer has come farther.
func (h *histories) hearMark(node string, f *wire) {
	own, at := gateway.Origin(f.number()), f.position()
	if h == nil || f.bad {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, place := range at {
		known := h.origin(place.Origin)
		if place.Origin == own {
			known.node, known.last = node, time.Now()
		} else if h.near(known.node) {
			continue // its messages are on their way
		}
		if place.Seq > h.taken.Of(place.Origin) && place.Origin != h.own {
			h.ask(node)
		}
	}
}

// hear takes a message that was relayed by the node where it was published.
func (h *histories) hear(node string, m message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.origin(m.place.Origin)
	known.node, known.last = node, time.Now()
	switch taken := h.taken.Of(m.place.Origin); {
	case m.place.Seq <= taken:
	case m.place.Seq == taken+1:
		h.take(m, known.last, false)
		h.release(known)
	default:
		if known.heard <= taken {
			known.since = known.last
		}
		known.heard = max(known.heard, m.place.Seq)
		known.hold(m)
		h.ask(node)
	}
}

// hold keeps a message that came behind a hole.
func (known *origin) hold(m message) {
	n := len(known.held)
	if n >= maxHeld || len(m.channel)+len(m.payload) > maxHeldBytes || n > 0 && known.held[n-1].message.place.Seq >= m.place.Seq {
		return
	}
	m.channel, m.payload = append([]byte{}, m.channel...), append([]byte{}, m.payload...)
	known.held = append(known.held, heldMessage{m, time.Now()})
}

// release takes what is held and has no hole before it any more.
func (h *histories) release(known *origin) {
	for len(known.held) > 0 {
		first := known.held[0]
		at := first.message.place
		taken := h.taken.Of(at.Origin)
		if at.Seq > taken+1 {
			return
		}
		if known.held = known.held[1:]; at.Seq == taken+1 {
			h.take(first.message, first.sent, false)
		}
		known.since = time.Now()
	}
	known.held = nil
}

// giveUp calls a hole a gap that nobody could fill.
func (h *histories) giveUp(o gateway.Origin, known *origin, now time.Time) {
	h.release(known)
	if known.heard <= h.taken.Of(o) || now.Sub(known.since) < heldFor {
		return
	}
	h.missed(nil)
	hole := gateway.Place{Origin: o, Seq: known.heard}
	if len(known.held) > 0 {
		hole.Seq = known.held[0].message.place.Seq - 1
	}
	h.lost = h.lost.Join(gateway.Position{hole})
	h.advance(hole)
	h.release(known)
}

// missed tells streams that something published to a channel, to any if nil, will
// not come.
func (h *histories) missed(channel []byte) {
	h.gaps++
	event := &gateway.Message{Kind: gateway.Missed, Channel: channel}
	if channel != nil {
		h.srv.pubsub.follow(event)
		return
	}
	for c := range h.followers {
		c.stream.Push(event)
	}
}

// ask has a peer asked for what this node lacks; the caller holds mu.
func (h *histories) ask(node string) {
	p := h.peer(node)
	if p.asking {
		p.again = true
		return
	}
	p.asking = true
	go h.fetch(node, p)
}

// fetch asks until the peer has told everything, or its link ends.
func (h *histories) fetch(node string, p *historyPeer) {
	for more := true; more; {
		h.mu.Lock()
		p.again = false
		request := appendPosition([]byte{requestHistory}, h.taken)
		h.mu.Unlock()
		answer, err := h.srv.pubsub.relay.cluster.Call(node, request)
		h.mu.Lock()
		if err == nil {
			more = h.merge(node, answer) || p.again
		} else {
			more = false
		}
		if !more {
			p.asking = false
			p.synced = err == nil && p.linked
			h.stir()
		}
		h.mu.Unlock()
	}
}

// answer tells a peer what it lacks: more?, how far this node has come, what it
// may have lost, what it has dropped of which channel, and messages.
func (h *histories) answer(request []byte) []byte {
	f := wire{b: request}
	theirs := f.position()
	if h == nil || f.bad {
		return nil
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	now := time.Now()
	b := []byte{0}
	b = appendPosition(b, h.position)
	for _, at := range h.position {
		b = appendAge(b, now, h.origins[at.Origin].last)
	}
	b = appendPosition(b, h.current(beyond(h.lost, theirs)))
	for _, k := range h.channels {
		if dropped := h.current(beyond(k.dropped, theirs)); len(dropped) > 0 {
			b = appendPosition(appendWord(append(b, 1), k.name), dropped)
		}
	}
	b = append(b, 0)
	next := make([]*record, len(h.rules))
	for i, rule := range h.rules {
		next[i] = rule.oldest
	}
	for len(b) < answerBytes {
		first := -1
		for i, r := range next {
			if r != nil && (first < 0 || r.message.Mark.Order < next[first].message.Mark.Order) {
				first = i
			}
		}
		if first < 0 {
			return b
		}
		m := next[first].message
		next[first] = next[first].next
		if at := m.Mark.Place; at.Seq > theirs.Of(at.Origin) {
			b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(at.Origin)), at.Seq)
			b = appendWord(appendWord(appendAge(b, now, m.Mark.Sent), m.Channel), m.Payload)
		}
	}
	b[0] = 1
	return b
}

// beyond is what of p is ahead of q.
func beyond(p, q gateway.Position) (ahead gateway.Position) {
	for _, at := range p {
		if at.Seq > q.Of(at.Origin) {
			ahead = append(ahead, at)
		}
	}
	return ahead
}

// current is a position without retired origins: who knows nothing of one need not.
func (h *histories) current(p gateway.Position) gateway.Position {
	return p.Without(func(o gateway.Origin) bool { return h.position.Of(o) == 0 })
}

// Ages and not times go between nodes: their clocks need not agree.
func appendAge(b []byte, now, then time.Time) []byte {
	return binary.AppendUvarint(b, uint64(max(now.Sub(then).Milliseconds(), 0)))
}

func (w *wire) age(now time.Time) time.Time {
	ms := w.number()
	if ms > math.MaxInt64/uint64(time.Millisecond) {
		w.bad = true
		return now
	}
	return now.Add(-time.Duration(ms) * time.Millisecond)
}

// merge takes a peer's answer; true means that there is more. The caller holds mu.
func (h *histories) merge(node string, answer []byte) (more bool) {
	if len(answer) == 0 {
		return false // it keeps no histories
	}
	f := wire{b: answer}
	now := time.Now()
	more = f.byte() == 1
	theirs := f.position()
	last := make([]time.Time, len(theirs))
	for i := range last {
		last[i] = f.age(now)
	}
	lost := f.position()
	var gaps []channelGap
	for f.byte() == 1 && !f.bad {
		gaps = append(gaps, channelGap{f.word(), f.position()})
	}
	if f.bad {
		h.srv.relay.refuse("node", node, "answer", "history", "bytes", len(answer))
		return false
	}
	h.mergeGaps(lost, gaps)
	for f.more() {
		at := f.place()
		sent := f.age(now)
		m := message{channel: f.word(), payload: f.word(), place: at}
		if f.bad {
			h.srv.relay.refuse("node", node, "answer", "history", "bytes", len(answer))
			return false
		}
		if at.Seq > h.taken.Of(at.Origin) && at.Origin != h.own {
			h.origin(at.Origin).since = now
			h.take(m, sent, true)
			h.repaired++
		}
	}
	for _, gap := range gaps {
		if k := h.channels[string(gap.channel)]; k != nil && k.first == nil {
			h.lose(k)
		}
	}
	for i, at := range theirs {
		if at.Origin == h.own {
			continue
		}
		known := h.origin(at.Origin)
		if known.last.Before(last[i]) || h.taken.Of(at.Origin) == 0 {
			known.last = last[i]
		}
		if !more && at.Seq > h.taken.Of(at.Origin) {
			h.advance(at)
		}
		h.release(known)
	}
	return more
}

// channelGap is what a peer has dropped of one channel.
type channelGap struct {
	channel []byte
	dropped gateway.Position
}

// mergeGaps notes what nobody will send any more, before the messages behind it.
func (h *histories) mergeGaps(lost gateway.Position, gaps []channelGap) {
	own := func(o gateway.Origin) bool { return o == h.own }
	if lost = beyond(lost, h.taken).Without(own); len(lost) > 0 {
		h.lost = h.lost.Join(lost)
		h.missed(nil)
	}
	for _, gap := range gaps {
		dropped := beyond(gap.dropped, h.taken).Without(own)
		if len(dropped) == 0 {
			continue
		}
		if rule := h.rule(gap.channel); rule != nil {
			k := h.history(rule, append([]byte{}, gap.channel...))
			k.dropped = k.dropped.Join(dropped)
		} else {
			h.lost = h.lost.Join(dropped)
		}
		h.missed(append([]byte{}, gap.channel...))
	}
}

// Now is gateway.Histories'.
func (h *histories) Now(ctx context.Context) gateway.Position {
	h.settle(ctx)
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.position
}

// settle waits until those nodes that there is a link to have told what they
// keep, and until there is one if there should be. What one has waited for in vain
// nobody waits for again: a node that is cut off would be slow for everybody.
func (h *histories) settle(ctx context.Context) {
	if h.srv.pubsub.relay == nil || h.srv.alone() {
		return
	}
	limit := time.NewTimer(settleFor)
	defer limit.Stop()
	for {
		h.mu.RLock()
		linked, synced := 0, 0
		for _, p := range h.peers {
			if p.linked {
				linked++
				if p.synced {
					synced++
				}
			}
		}
		changed, vain := h.changed, h.vain
		h.mu.RUnlock()
		if linked > 0 && synced == linked || changed == vain {
			return
		}
		select {
		case <-changed:
		case <-limit.C:
			h.mu.Lock()
			h.vain = changed
			h.mu.Unlock()
			return
		case <-ctx.Done():
			return
		}
	}
}
