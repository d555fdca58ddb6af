package server

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"crema/resp"
)

// host is what a running script may ask of the server.
type host struct {
	c        *conn
	readOnly bool // EVAL_RO, or the script's own no-writes flag
	allowOOM bool // the script's allow-oom flag
	brake    brake
	args     resp.Args // of the command that runs
}

// maxLogLine is how much of a redis.log is kept.
const maxLogLine = 1 << 10

// Log is redis.log.
func (h *host) Log(level int, text string) {
	levels := []slog.Level{slog.LevelDebug, slog.LevelDebug, slog.LevelInfo, slog.LevelWarn}
	h.c.srv.log.Log(context.Background(), levels[level], "script: "+text[:min(len(text), maxLogLine)])
}

// SetProto is redis.setresp. Replies here know both shapes, so nothing changes.
func (h *host) SetProto(int) {}

// Check is redis.acl_check_cmd.
func (h *host) Check(words [][]byte) (allowed, known bool) {
	row, _, _ := h.c.srv.table.lookup(words)
	if row == nil || !row.checkArity(words) {
		return false, false
	}
	u := h.c.user.Load()
	return u != nil && u.may(row), true
}

// Call runs one command for redis.call and redis.pcall.
func (h *host) Call(words [][]byte) resp.Reply {
	c := h.c
	row, named, _ := c.srv.table.lookup(words)
	if row == nil {
		return resp.ErrUnknownInScript
	}
	if !row.checkArity(words) {
		return resp.ErrArityInScript
	}
	if bad := h.refuse(row); bad.IsError() {
		row.stat.rejected.Add(1)
		return bad
	}
	if row.mayChange() && c.tx.PendingBytes()+c.deferredBytes > c.srv.maxTx.Load() {
		h.brake.stop(errTooBig)
		return resp.ErrScriptTooBig
	}
	c.inScript = true
	c.clock.tick()
	began := c.clock.now
	h.args = resp.NewArgs(row.name, words, named)
	var r resp.Reply
	if row.run != nil {
		r = c.evaluate(row, &h.args)
	} else {
		r = row.session(c, &h.args)
	}
	c.clock.tick()
	c.srv.observe(c, row, words, c.clock.now-began, r.IsError())
	if r.IsError() {
		c.srv.stats.countError(r.Bytes)
	}
	return r
}

// refuse says why a script may not run a command, or resp.None.
func (h *host) refuse(row *command) resp.Reply {
	u := h.c.user.Load()
	switch {
	case row.flags&noScript != 0:
		return resp.ErrNotFromScript
	case u != nil && !u.may(row):
		return resp.ErrNoPermInScript
	case h.readOnly && row.mayChange():
		return resp.ErrReadonlyScript
	case h.c.full && !h.allowOOM && row.flags&denyOOM != 0:
		return resp.ErrOOM
	}
	return resp.None
}

// maxTxBytes is Server.maxTx; who wants more is stopped.
const maxTxBytes = 1 << 30

var errTooBig = errors.New("script writes too much")

// brake is the context of one script. Whoever wants to stop the script says why;
// the first one counts.
type brake struct{ cause atomic.Pointer[error] }

func (b *brake) stop(why error) { b.cause.CompareAndSwap(nil, &why) }

// Err is why the script has to end, nil as long as it has not.
func (b *brake) Err() error {
	if why := b.cause.Load(); why != nil {
		return *why
	}
	return nil
}

func (*brake) Deadline() (time.Time, bool) { return time.Time{}, false }
func (*brake) Done() <-chan struct{}       { return nil }
func (*brake) Value(any) any               { return nil }
