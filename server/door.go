package server

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"

	"crema/resp"
)

// Client is a door into a server of the same process: commands without a
// socket. It has the default user's rights without a password. It takes one
// command at a time and may be shared; each call sees the session state (SELECT,
// MULTI …) that the calls before left, so programs that use such state hold a
// Client of their own. Messages have no way through it: SUBSCRIBE over Dial.
type Client struct {
	mu    sync.Mutex // guards what follows
	c     *conn
	ended bool // the session is over; CLIENT KILL alone leaves that to the next call
}

// Client opens an in-process door.
func (s *Server) Client() *Client {
	c := s.newConn(nil)
	c.addr, c.laddr = "in-process", "in-process"
	c.setProto(3)
	c.user.Store(&user{name: defaultUser, noPass: true})
	s.clients.add(c, 0)
	return &Client{c: c}
}

// Do runs one command. Words may be strings, []byte, integers and floats. An
// error reply is returned as a resp.Reply of KindError and as an error; the
// reply's bytes belong to the caller.
func (d *Client) Do(ctx context.Context, words ...any) (resp.Reply, error) {
	if err := ctx.Err(); err != nil {
		return resp.None, err
	}
	if len(words) == 0 {
		return resp.None, fmt.Errorf("do: no command")
	}
	argv := make([][]byte, len(words))
	for i, w := range words {
		b, err := wordBytes(w)
		if err != nil {
			return resp.None, fmt.Errorf("do: word %d: %w", i, err)
		}
		argv[i] = b
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.c.killed.Load() {
		d.end()
	}
	if d.ended || !d.c.srv.enter() {
		return resp.None, net.ErrClosed
	}
	defer d.c.srv.conns.Done()
	d.c.out = d.c.out[:0]
	d.c.clock = d.c.srv.readClock()
	d.c.execute(argv)
	d.c.settle()
	if d.c.closing {
		d.end()
	}
	if len(d.c.out) == 0 {
		return resp.None, nil // CLIENT REPLY OFF
	}
	r, err := resp.ReadReply(bufio.NewReader(bytes.NewReader(d.c.out)))
	if err != nil {
		return resp.None, fmt.Errorf("do %s: %w", argv[0], err)
	}
	if r.IsError() {
		return r, fmt.Errorf("%s", r.Bytes)
	}
	return r, nil
}

// Close ends the door's session.
func (d *Client) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.end()
	return nil
}

// end gives back what the session holds, once; the caller holds mu.
func (d *Client) end() {
	if !d.ended {
		d.ended = true
		d.c.finish()
	}
}

func wordBytes(w any) ([]byte, error) {
	switch w := w.(type) {
	case string:
		return []byte(w), nil
	case []byte:
		return w, nil
	case int:
		return strconv.AppendInt(nil, int64(w), 10), nil
	case int64:
		return strconv.AppendInt(nil, w, 10), nil
	case float64:
		return strconv.AppendFloat(nil, w, 'g', -1, 64), nil
	}
	return nil, fmt.Errorf("a %T is not a word", w)
}

// Dial connects to the server without a network: a socket pair, for client
// packages that take a dialer. The connection is like one over the unix socket.
func (s *Server) Dial(context.Context) (net.Conn, error) {
	syscall.ForkLock.RLock() // no process that is started now inherits them
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("dial in process: %w", err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "crema")
		ends[i], err = net.FileConn(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("dial in process: %w", err)
		}
	}
	s.welcome(nil, ends[1])
	return ends[0], nil
}
