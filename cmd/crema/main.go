// Command crema is the server: flags, signals and wiring around package server.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	signal.Ignore(syscall.SIGHUP) // a terminal that closes takes nothing with it
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// Exit codes: 0 done, 1 failed while running, 2 the command line or the
// environment cannot be used.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// run is main for tests: everything it reads and writes is given.
func run(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) int {
	name := "serve"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		name, args = args[0], args[1:]
	}
	switch name {
	case "serve":
		return serve(ctx, args, env, stdout, stderr)
	case "bench":
		return bench(ctx, args, env, stdout, stderr)
	case "check":
		return check(ctx, args, env, stdout, stderr)
	case "cluster":
		return clusterCommand(ctx, args, env, stdout, stderr)
	case "version":
		return version(stdout)
	case "help":
		return usage(stdout)
	}
	fmt.Fprintf(stderr, "crema: there is no command %q; 'crema help' lists them\n", name)
	return exitUsage
}
