package server

import (
	"crema/resp"
	"crema/store"
)

// invalidationChannel is where RESP2 connections hear of invalidations that are
// redirected to them.
const invalidationChannel = "__redis__:invalidate"

// invalidation is one message to trackers, encoded at most once for each of its
// shapes.
type invalidation struct {
	what    resp.Reply // an array of keys, or a nil for all keys
	push    []byte
	message []byte
}

// frameFor is the message as a connection hears it, nil if it cannot.
func (inv *invalidation) frameFor(c *conn, redirected bool) []byte {
	switch {
	case c.protoSeen.Load() == 3:
		if inv.push == nil {
			inv.push = resp.Append(nil, resp.Push(resp.BulkString("invalidate"), inv.what), 3)
		}
		return inv.push
	case redirected && c.subscribed():
		if inv.message == nil {
			inv.message = resp.Append(nil, resp.Push(resp.BulkString("message"), resp.BulkString(invalidationChannel), inv.what), 2)
		}
		return inv.message
	}
	return nil
}

// tell sends an invalidation to the client or to the one it redirects to; the
// caller holds mu.
func (t *tracker) tell(inv *invalidation) {
	switch to := t.target; {
	case t.redirect == 0 || to == t.c:
		t.emit(inv.frameFor(t.c, to == t.c))
	case to != nil && !to.killed.Load():
		if frame := inv.frameFor(to, true); frame != nil {
			to.pushRedirected(frame)
		}
	default:
		t.broken, t.target = true, nil
		if t.c.protoSeen.Load() == 3 {
			t.emit(resp.Append(nil, resp.Push(resp.BulkString("tracking-redir-broken"), resp.Int(t.redirect)), 3))
		}
	}
}

// emit sends a frame to the connection itself; the caller holds mu.
func (t *tracker) emit(frame []byte) {
	switch {
	case len(frame) == 0 || t.off:
	case !t.busy:
		t.c.outbox.push(frame)
	default:
		// A command that takes long while others write: the client is as far
		// behind as one that does not read.
		if hard := t.c.srv.settings().outboxPubsub.hard; hard > 0 && int64(len(t.pending)+len(frame)) > hard {
			t.pending = nil
			t.c.tooSlow()
			return
		}
		t.pending = append(t.pending, frame...)
	}
}

// begin is called before the first command of a batch: from now on replies come
// before invalidations.
func (t *tracker) begin() {
	t.mu.Lock()
	t.busy, t.ownReads = true, t.c.ownReads
	t.mu.Unlock()
}

// rest is called when the replies to a batch have gone to the outbox.
func (t *tracker) rest() {
	t.forwarding = false
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.pending) > 0 {
		t.c.outbox.push(t.pending)
		t.pending = nil
	}
	t.busy = false
}

// after is called behind each command, with no Tx open.
func (t *tracker) after(words [][]byte) {
	c := t.c
	if t.off {
		c.srv.tracking.leave(c)
		return
	}
	// CLIENT CACHING counts for the next command or transaction.
	if t.caching && c.multi == nil && !resp.EqualFold(words[0], "CLIENT") {
		t.caching = false
	}
	c.srv.tracking.limit(int64(c.srv.settings().trackingMaxKeys))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ownReads = c.ownReads
	if t.forwarding {
		return // the reply that an invalidation is about may not be there yet
	}
	c.out = append(c.out, t.pending...)
	t.pending = t.pending[:0]
}

// limit forgets keys at random, telling who listened to them, until no more
// than the limit are left; 0 is no limit.
func (tr *tracking) limit(keys int64) {
	if keys == 0 {
		return
	}
	if tr.store.Listened() > keys {
		tr.store.ForgetListened(keys)
	}
	for tr.store.Listened() > 0 && tr.items.Load() > keys*itemsPerKey {
		tr.store.ForgetListened(tr.store.Listened() - 1)
	}
	if tr.relay != nil {
		tr.limitFar(keys)
	}
}

// commit is Server.commit; a NOLOOP connection hears nothing of it.
func (c *conn) commit() {
	t := c.tracker.Load()
	silent := t != nil && t.mode.noloop
	if log := c.srv.cluster; log != nil && (c.tx.Builds() || store.Replicated(c.tx.Effects())) {
		p := c.propose()
		if silent {
			tell := p.Applied
			p.Applying = func() { t.writes(p.Shards(), p.Effects, own) }
			p.Applied = func() {
				t.writes(0, p.Effects, notOwn)
				if tell != nil {
					tell()
				}
			}
		}
		log.Propose(p)
		return
	}
	if silent {
		effects := c.tx.Effects()
		t.writes(c.tx.Shards(), effects, own)
		defer t.writes(0, effects, notOwn)
	}
	c.srv.commit(&c.tx)
}

// pushRedirected hands a frame of another connection's tracking to c. One that
// listens or tracks has an outbox, which others may use; for the rest there is
// one beside the replies, made when it is first needed. Both write whole frames.
func (c *conn) pushRedirected(frame []byte) {
	if c.hasOutbox() {
		c.outbox.push(frame)
		return
	}
	if c.sock == nil {
		return
	}
	o := c.redirected.Load()
	if o == nil {
		o = newOutbox(c.sock, c.outboxLimit, c.tooSlow, &c.srv.stats.bytesOut)
		if c.redirected.CompareAndSwap(nil, o) {
			o.start()
		} else {
			o = c.redirected.Load()
		}
	}
	o.push(frame)
}

// closedOutbox takes the place of a connection's redirected outbox when the
// connection ends, so that nobody makes another.
var closedOutbox = &outbox{closed: true}
