package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"crema/resp"
)

const (
	handshakeFor   = 10 * time.Second // a TLS handshake that takes longer is ended
	refuseFor      = time.Second      // how long a refused client may take to read why
	dialFor        = time.Second      // how long the server at a unix socket may take to answer
	acceptBackoff  = 10 * time.Millisecond
	acceptBackoffs = time.Second // what it doubles up to
	unixSocketMode = 0o700
)

// listen opens every configured socket, or none.
func (s *Server) listen() (err error) {
	defer func() {
		if err != nil {
			for _, l := range s.listeners {
				l.Close()
			}
		}
	}()
	if s.cfg.Port >= 0 {
		port := s.cfg.Port
		for _, host := range s.cfg.Bind {
			l, err := s.listenTCP(host, port)
			if err != nil {
				return err
			}
			port = l.Addr().(*net.TCPAddr).Port // "any" means the same one on every address
			s.listeners = append(s.listeners, l)
		}
		s.cfg.Port = port
	}
	if s.cfg.TLSPort != 0 {
		if err := s.listenTLS(); err != nil {
			return err
		}
	}
	if path := s.cfg.UnixSocket; path != "" {
		if abandoned(path) {
			os.Remove(path)
		}
		l, err := net.Listen("unix", path)
		if err != nil {
			return fmt.Errorf("listen on unix socket %s: %w", path, err)
		}
		s.listeners = append(s.listeners, l)
		if err := os.Chmod(path, unixSocketMode); err != nil {
			return fmt.Errorf("restrict unix socket %s: %w", path, err)
		}
	}
	return nil
}

// abandoned tells whether a unix socket was left behind by a server that was
// killed: nobody answers there.
func abandoned(path string) bool {
	if info, err := os.Stat(path); err != nil || info.Mode()&os.ModeSocket == 0 {
		return false
	}
	sock, err := net.DialTimeout("unix", path, dialFor)
	if err == nil {
		sock.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

func (s *Server) listenTCP(host string, port int) (net.Listener, error) {
	plain := net.ListenConfig{KeepAlive: -1} // welcome sets it, as CONFIG SET may change it
	address := net.JoinHostPort(host, strconv.Itoa(port))
	l, err := plain.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l, nil
}

func (s *Server) listenTLS() error {
	certs := &certificates{certFile: s.cfg.TLSCertFile, keyFile: s.cfg.TLSKeyFile, caFile: s.cfg.TLSCACertFile, auth: s.cfg.TLSAuthClients}
	if _, err := certs.config(nil); err != nil {
		return err
	}
	port := max(s.cfg.TLSPort, 0)
	for _, host := range s.cfg.Bind {
		l, err := s.listenTCP(host, port)
		if err != nil {
			return err
		}
		port = l.Addr().(*net.TCPAddr).Port
		s.listeners = append(s.listeners, &tlsListener{l, &tls.Config{GetConfigForClient: certs.config}})
	}
	s.cfg.TLSPort = port
	return nil
}

// tlsListener marks the listener whose connections begin with a handshake. The
// handshake itself runs on the connection's goroutine, so that a client that
// never finishes it delays nobody.
type tlsListener struct {
	net.Listener
	config *tls.Config
}

// accept takes connections until the listener is closed.
func (s *Server) accept(l net.Listener) error {
	var complaint seldom
	backoff := acceptBackoff
	for {
		sock, err := l.Accept()
		switch {
		case s.draining.Load() || errors.Is(err, net.ErrClosed):
			if sock != nil {
				sock.Close()
			}
			return nil
		case err != nil: // out of file descriptors, most likely: it passes
			if complaint.allow() {
				s.log.Error("accept failed", "error", err)
			}
			select {
			case <-s.stop:
			case <-time.After(backoff):
			}
			backoff = min(2*backoff, acceptBackoffs)
			continue
		}
		backoff = acceptBackoff
		s.welcome(l, sock)
	}
}

// enter is called by what Shutdown has to wait for, which calls conns.Done when
// it is over; false means that the server is going down.
func (s *Server) enter() bool {
	s.entry.RLock()
	defer s.entry.RUnlock()
	if s.draining.Load() {
		return false
	}
	s.conns.Add(1)
	return true
}

// closeEntry lets nobody in any more.
func (s *Server) closeEntry() {
	s.entry.Lock()
	defer s.entry.Unlock()
	s.draining.Store(true)
}

// welcome has a connection served, or says why not.
func (s *Server) welcome(l net.Listener, sock net.Conn) {
	if t, ok := sock.(*net.TCPConn); ok {
		idle := s.settings().tcpKeepalive
		t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: idle > 0, Idle: idle, Interval: idle / 3, Count: 3})
	}
	tlsl, isTLS := l.(*tlsListener)
	if isTLS {
		// Now, because c.sock is read by others from the moment that they can
		// see c. They write nothing to it before the handshake: who has not
		// sent a command neither subscribes nor speaks RESP3.
		sock = tls.Server(sock, tlsl.config)
	} else {
		sock = s.poll(sock)
	}
	c := s.newConn(sock)
	c.unix = sock.LocalAddr().Network() == "unix"
	if c.unix {
		c.addr, c.laddr = sock.LocalAddr().String()+":0", sock.LocalAddr().String()+":0"
	}
	if why := s.refusal(c); why.Kind != resp.KindNone {
		s.stats.rejected.Add(1)
		// In its own goroutine: a client that does not read must not hold up
		// the next one. The socket's buffer takes the text at once.
		go refuse(sock, why, isTLS)
		return
	}
	s.stats.connections.Add(1)
	if !s.clients.add(c, s.settings().maxClients) {
		s.stats.rejected.Add(1)
		go refuse(sock, resp.ErrMaxClients, isTLS)
		return
	}
	if !s.enter() { // behind clients.add: Shutdown knows of all whom it waits for
		s.clients.remove(c)
		c.close()
		return
	}
	if c.polled != nil {
		if !c.polled.poller.watch(c) { // CLIENT KILL was faster, most likely
			c.finish()
			s.conns.Done()
		}
		return
	}
	go func() {
		defer s.conns.Done()
		if t, ok := sock.(*tls.Conn); ok && !c.handshake(t) {
			c.finish()
			return
		}
		c.serve()
	}()
}

// refusal is protected mode: without a password, only this machine is served.
func (s *Server) refusal(c *conn) resp.Reply {
	if s.settings().protected && s.users.get(defaultUser).noPass && !c.isLocal() {
		return resp.ErrProtected
	}
	return resp.None
}

// isLocal tells whether the client is on this machine.
func (c *conn) isLocal() bool {
	if c.sock == nil || c.unix {
		return true
	}
	a, ok := c.sock.RemoteAddr().(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

func refuse(sock net.Conn, why resp.Reply, isTLS bool) {
	defer sock.Close()
	if !isTLS {
		sock.SetWriteDeadline(time.Now().Add(refuseFor))
		sock.Write(resp.Append(nil, why, 2))
	}
}

func (c *conn) handshake(t *tls.Conn) bool {
	t.SetDeadline(time.Now().Add(handshakeFor))
	if c.srv.draining.Load() { // after the deadline: Shutdown sets its own after draining
		return false
	}
	if err := t.Handshake(); err != nil {
		c.srv.log.Info("TLS handshake failed", "addr", c.addr, "error", err)
		return false
	}
	t.SetDeadline(time.Time{})
	return true
}

// newConn is a connection that nobody serves yet.
func (s *Server) newConn(sock net.Conn) *conn {
	c := &conn{srv: s, sock: sock, proto: 2, created: time.Now(), done: make(chan struct{})}
	c.protoSeen.Store(2)
	c.queued.Store(-1)
	c.lastUsed.Store(c.created.UnixMilli())
	c.user.Store(s.users.anonymous())
	c.clock = s.readClock()
	if sock != nil {
		c.addr, c.laddr = sock.RemoteAddr().String(), sock.LocalAddr().String()
		c.in = s.newReader(sock, c.user.Load() != nil)
	}
	c.polled, _ = sock.(*socket)
	return c
}

func (s *Server) newReader(from net.Conn, authenticated bool) *resp.Reader {
	r := resp.NewReader(from)
	r.SetLimits(s.settings().limits)
	r.SetAuthenticated(authenticated)
	return r
}
