package peer

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	maxAdmins       = 64
	maxAdminBytes   = 16 << 20 // of a request or an answer
	adminIOTimeout  = 5 * time.Second
	adminPrefixSize = 4 // the length of a request or an answer
)

// CallAdmin asks whoever listens at addr, host:port, over a connection of its
// own. It needs no common cluster, but the secret and TLS. The error wraps
// ErrNotSent when nothing was delivered.
func (p *Port) CallAdmin(ctx context.Context, addr string, request []byte) ([]byte, error) {
	if len(request) > maxAdminBytes {
		return nil, fmt.Errorf("%w: a request of %d bytes is larger than %d", ErrNotSent, len(request), maxAdminBytes)
	}
	conn, _, err := p.dial(ctx, addr, "", purposeAdmin, dialTimeout)
	if err != nil {
		return nil, fmt.Errorf("%w: connect to %s: %w", ErrNotSent, addr, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer context.AfterFunc(p.ctx, func() { conn.Close() })()
	err = writeAdmin(conn, request)
	var answer []byte
	if err == nil {
		answer, err = readAdmin(conn)
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", addr, err)
	}
	return answer, nil
}

// answerAdmin is the goroutine of an incoming admin connection.
func (p *Port) answerAdmin(conn net.Conn, node string) {
	defer conn.Close()
	// Counted here, not where it was admitted: a few more may slip through at once.
	p.admins.Add(1)
	defer p.admins.Add(-1)
	conn.SetDeadline(time.Now().Add(adminIOTimeout))
	request, err := readAdmin(conn)
	if err != nil {
		p.complain("admin "+node, "cannot read an admin call", "node", node, "err", err)
		return
	}
	answer := p.cfg.Admin(node, request)
	conn.SetDeadline(time.Now().Add(adminIOTimeout))
	if err := writeAdmin(conn, answer); err != nil {
		p.complain("admin "+node, "cannot answer an admin call", "node", node, "err", err)
	}
}

func writeAdmin(conn net.Conn, b []byte) error {
	if len(b) > maxAdminBytes {
		return fmt.Errorf("an answer of %d bytes is larger than %d", len(b), maxAdminBytes)
	}
	_, err := conn.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, adminPrefixSize+len(b)), uint32(len(b))), b...))
	return err
}

func readAdmin(conn net.Conn) ([]byte, error) {
	var head [adminPrefixSize]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxAdminBytes {
		return nil, fmt.Errorf("%d bytes are more than %d", n, maxAdminBytes)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(conn, b)
	return b, err
}
