package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"crema/resp"
)

// target is the server that a command of ours talks to, as its flags say.
type target struct {
	url    *url.URL
	caFile string
}

// targetFlags adds the flags that say where the server is. What they said is
// read after fs.Parse.
func targetFlags(fs *flag.FlagSet, env func(string) string) (read func() (target, error)) {
	address := "redis://127.0.0.1:6379"
	if url := env("REDIS_URL"); url != "" {
		address = url
	}
	u := fs.String("u", address, "redis:// or rediss:// URL; REDIS_URL in the environment is the default")
	ca := fs.String("tls-ca-cert-file", "", "CA of the server's certificate, PEM")
	return func() (target, error) {
		parsed, err := url.Parse(*u)
		if err != nil || (parsed.Scheme != "redis" && parsed.Scheme != "rediss") || parsed.Host == "" {
			return target{}, errors.New("-u takes redis://… or rediss://…") // the URL itself may hold a password
		}
		return target{parsed, *ca}, nil
	}
}

// client is one connection to a server.
type client struct {
	sock    net.Conn
	replies *bufio.Reader
}

// dial connects, and authenticates if the URL says how. ctx bounds both and
// nothing after.
func (t target) dial(ctx context.Context) (_ *client, err error) {
	host := t.url.Host
	if t.url.Port() == "" {
		host = net.JoinHostPort(t.url.Hostname(), "6379")
	}
	sock, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			sock.Close()
		}
	}()
	if t.url.Scheme == "rediss" {
		config := &tls.Config{ServerName: t.url.Hostname()}
		if t.caFile != "" {
			if config.RootCAs, err = readCA(t.caFile); err != nil {
				return nil, err
			}
		}
		sock = tls.Client(sock, config)
	}
	c := &client{sock, bufio.NewReader(sock)}
	if deadline, ok := ctx.Deadline(); ok {
		sock.SetDeadline(deadline)
		defer sock.SetDeadline(time.Time{})
	}
	if password, ok := t.url.User.Password(); ok {
		words := []string{"AUTH", password}
		if name := t.url.User.Username(); name != "" {
			words = []string{"AUTH", name, password}
		}
		if _, err := c.do(words...); err != nil {
			return nil, fmt.Errorf("AUTH: %w", err)
		}
	}
	return c, nil
}

func (c *client) close() { c.sock.Close() }

// refused is an error reply: the server understood and says no.
type refused string

func (r refused) Error() string { return string(r) }

// do sends one command and returns its answer.
func (c *client) do(words ...string) (resp.Reply, error) {
	if _, err := c.sock.Write(resp.Append(nil, resp.Strings(words...), 2)); err != nil {
		return resp.None, err
	}
	r, err := resp.ReadReply(c.replies)
	switch {
	case errors.Is(err, io.EOF):
		return r, errors.New("it closed the connection")
	case err != nil:
		return r, err
	case r.IsError():
		return r, refused(strings.TrimPrefix(string(r.Bytes), "ERR "))
	}
	return r, nil
}

// readCA reads the certificates that others' must come from.
func readCA(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read CA: no certificate in %s", file)
	}
	return pool, nil
}
