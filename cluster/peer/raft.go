package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// streams is the raft.StreamLayer. Its addresses are node ids.
type streams struct {
	port   *Port
	offers chan net.Conn
	cut    atomic.Bool // isolated

	mu     sync.Mutex // guards what follows
	open   map[*stream]struct{}
	closed bool
	done   chan struct{} // closed with closed
}

// stream is a connection that raft has, until it closes it.
type stream struct {
	net.Conn
	of  *streams
	far remote
}

func (s *stream) Close() error {
	s.of.mu.Lock()
	delete(s.of.open, s)
	s.of.mu.Unlock()
	return s.Conn.Close()
}

func newStreams(p *Port) *streams {
	return &streams{port: p, offers: make(chan net.Conn), open: map[*stream]struct{}{}, done: make(chan struct{})}
}

var errIsolated = errors.New("isolated")

// admit keeps account of a connection from here on, or closes it.
func (s *streams) admit(conn net.Conn, far remote) (*stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.cut.Load() {
		conn.Close()
		if s.closed {
			return nil, errClosed
		}
		return nil, errIsolated
	}
	st := &stream{conn, s, far}
	s.open[st] = struct{}{}
	return st, nil
}

// offer gives an incoming connection to raft. If raft does not take it, it has
// not started or is at its end; its peer will try again.
func (s *streams) offer(conn net.Conn, far remote) {
	st, err := s.admit(conn, far)
	if err != nil {
		return
	}
	timeout := time.NewTimer(handshakeTimeout)
	defer timeout.Stop()
	select {
	case s.offers <- st:
	case <-timeout.C:
		st.Close()
	case <-s.done:
		st.Close()
	}
}

func (s *streams) Accept() (net.Conn, error) {
	select {
	case conn := <-s.offers:
		return conn, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

func (s *streams) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	if s.cut.Load() {
		return nil, fmt.Errorf("connect to %s: %w", address, errIsolated)
	}
	ctx, cancel := s.port.ctx, context.CancelFunc(func() {})
	if timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, timeout)
	}
	defer cancel()
	conn, far, err := s.port.dialNode(ctx, string(address), purposeRaft, timeout)
	if err != nil {
		return nil, err
	}
	s.port.known(far)
	st, err := s.admit(conn, far)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	return st, nil
}

// Close ends Accept; what raft has accepted or dialled it closes itself.
func (s *streams) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.done)
	}
	return nil
}

func (s *streams) Addr() net.Addr { return nodeAddr(s.port.cfg.NodeID) }

// nodeAddr is a node id where an address is asked for.
type nodeAddr string

func (nodeAddr) Network() string  { return "crema" }
func (a nodeAddr) String() string { return string(a) }

func (s *streams) isolated() bool { return s.cut.Load() }

func (s *streams) isolate(on bool) {
	// Set before what is open is closed: a connection that is admitted later sees it.
	s.cut.Store(on)
	if on {
		s.closeIf(func(remote) bool { return true })
	}
}

func (s *streams) closeAll() {
	s.Close()
	s.closeIf(func(remote) bool { return true })
}

func (s *streams) closeIf(cond func(remote) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for st := range s.open {
		if cond(st.far) {
			delete(s.open, st)
			st.Conn.Close() // raft's own Close comes later and changes nothing
		}
	}
}
