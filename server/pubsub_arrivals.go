package server

import "strings"

// Who subscribes on one node hears what is published on any other, from the
// confirmation on. So the other nodes come first:
//
//	come    the name is counted as listened to here, and peers are told
//	agree   they know: from now on they relay what is published
//	arrive  the confirmation goes to the outbox, the name into the audience
//
// A message that comes between the first and the last is heard by nobody here,
// as if it had been published before. No lock is held while waiting. SUBSCRIBEs
// that follow each other in one pipeline wait once.

// subscribes tells whether a command may wait together with those before it.
func (row *command) subscribes() bool { return strings.HasSuffix(row.name, "subscribe") }

// maxArrivals bounds how many subscriptions of one connection wait together.
const maxArrivals = 4096

// come says that a connection is about to listen to a name.
func (p *pubsub) come(c *conn, sp *space, name string) {
	p.mu.Lock()
	if p.interested(sp, name) == 0 {
		c.subs.first = true
	}
	sp.audience(&p.coming).join(name, c)
	p.mu.Unlock()
	c.subs.mark = max(c.subs.mark, p.relay.mark(interest{sp.index, name}))
}

// stay takes come back.
func (p *pubsub) stay(c *conn, sp *space, name string) {
	if p.relay == nil {
		return
	}
	p.mu.Lock()
	sp.audience(&p.coming).leave(name, c)
	p.mu.Unlock()
	p.changed(c, sp, name)
}

// changed says that fewer listen to a name.
func (p *pubsub) changed(c *conn, sp *space, name string) {
	c.subs.mark = max(c.subs.mark, p.relay.mark(interest{sp.index, name}))
	p.relay.signal()
}

// agree waits until the other nodes know what the connection listens to.
func (c *conn) agree() {
	s := &c.subs
	if s.mark != 0 {
		c.srv.relay.agree(s.mark, s.first, c.done)
		s.mark, s.first = 0, false
	}
}

// arrive confirms and joins what waits for the other nodes. Whoever else has a
// reply to send, or a message, calls it before.
func (c *conn) arrive() {
	s := &c.subs
	if len(s.arrivals) == 0 {
		return
	}
	c.agree()
	p := c.srv.pubsub
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range s.arrivals {
		c.confirmArrival(a)
		p.join(c, a.sp, a.name)
	}
	s.arrivals = nil
}

// interested is how many listen to a name or are about to; the caller holds mu.
func (p *pubsub) interested(sp *space, name string) int {
	return len(sp.audience(&p.audiences)[name]) + len(sp.audience(&p.coming)[name])
}

// interests is everything that somebody listens to or is about to.
func (p *pubsub) interests() []interest {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var all []interest
	for _, sp := range spaces {
		for name := range sp.audience(&p.audiences) {
			all = append(all, interest{sp.index, name})
		}
		for name := range sp.audience(&p.coming) {
			all = append(all, interest{sp.index, name})
		}
	}
	return all
}
