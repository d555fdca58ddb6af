package server

import (
	"slices"
	"time"

	"crema/resp"
	"crema/store"
)

// dispatch takes one command down the road: look up, admit, then queue it (in
// MULTI) or call it. The order of the checks is that of Redis's
// processCommand, because clients can tell.
func (c *conn) dispatch(words [][]byte) {
	row, named, bad := c.srv.table.lookup(words)
	if row == nil {
		if resp.EqualFold(words[0], "POST") || resp.EqualFold(words[0], "HOST:") {
			// A browser was talked into sending HTTP here; what follows in
			// its body must not be taken for commands.
			c.closing, c.dropped, c.out = true, true, c.out[:0]
			c.srv.log.Warn("closing a client that speaks HTTP", "id", c.id, "addr", c.addr)
			return
		}
		c.reject(nil, bad)
		return
	}
	if !row.checkArity(words) {
		c.reject(row, resp.ErrWrongArity(row.name))
		return
	}
	if bad := c.admit(row); bad.Kind != resp.KindNone {
		c.reject(row, bad)
		return
	}
	if c.multi != nil && row.flags&unqueued == 0 {
		c.queue(row, named, words)
		return
	}
	if c.srv.pause.on.Load() && !c.srv.pause.wait(c, row) {
		return
	}
	if log := c.srv.durability; log != nil && (row.mayChange() || row.name == "exec") {
		log.WaitRoom()
		if len(c.proposals) >= maxProposals {
			c.settle()
		}
	}
	c.call(row, named, words)
}

// admit says why a command may not run now, or resp.None.
func (c *conn) admit(row *command) resp.Reply {
	s := c.srv
	if row.flags&protected != 0 && !s.allowsDebug(c) {
		return resp.ErrDebugDisabled
	}
	u := c.user.Load()
	if u == nil && row.flags&noAuth == 0 {
		return resp.ErrNoAuth
	}
	if c.multi != nil && row.flags&noMulti != 0 {
		return resp.ErrNotInMulti
	}
	if u != nil && !u.may(row) {
		return resp.ErrNoPerm(u.name, row.name)
	}
	if row.flags&denyOOM != 0 && !s.store.MakeRoom() {
		return resp.ErrOOM
	}
	if c.proto == 2 && row.flags&inSubscriber == 0 && c.subs.count() > 0 {
		return resp.ErrSubscribed(row.name)
	}
	return resp.None
}

// reject refuses a command before it ran. A refused command spoils an open
// transaction.
func (c *conn) reject(row *command, why resp.Reply) {
	if c.multi != nil {
		c.multi.spoiled = true
	}
	if row != nil {
		row.stat.rejected.Add(1)
		if row.name == "exec" {
			c.endMulti()
			why = resp.ErrExecAbortedBy(why)
		}
	}
	c.reply(why)
}

// call runs one admitted command, answers it and counts it.
func (c *conn) call(row *command, named int, words [][]byte) {
	c.lastRow.Store(row)
	c.args = resp.NewArgs(row.name, words, named)
	began := c.clock.now
	var r resp.Reply
	from, proposed := len(c.out), len(c.proposals)
	switch {
	case row.session != nil:
		if proposed > 0 && !c.open && row.flags&runsScript == 0 && row.name != "exec" {
			c.settle() // a session command ends the run: PUBLISH after SET is heard after SET
			from, proposed = len(c.out), 0
		}
		r = row.session(c, &c.args)
		c.reply(r)
	case c.open: // inside EXEC: the transaction's Tx, committed as a whole
		r = c.evaluate(row, &c.args)
		c.reply(r)
	default:
		r = c.callAlone(row, words)
	}
	if len(c.proposals) > proposed && !c.open {
		c.proposals[proposed].from, c.proposals[proposed].to = from, len(c.out)
	}
	c.clock.tick()
	c.srv.observe(c, row, words, c.clock.now-began, r.IsError())
}

// callAlone gives one data command a Tx of its own: evaluate, commit, answer.
// The reply is encoded while the Tx is open, because it may point at what the
// store holds.
func (c *conn) callAlone(row *command, words [][]byte) resp.Reply {
	scope := store.Scope{Shards: row.scope(c.srv.store, words), NoTouch: c.noTouch.Load()}
	args := c.args
	var r resp.Reply
	for {
		if err := c.tx.Begin(c.srv.store, c.clock.ms(), int(c.db.Load()), scope); err != nil {
			c.reply(resp.ErrBusy)
			return resp.ErrBusy
		}
		r = c.evaluate(row, &c.args)
		by := c.blocked()
		if by == nil {
			break
		}
		c.retract(by)
		c.args = args
	}
	c.commit()
	c.reply(r)
	c.tx.End()
	return r
}

// evaluate runs a data command in the open Tx.
func (c *conn) evaluate(row *command, a *resp.Args) resp.Reply {
	r := row.run(&c.tx, a)
	if row.flags&readonly != 0 {
		if t := c.tracker.Load(); t != nil {
			t.remember(row, a.Words)
		}
	}
	return r
}

// commit makes what a Tx recorded happen, and announces it while the Tx still
// keeps others away from its keys: whoever hears of a change and reads the key
// finds the change.
func (s *Server) commit(tx *store.Tx) {
	if effects := tx.Effects(); len(effects) > 0 {
		s.store.Apply(effects)
	}
	s.announce(tx.Events())
}

// commitOwn commits the deletions that the store makes by itself. Through a log
// they are on their way when it returns, and the caller waits.
func (s *Server) commitOwn(tx *store.Tx) *store.Pending {
	if s.durability == nil || !store.Replicated(tx.Effects()) {
		s.commit(tx)
		return nil
	}
	p := tx.Hand()
	s.announceApplied(p, tx.Events())
	s.durability.Propose(p)
	return p
}

func (s *Server) announce(events []store.Event) {
	if len(events) > 0 {
		s.pubsub.announce(events, s.settings().events)
	}
}

// observe counts a command that ran and shows it to SLOWLOG, LATENCY and MONITOR.
func (s *Server) observe(c *conn, row *command, words [][]byte, d time.Duration, failed bool) {
	row.stat.record(d, failed)
	if row.flags&secret != 0 {
		words = redacted(words)
	}
	if row.flags&skipSlowlog == 0 {
		s.slowlog.note(c, words, d)
		s.latency.noteCommand(row, d)
	}
	if row.flags&(skipMonitor|admin) == 0 && !c.closing { // QUIT is not shown
		s.monitors.feed(c, words)
	}
}

// redacted hides the passwords among words: what follows AUTH, alone or in
// HELLO, and the new password of CONFIG SET.
func redacted(words [][]byte) [][]byte {
	shown := slices.Clone(words)
	hide := func(i int) {
		if i < len(shown) {
			shown[i] = []byte("(redacted)")
		}
	}
	for i := range words {
		switch {
		case resp.EqualFold(words[i], "AUTH"):
			hide(i + 1)
			hide(i + 2)
		case resp.EqualFold(words[i], "REQUIREPASS"):
			hide(i + 1)
		}
	}
	return shown
}
