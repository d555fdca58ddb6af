package peer

import (
	"net"
	"sync/atomic"
)

const (
	maxAnswering      = 10_000  // calls of one peer that are being answered
	maxAnsweringBytes = 1 << 30 // of their requests, and of answers that wait for room
)

// guest is a peer's link to us. Its goroutine, run, is started by the port and
// ends with the connection.
type guest struct {
	port     *Port
	far      remote
	out      *outbox
	in       *inbox
	load     load
	before   *guest        // the node's earlier link, which has to have left first, or nil
	finished chan struct{} // closed after Left
}

func newGuest(p *Port, conn net.Conn, far remote) *guest {
	return &guest{
		port: p, far: far, out: newOutbox(conn), in: newInbox(conn, kindPost, kindCall),
		load:     load{freed: make(chan struct{}, 1)},
		finished: make(chan struct{}),
	}
}

func (g *guest) run() {
	defer close(g.finished)
	go g.out.write()
	if g.before != nil {
		g.before.out.close()
		<-g.before.finished
		g.before = nil
	}
	g.listen()
	g.out.close()
	<-g.out.finished
	g.port.handler.Left(g.far.node)
}

// listen returns when the connection is at its end.
func (g *guest) listen() {
	for {
		k, id, body, err := g.in.next()
		if err != nil {
			return // the peer's own log says that it lost its link, or that it left
		}
		if k == kindPost {
			g.port.handler.Hear(g.far.node, body)
			continue
		}
		if !g.load.enter(len(body), g.out.quit) {
			return
		}
		g.port.workers.do(task{g, id, body})
	}
}

// task is one call that is to be answered.
type task struct {
	guest   *guest
	id      uint64
	request []byte
}

func (t task) run() {
	g, asked := t.guest, len(t.request)
	answer := g.port.handler.Answer(g.far.node, t.request)
	k := kindAnswer
	if len(answer) > maxMessageBytes {
		k, answer = kindUnsaid, nil
	}
	g.load.grow(len(answer))
	g.out.mu.Lock()
	if g.out.awaitRoom(len(answer), nil) {
		g.out.add(k, t.id, answer)
	}
	g.out.mu.Unlock()
	g.out.signal()
	g.load.leave(asked + len(answer))
}

// load bounds what one peer may have us working on. Only the goroutine that
// reads from the peer enters; at the limit it waits, and so does the peer.
type load struct {
	calls, bytes atomic.Int64
	freed        chan struct{} // holds a token when somebody has left
}

func (l *load) enter(n int, quit <-chan struct{}) bool {
	for l.calls.Load() >= maxAnswering || l.bytes.Load() > maxAnsweringBytes {
		select {
		case <-l.freed:
		case <-quit:
			return false
		}
	}
	l.calls.Add(1)
	l.bytes.Add(int64(n))
	return true
}

func (l *load) grow(n int) { l.bytes.Add(int64(n)) }

func (l *load) leave(n int) {
	l.bytes.Add(int64(-n))
	l.calls.Add(-1)
	select {
	case l.freed <- struct{}{}:
	default:
	}
}
