//go:build !linux

package server

import (
	"errors"
	"net"
)

// Where there is no epoll every connection has a goroutine of its own.
type (
	poller struct{}
	socket struct {
		net.Conn
		poller *poller
	}
)

var errAgain = errors.New("nothing to read")

func newPollers() ([]*poller, error) { return nil, nil }

func (*poller) watch(*conn) bool { return true }
func (*poller) relieve()         {}
func (*poller) close()           {}
func (*poller) later(*outbox)    {}

func (s *Server) poll(sock net.Conn) net.Conn { return sock }
func (c *conn) detach()                       {}

func (s *socket) attach(*outbox)                           {}
func (s *socket) stopReading()                             {}
func (s *socket) writeNow(b []byte, _ func()) (int, error) { return s.Write(b) }
