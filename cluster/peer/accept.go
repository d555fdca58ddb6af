package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

const (
	maxKnocking = 256 // connections whose handshake is not complete
	acceptPause = 50 * time.Millisecond
)

// accept is the port's goroutine until Close.
func (p *Port) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			if p.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			p.complain("accept", "cannot accept peers", "err", err) // out of descriptors, mostly: it may pass
			select {
			case <-time.After(acceptPause):
			case <-p.ctx.Done():
			}
			continue
		}
		if p.knock(conn) {
			p.running.Go(func() { p.greet(conn) })
		}
	}
}

// knock counts a connection among those without a complete handshake. When
// there are too many the oldest goes: a node needs milliseconds, so that it gets
// in beside any number of strangers who say nothing.
func (p *Port) knock(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		conn.Close()
		return false
	}
	if len(p.knocking) >= maxKnocking {
		p.knocking[0].Close()
		p.knocking = slices.Delete(p.knocking, 0, 1)
	}
	p.knocking = append(p.knocking, conn)
	return true
}

// admitted takes a connection out of those without a complete handshake; false
// when it was closed meanwhile.
func (p *Port) admitted(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.knocking, conn)
	if i >= 0 {
		p.knocking = slices.Delete(p.knocking, i, i+1)
	}
	return i >= 0 && !p.closed
}

// greet is the goroutine of an incoming connection until it is handed on.
func (p *Port) greet(raw net.Conn) {
	raw.SetDeadline(time.Now().Add(handshakeTimeout))
	conn, far, err := p.receive(raw)
	if !p.admitted(raw) {
		raw.Close()
		return
	}
	if err != nil {
		raw.Close()
		about := strangers
		if far.node != "" {
			about = "refused " + far.node
		}
		p.complain(about, "refused a connection for peers", "from", raw.RemoteAddr(), "node", far.node, "err", err)
		return
	}
	raw.SetDeadline(time.Time{})
	switch far.purpose {
	case purposeRaft:
		p.known(far)
		p.raft.offer(conn, far)
	case purposeLink:
		p.known(far)
		p.host(conn, far)
	case purposeAdmin:
		// Not among running: Admin may wait for something that waits for Close.
		go p.answerAdmin(conn, far.node)
	}
}

// receive does the acceptor's side of the handshake. With an error, far.node is
// set if it was proved.
func (p *Port) receive(raw net.Conn) (conn net.Conn, far remote, err error) {
	conn = raw
	if p.cfg.TLS != nil {
		secure := tls.Server(raw, p.cfg.TLS)
		if err := secure.HandshakeContext(p.ctx); err != nil {
			return nil, far, err
		}
		conn = sealed{secure, raw}
	}
	h, w, err := receive(conn, p.cfg.Secret)
	if err == nil {
		far = remote{h.from, h.cluster, h.address, h.purpose, p.cfg.ClusterID()}
		err = p.mayEnter(h, far.told)
	}
	var why refusal
	if errors.As(err, &why) {
		refuse(conn, why)
	}
	if err != nil {
		return nil, far, err
	}
	return conn, far, w.welcome(p.cfg.NodeID, far.told, p.cfg.Self())
}

// mayEnter decides about somebody who has proved the secret.
func (p *Port) mayEnter(h hello, cluster string) error {
	if err := agree(h.purpose, h.to, h.cluster, p.cfg.NodeID, cluster); err != nil {
		return err
	}
	switch h.purpose {
	case purposeRaft, purposeLink:
		if h.from == p.cfg.NodeID {
			return refusal(fmt.Sprintf("both ends call themselves %s: node ids must differ", h.from))
		}
		if h.purpose == purposeRaft && p.raft.isolated() {
			return refusal("isolated")
		}
		return nil
	case purposeAdmin:
		if p.admins.Load() >= maxAdmins {
			return refusal("too many admin calls")
		}
		return nil
	}
	return refusal(fmt.Sprintf("unknown %v", h.purpose))
}

// host serves a peer's link until its end.
func (p *Port) host(conn net.Conn, far remote) {
	g := newGuest(p, conn, far)
	p.mu.Lock()
	if p.closed {
		g.out.close()
	}
	g.before = p.guests[far.node]
	p.guests[far.node] = g
	p.mu.Unlock()
	if l := (*p.links.Load())[far.node]; l != nil {
		select {
		case l.nudge <- struct{}{}: // it is there: dial it now
		default:
		}
	}
	g.run()
	p.mu.Lock()
	if p.guests[far.node] == g {
		delete(p.guests, far.node)
	}
	p.mu.Unlock()
}

// dialNode connects to a node under its address of this moment.
func (p *Port) dialNode(ctx context.Context, node string, purpose purpose, timeout time.Duration) (net.Conn, remote, error) {
	addr := p.cfg.Address(node)
	if addr == "" {
		return nil, remote{}, fmt.Errorf("no address of %s is known", node)
	}
	conn, far, err := p.dial(ctx, addr, node, purpose, timeout)
	if err != nil {
		return nil, remote{}, fmt.Errorf("connect to %s at %s: %w", node, addr, err)
	}
	return conn, far, nil
}

// dial connects to host:port and does the dialer's side of the handshake. The
// names in it are resolved now.
func (p *Port) dial(ctx context.Context, addr, node string, purpose purpose, timeout time.Duration) (net.Conn, remote, error) {
	dialer := net.Dialer{Timeout: timeout}
	raw, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, remote{}, err
	}
	raw.SetDeadline(time.Now().Add(handshakeTimeout))
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	conn, far, err := p.introduce(ctx, raw, addr, node, purpose)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		return nil, remote{}, err
	}
	raw.SetDeadline(time.Time{})
	return conn, far, nil
}

func (p *Port) introduce(ctx context.Context, raw net.Conn, addr, node string, purpose purpose) (net.Conn, remote, error) {
	conn := raw
	if p.cfg.TLS != nil {
		cfg := p.cfg.TLS
		if cfg.ServerName == "" {
			host, _, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, remote{}, err
			}
			cfg = cfg.Clone()
			cfg.ServerName = host
		}
		secure := tls.Client(raw, cfg)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, remote{}, err
		}
		conn = sealed{secure, raw}
	}
	far, err := introduce(conn, p.cfg.Secret, hello{purpose, p.cfg.NodeID, node, p.cfg.ClusterID(), p.cfg.Self()})
	return conn, far, err
}

// sealed is a connection under TLS whose Close never waits: a farewell could,
// for a peer that does not read. Frames have lengths and need none.
type sealed struct {
	*tls.Conn
	raw net.Conn
}

func (s sealed) Close() error { return s.raw.Close() }
