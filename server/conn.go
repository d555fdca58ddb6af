package server

import (
	"bytes"
	"errors"
	"math"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"crema/resp"
	"crema/server/gateway"
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
	srv    *Server
	id     int64
	sock   net.Conn
	polled *socket // sock, if a poller watches it: serve has no goroutine of its own
	in     *resp.Reader
	out    []byte // replies not written yet
	args   resp.Args
	tx     store.Tx
	open   bool // tx is open: EXEC or a script is evaluating

	proto         int // 2 or 3
	replyMode     replyMode
	clock         clock // this run's reading
	closing       bool  // close once out is flushed
	dropped       bool  // closing, and out was thrown away
	multi         *multi
	watch         store.Watch
	watching      bool
	tracker       atomic.Pointer[tracker] // CLIENT TRACKING; set by this goroutine, read by others
	aborted       resp.Reply              // why EXEC must end with nothing done
	inScript      bool
	full          bool      // pinned entries alone filled maxmemory when EXEC or the script began
	deferred      []message // PUBLISHed while tx is open; announced after commit
	deferredBytes int64     // about what they cost

	lent  *lent // its buffers in this turn, nil if they are its own
	group group // commands to be evaluated together

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
	lastUsed   atomic.Int64 // unix ms, or inTurn
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

	stream  *gateway.Queue // of an HTTP stream, in the place of outbox and sock; never changes
	follows bool           // that stream is one of events
	strict  bool           // what it reads is no older than any answer, whatever read-consistency says
}

type replyMode uint8

const (
	replyOn       replyMode = iota
	replyOff                // CLIENT REPLY OFF
	replySkip               // the reply to CLIENT REPLY SKIP itself is not sent
	replySkipNext           // nor the next one
)

// serve answers commands until the connection ends. It is for a connection
// whose goroutine may wait; pollers serve the others.
func (c *conn) serve() {
	defer c.finish()
	for c.turn() && c.fill() == nil {
	}
}

// lent is what a connection may use during a turn: one pair of buffers serves
// all of a poller's connections, so it is in the processor's cache and an idle
// connection has none.
type lent struct {
	in, out []byte
	group   group // empty
}

func newLent() *lent { return &lent{in: make([]byte, lentBytes)} }

const lentBytes = 64 << 10

func (c *conn) borrow(l *lent) {
	if cap(l.out) > lentBytes {
		l.out = nil
	}
	c.lent, c.out, c.group = l, l.out, l.group
	c.in.Borrow(l.in)
}

// turn answers everything that has arrived; false means that the connection is
// over.
func (c *conn) turn() bool {
	c.clock = c.srv.readClock()
	c.lastUsed.Store(inTurn)
	if t := c.tracker.Load(); t != nil {
		t.begin()
	}
	for !c.closing && !c.killed.Load() {
		words, ok, err := c.in.Next()
		if err != nil {
			c.together()
			c.protocolError(err)
			break
		}
		if !ok {
			break
		}
		if c.collect(words) {
			if c.group.full() && !c.together() {
				return false
			}
			continue
		}
		if !c.together() || c.closing {
			break
		}
		c.execute(words)
		if len(c.out) >= flushBytes && !c.flush() {
			return false
		}
	}
	if !c.together() || !c.flush() || c.closing {
		return false
	}
	if t := c.tracker.Load(); t != nil {
		t.rest()
	}
	c.release()
	keep(&c.inBytes, int64(c.in.MemoryUsage()))
	keep(&c.outBytes, int64(cap(c.out)))
	if c.srv.settings().timeout > 0 {
		c.clock.tick() // a client that takes long to read is not idle
	}
	c.lastUsed.Store(c.clock.base.Add(c.clock.now).UnixMilli())
	return true
}

// keep stores what mostly is there already: to look is cheaper.
func keep(at *atomic.Int64, n int64) {
	if at.Load() != n {
		at.Store(n)
	}
}

// inTurn in conn.lastUsed: it is being used.
const inTurn = math.MaxInt64

// fill reads once. It waits for the client if the connection has a goroutine
// of its own.
func (c *conn) fill() error {
	c.in.SetLimits(c.srv.settings().limits)
	if c.srv.draining.Load() { // after stopReading at the latest
		return net.ErrClosed
	}
	before := c.in.Buffered()
	err := c.in.Fill()
	c.srv.stats.bytesIn.Add(int64(c.in.Buffered() - before))
	if errors.Is(err, resp.ErrQueryTooBig) {
		c.srv.log.Warn("closing client over its query buffer limit", "id", c.id, "addr", c.addr)
	}
	if err == errAgain {
		return nil
	}
	return err
}

// stopReading has a connection that waits for its client's next command end;
// one that is answering reads no further.
func (c *conn) stopReading() {
	switch {
	case c.polled != nil:
		c.polled.stopReading()
	case c.sock != nil:
		c.sock.SetReadDeadline(time.Unix(1, 0))
	}
}

// release gives an idle connection's memory back.
func (c *conn) release() {
	switch {
	case c.lent != nil:
		c.in.Return()
		c.lent.out, c.lent.group = c.out[:0], c.group
		c.lent, c.out, c.group = nil, nil, group{}
	case cap(c.out) > keepOutBytes:
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
	n, err := c.write(c.out)
	c.srv.stats.bytesOut.Add(int64(n))
	c.out = c.out[:0]
	return err == nil
}

// write writes to the socket. Where it has to wait for the client, it does so
// behind the backs of the poller's other connections.
func (c *conn) write(b []byte) (int, error) {
	if c.polled != nil {
		return c.polled.writeNow(b, c.detach)
	}
	return c.sock.Write(b)
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
		if c.stream != nil {
			c.stream.Close(gateway.ErrEnded)
		}
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
			c.detach() // not before: another connection may have made it a moment ago
			o.drain()
		}
	}
	c.srv.clients.remove(c)
	c.close()
}
