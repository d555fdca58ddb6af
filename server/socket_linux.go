package server

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// socket is a net.Conn that a poller watches. Read does not wait; Write does,
// and may be called beside the turn of the connection.
type socket struct {
	poller        *poller
	fd            int
	local, remote net.Addr

	writing sync.Mutex    // one Write at a time, so that frames stay whole
	room    chan struct{} // holds a token when a Write should try again
	until   atomic.Int64  // its deadline, unix ns; 0 is none

	again atomic.Bool // the poller would have liked to write meanwhile

	// Guarded by poller.mu.
	outboxes []*outbox // that the poller writes here
	added    bool      // epoll knows it
	busy     bool      // its connection has a turn
	relieved bool      // which relieve took over from
	wantRoom bool      // a Write waits
	freed    bool      // the file descriptor may be somebody else's by now
}

// errAgain is what Read answers when nothing has arrived.
var errAgain = errors.New("nothing to read")

// newSocket takes over the file descriptor of a connection that nobody has read
// from, and closes the connection.
func newSocket(p *poller, from net.Conn) (*socket, error) {
	src, ok := from.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	raw, err := src.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &socket{poller: p, local: from.LocalAddr(), remote: from.RemoteAddr(), room: make(chan struct{}, 1)}
	var errno syscall.Errno
	if err := raw.Control(func(fd uintptr) {
		var dup uintptr
		dup, _, errno = syscall.RawSyscall(syscall.SYS_FCNTL, fd, syscall.F_DUPFD_CLOEXEC, 0)
		s.fd = int(dup)
	}); err != nil {
		return nil, err
	}
	if errno != 0 {
		return nil, errno
	}
	from.Close() // the runtime forgets it; the duplicate stays open, and non-blocking
	return s, nil
}

// Read reads what has arrived, or answers errAgain.
func (s *socket) Read(b []byte) (int, error) {
	for {
		n, errno := attempt(syscall.SYS_READ, s.fd, b)
		switch {
		case errno == syscall.EINTR:
		case errno == syscall.EAGAIN:
			return 0, errAgain
		case errno != 0:
			return 0, &net.OpError{Op: "read", Net: s.remote.Network(), Addr: s.remote, Err: errno}
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// Write writes all of b, and waits for the client to read where it has to.
func (s *socket) Write(b []byte) (int, error) {
	s.writing.Lock()
	defer s.release()
	return s.write(b, 0)
}

// writeNow is Write with a warning: wait is called before it waits.
func (s *socket) writeNow(b []byte, wait func()) (int, error) {
	if !s.writing.TryLock() {
		wait()
		s.writing.Lock()
	}
	defer s.release()
	n, errno := attempt(syscall.SYS_WRITE, s.fd, b)
	if errno == 0 && n == len(b) {
		return n, nil
	}
	if errno != 0 {
		n = 0
	}
	wait()
	return s.write(b, n)
}

func (s *socket) write(b []byte, done int) (int, error) {
	for done < len(b) {
		n, errno := attempt(syscall.SYS_WRITE, s.fd, b[done:])
		switch errno {
		case 0:
			done += n
		case syscall.EINTR:
		case syscall.EAGAIN:
			if err := s.waitRoom(); err != nil {
				return done, err
			}
		default:
			return done, &net.OpError{Op: "write", Net: s.remote.Network(), Addr: s.remote, Err: errno}
		}
	}
	return done, nil
}

// push writes once, what the client's window has room for: a client that reads
// as fast as this writes would otherwise keep the poller from everybody else.
// The caller holds the socket.
func (s *socket) push(b []byte) (done int, err error) {
	done, errno := attempt(syscall.SYS_WRITE, s.fd, b)
	switch {
	case errno == syscall.EAGAIN || errno == syscall.EINTR:
		return 0, errAgain
	case errno != 0:
		return 0, errno
	case done < len(b):
		return done, errAgain
	}
	return done, nil
}

// attach has the poller write an outbox.
func (s *socket) attach(o *outbox) {
	s.poller.mu.Lock()
	defer s.poller.mu.Unlock()
	s.outboxes = append(s.outboxes, o)
}

// hold is for the poller, which does not wait: if somebody else writes, release
// has it try again.
func (s *socket) hold() bool {
	if s.writing.TryLock() {
		return true
	}
	s.again.Store(true)
	return s.writing.TryLock() // who held it may have looked before that
}

func (s *socket) release() {
	s.writing.Unlock()
	if s.again.Load() && s.again.Swap(false) {
		s.poller.mu.Lock()
		defer s.poller.mu.Unlock()
		s.retry()
	}
}

// retry has the outboxes looked at again; the caller holds poller.mu.
func (s *socket) retry() {
	for _, o := range s.outboxes {
		s.poller.later(o)
	}
}

// askRoom has outboxes and Writes told when the client has read something.
func (s *socket) askRoom() {
	s.poller.mu.Lock()
	defer s.poller.mu.Unlock()
	s.wantRoom = true
	s.control(syscall.EPOLL_CTL_MOD)
}

// attempt is one read or write that never blocks, so the scheduler need not
// hear of it.
func attempt(call uintptr, fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(n), errno
}

// waitRoom waits until the client has read something, or is gone.
func (s *socket) waitRoom() error {
	s.askRoom()
	until := s.until.Load()
	if until == 0 {
		<-s.room
		return nil
	}
	timer := time.NewTimer(time.Until(time.Unix(0, until)))
	defer timer.Stop()
	select {
	case <-s.room:
		return nil
	case <-timer.C:
		return os.ErrDeadlineExceeded
	}
}

// wake lets whoever writes try again; the caller holds poller.mu.
func (s *socket) wake() {
	if !s.wantRoom {
		return
	}
	s.wantRoom = false
	s.control(syscall.EPOLL_CTL_MOD)
	select {
	case s.room <- struct{}{}:
	default:
	}
	s.retry()
}

// control tells epoll what to look for; the caller holds poller.mu. A client
// that hangs up is told of in any case: during a turn only once, since nobody
// reacts before its end.
func (s *socket) control(op int) error {
	if s.freed || !s.added || s.poller.ended {
		return nil
	}
	event := syscall.EpollEvent{Fd: int32(s.fd), Events: syscall.EPOLLIN}
	if s.busy {
		event.Events = syscall.EPOLLONESHOT
	}
	if s.wantRoom {
		event.Events |= syscall.EPOLLOUT
	}
	return syscall.EpollCtl(s.poller.ep, op, s.fd, &event)
}

// Close ends both directions, at once and for everybody; the poller then ends
// the connection and frees the descriptor. Where no poller has heard of it
// there is nothing to wait for.
func (s *socket) Close() error {
	s.poller.mu.Lock()
	defer s.poller.mu.Unlock()
	if s.freed {
		return nil
	}
	syscall.Shutdown(s.fd, syscall.SHUT_RDWR)
	s.wake()
	if !s.added {
		s.free()
	}
	return nil
}

// stopReading makes the next Read the last: the connection's next turn comes at
// once.
func (s *socket) stopReading() {
	s.poller.mu.Lock()
	defer s.poller.mu.Unlock()
	if !s.freed {
		syscall.Shutdown(s.fd, syscall.SHUT_RD)
	}
}

// free closes the descriptor; the caller holds poller.mu, and nobody writes.
func (s *socket) free() {
	s.freed = true
	syscall.Close(s.fd) // epoll forgets it
}

func (s *socket) LocalAddr() net.Addr  { return s.local }
func (s *socket) RemoteAddr() net.Addr { return s.remote }

// SetWriteDeadline bounds a Write that waits, and those to come.
func (s *socket) SetWriteDeadline(t time.Time) error {
	s.until.Store(0)
	if !t.IsZero() {
		s.until.Store(t.UnixNano())
	}
	s.poller.mu.Lock()
	defer s.poller.mu.Unlock()
	s.wake() // who waits looks at it
	return nil
}

// SetReadDeadline is not needed: no Read waits.
func (s *socket) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetDeadline is SetWriteDeadline.
func (s *socket) SetDeadline(t time.Time) error { return s.SetWriteDeadline(t) }

// SyscallConn lends the file descriptor.
func (s *socket) SyscallConn() (syscall.RawConn, error) { return rawSocket{s}, nil }

type rawSocket struct{ *socket }

func (s rawSocket) Control(f func(fd uintptr)) error {
	s.poller.mu.Lock()
	defer s.poller.mu.Unlock()
	if s.freed {
		return net.ErrClosed
	}
	f(uintptr(s.fd))
	return nil
}

func (rawSocket) Read(func(uintptr) bool) error  { return errors.ErrUnsupported }
func (rawSocket) Write(func(uintptr) bool) error { return errors.ErrUnsupported }
