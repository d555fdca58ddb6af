package clients

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	password          = "s3cret-of-default"
	restToken         = "s3cret-of-rest"
	restReadonlyToken = "s3cret-of-readers"
	// Starting includes loading nothing and building nothing; a server that
	// needs longer than this is stuck.
	startTimeout = 15 * time.Second
	stopTimeout  = 12 * time.Second
)

// server is the server under test, alive from TestMain's first line to its last.
type server struct {
	name    string // crema or redis, for messages only
	port    int
	tlsPort int
	restURL string // empty: there is none
	caFile  string
	cmd     *exec.Cmd
	output  bytes.Buffer // both streams of the server, read after it ended
	exited  chan struct{}
	others  []*exec.Cmd // the other nodes of a cluster
}

func (s *server) address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

func (s *server) url() string { return s.urlOf("", password) }

func (s *server) urlOf(user, secret string) string {
	return fmt.Sprintf("redis://%s:%s@127.0.0.1:%d", user, secret, s.port)
}

// The certificate names localhost and 127.0.0.1; clients are told the name,
// because some of them do not check an address.
func (s *server) tlsURL() string {
	return fmt.Sprintf("rediss://:%s@localhost:%d", password, s.tlsPort)
}

// environment is what every script is told.
func (s *server) environment() []string {
	return append(os.Environ(),
		"REDIS_URL="+s.url(),
		"REDIS_USER_URL="+s.urlOf("alice", "secret"),
		"REDIS_READER_URL="+s.urlOf("reader", "secret2"),
		"REDIS_TLS_URL="+s.tlsURL(),
		"REDIS_CA_FILE="+s.caFile,
		"UPSTASH_REDIS_REST_URL="+s.restURL,
		"UPSTASH_REDIS_REST_TOKEN="+restToken,
		"REST_READONLY_TOKEN="+restReadonlyToken,
	)
}

// startServer starts what CREMA_TARGET and CREMA_BIN ask for and returns once
// it accepts connections on both ports.
func startServer(dir string) (*server, error) {
	files, err := makeCertificates(dir)
	if err != nil {
		return nil, fmt.Errorf("make certificates: %w", err)
	}
	s := &server{caFile: files.ca, exited: make(chan struct{})}
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	if s.tlsPort, err = freePort(); err != nil {
		return nil, err
	}
	switch target := os.Getenv("CREMA_TARGET"); target {
	case "redis":
		s.name = "redis"
		s.cmd, err = s.redisCommand(dir, files)
	case "", "crema":
		s.name = "crema"
		s.cmd, err = s.cremaCommand(dir, files)
	case "cluster":
		s.name = "crema, a follower of three"
		err = s.clusterCommands(dir, files)
	default:
		err = fmt.Errorf("CREMA_TARGET is %q, want crema, cluster or redis", target)
	}
	if err != nil {
		return nil, err
	}
	s.cmd.Dir = dir
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.name, err)
	}
	go func() {
		s.cmd.Wait()
		close(s.exited)
	}()
	err = s.awaitReady()
	if err == nil && s.others != nil {
		err = s.awaitFollower()
	}
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("start %s: %w\n%s", s.name, err, s.output.String())
	}
	return s, nil
}

func (s *server) cremaCommand(dir string, files certificateFiles) (*exec.Cmd, error) {
	binary := os.Getenv("CREMA_BIN")
	if binary == "" {
		binary = filepath.Join(dir, "crema")
		build := exec.Command("go", "build", "-o", binary, "./cmd/crema")
		build.Dir = "../.."
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build crema: %w\n%s", err, out)
		}
	}
	binary, err := filepath.Abs(binary) // the server runs in another directory
	if err != nil {
		return nil, err
	}
	httpPort, err := freePort()
	if err != nil {
		return nil, err
	}
	s.restURL = fmt.Sprintf("http://127.0.0.1:%d", httpPort)
	return exec.Command(binary,
		"--port", fmt.Sprint(s.port),
		"--requirepass", password,
		"--user", "alice:secret",
		"--user", "reader:secret2:readonly",
		"--http-port", fmt.Sprint(httpPort),
		"--rest-token", restToken,
		"--rest-readonly-token", restReadonlyToken,
		"--tls-port", fmt.Sprint(s.tlsPort),
		"--tls-cert-file", files.cert,
		"--tls-key-file", files.key,
	), nil
}

// clusterCommands makes s one of three nodes and starts the other two.
func (s *server) clusterCommands(dir string, files certificateFiles) error {
	var raft, client [3]int
	var peers []string
	for i := range raft {
		var err error
		if raft[i], err = freePort(); err != nil {
			return err
		}
		if client[i], err = freePort(); err != nil {
			return err
		}
		if i == 0 {
			client[i] = s.port
		}
		peers = append(peers, fmt.Sprintf("n%d=127.0.0.1:%d@127.0.0.1:%d", i+1, raft[i], client[i]))
	}
	for i := range raft {
		node := server{port: client[i], tlsPort: s.tlsPort}
		if i > 0 {
			var err error
			if node.tlsPort, err = freePort(); err != nil {
				return err
			}
		}
		cmd, err := node.cremaCommand(dir, files)
		if err != nil {
			return err
		}
		id := fmt.Sprintf("n%d", i+1)
		cmd.Args = append(cmd.Args, "--node-id", id, "--peers", strings.Join(peers, ","), "--data-dir", filepath.Join(dir, id),
			"--cluster-secret", "a secret of the nodes", "--loglevel", "warn")
		if i == 0 {
			s.cmd, s.restURL = cmd, node.restURL
			continue
		}
		cmd.Dir = dir
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("start %s: %w", id, err)
		}
		s.others = append(s.others, cmd)
	}
	return nil
}

// awaitFollower has another node lead: what clients do then goes through s to
// that one.
func (s *server) awaitFollower() error {
	deadline := time.Now().Add(startTimeout)
	for {
		info, err := s.ask("INFO", "raft")
		if strings.Contains(info, "raft_state:follower") && strings.Contains(info, "raft_leader:n") {
			return nil
		}
		if strings.Contains(info, "raft_state:leader") {
			info, err = s.ask("CREMA", "TRANSFER")
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no other node leads after %s: %s, %v", startTimeout, info, err)
		}
		time.Sleep(50 * time.Millisecond) // nothing announces a leader from outside
	}
}

// ask is one command by redis-cli, which prints an error as any answer.
func (s *server) ask(words ...string) (string, error) {
	out, err := exec.Command("redis-cli", append([]string{"-p", fmt.Sprint(s.port), "-a", password, "--no-auth-warning"}, words...)...).CombinedOutput()
	return string(out), err
}

func (s *server) redisCommand(dir string, files certificateFiles) (*exec.Cmd, error) {
	conf := filepath.Join(dir, "redis.conf")
	text := fmt.Sprintf(`port %d
bind 127.0.0.1
save ""
requirepass %s
user alice on >secret ~* &* +@all
user reader on >secret2 ~* &* +@read +@connection +@pubsub +info -publish -spublish
tls-port %d
tls-cert-file %s
tls-key-file %s
tls-ca-cert-file %s
tls-auth-clients no
`, s.port, password, s.tlsPort, files.cert, files.key, files.ca)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return exec.Command("redis-server", conf), nil
}

// awaitReady tries to connect until a PING is answered, with anything, and the
// TLS port is open too. Nothing announces a listening socket from outside, so
// this is a poll.
func (s *server) awaitReady() error {
	deadline := time.Now().Add(startTimeout)
	for {
		err := s.pinged()
		if err == nil {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("it ended at once: %s", s.cmd.ProcessState)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready after %s: %w", startTimeout, err)
		}
	}
}

func (s *server) pinged() error {
	tlsConn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", s.tlsPort), time.Second)
	if err != nil {
		return err
	}
	tlsConn.Close()
	conn, err := net.DialTimeout("tcp", s.address(), time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "-NOAUTH") {
		err = fmt.Errorf("PING without a password answered %q", line)
	}
	return err
}

// stop asks the server to end and reports a server that had ended before, or
// that does not obey.
func (s *server) stop() error {
	for _, other := range s.others {
		defer other.Wait()
		defer other.Process.Kill()
	}
	select {
	case <-s.exited:
		return fmt.Errorf("%s ended by itself: %s\n%s", s.name, s.cmd.ProcessState, s.output.String())
	default:
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
		if !s.cmd.ProcessState.Success() {
			return fmt.Errorf("%s after SIGTERM: %s\n%s", s.name, s.cmd.ProcessState, s.output.String())
		}
		return nil
	case <-time.After(stopTimeout):
		s.cmd.Process.Kill()
		<-s.exited
		return fmt.Errorf("%s ignored SIGTERM for %s\n%s", s.name, stopTimeout, s.output.String())
	}
}

var lastPort = 10_000 + rand.IntN(10_000)

// freePort is a port that nobody listens on, another one each time, and none that the
// system gives to outgoing connections.
func freePort() (port int, err error) {
	for range 100 {
		lastPort++
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lastPort)); err == nil {
			return lastPort, l.Close()
		}
	}
	return 0, err
}
