package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"
)

// checkFor is how long a healthy server may take to answer everything.
const checkFor = 3 * time.Second

// check is `crema check`: a probe that says in one line, and by its exit code,
// whether a server answers and, in a cluster, whether its node can serve.
func check(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("crema check", flag.ContinueOnError)
	fs.SetOutput(stderr)
	read := targetFlags(fs, env)
	if err := fs.Parse(args); err != nil || fs.NArg() > 0 {
		return exitUsage
	}
	t, err := read()
	if err != nil {
		fmt.Fprintf(stderr, "crema check: %v\n", err)
		return exitUsage
	}
	ctx, cancel := context.WithTimeout(ctx, checkFor)
	defer cancel()
	if err := t.check(ctx); err != nil {
		fmt.Fprintf(stderr, "crema check: %s: %v\n", t.url.Host, err)
		return exitFailed
	}
	fmt.Fprintf(stdout, "%s answers\n", t.url.Host)
	return exitOK
}

// check asks for PONG, and then whether the node is fit to serve. A server that
// has never heard of the second question is one that answers.
func (t target) check(ctx context.Context) error {
	c, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	if deadline, ok := ctx.Deadline(); ok {
		c.sock.SetDeadline(deadline)
	}
	if r, err := c.do("PING"); err != nil {
		return err
	} else if string(r.Bytes) != "PONG" {
		return fmt.Errorf("PING answered %q", r.Bytes)
	}
	_, err = c.do("CREMA", "HEALTH")
	if said := refused(""); errors.As(err, &said) && strings.HasPrefix(string(said), "unknown command") {
		return nil
	}
	return err
}
