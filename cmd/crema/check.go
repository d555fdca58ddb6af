package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"time"

	"crema/resp"
)

// checkFor is how long a healthy server may take to answer everything.
const checkFor = 3 * time.Second

// check is `crema check`: a probe that asks a server for PONG and says in one
// line, and by its exit code, whether it came.
func check(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("crema check", flag.ContinueOnError)
	fs.SetOutput(stderr)
	address := fs.String("u", "redis://127.0.0.1:6379", "redis:// or rediss:// URL; REDIS_URL in the environment is the default")
	ca := fs.String("tls-ca-cert-file", "", "CA of the server's certificate, PEM")
	if url := env("REDIS_URL"); url != "" {
		*address = url
	}
	if err := fs.Parse(args); err != nil || fs.NArg() > 0 {
		return exitUsage
	}
	u, err := url.Parse(*address)
	if err != nil || (u.Scheme != "redis" && u.Scheme != "rediss") {
		fmt.Fprintln(stderr, "crema check: -u takes redis://… or rediss://…")
		return exitUsage
	}
	ctx, cancel := context.WithTimeout(ctx, checkFor)
	defer cancel()
	if err := ping(ctx, u, *ca); err != nil {
		fmt.Fprintf(stderr, "crema check: %s: %v\n", u.Host, err)
		return exitFailed
	}
	fmt.Fprintf(stdout, "%s answers\n", u.Host)
	return exitOK
}

// ping connects, authenticates if the URL says how, and sends PING.
func ping(ctx context.Context, u *url.URL, caFile string) error {
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), "6379")
	}
	sock, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return err
	}
	defer sock.Close()
	if deadline, ok := ctx.Deadline(); ok {
		sock.SetDeadline(deadline)
	}
	if u.Scheme == "rediss" {
		config := &tls.Config{ServerName: u.Hostname()}
		if caFile != "" {
			pem, err := os.ReadFile(caFile)
			if err != nil {
				return fmt.Errorf("read CA: %w", err)
			}
			config.RootCAs = x509.NewCertPool()
			config.RootCAs.AppendCertsFromPEM(pem)
		}
		sock = tls.Client(sock, config)
	}
	replies := bufio.NewReader(sock)
	if password, ok := u.User.Password(); ok {
		words := []string{"AUTH", password}
		if name := u.User.Username(); name != "" {
			words = []string{"AUTH", name, password}
		}
		if err := ask(sock, replies, "OK", words...); err != nil {
			return err
		}
	}
	return ask(sock, replies, "PONG", "PING")
}

// ask sends one command and demands one answer.
func ask(w io.Writer, replies *bufio.Reader, want string, words ...string) error {
	if _, err := w.Write(resp.Append(nil, resp.Strings(words...), 2)); err != nil {
		return err
	}
	r, err := resp.ReadReply(replies)
	if err != nil {
		return err
	}
	if string(r.Bytes) != want {
		return fmt.Errorf("%s answered %q", words[0], r.Bytes)
	}
	return nil
}
