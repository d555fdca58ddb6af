package server

import (
	"crypto/tls"
	"net"
	"syscall"
)

// hungUp tells whether the other end of a connection has closed it. It looks
// without reading: behind what was sent before, an end is not seen.
func hungUp(sock net.Conn) bool {
	if t, ok := sock.(*tls.Conn); ok {
		sock = t.NetConn()
	}
	s, ok := sock.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return true
	}
	ended := false
	var one [1]byte
	err = raw.Control(func(fd uintptr) {
		n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		ended = err == nil && n == 0 || err != nil && err != syscall.EAGAIN && err != syscall.EINTR
	})
	return ended || err != nil
}
