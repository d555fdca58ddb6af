package server

import (
	"time"

	"crema/resp"
	"crema/store"
)

// group is data commands that follow each other in a pipeline: they are
// evaluated in one Tx over all their shards, which is taken once. Each is
// applied, announced and answered before the next is evaluated, as if it had
// come alone. Where there is a Cluster the commands of a pipeline are a run.
type group struct {
	steps  []member
	words  [][]byte // of all steps, beside each other
	keys   [][]byte // the first of each
	bytes  int      // of the words
	shards store.Shards
}

// member is one command of a group.
type member struct {
	row   *command
	words [][]byte // they point into the read buffer, until the next Fill

	failed bool // the reply is an error
}

const (
	maxGroup      = 64       // commands
	maxGroupWords = 16       // of one of them
	maxGroupBytes = 64 << 10 // of their words

	// maxGroupGrowth is how much may be written before a command is asked again
	// whether there is memory for it: COPY and SETRANGE write more than their words.
	maxGroupGrowth = 1 << 20
)

// batches tells whether a data command of the connection may wait for the next:
// nobody has to be told of it before, and nothing is asked of the connection.
func (c *conn) batches() bool {
	return c.srv.cluster == nil && c.multi == nil && c.tracker.Load() == nil && c.replyMode == replyOn && !c.srv.pause.on.Load()
}

// collect makes a command part of the group, if it may be.
func (c *conn) collect(words [][]byte) bool {
	row := c.srv.table.quick(words[0])
	if row == nil || row.run == nil || row.keys.first != 1 || row.flags&allShards != 0 || len(words) > maxGroupWords ||
		!row.checkArity(words) || !c.batches() {
		return false
	}
	if bad := c.admit(row); bad.Kind != resp.KindNone {
		return false // dispatch says so, in its turn
	}
	g := &c.group
	at := len(g.words)
	g.words = append(g.words, words...)
	g.steps = append(g.steps, member{row: row, words: g.words[at:len(g.words):len(g.words)]})
	g.keys = append(g.keys, words[1])
	g.shards |= row.scope(c.srv.store, words)
	for _, w := range words {
		g.bytes += len(w)
	}
	return true
}

func (g *group) full() bool { return len(g.steps) >= maxGroup || g.bytes >= maxGroupBytes }

// together evaluates the group. False means that the client is gone.
func (c *conn) together() (alive bool) {
	g := &c.group
	if len(g.steps) == 0 {
		return true
	}
	if row := g.steps[len(g.steps)-1].row; c.lastRow.Load() != row {
		c.lastRow.Store(row)
	}
	done := 0
	defer func() {
		if p := recover(); p != nil {
			c.panicked(p, g.steps[min(done, len(g.steps)-1)].words)
			c.out = resp.Append(c.out, resp.ErrInternal, c.proto)
			alive = true // to be told, as what was answered before is
		}
		g.clear()
	}()
	grown := int64(0)
	for timed := 0; done < len(g.steps) && !c.closing; {
		if err := c.begin(store.Scope{Shards: g.shards, NoTouch: c.noTouch.Load()}); err != nil {
			for ; done < len(g.steps); done++ {
				c.reply(resp.ErrBusy)
				g.steps[done].failed = true
			}
		}
		if left := g.keys[done:]; len(left) >= warmFrom {
			c.tx.Warm(left)
		}
		// A Tx is not kept open while a client takes long replies.
		for done < len(g.steps) && len(c.out) < flushBytes && grown < maxGroupGrowth && !c.closing {
			st := &g.steps[done]
			if st.row.flags&write != 0 {
				c.tx.Return() // what was read has been answered: values may be written over where they are
			}
			c.args = resp.NewArgs(st.row.name, st.words, 1)
			r := st.row.run(&c.tx, &c.args)
			grown += c.tx.PendingBytes()
			c.srv.commit(&c.tx)
			c.reply(r)
			c.tx.Discard()
			st.failed = r.IsError()
			done++
			if done-timed == timedTogether || len(r.Bytes) > longBytes || len(r.Elems) > 0 || g.bytes > longBytes {
				c.timed(g.steps[timed:done])
				timed = done
			}
		}
		c.timed(g.steps[timed:done])
		timed = done
		c.tx.End()
		if len(c.out) >= flushBytes && !c.flush() {
			return false
		}
		for grown >= maxGroupGrowth && done < len(g.steps) && !c.closing { // the rest is admitted anew
			c.execute(g.steps[done].words)
			done++
			if len(c.out) >= flushBytes && !c.flush() {
				return false
			}
		}
	}
	return true
}

// warmFrom is how many keys are worth to be fetched together.
const warmFrom = 4

// Short commands share a reading of the clock, which costs as much as a tenth of
// one: each is said to have taken its part of the time.
const (
	timedTogether = 8
	longBytes     = 4 << 10 // not short: a reply of more, or a command of a group of more
)

// timed counts commands of the group, which took since the last reading.
func (c *conn) timed(steps []member) {
	if len(steps) == 0 {
		return
	}
	each := c.clock.tick() / time.Duration(len(steps))
	for i := range steps {
		c.srv.observe(c, steps[i].row, steps[i].words, each, steps[i].failed)
	}
}

// clear forgets the words, which belong to the reader.
func (g *group) clear() {
	clear(g.steps)
	clear(g.words)
	clear(g.keys)
	g.steps, g.words, g.keys, g.bytes, g.shards = g.steps[:0], g.words[:0], g.keys[:0], 0, 0
}
