package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"crema/internal/load"
)

const (
	startFor = 20 * time.Second
	lookEach = 5 * time.Millisecond
)

// server is one process that we started.
type server struct {
	args    []string
	address string
	cmd     *exec.Cmd
}

func (s *server) start() error {
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.args[0], err)
	}
	return nil
}

func (s *server) kill() {
	if s.cmd != nil && s.cmd.Process != nil {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	}
}

// fleet is the servers of one contender.
type fleet struct {
	name    string
	servers []*server
}

func (f *fleet) contender() *load.Server {
	c := &load.Server{Name: f.name}
	for _, s := range f.servers {
		c.Nodes = append(c.Nodes, load.Target{Address: s.address})
		c.PIDs = append(c.PIDs, s.cmd.Process.Pid)
	}
	return c
}

func (f *fleet) kill() {
	for _, s := range f.servers {
		s.kill()
	}
}

func (f *fleet) start(ctx context.Context) error {
	for _, s := range f.servers {
		if err := s.start(); err != nil {
			return err
		}
	}
	for _, s := range f.servers {
		if err := answers(ctx, s.address, "SET", "ready", "1"); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// answers returns when the server there answers a command without an error.
func answers(ctx context.Context, address string, words ...string) error {
	ctx, cancel := context.WithTimeout(ctx, startFor)
	defer cancel()
	for {
		_, err := ask(address, words...)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(lookEach):
		}
	}
}

// freePorts are ports of 127.0.0.1 that nobody had a moment ago.
func freePorts(n int) ([]string, error) {
	addresses := make([]string, n)
	for i := range addresses {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		addresses[i] = l.Addr().String()
	}
	return addresses, nil
}

// newCrema is a cluster of n nodes with their directories below dir.
func newCrema(bin, dir string, n int) (*fleet, error) {
	ports, err := freePorts(2 * n)
	if err != nil {
		return nil, err
	}
	peers := make([]string, n)
	for i := range peers {
		peers[i] = fmt.Sprintf("n%d=%s@%s", i+1, ports[n+i], ports[i])
	}
	f := &fleet{name: fmt.Sprintf("crema, %d nodes", n)}
	for i := range n {
		port, raft := portOf(ports[i]), portOf(ports[n+i])
		f.servers = append(f.servers, &server{address: ports[i], args: []string{
			bin, "--port", port, "--node-id", fmt.Sprintf("n%d", i+1), "--cluster-port", raft,
			"--peers", strings.Join(peers, ","), "--data-dir", filepath.Join(dir, fmt.Sprintf("n%d", i+1)), "--loglevel", "warn",
		}})
	}
	return f, nil
}

// newRedis is a redis-server that syncs its log before it answers.
func newRedis(dir string) (*fleet, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	return &fleet{name: "redis, appendfsync always", servers: []*server{
		redisServer(ports[0], filepath.Join(dir, "redis"), "--appendonly", "yes", "--appendfsync", "always"),
	}}, nil
}

// newRedisPair is a redis-server with a replica, neither of which syncs: clients
// WAIT for the replica.
func newRedisPair(dir string) (*fleet, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	return &fleet{name: "redis, a replica and WAIT 1", servers: []*server{
		redisServer(ports[0], filepath.Join(dir, "main")),
		redisServer(ports[1], filepath.Join(dir, "replica"), "--replicaof", "127.0.0.1", portOf(ports[0]), "--replica-read-only", "no"),
	}}, nil
}

// fleets are the servers of a group: crema, redis-server, and valkey-server where it
// is installed.
func (s *suite) fleets(g group) ([]*fleet, error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	crema := append([]string{s.bin, "--port", portOf(ports[0])}, g.flags...)
	fleets := []*fleet{
		{name: "crema", servers: []*server{{address: ports[0], args: append(crema, g.crema...)}}},
		{name: "redis", servers: []*server{redisServer(ports[1], filepath.Join(s.dir, "redis"), append(g.flags, g.redis...)...)}},
	}
	if path, err := exec.LookPath("valkey-server"); err == nil {
		valkey := redisServer(ports[2], filepath.Join(s.dir, "valkey"), append(g.flags, g.redis...)...)
		valkey.args[0] = path
		fleets = append(fleets, &fleet{name: "valkey", servers: []*server{valkey}})
	}
	return fleets, nil
}

func redisServer(address, dir string, more ...string) *server {
	os.MkdirAll(dir, 0o700) // redis-server says so itself when it cannot use it
	return &server{address: address, args: append([]string{
		"redis-server", "--port", portOf(address), "--dir", dir, "--save", "", "--logfile", filepath.Join(dir, "log"),
	}, more...)}
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// ask asks one server one thing.
func ask(address string, words ...string) (string, error) {
	return load.Target{Address: address}.Ask(words...)
}
