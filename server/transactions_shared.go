package server

import (
	"encoding/binary"
	"time"

	"crema/resp"
	"crema/store"
)

// execShared is EXEC in a cluster: a run of its own, which is evaluated here or
// sent to the leader as one unit, and tried again as long as nothing of it has
// happened. What it publishes and subscribes to waits for the verdict.
func (c *conn) execShared(m *multi) resp.Reply {
	var held hold
	since := c.clock.base.Add(c.clock.now)
	mark, db := len(c.out), c.db.Load()
	for {
		term, node := c.srv.cluster.Lead()
		if c.watching && (c.far.lost || c.far.term != term || term == 0 && c.far.node != node) {
			return resp.NilArray
		}
		var v verdict
		switch {
		case term != 0:
			v, _ = c.execLed(term, m, c.watchSet())
		case !m.shares() && !c.watching:
			r := c.execHere(m, nil)
			c.announceDeferred()
			return r
		default:
			v = c.execSent(m, node)
		}
		if v == done {
			c.announceDeferred()
			return resp.None
		}
		c.out = c.out[:min(mark, len(c.out))]
		c.dropDeferred()
		if v == doubt && !m.readsOnly() {
			return resp.ErrInDoubt
		}
		c.selectDB(int(db))
		if c.dropped || !c.holdOn(&held, since, term, node) {
			return resp.ErrClusterDown
		}
		c.clock = c.srv.readClock()
	}
}

// watchSet is what the connection watches in this node's store, nil if nothing.
func (c *conn) watchSet() *store.Watch {
	if c.watching {
		return &c.watch
	}
	return nil
}

// execLed evaluates a transaction here and waits for its verdict. Its replies, or
// why it was not carried out as a whole, are in the output.
func (c *conn) execLed(term uint64, m *multi, w *store.Watch) (v verdict, whole bool) {
	if m.writes() {
		c.srv.cluster.WaitRoom()
	}
	c.run.term = term
	st := &c.run.steps[c.keep(noCommand, 0, nil)]
	r := c.execGuarded(m, w)
	st.evaluation, c.evaluation = c.evaluation, evaluation{}
	if !st.lost && r.Kind != resp.KindNone {
		c.reply(r)
	}
	c.await(0)
	v = st.verdict
	c.run.clear()
	return v, r.Kind == resp.KindNone
}

// execGuarded is execHere for what may be asked by another node: a panic is
// answered.
func (c *conn) execGuarded(m *multi, w *store.Watch) (r resp.Reply) {
	mark := len(c.out)
	c.run.busy = true
	c.evaluation = evaluation{}
	defer func() {
		c.run.busy = false
		if p := recover(); p != nil {
			c.panicked(p, [][]byte{[]byte("exec")})
			c.out = c.out[:min(mark, len(c.out))]
			c.evaluation = evaluation{cached: true}
			r = resp.ErrInternal
		}
	}()
	return c.execHere(m, w)
}

// shares tells whether a queued command looks at what the nodes share.
func (m *multi) shares() bool {
	for _, q := range m.queue {
		if q.row.shared() {
			return true
		}
	}
	return false
}

// readsOnly tells whether doing it twice is as good as doing it once.
func (m *multi) readsOnly() bool {
	for _, q := range m.queue {
		if q.row.shared() && q.row.flags&readonly == 0 {
			return false
		}
	}
	return true
}

// sent tells whether the leader gets to see a queued command: what is shared,
// which database that is about, and in which protocol its reply is.
func (q *queued) sent() bool {
	return q.row.shared() || q.row.name == "select" || q.row.name == "hello" && len(q.words) == 2
}

// execSent has the leader do the shared part of a transaction, and then does the
// rest here.
func (c *conn) execSent(m *multi, node string) verdict {
	if node == "" {
		return nothing
	}
	room, n := binary.MaxVarintLen64, 0
	sent := make([]bool, len(m.queue))
	for i := range m.queue {
		q := &m.queue[i]
		if sent[i] = q.sent() && c.allowed(q); sent[i] {
			room += commandRoom(q.words)
			n++
		}
	}
	request := c.head(requestExec, node, room)
	request = binary.AppendUvarint(request, c.far.id)
	request = binary.AppendUvarint(request, uint64(n))
	t := c.tracker.Load()
	for i := range m.queue {
		if !sent[i] {
			continue
		}
		q := &m.queue[i]
		if t != nil {
			t.forwards(node, q.row, q.words)
		}
		_, words := c.srv.withSource(q.row, q.words)
		request = appendCommand(request, words)
	}
	began := time.Now()
	answer, err := c.srv.cluster.Call(node, request)
	took := time.Since(began)
	c.clock = c.srv.readClock()
	if err != nil {
		return verdictOf(err)
	}
	in := wire{b: answer}
	switch in.byte() {
	case answerDone:
	case answerNothing:
		return nothing
	case answerTooLarge:
		c.tooLarge(len(answer))
		return done
	default:
		return doubt
	}
	index, v, why := in.number(), verdict(in.byte()), in.word()
	switch {
	case in.bad:
		return doubt
	case v != done:
		return v
	case len(c.out)+len(answer) > maxOutBytes:
		c.tooLarge(len(answer))
		return done
	}
	c.lastIndex = max(c.lastIndex, index)
	if len(why) > 0 {
		c.encoded(why)
		return done
	}
	return c.assemble(m, sent, &in, took)
}

// allowed tells whether the user may still run a queued command.
func (c *conn) allowed(q *queued) bool {
	u := c.user.Load()
	return u != nil && u.may(q.row)
}

// assemble answers a transaction of which the leader has done what was sent.
func (c *conn) assemble(m *multi, sent []bool, in *wire, took time.Duration) verdict {
	c.multi = nil
	mark := len(c.out)
	c.open = true
	defer func() { c.open = false }()
	c.out = resp.AppendArrayHeader(c.out, len(m.queue), c.proto)
	for i := range m.queue {
		q := &m.queue[i]
		var reply []byte
		var said []message
		if sent[i] {
			if reply, said = in.word(), in.messages(); len(reply) == 0 || in.bad {
				c.out = c.out[:mark]
				return doubt
			}
		}
		switch {
		case sent[i] && q.row.shared():
			if q.row.flags&runsScript != 0 {
				c.srv.monitors.feed(c, q.words) // as runScript does
			}
			c.encoded(reply)
			for _, m := range said {
				c.deferMessage(m)
			}
			c.srv.observe(c, q.row, q.words, took, reply[0] == '-')
		case q.row.shared():
			c.reply(resp.ErrNoPermInExec)
		default:
			c.callQueued(*q)
		}
	}
	if c.replyMode != replyOn {
		c.out = c.out[:mark]
	}
	return done
}

// encoded is reply for what another node has put into bytes.
func (c *conn) encoded(reply []byte) {
	if len(reply) > 0 && reply[0] == '-' {
		c.srv.stats.countError(errorText(reply))
	}
	if c.replyMode == replyOn {
		c.out = append(c.out, reply...)
	}
}
