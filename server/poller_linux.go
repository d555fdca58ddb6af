package server

import (
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
)

// poller serves the plain connections of a server that is alone: one goroutine
// waits for all of them and answers, on the spot, whoever has sent something. A
// connection costs no goroutine, stack or buffer while it is idle, and a
// request no more than one read and one write.
//
// A turn at one connection must not keep the others waiting for long. Whoever
// is about to wait in it, for a client that does not read or for a pause, calls
// conn.detach first: a new goroutine serves the others from there on, and this
// one ends with its turn. For what nobody foresaw, and for commands that compute
// for long, cron calls relieve, which does the same from outside. While there is
// such a turn every other one may have to wait for it, for the keys that a script
// holds, and is detached when it begins.
type poller struct {
	ep   int // of epoll
	bell int // an eventfd, written to by close

	asleep   atomic.Bool  // run waits for events, or is about to
	waiting  atomic.Int32 // how many outboxes wait
	lines    sync.Mutex   // guards outboxes; taken after no other lock but an outbox's and mu
	outboxes []*outbox    // with frames to be written before the next wait
	spare    []*outbox    // the same slice's other half; belongs to who serves

	mu    sync.Mutex // guards what follows and what sockets say it does
	conns map[int32]*conn
	term  int    // of the goroutine that serves: run ends when it is another's
	now   *conn  // whose turn it is, nil in between
	turns uint64 // begun so far
	seen  uint64 // turns when relieve looked last
	away  int    // turns that go on beside the one that serves
	ended bool
}

// newPollers makes a server's pollers: one for every two processors. They are
// in system calls most of the time, and were there as many as processors the
// runtime would come round fifty thousand times a second to see whether one has
// become free.
func newPollers() ([]*poller, error) {
	all := make([]*poller, max(runtime.GOMAXPROCS(0)/2, 1))
	for i := range all {
		p := &poller{conns: map[int32]*conn{}, ep: -1, bell: -1}
		if err := p.open(); err != nil {
			for _, p := range all[:i] {
				p.close()
			}
			return nil, fmt.Errorf("open poller: %w", err)
		}
		all[i] = p
		go p.run(0)
	}
	return all, nil
}

func (p *poller) open() (err error) {
	if p.ep, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return err
	}
	fd, _, errno := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		syscall.Close(p.ep)
		return errno
	}
	p.bell = int(fd)
	return syscall.EpollCtl(p.ep, syscall.EPOLL_CTL_ADD, p.bell, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(p.bell)})
}

// close ends the goroutine that serves. There are no connections left, but for
// those that were cut off and have not noticed yet.
func (p *poller) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.ring()
}

// ring wakes run; hush makes the bell ready to be rung again.
func (p *poller) ring() { syscall.Write(p.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

func (p *poller) hush() {
	var count [8]byte
	syscall.Read(p.bell, count[:])
}

// watch begins to serve a connection whose socket is the poller's. False means
// that it has been closed since others could see it, its descriptor may be
// somebody else's then, or that the system cannot watch more.
func (p *poller) watch(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.polled.freed {
		return false
	}
	c.polled.added = true
	if c.polled.control(syscall.EPOLL_CTL_ADD) != nil {
		c.polled.added = false
		return false
	}
	p.conns[int32(c.polled.fd)] = c
	return true
}

const pollEvents = 128 // looked at together

// run serves for a term. newPollers starts the first, pass the others; it ends
// with its term, or at close.
func (p *poller) run(term int) {
	events, lent := make([]syscall.EpollEvent, pollEvents), newLent()
	var room []byte
	for {
		p.deliver(&room)
		timeout := 0 // ms; others may go on to fill outboxes, but requests have their turns
		if p.waiting.Load() <= 0 {
			p.asleep.Store(true)
			if p.waiting.Load() <= 0 { // else it came in between, and the bell may not have been rung
				timeout = -1
			}
		}
		n, err := syscall.EpollWait(p.ep, events, timeout)
		p.asleep.Store(false)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			panic(fmt.Errorf("epoll: %w", err)) // it is ours: nobody else may close it
		}
		for i := range events[:n] {
			p.mu.Lock()
			if p.ended {
				syscall.Close(p.ep)
				syscall.Close(p.bell)
				p.mu.Unlock()
				return
			}
			c := p.conns[events[i].Fd]
			if c == nil { // ended since, or the bell
				p.mu.Unlock()
				if int(events[i].Fd) == p.bell {
					p.hush()
				}
				continue
			}
			if events[i].Events&^syscall.EPOLLIN != 0 {
				c.polled.wake()
			}
			if events[i].Events&^syscall.EPOLLOUT == 0 || c.polled.busy {
				p.mu.Unlock()
				continue
			}
			c.polled.busy = true
			p.now = c
			p.turns++
			p.mu.Unlock()
			if !p.turn(c, lent, term) {
				return // whoever serves now sees the other events again
			}
		}
	}
}

// turn answers what a connection has sent; false means that the term is over.
func (p *poller) turn(c *conn, lent *lent, term int) bool {
	if c.srv.relieved.Load() > 0 {
		p.stepAside(c)
	}
	c.borrow(lent)
	alive := c.fill() == nil && c.turn()
	if !alive {
		c.finish()
		c.srv.conns.Done()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c.polled.busy = false
	if !alive {
		delete(p.conns, int32(c.polled.fd))
		c.polled.free()
	}
	if p.term != term {
		p.away--
		if c.polled.relieved {
			c.polled.relieved = false
			c.srv.relieved.Add(-1)
		}
		c.polled.control(syscall.EPOLL_CTL_MOD) // pass had stopped it
		return false
	}
	p.now = nil
	return true
}

// later has an outbox looked at before the next wait, soon that is. The caller
// holds the outbox's mu or the socket's part in p.mu, or serves.
func (p *poller) later(o *outbox) {
	p.lines.Lock()
	p.outboxes = append(p.outboxes, o)
	p.lines.Unlock()
	p.waiting.Add(1)
	if p.asleep.Load() && p.asleep.CompareAndSwap(true, false) {
		p.ring()
	}
}

// deliver writes what waits in outboxes. Only who serves calls it.
func (p *poller) deliver(room *[]byte) {
	if p.waiting.Load() <= 0 {
		return
	}
	p.lines.Lock()
	all := p.outboxes
	p.outboxes, p.spare = p.spare[:0], all
	p.lines.Unlock()
	p.waiting.Add(int32(-len(all)))
	for i, o := range all {
		all[i] = nil
		p.write(o, room)
	}
	if cap(*room) > 2*coalesceBytes {
		*room = nil
	}
}

// write writes as much of an outbox as the client's socket takes, or its part
// of this delivery.
func (p *poller) write(o *outbox, room *[]byte) {
	b, s := &o.now, o.polled
	for range deliverBursts {
		if b.cost == 0 && !o.next(room) {
			if !o.done && o.ended() {
				o.done = true
				close(o.finished)
			}
			return
		}
		if !b.held && !s.hold() { // whoever writes has us try again
			b.keep()
			return
		}
		n, err := s.push(b.rest)
		b.rest = b.rest[n:]
		if b.held = err == errAgain; b.held { // nobody else writes into the middle of a frame
			b.keep()
			s.askRoom()
			return
		}
		s.release() // the connection's other outbox may wait for it
		o.written(err)
	}
	p.later(o)
}

// deliverBursts of one outbox are written before the others and requests have
// their turns.
const deliverBursts = 16

// detach lets the poller's other connections be served by somebody else. It is
// called in a turn, before waiting; after the first time, or where a connection
// has its own goroutine, it does nothing.
func (c *conn) detach() {
	if c.polled == nil {
		return
	}
	p := c.polled.poller
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == c {
		p.pass()
	}
}

// relieve is detach for a turn that has lasted since the last call.
func (p *poller) relieve() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now != nil && p.turns == p.seen {
		p.now.polled.relieved = true
		p.now.srv.relieved.Add(1)
		p.pass()
	}
	p.seen = p.turns
}

// stepAside is detach for a turn that may have to wait for one that relieve
// ended, unless there are so many already that their buffers count.
func (p *poller) stepAside(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == c && p.away < maxAway {
		p.pass()
	}
}

const maxAway = 256

// pass begins a new term; the caller holds mu. Nobody is told of what the
// connection whose turn it is sends until that is over.
func (p *poller) pass() {
	p.now.polled.control(syscall.EPOLL_CTL_MOD)
	p.now = nil
	p.away++
	p.term++
	go p.run(p.term)
}

// poll takes a socket out of the runtime's hands and gives it to one of the
// server's pollers, which will watch it once it is a connection's. A socket that
// cannot be polled is returned as it is.
func (s *Server) poll(sock net.Conn) net.Conn {
	if len(s.pollers) == 0 {
		return sock
	}
	p := s.pollers[int(s.stats.connections.Load())%len(s.pollers)]
	polled, err := newSocket(p, sock)
	if err != nil {
		s.log.Warn("connection gets a goroutine of its own", "addr", sock.RemoteAddr().String(), "error", err)
		return sock
	}
	return polled
}
