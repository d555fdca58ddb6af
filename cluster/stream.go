package cluster

import (
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// streamLayer gives raft's connections deadlines that grow with what is sent:
// raft would give an entry of 100 MB as long as a heartbeat, and send it again
// and again.
type streamLayer struct{ raft.StreamLayer }

func (s streamLayer) Dial(node raft.ServerAddress, _ time.Duration) (net.Conn, error) {
	conn, err := s.StreamLayer.Dial(node, rpcTimeout)
	if err != nil {
		return nil, err
	}
	return &stream{Conn: conn}, nil
}

// stream is the asking end of a connection. One goroutine at a time uses it.
type stream struct {
	net.Conn
	sent int // bytes since the last answer
}

const streamChunk = 256 << 10 // bytes written under one deadline

func (s *stream) Write(b []byte) (n int, err error) {
	for first := true; first || n < len(b) && err == nil; first = false {
		chunk := b[n:min(len(b), n+streamChunk)]
		s.Conn.SetWriteDeadline(time.Now().Add(rpcTimeout))
		var m int
		m, err = s.Conn.Write(chunk)
		n += m
		s.sent += m
	}
	return n, err
}

func (s *stream) Read(b []byte) (int, error) {
	s.Conn.SetReadDeadline(time.Now().Add(rpcTimeout + time.Duration(s.sent)*time.Second/rpcBytesRate))
	n, err := s.Conn.Read(b)
	s.sent = 0
	return n, err
}
