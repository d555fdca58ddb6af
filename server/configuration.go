package server

import (
	"fmt"
	"log/slog"
	"time"

	"crema/resp"
	"crema/store"
)

// Config says what a server is to be. The zero value is a server in memory on
// a free port of 127.0.0.1. Names are those of the flags, which are Redis's.
type Config struct {
	Bind       []string // addresses to listen on; default 127.0.0.1
	Port       int      // 0: any free port, told by Addr; negative: no TCP at all
	UnixSocket string   // path; empty: none

	TLSPort        int    // 0: none; negative: any free port
	TLSCertFile    string // PEM; read again when the file changes
	TLSKeyFile     string
	TLSCACertFile  string // whom client certificates must come from
	TLSAuthClients string // no, optional or yes (default, as in Redis, when a CA is given)

	HTTPPort          int      // of the HTTP door; 0: none; negative: any free port
	HTTPTLSPort       int      // the same with TLSCertFile and TLSKeyFile
	HTTPBind          []string // addresses of both; default 127.0.0.1
	RESTToken         string   // may do everything over HTTP; empty: one is made up, see Server.RESTToken
	RESTReadonlyToken string   // may read single keys and subscribe
	EventsSecret      string   // signs browsers' tokens, see server/gateway; empty: there are none

	History       []string // GLOB=MESSAGES,AGE[,BYTES]: of which channels how many messages are kept
	HistoryMemory int64    // bytes of all of them; default 64 MiB
	MetricsOpen   bool     // /metrics asks for no token
	Pprof         bool     // /debug/pprof for this machine, see pprof.go

	RequirePass string // the default user's password; empty lets everybody in
	Users       []User
	Unprotected bool // protected-mode no: serve other hosts without a password

	MaxMemory int64        // bytes; 0: three quarters of what the machine or cgroup allows; negative: no limit
	Policy    store.Policy // maxmemory-policy; default volatile-lfu
	Pin       []string     // globs of keys that are always pinned
	Cache     []string     // globs of keys that are always cached

	MaxClients        int           // default 10000
	Timeout           time.Duration // idle clients are closed after; 0: never
	ProtoMaxBulkLen   int64         // bytes; default 512 MiB
	OutputBufferLimit string        // client-output-buffer-limit in CONFIG SET's words

	// OpenLog opens what makes pinned entries survive this process; nil: nothing
	// does. The Peer is what this server is to the other nodes, if there are any;
	// until OpenLog has returned its methods wait.
	OpenLog func(*store.Store, Peer, *slog.Logger) (Cluster, error)

	// ReadConsistency says what answers that changed nothing rest on:
	// linearizable (default), lease or local.
	ReadConsistency string

	// Now is the clock of commands and deadlines; nil: the wall clock and ClockOffset.
	Now func() time.Time

	// OnMaxMemory is told maxmemory, now and when CONFIG SET changes it: a program
	// that has the process to itself tells the collector. nil: nobody.
	OnMaxMemory func(bytes int64)

	LogLevel      string                          // debug, info, warn or error; default info
	LogHandler    func(slog.Leveler) slog.Handler // nil: no log
	ShutdownGrace time.Duration                   // how long Serve drains; default 7 s
	ClockOffset   time.Duration                   // what the server adds to the wall clock; for tests
}

// complete fills in defaults and refuses contradictions.
func (cfg *Config) complete() error {
	if len(cfg.Bind) == 0 {
		cfg.Bind = []string{"127.0.0.1"}
	}
	if cfg.MaxMemory == 0 {
		cfg.MaxMemory = availableMemory() / 4 * 3
	}
	cfg.MaxMemory = max(cfg.MaxMemory, 0)
	if cfg.MaxClients == 0 {
		cfg.MaxClients = 10000
	}
	if cfg.ProtoMaxBulkLen == 0 {
		cfg.ProtoMaxBulkLen = resp.DefaultLimits.MaxBulkBytes
	}
	if cfg.LogLevel == "" {
		cfg.LogLevel = "info"
	}
	switch cfg.ReadConsistency {
	case "":
		cfg.ReadConsistency = readLinearizable
	case readLinearizable, readLease, readLocal:
	default:
		return fmt.Errorf("read-consistency must be linearizable, lease or local, not %q", cfg.ReadConsistency)
	}
	if cfg.HistoryMemory == 0 {
		cfg.HistoryMemory = 64 << 20
	}
	if cfg.ShutdownGrace == 0 {
		cfg.ShutdownGrace = 7 * time.Second
	}
	if cfg.TLSAuthClients == "" {
		cfg.TLSAuthClients = "yes"
		if cfg.TLSCACertFile == "" {
			cfg.TLSAuthClients = "no"
		}
	}
	if cfg.TLSPort != 0 && (cfg.TLSCertFile == "" || cfg.TLSKeyFile == "") {
		return fmt.Errorf("tls-port needs tls-cert-file and tls-key-file")
	}
	switch cfg.LogLevel {
	case "debug", "info", "warn", "error":
	default:
		return fmt.Errorf("loglevel must be debug, info, warn or error, not %q", cfg.LogLevel)
	}
	if err := cfg.completeHTTP(); err != nil {
		return err
	}
	if cfg.TLSPort == 0 && cfg.HTTPTLSPort == 0 && (cfg.TLSCertFile != "" || cfg.TLSKeyFile != "" || cfg.TLSCACertFile != "" || cfg.TLSAuthClients != "no") {
		return fmt.Errorf("TLS certificates and tls-auth-clients need a tls-port or an http-tls-port")
	}
	switch cfg.TLSAuthClients {
	case "no", "optional", "yes":
	default:
		return fmt.Errorf("tls-auth-clients must be no, optional or yes, not %q", cfg.TLSAuthClients)
	}
	if cfg.TLSPort == 0 && (cfg.TLSCACertFile != "" || cfg.TLSAuthClients != "no") {
		return fmt.Errorf("tls-ca-cert-file and tls-auth-clients need a tls-port: HTTP clients show tokens")
	}
	if cfg.TLSPort != 0 && cfg.TLSAuthClients != "no" && cfg.TLSCACertFile == "" {
		return fmt.Errorf("tls-auth-clients %s needs tls-ca-cert-file", cfg.TLSAuthClients)
	}
	for _, u := range cfg.Users {
		if u.Name == "" || u.Password == "" {
			return fmt.Errorf("user %q needs a name and a password", u.Name)
		}
		if u.Name == defaultUser {
			return fmt.Errorf("the user default has requirepass as its password")
		}
	}
	return nil
}

// settings are the parameters that may change later.
func (cfg *Config) settings() (settings, error) {
	limits := resp.DefaultLimits
	limits.MaxBulkBytes = cfg.ProtoMaxBulkLen
	set := settings{
		limits:          limits,
		maxClients:      cfg.MaxClients,
		timeout:         cfg.Timeout,
		tcpKeepalive:    300 * time.Second,
		protected:       !cfg.Unprotected,
		requirepass:     cfg.RequirePass,
		maxMemory:       cfg.MaxMemory,
		policy:          cfg.Policy,
		slowlogAfter:    10 * time.Millisecond,
		slowlogMaxLen:   128,
		latencyTrack:    true,
		busyAfter:       5 * time.Second,
		debugCommand:    "local",
		trackingMaxKeys: 1_000_000,
		outboxPubsub:    outboxLimit{hard: 32 << 20, soft: 8 << 20, seconds: 60},
		outboxReplica:   outboxLimit{hard: 256 << 20, soft: 64 << 20, seconds: 60},
		logLevel:        cfg.LogLevel,
	}
	if limits := cfg.OutputBufferLimit; limits != "" {
		if reason := set.setOutboxLimits(limits); reason != "" {
			return set, fmt.Errorf("client-output-buffer-limit %q: %s", limits, reason)
		}
	}
	return set, nil
}
