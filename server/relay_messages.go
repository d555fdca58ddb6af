package server

import (
	"encoding/binary"

	"crema/resp"
	"crema/server/gateway"
)

// publish posts a message to the peers with listeners, and counts these. Of one
// publisher the messages arrive everywhere in its order: it calls this for one
// after the other, and a link keeps the order. A peer whose link has no room
// misses the message, like a client that cannot be reached, and is not counted.
func (r *relay) publish(m message) (receivers int) {
	type target struct {
		node  string
		count int64
	}
	var few [8]target
	to := few[:0]
	r.mu.RLock()
	for node, p := range r.peers {
		if n := p.heard.listeners(m); n > 0 || m.place.Seq > 0 && p.up { // every node has the histories
			to = append(to, target{node, n})
		}
	}
	r.mu.RUnlock()
	if len(to) == 0 {
		return 0
	}
	frame := messageFrame(m)
	for _, t := range to {
		if !r.cluster.Post(t.node, frame) {
			r.stats.dropped.Add(1)
			if r.stats.dropLog.allow() {
				r.srv.log.Warn("dropping messages for a peer that cannot be reached fast enough", "node", t.node, "bytes", len(frame))
			}
			continue
		}
		r.stats.out.Add(1)
		receivers += int(t.count)
	}
	return receivers
}

// receivers counts the peers' clients who would get a message.
func (r *relay) receivers(m message) (n int64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, p := range r.peers {
		n += p.heard.listeners(m)
	}
	return n
}

func messageFrame(m message) []byte {
	frame := make([]byte, 1, 1+4*10+len(m.channel)+len(m.payload))
	frame[0] = frameMessage
	if m.place.Seq > 0 {
		frame[0] = frameKept
		frame = binary.AppendUvarint(binary.AppendUvarint(frame, uint64(m.place.Origin)), m.place.Seq)
	}
	if m.sharded {
		frame[0] = frameShardMessage
	}
	return appendWord(appendWord(frame, m.channel), m.payload)
}

func (r *relay) hearMessage(f *wire, sharded bool) {
	m := message{sharded: sharded, channel: f.word(), payload: f.word()}
	if f.bad {
		return
	}
	r.stats.in.Add(1)
	if h := r.srv.pubsub.histories; h != nil && !sharded {
		h.publishUnkept(m)
		return
	}
	r.srv.pubsub.publishHere(m)
}

// hearKept hears a message whose place in its origin's history comes first.
func (r *relay) hearKept(node string, f *wire) {
	m := message{place: f.place(), channel: f.word(), payload: f.word()}
	if f.bad {
		return
	}
	r.stats.in.Add(1)
	h := r.srv.pubsub.histories
	if h == nil {
		m.place = gateway.Place{}
	}
	r.srv.pubsub.publishHere(m)
	if h != nil {
		h.hear(node, m)
	}
}

// names visits what the peers' clients listen to in a space, some more than once.
func (r *relay) names(sp *space, pattern []byte, visit func(name string)) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, p := range r.peers {
		for name := range p.heard.counts[sp.index] {
			if pattern == nil || resp.Match(pattern, []byte(name), false) {
				visit(name)
			}
		}
	}
}

// patterns is how many patterns somebody listens to, here or there.
func (r *relay) patterns() int {
	ps := r.srv.pubsub
	ps.mu.RLock()
	defer ps.mu.RUnlock()
	n := len(ps.patterns)
	others := map[string]struct{}{}
	r.names(patternSpace, nil, func(pattern string) {
		if _, here := ps.patterns[pattern]; !here {
			others[pattern] = struct{}{}
		}
	})
	return n + len(others)
}

// size is how many of the peers' clients listen to a name.
func (r *relay) size(sp *space, name []byte) (n int64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, p := range r.peers {
		n += p.heard.counts[sp.index][string(name)]
	}
	return n
}

// interests is how many of a peer's clients listen to what.
type interests struct {
	counts [subscriptionSpaces]map[string]int64 // by space; never holds a zero
	bytes  int64                                // about what that costs
}

func (in *interests) empty() bool {
	for _, names := range in.counts {
		if len(names) > 0 {
			return false
		}
	}
	return true
}

// set keeps a count; false means that there is no room.
func (in *interests) set(space uint8, name []byte, count int64) bool {
	names := in.counts[space]
	_, there := names[string(name)]
	switch cost := int64(len(name) + interestOverhead); {
	case count == 0:
		if there {
			delete(names, string(name))
			in.bytes -= cost
		}
	case there:
		names[string(name)] = count
	case in.bytes+cost > maxInterestBytes:
		return false
	default:
		if names == nil {
			names = map[string]int64{}
			in.counts[space] = names
		}
		names[string(name)] = count
		in.bytes += cost
	}
	return true
}

// listeners is how many get a message; one who listens in two ways gets two.
func (in *interests) listeners(m message) (n int64) {
	if m.sharded {
		return in.counts[shardSpace.index][string(m.channel)]
	}
	n = in.counts[channelSpace.index][string(m.channel)]
	for pattern, count := range in.counts[patternSpace.index] {
		if resp.Match([]byte(pattern), m.channel, false) {
			n += count
		}
	}
	return n
}
