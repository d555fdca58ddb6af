package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"runtime/debug"
	"strconv"

	"crema/server"
)

// serve is `crema serve`, the command that a plain `crema` means.
func serve(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) int {
	cfg, done, err := parseServe(args, env, stdout, stderr)
	if done {
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(stderr, "crema: %v\n", err)
		return exitUsage
	}
	if env("GOMEMLIMIT") == "" {
		cfg.OnMaxMemory = limitMemory
	}
	srv, err := server.New(cfg)
	if err != nil {
		fmt.Fprintf(stderr, "crema: %v\n", err)
		return exitUsage
	}
	printURLs(stdout, cfg, srv)
	if err := srv.Serve(ctx); err != nil {
		fmt.Fprintf(stderr, "crema: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// limitMemory has the collector work harder before what it sees, which is
// everything but keys and values, outgrows a sixth of maxmemory.
func limitMemory(maxMemory int64) {
	limit := int64(math.MaxInt64)
	if maxMemory > 0 {
		limit = max(maxMemory/6, minMemoryLimit)
	}
	debug.SetMemoryLimit(limit)
}

// minMemoryLimit keeps a tiny maxmemory from making the collector run all the time.
const minMemoryLimit = 128 << 20

// printURLs prints the lines that a user pastes into an environment. A
// password is never printed: the line shows where it goes.
func printURLs(w io.Writer, cfg server.Config, srv *server.Server) {
	credentials := ""
	if cfg.RequirePass != "" {
		credentials = ":PASSWORD@"
	}
	if addr := srv.Addr(); addr != "" {
		fmt.Fprintf(w, "REDIS_URL=redis://%s%s\n", credentials, reachable(addr))
	}
	if addr := srv.TLSAddr(); addr != "" {
		fmt.Fprintf(w, "REDIS_TLS_URL=rediss://%s%s\n", credentials, reachable(addr))
	}
	printRESTURLs(w, srv)
}

// printRESTURLs prints what the two generations of the REST clients' environment
// are called. The token goes with it, here and nowhere else: one that was made up
// could not be learnt otherwise.
func printRESTURLs(w io.Writer, srv *server.Server) {
	url := ""
	if addr := srv.HTTPAddr(); addr != "" {
		url = "http://" + reachable(addr)
	} else if addr := srv.HTTPTLSAddr(); addr != "" {
		url = "https://" + reachable(addr)
	}
	if url == "" {
		return
	}
	for _, prefix := range []string{"UPSTASH_REDIS_REST", "KV_REST_API"} {
		fmt.Fprintf(w, "%s_URL=%s\n%s_TOKEN=%s\n", prefix, url, prefix, srv.RESTToken())
	}
}

// reachable turns an address that means "every address" into one to connect to.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

func version(w io.Writer) int {
	fmt.Fprintf(w, "crema %s (commands of Redis %s)\n", server.Version, server.RedisVersion)
	if info, ok := debug.ReadBuildInfo(); ok {
		fmt.Fprintf(w, "%s\n", info.GoVersion)
	}
	return exitOK
}

// parsePort reads a port number.
func parsePort(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 65535 {
		return 0, fmt.Errorf("%q is not a port between 0 and 65535", s)
	}
	return n, nil
}
