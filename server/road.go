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
			c.settle()
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
	if len(c.subs.arrivals) > 0 && !row.subscribes() {
		c.arrive() // what comes next may count on being subscribed
	}
	if c.srv.pause.on.Load() && !c.srv.pause.wait(c, row) {
		return
	}
	if c.srv.cluster != nil && row.shared() {
		c.take(row, named, words)
		return
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
	if row.flags&denyOOM != 0 && s.evaluates() && !c.hasRoom() {
		return resp.ErrOOM
	}
	if c.proto == 2 && row.flags&inSubscriber == 0 && c.subs.count() > 0 {
		return resp.ErrSubscribed(row.name)
	}
	return resp.None
}

// hasRoom tells whether there is memory for one more write. What the run deletes
// takes memory until the log has it.
func (c *conn) hasRoom() bool {
	st := c.srv.store
	if st.MakeRoom() {
		return true
	}
	if c.run.last == nil {
		return false
	}
	c.run.last.Wait() // its error is for settle
	return st.MakeRoom()
}

// evaluates tells whether data commands are evaluated on this node.
func (s *Server) evaluates() bool {
	if s.cluster == nil {
		return true
	}
	term, _ := s.cluster.Lead()
	return term != 0
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
	began := c.clock.now
	failed := c.perform(row, named, words)
	c.clock.tick()
	c.srv.observe(c, row, words, c.clock.now-began, failed)
}

// perform runs one admitted command and answers it. Its reply is an error, or is
// not.
func (c *conn) perform(row *command, named int, words [][]byte) (failed bool) {
	if row.session != nil && !c.open {
		// A session command ends the run: PUBLISH after SET is heard after SET. It
		// may evaluate the run once more, so what is ours comes after it.
		c.settle()
	}
	c.lastRow.Store(row)
	c.args = resp.NewArgs(row.name, words, named)
	var r resp.Reply
	switch {
	case row.session != nil:
		if r = row.session(c, &c.args); !c.evaluation.lost {
			c.reply(r)
		}
	case c.open: // inside EXEC: the transaction's Tx, committed as a whole
		r = c.evaluate(row, &c.args)
		c.reply(r)
	default:
		r = c.callAlone(row, words)
	}
	return r.IsError()
}

// callAlone gives one data command a Tx of its own: evaluate, commit, answer.
// The reply is encoded while the Tx is open, because it may point at what the
// store holds.
func (c *conn) callAlone(row *command, words [][]byte) resp.Reply {
	scope := store.Scope{Shards: row.scope(c.srv.store, words), NoTouch: c.noTouch.Load(), Ahead: c.ahead(row)}
	args := c.args
	var r resp.Reply
	for {
		if err := c.begin(scope); err != nil {
			if !c.evaluation.lost {
				c.reply(resp.ErrBusy)
			}
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
	if s.cluster == nil || !store.Replicated(tx.Effects()) {
		s.commit(tx)
		return nil
	}
	p := tx.Hand()
	s.announceApplied(p, tx.Events())
	s.cluster.Propose(p)
	return p
}

func (s *Server) announce(events []store.Event) {
	if len(events) > 0 {
		s.pubsub.announce(events, s.settings().events)
	}
}

// observe counts a command that ran and shows it to SLOWLOG, LATENCY and MONITOR.
func (s *Server) observe(c *conn, row *command, words [][]byte, d time.Duration, failed bool) {
	if c.proxy {
		return // where the client is
	}
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
// HELLO, the new password of CONFIG SET, and that of ACL RESTTOKEN.
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
		case resp.EqualFold(words[i], "RESTTOKEN"):
			hide(i + 2)
		}
	}
	return shown
}
