package server

import (
	"bytes"
	"errors"
	"slices"

	"crema/resp"
	"crema/store"
)

// Log makes effects survive the process. A server without one applies what it
// evaluates at once; with one, a command whose effects matter is answered when
// the log has them. cluster.Node is a Log.
type Log interface {
	// Propose gives the log one Tx's effects, in the order of the calls. It
	// does not wait: the log calls Commit or Fail of the store when it knows.
	Propose(p *store.Pending)
	// WaitRoom returns when the log has caught up enough to be given more.
	WaitRoom()
	// Info is names and values for INFO's raft section.
	Info() [][2]string
	// Close ends the log. What it is given from then on fails.
	Close() error
}

// proposal is one command of the run whose effects are on their way through the
// log, and the place of its reply in the connection's output.
type proposal struct {
	pending  *store.Pending
	from, to int
}

// maxProposals bounds how many commands of one run are on their way at once.
const maxProposals = 512

// propose makes the open Tx's effects ready for the log. The reply is encoded
// now and sent when the log has answered.
func (c *conn) propose() *store.Pending {
	s := c.srv
	p := c.tx.Hand()
	s.announceApplied(p, c.tx.Events())
	c.proposals = append(c.proposals, proposal{pending: p})
	return p
}

// announceCommitted publishes what the open Tx deferred, once its commit is
// certain: with a log that is when the log has answered, for which the Tx must
// end. proposed is how many proposals there were before the commit.
func (c *conn) announceCommitted(proposed int) {
	if len(c.deferred)+len(c.subs.joins) == 0 {
		return
	}
	if n := len(c.proposals); n > 0 { // its own, or one of the same run before it
		c.tx.End()
		if err := c.proposals[n-1].pending.Wait(); err != nil && n > proposed {
			c.dropDeferred()
			return
		}
	}
	c.announceDeferred()
}

// announceApplied has keyspace events told when p is applied, with the shards
// still held.
func (s *Server) announceApplied(p *store.Pending, events []store.Event) {
	if len(events) == 0 {
		return
	}
	events = slices.Clone(events)
	for i := range events {
		events[i].Key = bytes.Clone(events[i].Key)
	}
	p.Applied = func() { s.announce(events) }
}

// blocked is what the open Tx has to wait for before it may be committed, nil
// if nothing. A Tx that only reads may answer from the state before a change
// that nobody has been told of yet, unless the change is this run's own.
func (c *conn) blocked() *store.Pending {
	p := c.tx.Blocked()
	if p != nil && len(c.tx.Effects()) == 0 && len(c.proposals) == 0 {
		return nil
	}
	return p
}

// retract forgets an evaluation that was blocked, and waits for what blocked it.
func (c *conn) retract(by *store.Pending) {
	c.tx.Discard()
	c.tx.End()
	c.dropDeferred()
	by.Wait() // its error is for who proposed it
}

// settle waits for the run's proposals. Each keeps its reply or, if its effects
// did not come through, gets an error in the reply's place.
func (c *conn) settle() {
	if len(c.proposals) == 0 {
		return
	}
	if c.dropped { // no reply is sent any more, so there is none to mend
		for _, p := range c.proposals {
			p.pending.Wait()
		}
		c.proposals = nil
		return
	}
	var mended []byte
	copied, failed := 0, false
	for _, p := range c.proposals {
		err := p.pending.Wait()
		if err == nil || p.from == p.to { // CLIENT REPLY OFF has no reply to mend
			continue
		}
		failed = true
		mended = append(mended, c.out[copied:p.from]...)
		mended = resp.Append(mended, refusal(err), c.proto)
		copied = p.to
	}
	if failed {
		c.out = append(mended, c.out[copied:]...)
	}
	clear(c.proposals)
	c.proposals = c.proposals[:0]
}

// refusal is what a client is told of effects that did not come through.
func refusal(err error) resp.Reply {
	if errors.Is(err, store.ErrNotLogged) {
		return resp.ErrClusterDown
	}
	return resp.ErrInDoubt
}
