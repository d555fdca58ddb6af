package server

import (
	"bytes"
	"slices"

	"crema/store"
)

// begin opens the Tx of an evaluation. It fails with ErrBusy, or because this
// node leads no more: looked at with the shards held, so that what is recorded
// then is gone, or refused by the log, when another leads.
func (c *conn) begin(scope store.Scope) error {
	if err := c.tx.Begin(c.srv.store, c.clock.ms(), int(c.db.Load()), scope); err != nil {
		return err
	}
	if c.run.term == 0 {
		return nil
	}
	if term, _ := c.srv.cluster.Lead(); term != c.run.term {
		c.tx.End()
		c.evaluation.lost = true
		return store.ErrNotLogged
	}
	return nil
}

// ahead tells whether a command is to see what is pending: one that may change
// it, and one behind a change of the same run, which has to see that.
func (c *conn) ahead(row *command) bool {
	return c.srv.cluster != nil && (row.mayChange() || c.run.last != nil)
}

// propose makes the open Tx's effects ready for the log. The reply is encoded
// now and sent when the log has answered.
func (c *conn) propose() *store.Pending {
	s := c.srv
	c.run.bytes += int(c.tx.PendingBytes()) // a few words may write half a gigabyte
	p := c.tx.Hand()
	s.announceApplied(p, c.tx.Events())
	c.evaluation.pending, c.run.last = p, p
	return p
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
//
// It is called when all is evaluated, and notes what the answer rests on.
func (c *conn) blocked() *store.Pending {
	changes := len(c.tx.Effects()) > 0
	if p := c.tx.Blocked(); p != nil && (changes || c.tx.Builds() || c.run.last != nil) {
		return p
	}
	c.evaluation.changed, c.evaluation.cached = changes, c.tx.OnlyCached()
	return nil
}

// retract forgets an evaluation that was blocked, and waits for what blocked it.
func (c *conn) retract(by *store.Pending) {
	c.tx.Discard()
	c.tx.End()
	c.dropDeferred()
	by.Wait() // its error is for who proposed it
}
