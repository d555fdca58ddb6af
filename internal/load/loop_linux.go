package load

import (
	"errors"
	"io"
	"math"
	"runtime"
	"slices"
	"syscall"
	"time"
	"unsafe"
)

// newLoop has one thread do the I/O of all its clients, unless they need TLS.
func newLoop(t *Turn, conns []*Conn, numbers []int, tally *Tally) (loop, error) {
	if t.Server.portable || t.Server.Nodes[0].TLS != nil {
		return newGoroutines(t, conns, numbers, tally)
	}
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	l := &epoll{turn: t, tally: tally, ep: ep}
	for i, c := range conns {
		client := newClient(t, tally, numbers[i])
		if err := l.watch(c, client); err != nil {
			l.close()
			return nil, err
		}
	}
	l.callers = len(l.clients)
	return l, nil
}

// epoll is one thread that waits for all its clients at once. Between two waits it
// answers whoever was answered, and begins what is due.
type epoll struct {
	turn    *Turn
	tally   *Tally
	ep      int
	clients []*polled // by their number in epoll's events; callers first, then who only listens
	callers int
	held    []*polled // have to wait for others before they go on
	busy    int       // callers that were asked something and not answered
}

// polled is a client and its socket, which nobody else's epoll has.
type polled struct {
	*Client
	number  int32
	fd      int
	sent    int  // of out
	blocked bool // epoll tells when more can be sent
}

func (l *epoll) add(c *Conn, w Work) error {
	return l.watch(c, &Client{turn: l.turn, tally: l.tally, work: w, in: make([]byte, readBytes/4)})
}

// watch takes the socket from the runtime's poller, which would wake for each
// answer, and into ours.
func (l *epoll) watch(c *Conn, client *Client) error {
	raw, err := c.Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	fd := -1
	if e := raw.Control(func(old uintptr) { fd, err = syscall.Dup(int(old)) }); e != nil || err != nil {
		return errors.Join(e, err)
	}
	c.Conn.Close()
	p := &polled{Client: client, fd: fd, number: int32(len(l.clients))}
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: p.number}
	l.clients = append(l.clients, p)
	return syscall.EpollCtl(l.ep, syscall.EPOLL_CTL_ADD, fd, &event)
}

func (l *epoll) close() {
	for _, p := range l.clients {
		syscall.Close(p.fd)
	}
	syscall.Close(l.ep)
}

// timerSlack is PR_SET_TIMERSLACK: how late the kernel may wake this thread, ns.
const timerSlack = 29

func (l *epoll) run() error {
	runtime.LockOSThread()
	syscall.RawSyscall(syscall.SYS_PRCTL, timerSlack, 1, 0)
	defer func() {
		syscall.RawSyscall(syscall.SYS_PRCTL, timerSlack, 0, 0) // what it was
		runtime.UnlockOSThread()                                // not left to end: children that die with their parent die with its thread
	}()
	j := l.turn.Job
	var pace pacer
	if j.Rate > 0 {
		pace = newPacer(j, l.callers, l.turn.now())
	} else {
		for _, p := range l.clients[:l.callers] {
			if err := l.next(p, l.turn.now()); err != nil {
				return err
			}
		}
	}
	events := make([]syscall.EpollEvent, 128)
	phase, wait := int32(warming), time.Duration(0)
	for {
		n, err := pwait(l.ep, events, wait)
		if err != nil {
			return err
		}
		if now := l.turn.phase.Load(); now != phase {
			if phase = now; phase == stopping {
				return nil
			}
			l.tally.reset()
		}
		for _, e := range events[:n] {
			if err := l.event(l.clients[e.Fd], e.Events); err != nil {
				return err
			}
		}
		if j.Rate > 0 {
			if wait, err = l.begin(&pace); err != nil {
				return err
			}
			if l.turn.spent() && !slices.ContainsFunc(l.clients, func(p *polled) bool { return p.asked.len() > 0 }) {
				return nil
			}
			continue
		}
		wait = idleWait
		held := l.held
		l.held = l.held[:0]
		for _, p := range held {
			if err := l.next(p, l.turn.now()); err != nil {
				return err
			}
		}
		if len(l.held) > 0 {
			wait = heldWait
			if l.busy == 0 && l.turn.spent() {
				return nil
			}
		}
	}
}

const (
	idleWait = 10 * time.Millisecond  // before a thread looks whether the turn is over
	heldWait = 100 * time.Microsecond // before it looks whether others have caught up
)

// begin sends what is due, or so much of it that answers are not left lying for
// long, and returns how long nothing is.
func (l *epoll) begin(pace *pacer) (time.Duration, error) {
	for range beginAtOnce {
		if l.turn.spent() {
			return idleWait, nil
		}
		if wait := pace.due - l.turn.now(); wait > 0 {
			return min(time.Duration(wait), idleWait), nil
		}
		p := l.clients[pace.client]
		if p.asked.len() > maxOutstanding {
			return heldWait, nil // what is due later waits behind it, and its wait counts
		}
		p.batch(pace.due, l.turn.Job.Pipeline)
		if err := p.write(l.ep); err != nil {
			return 0, err
		}
		pace.step(l.callers)
	}
	return 0, nil
}

const beginAtOnce = 64

// next begins a pipeline of a closed loop.
func (l *epoll) next(p *polled, now int64) error {
	if !p.batch(now, l.turn.Job.Pipeline) {
		l.held = append(l.held, p)
		return nil
	}
	l.busy++
	return p.write(l.ep)
}

func (l *epoll) event(p *polled, what uint32) error {
	if what&syscall.EPOLLOUT != 0 {
		if err := p.write(l.ep); err != nil {
			return err
		}
	}
	if what&^syscall.EPOLLOUT == 0 {
		return nil
	}
	n, err := read(p.fd, p.room())
	if err != nil {
		return err
	}
	waited := p.asked.len() > 0
	now := l.turn.now()
	if err := p.took(n, now); err != nil {
		return err
	}
	if waited && p.asked.len() == 0 && l.turn.Job.Rate == 0 {
		l.busy--
		return l.next(p, now)
	}
	if p.sent < len(p.out) && !p.blocked { // what follows from an answer
		return p.write(l.ep)
	}
	return nil
}

// write sends as much as goes.
func (p *polled) write(ep int) error {
	for p.sent < len(p.out) {
		n, _, e := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(p.fd), uintptr(unsafe.Pointer(&p.out[p.sent])), uintptr(len(p.out)-p.sent))
		if e == syscall.EAGAIN {
			return p.block(ep, true)
		}
		if e != 0 && e != syscall.EINTR {
			return e
		}
		if e == 0 {
			p.sent += int(n)
		}
	}
	p.out, p.sent = p.out[:0], 0
	return p.block(ep, false)
}

func (p *polled) block(ep int, on bool) error {
	if p.blocked == on {
		return nil
	}
	p.blocked = on
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: p.number}
	if on {
		event.Events |= syscall.EPOLLOUT
	}
	return syscall.EpollCtl(ep, syscall.EPOLL_CTL_MOD, p.fd, &event)
}

// read returns 0 when there is nothing now.
func read(fd int, b []byte) (int, error) {
	n, _, e := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	switch {
	case e == syscall.EAGAIN || e == syscall.EINTR:
		return 0, nil
	case e != 0:
		return 0, e
	case n == 0:
		return 0, io.ErrUnexpectedEOF
	}
	return int(n), nil
}

const epollPwait2 = 441 // on every architecture

// pwait waits to the nanosecond, which EpollWait does not.
func pwait(ep int, events []syscall.EpollEvent, wait time.Duration) (int, error) {
	ts := syscall.NsecToTimespec(int64(wait))
	n, _, e := syscall.Syscall6(epollPwait2, uintptr(ep), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	switch e {
	case 0:
		return int(n), nil
	case syscall.EINTR:
		return 0, nil
	case syscall.ENOSYS: // before Linux 5.11
		n, err := syscall.EpollWait(ep, events, int(math.Ceil(float64(wait)/1e6)))
		if err == syscall.EINTR {
			err = nil
		}
		return max(n, 0), err
	}
	return 0, e
}
