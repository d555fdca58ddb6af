package server

import (
	"crema/resp"
	"crema/store"
)

// multi is a transaction being collected.
type multi struct {
	queue   []queued
	bytes   int64 // of the words, counted against client-query-buffer-limit
	spoiled bool  // a command was refused: EXEC will be too
	denyOOM bool  // a queued command needs memory
}

// queued is one command waiting for EXEC; its words are copies.
type queued struct {
	row   *command
	named int
	words [][]byte
}

func transactionRows() []command {
	return []command{
		{"multi", 1, noScript | loading | stale | fast | allowBusy | unqueued | catTransaction, noKeys, session(cmdMulti)},
		{"exec", 1, noScript | loading | stale | skipSlowlog | unqueued | catTransaction, noKeys, session(cmdExec)},
		{"discard", 1, noScript | loading | stale | fast | allowBusy | unqueued | catTransaction, noKeys, session(cmdDiscard)},
		{"watch", -2, noScript | loading | stale | fast | allowBusy | unqueued | catTransaction, keys(1, -1, 1), session(cmdWatch)},
		{"unwatch", 1, noScript | loading | stale | fast | allowBusy | catTransaction, noKeys, session(cmdUnwatch)},
	}
}

// queue keeps a copy of a command for EXEC.
func (c *conn) queue(row *command, named int, words [][]byte) {
	size := 0
	for _, w := range words {
		size += len(w)
	}
	c.multi.bytes += int64(size + queuedOverhead + len(words)*wordOverhead)
	if c.multi.bytes > c.srv.settings().limits.MaxQueryBytes {
		c.closing = true // as Redis does with a client over its query buffer limit
		c.srv.log.Warn("closing client over its query buffer limit in MULTI", "id", c.id, "addr", c.addr)
		return
	}
	arena := make([]byte, 0, size)
	kept := make([][]byte, len(words))
	for i, w := range words {
		at := len(arena)
		arena = append(arena, w...)
		kept[i] = arena[at:len(arena):len(arena)]
	}
	c.multi.add(queued{row, named, kept})
	c.queued.Store(int32(len(c.multi.queue)))
	c.multiBytes.Store(c.multi.bytes)
	c.lastRow.Store(row)
	c.reply(resp.Queued)
}

func (m *multi) add(q queued) {
	m.queue = append(m.queue, q)
	m.denyOOM = m.denyOOM || q.row.flags&denyOOM != 0
}

// What a queued command and each of its words cost beside their bytes.
const (
	queuedOverhead = 64
	wordOverhead   = 24
)

// MULTI
func cmdMulti(c *conn, _ *resp.Args) resp.Reply {
	if c.multi != nil {
		return resp.ErrNestedMulti
	}
	c.multi = &multi{}
	c.queued.Store(0)
	return resp.OK
}

// DISCARD
func cmdDiscard(c *conn, _ *resp.Args) resp.Reply {
	if c.multi == nil {
		return resp.ErrDiscardWithoutMulti
	}
	c.endMulti()
	return resp.OK
}

// WATCH key [key …]
func cmdWatch(c *conn, a *resp.Args) resp.Reply {
	if c.multi != nil {
		return resp.ErrWatchInMulti
	}
	if c.srv.cluster != nil {
		return c.watchShared(a.Rest())
	}
	c.watchHere(a.Rest())
	return resp.OK
}

// watchHere watches keys in this node's store.
func (c *conn) watchHere(keys [][]byte) {
	db := int(c.db.Load())
	for _, key := range keys {
		c.srv.store.Watch(&c.watch, db, key)
	}
	c.watching = true
	c.watched.Store(int32(c.watch.Len()))
}

// UNWATCH
func cmdUnwatch(c *conn, _ *resp.Args) resp.Reply {
	c.unwatch()
	return resp.OK
}

func (c *conn) unwatch() {
	if c.watching {
		c.srv.store.Unwatch(&c.watch)
		c.unwatchFar()
		c.watching = false
		c.watched.Store(0)
	}
}

// endMulti forgets the transaction and its watched keys.
func (c *conn) endMulti() {
	c.multi = nil
	c.queued.Store(-1)
	c.multiBytes.Store(0)
	c.unwatch()
}

// EXEC
func cmdExec(c *conn, _ *resp.Args) resp.Reply {
	if c.multi == nil {
		return resp.ErrExecWithoutMulti
	}
	m := c.multi
	defer c.endMulti()
	if m.spoiled {
		return resp.ErrExecAbort
	}
	if c.srv.cluster != nil {
		return c.execShared(m)
	}
	var w *store.Watch
	if c.watching {
		w = &c.watch
	}
	r := c.execHere(m, w)
	c.announceDeferred()
	return r
}

// execHere evaluates a transaction in this node's store and commits it. What it
// has published and subscribed to waits until the commit is certain. w, if not
// nil, is what it watches.
func (c *conn) execHere(m *multi, w *store.Watch) resp.Reply {
	c.full = !c.srv.store.MakeRoom()
	if m.denyOOM && c.full {
		return resp.ErrExecAbortedBy(resp.ErrOOM)
	}
	defer c.tx.End()
	for {
		if err := c.begin(c.execScope(m, w)); err != nil {
			return resp.ErrExecAbortedBy(resp.ErrBusy)
		}
		if w != nil {
			c.tx.Read(w)
		}
		for _, q := range m.queue {
			q.row.keys.each(q.words, c.tx.Look)
		}
		if by := c.tx.Blocked(); by != nil { // now, before anything has run
			c.retract(by)
			continue
		}
		// Under the shards of the watched keys nobody can change them any more:
		// checked before, a write between the check and Begin would be missed.
		if w != nil && w.Dirty(c.tx.Now()) {
			return resp.NilArray
		}
		db, mark := c.db.Load(), len(c.out)
		r, by := c.exec(m)
		if by == nil {
			return r
		}
		c.out = c.out[:mark]
		c.retract(by)
		c.selectDB(int(db))
	}
}

// execScope covers what the queued commands touch and what is watched.
func (c *conn) execScope(m *multi, w *store.Watch) store.Scope {
	scope := store.Scope{PinAll: w != nil, NoTouch: c.noTouch.Load(), Ahead: c.srv.cluster != nil && m.writes()}
	if w != nil {
		scope.Shards = c.srv.store.WatchShards(w)
	}
	for _, q := range m.queue {
		if q.row.flags&runsScript != 0 {
			scope.Shards, scope.PinAll = store.AllShards, true // what a script writes is pinned
		}
		if q.row.session != nil {
			// It may look into the store by itself (INFO, UNWATCH), which
			// under a mutex of our own would wait for ever.
			scope.Latch = true
		}
		scope.Shards |= q.row.scope(c.srv.store, q.words)
	}
	return scope
}

// exec evaluates the queue in one Tx and answers one array. A command that
// fails is one error in it; a script that was stopped, and what is too much for
// one Tx, take the whole transaction with them, for nothing of it may remain.
//
// It returns what blocks the transaction, in which case nothing was done.
func (c *conn) exec(m *multi) (resp.Reply, *store.Pending) {
	c.multi = nil // the commands run now instead of being queued again
	mark := len(c.out)
	c.open, c.aborted = true, resp.None
	defer func() { c.open = false }()
	c.out = resp.AppendArrayHeader(c.out, len(m.queue), c.proto)
	c.marks = c.marks[:0]
	for _, q := range m.queue {
		if c.proxy {
			c.marks = append(c.marks, place{len(c.out), len(c.deferred)})
		}
		c.callQueued(q)
		if c.aborted.Kind != resp.KindNone {
			c.tx.Discard()
			c.dropDeferred()
			c.out = c.out[:mark]
			return c.aborted, nil
		}
	}
	if by := c.blocked(); by != nil {
		return resp.None, by
	}
	c.commit()
	if c.replyMode != replyOn {
		c.out = c.out[:mark]
	}
	return resp.None, nil
}

// callQueued runs one command of EXEC. Permissions may have changed since it
// was queued.
func (c *conn) callQueued(q queued) {
	switch {
	case !c.allowed(&q):
		c.reply(resp.ErrNoPermInExec)
	case q.row.mayChange() && c.tx.PendingBytes() > c.srv.maxTx.Load():
		c.aborted = errExecTooBig
	default:
		c.call(q.row, q.named, q.words)
	}
}

var errExecTooBig = resp.ErrExecAbortedBy(resp.Error("ERR it writes more than one may hold"))
