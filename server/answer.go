package server

import (
	"encoding/binary"
	"time"

	"crema/resp"
	"crema/store"
)

// The leader's side of forward.go. What another node's client asks is evaluated
// by a proxy: a connection without a socket that nobody sees, whose user may do
// everything, because rights were looked at where the client is. It holds
// nothing back and tries nothing again: that is done there, too.

// leadsWithin is how long a node that is about to lead, or to know who does, lets
// others wait before it tells them that it does not.
const leadsWithin = 300 * time.Millisecond

// maxRunReplies is how many bytes of commands, replies and messages end a run: who
// asked asks again for the rest, and neither of the two nodes has all of them
// several times.
const maxRunReplies = 4 << 20

var (
	proxyUser         = &user{name: defaultUser, noPass: true}
	readOnlyProxyUser = &user{name: defaultUser, noPass: true, readOnly: true}
	noWalkProxyUser   = &user{name: defaultUser, noPass: true, readOnly: true, noWalk: true}
)

// awaitLead returns the term in which this node leads, 0 if it does not. me is
// its id.
func (s *Server) awaitLead(me string) uint64 {
	var timeout <-chan time.Time
	for {
		changed := s.cluster.Changed()
		term, node := s.cluster.Lead()
		if term != 0 || node != "" && node != me {
			return term
		}
		if timeout == nil {
			timer := time.NewTimer(leadsWithin)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-changed:
		case <-timeout:
			return 0
		}
	}
}

// proxyFor reads a request's head and returns who is to evaluate, nil when this
// node does not lead or does not understand.
func (s *Server) proxyFor(in *wire) *conn {
	version, flags := in.byte(), in.byte()
	db, me := in.number(), in.word()
	if in.bad || version != forwardVersion || db >= store.NumDBs {
		return nil
	}
	term := s.awaitLead(string(me))
	if term == 0 {
		return nil
	}
	c, _ := s.proxies.Get().(*conn)
	if c == nil {
		c = s.newConn(nil)
		c.proxy = true
	}
	c.clock = s.readClock()
	c.db.Store(int32(db))
	c.proto = 2
	if flags&flagRESP3 != 0 {
		c.proto = 3
	}
	c.noTouch.Store(flags&flagNoTouch != 0)
	c.user.Store(proxyUser)
	if flags&flagReadOnlyUser != 0 {
		c.user.Store(readOnlyProxyUser)
		if flags&flagNoWalk != 0 {
			c.user.Store(noWalkProxyUser)
		}
	}
	c.strict = flags&flagStrict != 0
	c.run.term, c.lastIndex = term, 0
	return c
}

// free gives a proxy back, unless what it did may have left it in disorder.
func (s *Server) free(c *conn) {
	if c.closing {
		return
	}
	c.out = c.out[:0]
	c.release()
	s.proxies.Put(c)
}

var notLeading = []byte{answerNothing}

// answerRun answers requestRun.
func (s *Server) answerRun(request []byte) []byte {
	in := wire{b: request}
	c := s.proxyFor(&in)
	if c == nil {
		return notLeading
	}
	defer s.free(c)
	var words [][]byte
	for n := min(in.count(), maxSteps); n > 0 && !in.bad; n-- {
		if words = in.command(words[:0]); in.bad || len(words) == 0 || !c.evaluateFor(words) {
			break
		}
	}
	c.await(0)
	answer := c.outcomes()
	c.run.clear()
	return answer
}

// evaluateFor evaluates one command of another node's run; false means that what
// is behind it must not be.
func (c *conn) evaluateFor(words [][]byte) bool {
	row, named, bad := c.srv.table.lookup(words)
	switch {
	case row == nil:
	case !row.shared():
		bad = resp.ErrUnknownCommand(words) // of a version to come
	case !row.checkArity(words):
		bad = resp.ErrWrongArity(row.name)
	default:
		bad = c.admit(row)
	}
	if bad.Kind != resp.KindNone {
		i := c.keep(noCommand, 0, words)
		st := &c.run.steps[i]
		c.out = resp.Append(c.out, bad, c.proto)
		st.to, st.cached = len(c.out), true
		return true
	}
	if row.mayChange() {
		c.srv.cluster.WaitRoom()
	}
	i := c.keep(row, named, words)
	c.step(i)
	st := &c.run.steps[i]
	if row.flags&runsScript != 0 && isNoScript(c.out[st.from:st.to]) && st.pending == nil && !st.changed && len(st.messages) == 0 {
		st.unscripted = true // a script that said so itself has done nothing either
		return false
	}
	return !st.lost && !c.closing && len(c.out)+c.run.bytes < maxRunReplies
}

// noCommand is the row of what has none.
var noCommand = &command{}

func isNoScript(reply []byte) bool {
	const code = "-NOSCRIPT "
	return len(reply) > len(code) && string(reply[:len(code)]) == code
}

// outcomes is the answer to a run that has its verdicts. What its scripts have
// published is published where the client is, in order with what else that
// client publishes.
func (c *conn) outcomes() []byte {
	steps := c.run.steps
	if c.dropped || int64(len(c.out))+c.run.saying() > maxOutBytes {
		return []byte{answerTooLarge}
	}
	b := c.answerHead(len(c.out) + len(steps)*(2+binary.MaxVarintLen32))
	for i := range steps {
		st := &steps[i]
		if st.verdict == done && st.unscripted {
			st.verdict = unscripted
		}
		if st.verdict != done {
			st.messages = nil
		}
		b = append(b, byte(st.verdict))
		b = appendWord(b, c.out[st.from:st.to])
		b = appendMessages(b, st.messages)
	}
	return b
}

func (c *conn) answerHead(room int) []byte {
	b := make([]byte, 0, 1+binary.MaxVarintLen64+room)
	return binary.AppendUvarint(append(b, answerDone), c.lastIndex)
}

// answerExec answers requestExec.
func (s *Server) answerExec(node string, request []byte) []byte {
	in := wire{b: request}
	c := s.proxyFor(&in)
	if c == nil {
		return notLeading
	}
	defer s.free(c)
	id := in.number()
	m := &multi{}
	for n := in.count(); n > 0 && !in.bad; n-- {
		words := in.command(nil)
		if in.bad || len(words) == 0 {
			break
		}
		row, named, _ := s.table.lookup(words)
		q := queued{row, named, words}
		if row == nil || !q.sent() || !row.checkArity(words) {
			in.bad = true // of a version to come
			break
		}
		m.add(q)
	}
	if in.bad {
		return notLeading
	}
	var w *store.Watch
	if id != 0 {
		session := s.sessions.take(s.store, node, id, c.run.term)
		if session == nil {
			c.out = resp.Append(c.out, resp.NilArray, c.proto)
			return c.execOutcome(done, false)
		}
		w = &session.watch
		defer s.store.Unwatch(w)
	}
	v, whole := c.execLed(c.run.term, m, w)
	answer := c.execOutcome(v, whole)
	c.dropDeferred() // or the next request that c evaluates would tell of it
	return answer
}

// execOutcome is the answer to a transaction. whole says that it was carried
// out; else its only reply is why not.
func (c *conn) execOutcome(v verdict, whole bool) []byte {
	if c.dropped || v == done && int64(len(c.out))+c.deferredBytes > maxOutBytes {
		return []byte{answerTooLarge}
	}
	b := c.answerHead(1 + binary.MaxVarintLen32 + len(c.out) + len(c.marks)*(1+binary.MaxVarintLen32))
	b = append(b, byte(v))
	if v != done || !whole {
		return appendWord(b, c.out)
	}
	b = appendWord(b, "")
	for i, from := range c.marks {
		to := place{len(c.out), len(c.deferred)}
		if i+1 < len(c.marks) {
			to = c.marks[i+1]
		}
		b = appendWord(b, c.out[from.out:to.out])
		b = appendMessages(b, c.deferred[from.deferred:to.deferred])
	}
	return b
}
