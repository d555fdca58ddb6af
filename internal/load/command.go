package load

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Command is a measurement as a command line asks for it.
type Command struct {
	Job     Job
	Servers []*Server
	Rounds  int
	Preload bool
	Chart   string // a file

	server, rival    string
	mix, keys, sizes string
	population       int64
	subscribers      int
	listening        Listening
	tls              *tls.Config
}

// Flags adds the flags of a measurement to fs. server is where it goes if nothing
// else is said.
func (m *Command) Flags(fs *flag.FlagSet, server string) {
	fs.StringVar(&m.server, "u", server, "the server, redis:// or rediss:// URL or HOST:PORT; nodes of one are separated by commas")
	fs.StringVar(&m.rival, "rival", "", "another server to take turns with")
	fs.StringVar(&m.mix, "mix", "mixed", "what is done: "+strings.Join(MixNames(), ", "))
	fs.IntVar(&m.Job.Clients, "clients", 50, "connections")
	fs.IntVar(&m.Job.Pipeline, "pipeline", 1, "requests that a connection sends at once")
	fs.Float64Var(&m.Job.Rate, "rate", 0, "operations a second of all connections, latency counting from when each is due; 0 for as many as go")
	fs.DurationVar(&m.Job.For, "duration", 5*time.Second, "of one turn of a server")
	fs.DurationVar(&m.Job.Warm, "warmup", time.Second, "before each turn, not counted")
	fs.IntVar(&m.Rounds, "rounds", 1, "turns of each server; figures are medians")
	fs.StringVar(&m.sizes, "size", "64", "bytes of values: "+SizeForms)
	fs.Int64Var(&m.population, "keys", 1_000_000, "how many keys there are")
	fs.StringVar(&m.keys, "dist", "uniform", "which of them are asked for: "+Distributions)
	fs.DurationVar(&m.Job.TTL, "ttl", time.Hour, "of what is written, where the mix writes with one; 0 has mixed write without")
	fs.Float64Var(&m.Job.Writes, "writes", 0.1, "share of writes in mixed")
	fs.IntVar(&m.Job.Threads, "threads", 0, "threads of the generator, 0 for half of the cores")
	fs.IntVar(&m.subscribers, "subscribers", 100, "of fanout")
	fs.IntVar(&m.listening.Patterns, "patterns", 0, "how many of them listen to a pattern")
	fs.IntVar(&m.listening.Stalled, "stalled", 0, "how many more subscribe and never read")
	fs.BoolVar(&m.listening.Channels, "own-channels", false, "each of them has a channel of its own")
	fs.BoolVar(&m.Preload, "preload", false, "write every key once before the first turn")
	fs.StringVar(&m.Chart, "svg", "", "write a chart of latencies to this file")
}

const maxClients = 100_000

// Check reads what the flags said. caFile may be empty.
func (m *Command) Check(config *tls.Config) (err error) {
	j := &m.Job
	j.Name, m.tls = m.mix, config
	if j.Mix, err = lookup(m.mix); err != nil {
		return err
	}
	if j.Keys, err = ParseKeys(m.keys, m.population); err != nil {
		return err
	}
	if j.Sizes, err = ParseSizes(m.sizes); err != nil {
		return err
	}
	switch {
	case j.Clients < 1 || j.Clients > maxClients:
		return fmt.Errorf("-clients is between 1 and %d", maxClients)
	case j.Pipeline < 1 || j.Pipeline > maxOutstanding:
		return fmt.Errorf("-pipeline is between 1 and %d", maxOutstanding)
	case j.Rate < 0, j.For <= 0, j.Warm < 0, m.Rounds < 1, j.TTL < 0, j.Threads < 0:
		return errors.New("-rate, -duration, -warmup, -rounds, -ttl and -threads are positive")
	case m.subscribers < 1 || m.subscribers > maxClients, m.listening.Stalled < 0 || m.listening.Stalled > maxClients, m.listening.Patterns < 0 || m.listening.Patterns > m.subscribers:
		return fmt.Errorf("-subscribers is between 1 and %d, and -patterns are some of them", maxClients)
	case m.listening.Channels && m.listening.Patterns > 0:
		return errors.New("-own-channels and -patterns do not go together")
	case j.Writes < 0 || j.Writes > 1:
		return errors.New("-writes is a share between 0 and 1")
	}
	if m.mix == "fanout" {
		j.Mix = Fanout(m.subscribers, m.listening)
	}
	if m.mix == "release" {
		j.Ready = m.takeLocks
	}
	server, err := m.serverOf(m.server)
	if err != nil {
		return err
	}
	m.Servers = []*Server{server}
	if m.rival != "" {
		rival, err := m.serverOf(m.rival)
		if err != nil {
			return err
		}
		m.Servers = append(m.Servers, rival)
	}
	return nil
}

func (m *Command) serverOf(text string) (*Server, error) {
	s := &Server{}
	for _, node := range strings.Split(text, ",") {
		t, err := ParseTarget(node)
		if err != nil {
			return nil, err
		}
		if t.TLS != nil && m.tls != nil {
			c := m.tls.Clone()
			c.ServerName = t.TLS.ServerName
			t.TLS = c
		}
		s.Nodes = append(s.Nodes, t)
	}
	s.Name, s.PIDs = s.Nodes[0].Address, Listeners(s.Nodes)
	return s, nil
}

// locksTaken is how many locks a turn of release can give back.
const locksTaken = 1_000_000

// takeLocks has locks held for release to give back.
func (m *Command) takeLocks(ctx context.Context, s *Server) error {
	m.Job.Count = locksTaken
	return TakeLocks(ctx, &m.Job, s)
}

// Run measures and says what came of it on w.
func (m *Command) Run(ctx context.Context, w io.Writer, p Progress) error {
	if m.Preload {
		for _, s := range m.Servers {
			if err := Load(ctx, s, m.population, m.Job.Sizes, m.Job.TTL, p); err != nil {
				return err
			}
		}
	}
	turns, err := Rounds(ctx, &m.Job, m.Servers, m.Rounds, p)
	if err != nil {
		return err
	}
	Table(w, &m.Job, m.Servers, turns)
	if m.Chart == "" {
		return nil
	}
	return os.WriteFile(m.Chart, Latencies(&m.Job, m.Servers, turns), 0o644)
}
