package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"crema/server"
	"crema/store"
)

const defaultPort = 6379

// setting is one flag of `crema serve`. It may also stand in the environment,
// as CREMA_ and its name in capitals; a flag on the command line wins.
type setting struct {
	name, help string
	many       bool // repeatable; split at white space in the environment
	set        func(text string) error
}

// serveSettings lists every flag in the order of the help. Names are Redis's
// where Redis has one.
func serveSettings(cfg *server.Config, nodes *clusterFlags, logTo io.Writer) []setting {
	text := func(to *string) func(string) error {
		return func(s string) error { *to = s; return nil }
	}
	list := func(to *[]string) func(string) error {
		return func(s string) error { *to = append(*to, s); return nil }
	}
	port := func(to *int) func(string) error {
		return func(s string) (err error) { *to, err = parsePort(s); return err }
	}
	settings := []setting{
		{"port", "TCP port, 0 for any free one (default 6379)", false, port(&cfg.Port)},
		{"bind", "address to listen on (repeatable; default 127.0.0.1)", true, list(&cfg.Bind)},
		{"unixsocket", "path of a unix socket to listen on", false, text(&cfg.UnixSocket)},
		{"requirepass", "password of the default user", false, text(&cfg.RequirePass)},
		{"user", "NAME:PASSWORD[:READONLY], a further user (repeatable)", true, func(s string) error {
			u, err := parseUser(s)
			for _, other := range cfg.Users {
				if err == nil && other.Name == u.Name {
					err = fmt.Errorf("user %s is given twice", u.Name)
				}
			}
			cfg.Users = append(cfg.Users, u)
			return err
		}},
		{"protected-mode", "yes or no: without a password serve only this machine (default yes)", false, func(s string) error {
			on, err := parseYesNo(s)
			cfg.Unprotected = !on
			return err
		}},
		{"tls-port", "TCP port for TLS (default none)", false, port(&cfg.TLSPort)},
		{"tls-cert-file", "certificate, PEM; read again when it changes", false, text(&cfg.TLSCertFile)},
		{"tls-key-file", "its private key, PEM", false, text(&cfg.TLSKeyFile)},
		{"tls-ca-cert-file", "CA that client certificates must come from, PEM", false, text(&cfg.TLSCACertFile)},
		{"tls-auth-clients", "no, optional or yes: ask clients for a certificate (default yes with a CA)", false, text(&cfg.TLSAuthClients)},
		{"http-port", "port of the HTTP door: REST, events, metrics (default none)", false, port(&cfg.HTTPPort)},
		{"http-tls-port", "the same with TLS and HTTP/2, with the certificate of --tls-cert-file (default none)", false, port(&cfg.HTTPTLSPort)},
		{"http-bind", "address that both listen on (repeatable; default 127.0.0.1)", true, list(&cfg.HTTPBind)},
		{"rest-token", "token for everything over HTTP (default made up at start)", false, text(&cfg.RESTToken)},
		{"rest-readonly-token", "token for reading only (default none)", false, text(&cfg.RESTReadonlyToken)},
		{"events-secret", "what browsers' tokens for /events are signed with, 32 bytes or more (default none)", false, text(&cfg.EventsSecret)},
		{"history", "GLOB=MESSAGES,AGE[,BYTES], how much is kept of what is published to a channel (repeatable; default nothing)", true, list(&cfg.History)},
		{"history-memory", "limit for all of it (default 64mb)", false, func(s string) error {
			n, err := server.ParseBytes(s)
			if err == nil && n < 1<<20 {
				err = fmt.Errorf("%q is less than 1mb", s)
			}
			cfg.HistoryMemory = n
			return err
		}},
		{"metrics-open", "yes or no: /metrics asks for no token (default no)", false, func(s string) (err error) {
			cfg.MetricsOpen, err = parseYesNo(s)
			return err
		}},
		{"pprof", "yes or no: /debug/pprof for this machine, with the token for everything (default no)", false, func(s string) (err error) {
			cfg.Pprof, err = parseYesNo(s)
			return err
		}},
		{"maxmemory", "limit for entries such as 512mb, 0 for none (default 3/4 of what there is)", false, func(s string) error {
			n, err := server.ParseBytes(s)
			if n == 0 {
				n = -1 // Config's 0 asks for the default
			}
			cfg.MaxMemory = n
			return err
		}},
		{"maxmemory-policy", "volatile-lfu, allkeys-lfu or noeviction (default volatile-lfu)", false, func(s string) (err error) {
			cfg.Policy, err = store.ParsePolicy(s)
			return err
		}},
		{"pin", "glob of keys that are always pinned (repeatable)", true, list(&cfg.Pin)},
		{"cache", "glob of keys that are always cached (repeatable)", true, list(&cfg.Cache)},
		{"maxclients", "connections at the same time (default 10000)", false, func(s string) (err error) {
			cfg.MaxClients, err = parseCount(s)
			return err
		}},
		{"timeout", "seconds after which an idle client is closed, 0 for never (default 0)", false, func(s string) error {
			n, err := parseCount(s)
			cfg.Timeout = time.Duration(n) * time.Second
			return err
		}},
		{"proto-max-bulk-len", "longest value a client may send (default 512mb)", false, func(s string) (err error) {
			cfg.ProtoMaxBulkLen, err = server.ParseBytes(s)
			return err
		}},
		{"client-output-buffer-limit", "CLASS:HARD:SOFT:SECONDS, how far a subscriber may fall behind (repeatable)", true, func(s string) error {
			if strings.Count(s, ":") != 3 {
				return fmt.Errorf("%q is not CLASS:HARD:SOFT:SECONDS", s)
			}
			cfg.OutputBufferLimit = strings.TrimSpace(cfg.OutputBufferLimit + " " + strings.ReplaceAll(s, ":", " "))
			return nil
		}},
	}
	settings = append(settings, nodes.settings()...)
	return append(settings, []setting{
		{"loglevel", "debug, info, warn or error (default info)", false, text(&cfg.LogLevel)},
		{"log-format", "text or json (default text)", false, func(s string) error {
			switch s {
			case "text":
				cfg.LogHandler = textLog(logTo)
			case "json":
				cfg.LogHandler = func(level slog.Leveler) slog.Handler {
					return slog.NewJSONHandler(logTo, &slog.HandlerOptions{Level: level})
				}
			default:
				return fmt.Errorf("%q is neither text nor json", s)
			}
			return nil
		}},
	}...)
}

func textLog(w io.Writer) func(slog.Leveler) slog.Handler {
	return func(level slog.Leveler) slog.Handler {
		return slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})
	}
}

// parseServe reads flags and environment into a Config. done is true when help
// was asked for and printed.
func parseServe(args []string, env func(string) string, stdout, stderr io.Writer) (cfg server.Config, done bool, err error) {
	cfg = server.Config{Port: defaultPort, LogHandler: textLog(stderr)}
	var nodes clusterFlags
	settings := serveSettings(&cfg, &nodes, stderr)
	fs := flag.NewFlagSet("crema", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	given := map[string]bool{}
	for _, st := range settings {
		fs.Func(st.name, st.help, func(s string) error {
			given[st.name] = true
			return st.set(s)
		})
	}
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		usage(stdout)
		return cfg, true, nil
	case err != nil:
		return cfg, false, err
	case fs.NArg() > 0:
		return cfg, false, fmt.Errorf("unexpected word %q: flags look like --name value", fs.Arg(0))
	}
	for _, st := range settings {
		name := envName(st.name)
		value := env(name)
		if value == "" || given[st.name] {
			continue
		}
		values := []string{value}
		if st.many {
			values = strings.Fields(value)
		}
		for _, v := range values {
			if err := st.set(v); err != nil {
				return cfg, false, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if offset := env("CREMA_TEST_CLOCK_OFFSET"); offset != "" {
		if cfg.ClockOffset, err = time.ParseDuration(offset); err != nil {
			return cfg, false, fmt.Errorf("CREMA_TEST_CLOCK_OFFSET: %w", err)
		}
		fmt.Fprintf(stderr, "crema: CREMA_TEST_CLOCK_OFFSET moves this server's clock by %s: for tests only\n", offset)
	}
	if err := nodes.complete(cfg.Port); err != nil {
		return cfg, false, err
	}
	if nodes.dataDir != "" {
		err = wireNode(&cfg, nodes, env, stderr)
	}
	return cfg, false, err
}

func envName(flag string) string {
	return "CREMA_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// parseUser reads NAME:PASSWORD[:READONLY]. A password may not hold a colon.
func parseUser(s string) (server.User, error) {
	parts := strings.Split(s, ":")
	u := server.User{Name: parts[0]}
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
		return u, errors.New("a user is NAME:PASSWORD or NAME:PASSWORD:READONLY")
	}
	u.Password = parts[1]
	if len(parts) == 3 {
		if !strings.EqualFold(parts[2], "readonly") {
			return u, fmt.Errorf("user %s: %q is not READONLY", u.Name, parts[2])
		}
		u.ReadOnly = true
	}
	return u, nil
}

func parseYesNo(s string) (bool, error) {
	switch s {
	case "yes":
		return true, nil
	case "no":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither yes nor no", s)
}

func parseCount(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > math.MaxInt32 {
		return 0, fmt.Errorf("%q is not a count", s)
	}
	return n, nil
}

// usage prints every command and flag.
func usage(w io.Writer) int {
	fmt.Fprint(w, `crema is a cache, a message broker and a lock service for unchanged Redis clients.

  crema [serve] [flags]        serve clients
  crema bench -u redis://…     measure the server there; 'crema bench -h' says what
  crema check -u redis://…     exit 0 if the server there answers and, in a cluster, can serve
  crema cluster …              look at a cluster and change it; 'crema cluster help' says how
  crema version

Flags of serve, each also in the environment as CREMA_NAME:
`)
	for _, st := range serveSettings(&server.Config{}, &clusterFlags{}, io.Discard) {
		fmt.Fprintf(w, "  --%-27s %s\n", st.name, st.help)
	}
	return exitOK
}
