package server

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	frameOverhead = 24       // bytes a waiting frame costs beside its own
	coalesceBytes = 64 << 10 // small frames are joined into writes of about this size
	largeFrame    = 16 << 10 // a frame from this size on is written by itself, uncopied
	idleFrames    = 16       // an idle outbox keeps room for no more
)

// outbox holds what other connections have for one client. A push only appends
// a shared frame: it never waits for the client's socket, so a client that
// stops reading delays nobody. When the client falls too far behind, its
// connection is closed, because a stream with silent holes is worse than none.
//
// The frames are written in order: by the poller of the connection between its
// turns or, where there is none, by a goroutine of the outbox's, started by
// start and ended by the connection's end.
type outbox struct {
	sock   net.Conn
	polled *socket // sock, if a poller writes
	limit  func() outboxLimit
	onSlow func()        // called once, when a limit is crossed
	sent   *atomic.Int64 // the server's count of bytes

	mu       sync.Mutex // guards what follows; taken after shard locks and pub/sub's
	frames   [][]byte   // shared and immutable
	bytes    int64      // of frames and what is being written
	own      int64      // of these, a reply of the connection's own
	upTo     int        // of frames, up to that reply; 0 when it is not among them
	replied  sync.Cond  // own has become 0, or closed true
	softFrom time.Time  // since when bytes is above the soft limit
	closed   bool
	waits    bool          // the poller is going to look at it
	wake     chan struct{} // holds one token when there is something to do
	finished chan struct{} // closed when nothing will be written any more

	// Of whoever writes.
	now  burst
	done bool // finished is closed
}

func newOutbox(sock net.Conn, limit func() outboxLimit, onSlow func(), sent *atomic.Int64) *outbox {
	o := &outbox{sock: sock, limit: limit, onSlow: onSlow, sent: sent, wake: make(chan struct{}, 1), finished: make(chan struct{})}
	o.replied.L = &o.mu
	o.polled, _ = sock.(*socket)
	return o
}

// start lets the outbox be written.
func (o *outbox) start() {
	if o.polled != nil {
		o.polled.attach(o)
		return
	}
	go o.write()
}

// push appends a frame that nobody will change; false means that the client is gone.
func (o *outbox) push(frame []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false
	}
	o.frames = append(o.frames, frame)
	o.bytes += int64(len(frame) + frameOverhead)
	if o.over(o.limit()) {
		o.fail()
		return false
	}
	o.signal()
	return true
}

// reply is push for what the connection itself has to say. It waits until the
// last such frame is written, as a write to the socket would, instead of
// counting against the limit: a reply may be larger than what messages may be.
// Whoever calls it holds nothing that others wait for; wait is called first.
func (o *outbox) reply(frame []byte, wait func()) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.own > 0 && !o.closed {
		wait()
		o.replied.Wait()
	}
	if o.closed {
		return false
	}
	o.frames = append(o.frames, frame)
	o.upTo = len(o.frames)
	o.own = int64(len(frame) + frameOverhead)
	o.bytes += o.own
	o.signal()
	return true
}

// over tells whether the client is too slow by now.
func (o *outbox) over(l outboxLimit) bool {
	bytes := o.bytes - o.own
	if l.hard > 0 && bytes > l.hard {
		return true
	}
	if l.soft == 0 || bytes <= l.soft {
		o.softFrom = time.Time{}
		return false
	}
	if o.softFrom.IsZero() {
		o.softFrom = time.Now()
	}
	return time.Since(o.softFrom) > time.Duration(l.seconds)*time.Second
}

// check applies the soft limit to a client that gets no new messages.
func (o *outbox) check() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed && o.over(o.limit()) {
		o.fail()
	}
}

// fail gives the client up; the caller holds mu.
func (o *outbox) fail() {
	o.closed = true
	o.frames = nil
	o.replied.Broadcast()
	o.signal()
	o.onSlow()
}

// signal has what is new written; the caller holds mu.
func (o *outbox) signal() {
	if o.polled != nil {
		if !o.waits {
			o.waits = true
			o.polled.poller.later(o)
		}
		return
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// pending is how many frames and bytes wait.
func (o *outbox) pending() (frames int, bytes int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.frames), o.bytes
}

// drain has what is waiting written, for drainFor at most, and ends the outbox.
func (o *outbox) drain() {
	o.mu.Lock()
	o.closed = true
	o.signal()
	o.mu.Unlock()
	o.sock.SetWriteDeadline(time.Now().Add(drainFor))
	timer := time.NewTimer(drainFor)
	defer timer.Stop()
	select {
	case <-o.finished:
		return
	case <-timer.C:
	}
	o.sock.Close()
	<-o.finished
}

// burst is frames on their way to the socket.
type burst struct {
	rest []byte // not written yet
	cost int64  // of all of it, in the outbox's terms; 0: there is none
	sent int64  // bytes of it on the wire, when all is written
	own  bool   // the connection's own reply is among it
	held bool   // whoever writes holds the socket, since a frame is half written
	lent bool   // rest lies in room
}

// keep lets a burst wait: room is for others.
func (b *burst) keep() {
	if b.lent {
		b.rest, b.lent = bytes.Clone(b.rest), false
	}
}

// next takes frames that are waiting: small ones are joined in room, a large
// one goes by itself. False means that there are none.
func (o *outbox) next(room *[]byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waits = false
	if len(o.frames) == 0 {
		if cap(o.frames) > idleFrames {
			o.frames = nil
		}
		return false
	}
	b, n := &o.now, 1
	if b.rest = o.frames[0]; len(b.rest) < largeFrame && len(o.frames) > 1 {
		joined := append((*room)[:0], b.rest...)
		for ; n < len(o.frames) && len(o.frames[n]) < largeFrame && len(joined) < coalesceBytes; n++ {
			joined = append(joined, o.frames[n]...)
		}
		*room, b.rest, b.lent = joined, joined, true
	}
	b.sent = int64(len(b.rest))
	b.cost = b.sent + int64(n*frameOverhead)
	clear(o.frames[:n])
	if n == len(o.frames) {
		o.frames = o.frames[:0]
	} else {
		o.frames = o.frames[n:]
	}
	b.own = 0 < o.upTo && o.upTo <= n
	o.upTo = max(o.upTo-n, 0)
	return true
}

// written ends a burst, which may have failed.
func (o *outbox) written(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := &o.now
	if err == nil {
		o.sent.Add(b.sent)
	}
	o.bytes -= b.cost
	if err != nil {
		o.closed, o.frames = true, nil
	}
	if b.own || err != nil {
		o.own = 0
	}
	if b.own || o.closed {
		o.replied.Broadcast()
	}
	*b = burst{}
}

// ended says whether everything has been written that ever will be.
func (o *outbox) ended() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed && len(o.frames) == 0
}

// write is the goroutine that writes where no poller does.
func (o *outbox) write() {
	defer close(o.finished)
	var room []byte
	for range o.wake {
		for o.next(&room) {
			_, err := o.sock.Write(o.now.rest)
			o.written(err)
		}
		if o.ended() {
			return
		}
		room = nil // idle: hold no memory
	}
}
