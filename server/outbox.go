package server

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	frameOverhead = 24       // bytes a waiting frame costs beside its own
	coalesceBytes = 64 << 10 // small frames are joined into writes of about this size
	largeFrame    = 16 << 10 // a frame from this size on is written by itself, uncopied
)

// outbox holds what other connections have for one client. A push only appends
// a shared frame: it never waits for the client's socket, so a client that
// stops reading delays nobody. When the client falls too far behind, its
// connection is closed, because a stream with silent holes is worse than none.
//
// One writer goroutine per outbox, started by newOutbox and ended by the
// connection's end, writes the frames in order.
type outbox struct {
	sock   net.Conn
	limit  func() outboxLimit
	onSlow func()        // called once, when a limit is crossed
	sent   *atomic.Int64 // the server's count of bytes

	mu       sync.Mutex // guards what follows; taken after shard locks and pub/sub's
	frames   [][]byte   // shared and immutable
	bytes    int64      // of frames and what is being written
	own      int64      // of these, a reply of the connection's own
	replied  sync.Cond  // own has become 0, or closed true
	softFrom time.Time  // since when bytes is above the soft limit
	closed   bool
	wake     chan struct{} // holds one token when there is something to do
	finished chan struct{} // closed when the writer has returned
}

func newOutbox(sock net.Conn, limit func() outboxLimit, onSlow func(), sent *atomic.Int64) *outbox {
	o := &outbox{sock: sock, limit: limit, onSlow: onSlow, sent: sent, wake: make(chan struct{}, 1), finished: make(chan struct{})}
	o.replied.L = &o.mu
	go o.write()
	return o
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
// Whoever calls it holds nothing that others wait for.
func (o *outbox) reply(frame []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.own > 0 && !o.closed {
		o.replied.Wait()
	}
	if o.closed {
		return false
	}
	o.frames = append(o.frames, frame)
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

func (o *outbox) signal() {
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

// drain lets the writer write what is waiting, then ends it. The socket must
// be closed by somebody if the client does not read.
func (o *outbox) drain() {
	o.mu.Lock()
	o.closed = true
	o.signal()
	o.mu.Unlock()
	<-o.finished
}

// write is the writer goroutine.
func (o *outbox) write() {
	defer close(o.finished)
	var spare [][]byte
	var joined []byte
	for range o.wake {
		for {
			o.mu.Lock()
			batch := o.frames
			o.frames = spare[:0]
			closed, own := o.closed, o.own
			o.mu.Unlock()
			if len(batch) == 0 {
				if closed {
					return
				}
				break
			}
			written, err := writeFrames(o.sock, batch, &joined)
			o.sent.Add(written - int64(len(batch)*frameOverhead))
			clear(batch)
			spare = batch
			o.mu.Lock()
			o.bytes -= written
			if err != nil {
				o.closed, o.frames = true, nil
			}
			if own > 0 { // it was in this batch
				o.own = 0
			}
			if own > 0 || o.closed { // also when the reply was in a batch still to come
				o.replied.Broadcast()
			}
			o.mu.Unlock()
		}
		spare, joined = nil, nil // idle: hold no memory
	}
}

// writeFrames writes frames in order, joining small ones, and returns their
// cost in the outbox's terms.
func writeFrames(w net.Conn, frames [][]byte, joined *[]byte) (cost int64, err error) {
	buf := (*joined)[:0]
	flush := func() {
		if err == nil && len(buf) > 0 {
			_, err = w.Write(buf)
			buf = buf[:0]
		}
	}
	for _, f := range frames {
		cost += int64(len(f) + frameOverhead)
		if err != nil {
			continue
		}
		if len(f) >= largeFrame {
			if flush(); err == nil {
				_, err = w.Write(f)
			}
			continue
		}
		if buf = append(buf, f...); len(buf) >= coalesceBytes {
			flush()
		}
	}
	flush()
	*joined = buf
	return cost, err
}
