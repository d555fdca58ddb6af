package peer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	dialTimeout   = time.Second
	firstPause    = 50 * time.Millisecond // between two attempts; it doubles
	longestPause  = time.Second
	steadyFor     = time.Second // a link that lasted so long starts over with firstPause
	errorKeyLinks = "link "
)

// ErrNotSent is wrapped by errors of requests that the peer certainly did not get.
var ErrNotSent = errors.New("not sent to the peer")

// ErrAnswerTooLarge is wrapped by errors of requests that were answered with
// more than a gigabyte: what was asked is done.
var ErrAnswerTooLarge = errors.New("the answer is too large to be sent")

// errLost is for a request that may have been answered or not even read.
var errLost = errors.New("the link broke before the answer came")

// link keeps one connection to a node up. Its goroutine, run, is started by
// SetPeers and ended by stop.
type link struct {
	port   *Port
	node   string
	before *link // the link to the same node that has to have ended first, or nil

	ctx      context.Context
	stop     context.CancelFunc
	nudge    chan struct{} // holds a token when the node has just been heard of
	finished chan struct{}

	line atomic.Pointer[line] // nil while the link is down
}

// line is one connection of a link.
type line struct {
	out   *outbox
	in    *inbox
	far   remote
	calls map[uint64]*call // whose answer is due; guarded by out.mu, like the ids
	ended chan struct{}    // closed when nothing more will be read
	cause error            // why; to be read after ended
}

// call waits for one answer.
type call struct {
	done chan outcome // has room for the one outcome that comes
}

type outcome struct {
	answer []byte
	err    error
}

var callPool = sync.Pool{New: func() any { return &call{done: make(chan outcome, 1)} }}

func newLink(p *Port, node string, before *link) *link {
	l := &link{port: p, node: node, before: before, nudge: make(chan struct{}, 1), finished: make(chan struct{})}
	l.ctx, l.stop = context.WithCancel(p.ctx)
	return l
}

func (l *link) run() {
	defer close(l.finished)
	if l.before != nil {
		<-l.before.finished // Unlinked before the next Linked
		l.before = nil
	}
	pause := firstPause
	for {
		conn, far, err := l.port.dialNode(l.ctx, l.node, purposeLink, dialTimeout)
		if err == nil {
			began := time.Now()
			l.serve(conn, far)
			if time.Since(began) > steadyFor {
				pause = firstPause
			}
		} else if l.ctx.Err() == nil {
			l.port.complain(errorKeyLinks+l.node, "no link to peer", "peer", l.node, "err", err)
		}
		timer := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-timer.C:
			pause = min(2*pause, longestPause)
		case <-l.nudge:
		case <-l.ctx.Done():
		}
		timer.Stop()
		if l.ctx.Err() != nil {
			return
		}
	}
}

// serve lives as long as the connection.
func (l *link) serve(conn net.Conn, far remote) {
	n := &line{out: newOutbox(conn), in: newInbox(conn, kindAnswer, kindUnsaid), far: far, calls: map[uint64]*call{}, ended: make(chan struct{})}
	stop := context.AfterFunc(l.ctx, n.out.close)
	defer stop()
	go n.out.write()
	go n.read()
	l.port.known(far)
	l.port.log.Info("link to peer is up", "peer", l.node, "address", conn.RemoteAddr())

	l.line.Store(n)
	l.port.handler.Linked(l.node)
	<-n.ended
	l.line.Store(nil)
	<-n.out.finished
	if l.ctx.Err() == nil {
		l.port.log.Warn("link to peer is down", "peer", l.node, "err", n.cause)
	}
	l.port.handler.Unlinked(l.node)
}

// read is the goroutine that hands out answers.
func (n *line) read() {
	defer close(n.ended)
	for {
		k, id, answer, err := n.in.next()
		if err != nil {
			n.cause = err
			n.fail()
			return
		}
		n.out.mu.Lock()
		c := n.calls[id]
		delete(n.calls, id)
		n.out.mu.Unlock()
		switch {
		case c == nil: // nobody waits for it any more
		case k == kindUnsaid:
			c.done <- outcome{err: ErrAnswerTooLarge}
		default:
			c.done <- outcome{answer: answer}
		}
	}
}

// fail ends the connection and every call that waits.
func (n *line) fail() {
	n.out.close()
	n.out.mu.Lock()
	defer n.out.mu.Unlock()
	for id, c := range n.calls {
		err := errLost
		if n.out.unsent(id) {
			err = fmt.Errorf("%w: the link broke", ErrNotSent)
		}
		c.done <- outcome{err: err}
	}
	clear(n.calls)
}

// call sends a request and waits for its answer.
func (n *line) call(ctx context.Context, request []byte) ([]byte, error) {
	if len(request) > maxMessageBytes {
		return nil, fmt.Errorf("%w: a request of %d bytes is larger than %d", ErrNotSent, len(request), maxMessageBytes)
	}
	c := callPool.Get().(*call)
	n.out.mu.Lock()
	if !n.out.awaitRoom(len(request), ctx.Done()) {
		n.out.mu.Unlock()
		callPool.Put(c)
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
		}
		return nil, fmt.Errorf("%w: the link broke", ErrNotSent)
	}
	id := n.out.lastID + 1
	n.calls[id] = c
	n.out.add(kindCall, id, request)
	n.out.mu.Unlock()
	n.out.signal()

	select {
	case o := <-c.done:
		callPool.Put(c)
		return o.answer, o.err
	case <-ctx.Done():
	}
	n.out.mu.Lock()
	_, waits := n.calls[id]
	unsent := waits && n.out.withdraw(id)
	delete(n.calls, id)
	n.out.mu.Unlock()
	var o outcome
	switch {
	case !waits: // the outcome has just come, or is about to
		o = <-c.done
	case unsent:
		o.err = fmt.Errorf("%w: %w", ErrNotSent, ctx.Err())
	default:
		o.err = fmt.Errorf("no answer from the peer: %w", ctx.Err())
	}
	callPool.Put(c)
	return o.answer, o.err
}
