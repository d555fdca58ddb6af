package server

import (
	"bytes"
	"errors"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"crema/resp"
	"crema/store"
)

const (
	flushBytes   = 64 << 10 // replies are written when this many bytes wait
	keepOutBytes = 16 << 10 // an output buffer above this is given back when idle

	largeReply  = 1 << 20 // bytes of one reply from which on its size matters
	maxOutBytes = 1 << 30 // replies that wait at once: one command's, or all of an EXEC's

	drainFor = 2 * time.Second // how long an ending connection may take to read what waits for it
)

// place is one in what a connection has said and not told anybody yet.
type place struct{ out, deferred int }

// conn is one client: a socket, or an in-process door (sock is nil). Its
// goroutine reads, evaluates and writes; it owns every field that is not
// atomic and not under mu.
type conn struct {
	srv  *Server
	id   int64
	sock net.Conn
	in   *resp.Reader
	out  []byte // replies not written yet
	args resp.Args
	tx   store.Tx
	open bool // tx is open: EXEC or a script is evaluating

	proto         int // 2 or 3
	replyMode     replyMode
	clock         clock // this run's reading
	closing       bool  // close once out is flushed
	dropped       bool  // closing, and out was thrown away
	timed         bool  // the socket has a read deadline
	multi         *multi
	watch         store.Watch
	watching      bool
	tracker       atomic.Pointer[tracker] // CLIENT TRACKING; set by this goroutine, read by others
	aborted       resp.Reply              // why EXEC must end with nothing done
	inScript      bool
	full          bool      // pinned entries alone filled maxmemory when EXEC or the script began
	deferred      []message // PUBLISHed while tx is open; announced after commit
	deferredBytes int64     // about what they cost

	// Where there are other nodes.
	run        run        // commands that wait for their verdict
	evaluation evaluation // of the Tx that was evaluated last, for its step
	lastIndex  uint64     // where in the log this connection's newest change is
	far        farWatch   // where its watched keys are watched
	ownReads   bool       // READONLY
	proxy      bool       // it evaluates for clients of other nodes
	marks      []place    // where each command of EXEC begins, of a proxy

	// What other connections read about this one (CLIENT LIST).
	created    time.Time
	addr       string
	laddr      string
	unix       bool
	db         atomic.Int32
	user       atomic.Pointer[user] // nil until authenticated
	lastRow    atomic.Pointer[command]
	lastUsed   atomic.Int64 // unix ms
	protoSeen  atomic.Int32 // proto, for others
	queued     atomic.Int32 // commands in MULTI, -1 outside
	watched    atomic.Int32 // keys under WATCH
	inBytes    atomic.Int64 // memory of the read buffer
	outBytes   atomic.Int64 // memory of out
	multiBytes atomic.Int64 // of the commands queued in MULTI
	monitor    atomic.Bool
	noEvict    atomic.Bool   // CLIENT NO-EVICT
	noTouch    atomic.Bool   // CLIENT NO-TOUCH
	killed     atomic.Bool   // CLIENT KILL or shutdown closed the socket
	done       chan struct{} // closed with the connection
	closeOnce  sync.Once

	mu      sync.Mutex // guards what follows; taken after no other lock
	name    string
	libName string
	libVer  string

	// Messages from elsewhere. nil until the first SUBSCRIBE or MONITOR;
	// from then on every byte goes through it, so that order is kept.
	outbox *outbox
	subs   subscriptions

	redirected atomic.Pointer[outbox] // see pushRedirected
}

type replyMode uint8

const (
	replyOn       replyMode = iota
	replyOff                // CLIENT REPLY OFF
	replySkip               // the reply to CLIENT REPLY SKIP itself is not sent
	replySkipNext           // nor the next one
)

// serve answers commands until the connection ends.
func (c *conn) serve() {
	defer c.finish()
	for {
		c.clock = c.srv.readClock()
		if t := c.tracker.Load(); t != nil {
			t.begin()
		}
		for !c.closing && !c.killed.Load() {
			words, ok, err := c.in.Next()
			if err != nil {
				c.protocolError(err)
				break
			}
			if !ok {
				break
			}
			c.execute(words)
			if len(c.out) >= flushBytes && !c.flush() {
				return
			}
		}
		if !c.flush() || c.closing {
			return
		}
		if t := c.tracker.Load(); t != nil {
			t.rest()
		}
		c.release()
		c.inBytes.Store(int64(c.in.MemoryUsage()))
		c.outBytes.Store(int64(cap(c.out)))
		if err := c.fill(); err != nil {
			return
		}
	}
}

// fill waits for the next bytes, for as long as the timeout allows.
func (c *conn) fill() error {
	set := c.srv.settings()
	c.in.SetLimits(set.limits)
	if t := set.timeout; t > 0 && c.subs.count() == 0 && !c.monitor.Load() {
		c.sock.SetReadDeadline(time.Now().Add(t))
		c.timed = true
	} else if c.timed {
		c.sock.SetReadDeadline(time.Time{})
		c.timed = false
	}
	if c.srv.draining.Load() { // after the deadline: Shutdown sets its own after draining
		return net.ErrClosed
	}
	before := c.in.Buffered()
	err := c.in.Fill()
	c.srv.stats.bytesIn.Add(int64(c.in.Buffered() - before))
	c.lastUsed.Store(time.Now().UnixMilli())
	if errors.Is(err, resp.ErrQueryTooBig) {
		c.srv.log.Warn("closing client over its query buffer limit", "id", c.id, "addr", c.addr)
	}
	return err
}

// release gives an idle connection's memory back.
func (c *conn) release() {
	if cap(c.out) > keepOutBytes {
		c.out = nil
	}
	c.args = resp.Args{} // its words belong to the reader
	c.run.release()
	if c.in != nil && c.in.Buffered() == 0 {
		c.in.Release()
	}
}

// execute answers one command. A panic in it is our mistake: it closes this
// connection, is logged and counted, and harms nobody else.
func (c *conn) execute(words [][]byte) {
	defer func() {
		if p := recover(); p != nil {
			c.panicked(p, words)
			c.dropped = c.dropped || len(c.run.steps) > 0 // replies that nobody will make sure of
			c.out = resp.Append(c.out, resp.ErrInternal, c.proto)
		}
	}()
	c.dispatch(words)
	if t := c.tracker.Load(); t != nil {
		t.after(words)
	}
	if c.replyMode == replySkip {
		c.replyMode = replySkipNext
	} else if c.replyMode == replySkipNext {
		c.replyMode = replyOn
	}
}

func (c *conn) panicked(p any, words [][]byte) {
	c.dropDeferred()
	c.tx.Discard()
	c.tx.End()
	c.open = false
	c.closing = true
	c.srv.stats.panics.Add(1)
	c.srv.log.Error("panic in command", "command", string(bytes.ToLower(words[0][:min(len(words[0]), longestName)])),
		"panic", p, "stack", string(debug.Stack()))
}

// reply appends one reply to the output, unless CLIENT REPLY silenced it.
func (c *conn) reply(r resp.Reply) {
	if r.Kind == resp.KindError && !c.proxy {
		c.srv.stats.countError(r.Bytes)
	}
	if c.replyMode != replyOn {
		return
	}
	if size := r.Size(); size > largeReply {
		if int64(len(c.out))+size > maxOutBytes {
			c.tooLarge(int(size))
			return
		}
		c.out = slices.Grow(c.out, int(size)) // once, and no larger than it needs
	}
	c.out = resp.Append(c.out, r, c.proto)
}

// tooLarge ends a connection whose replies are more than one may be sent.
func (c *conn) tooLarge(size int) {
	c.closing, c.dropped, c.out = true, true, c.out[:0]
	if c.proxy {
		return
	}
	c.srv.stats.outboxClosed.Add(1)
	c.srv.log.Warn("closing client whose reply is over the limit", "id", c.id, "addr", c.addr, "bytes", size)
}

// flush writes the waiting replies; false means that the connection is gone.
func (c *conn) flush() bool {
	c.settle()
	c.arrive()
	if c.dropped {
		c.out = nil
		return false
	}
	if len(c.out) == 0 {
		return !c.killed.Load()
	}
	if c.outbox != nil {
		ok := c.say(bytes.Clone(c.out))
		c.out = c.out[:0]
		return ok
	}
	if c.sock == nil {
		return true // the in-process door takes c.out itself
	}
	n, err := c.sock.Write(c.out)
	c.srv.stats.bytesOut.Add(int64(n))
	c.out = c.out[:0]
	return err == nil
}

// protocolError answers words that are no command; nothing after them can be
// understood, so the connection ends.
func (c *conn) protocolError(err error) {
	c.closing = true
	c.srv.stats.protocolFails.Add(1)
	var pe resp.ProtocolError
	if errors.As(err, &pe) {
		c.reply(pe.Reply())
		c.srv.log.Debug("protocol error", "id", c.id, "addr", c.addr, "error", pe)
	}
}

// close ends the connection from any goroutine: its own reads and writes fail
// from now on.
func (c *conn) close() {
	c.closeOnce.Do(func() {
		c.killed.Store(true)
		close(c.done)
		if c.sock != nil {
			c.sock.Close()
		}
	})
}

// finish gives back everything the connection holds.
func (c *conn) finish() {
	c.settle()
	c.srv.pubsub.leave(c)
	c.srv.monitors.leave(c)
	c.srv.tracking.leave(c)
	c.unwatch()
	for _, o := range [2]*outbox{c.outbox, c.redirected.Swap(closedOutbox)} {
		if o != nil {
			c.sock.SetWriteDeadline(time.Now().Add(drainFor))
			o.drain()
		}
	}
	c.srv.clients.remove(c)
	c.close()
}
