package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// soon is how long anything may take that is to happen by itself.
const soon = 30 * time.Second

// testNode is one crema process of a cluster, or will be.
type testNode struct {
	id, dir, peer, client string
	flags                 []string // beside those that every node has
	cmd                   *exec.Cmd
	log                   *lockedBuffer
}

// lockedBuffer is what a process says, read while it says it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newNodes are nodes with addresses of their own; none of them runs.
func newNodes(t testing.TB, names ...string) []*testNode {
	t.Helper()
	var nodes []*testNode
	for _, id := range names {
		nodes = append(nodes, &testNode{id: id, dir: filepath.Join(t.TempDir(), id), peer: freeAddr(t), client: freeAddr(t)})
	}
	return nodes
}

// freeAddr is an address that nobody listens on, and that the system gives to no
// outgoing connection before it is used.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("there is no free port")
	return ""
}

// peersOf is the nodes as --peers names them.
func peersOf(nodes ...*testNode) string {
	var list []string
	for _, n := range nodes {
		list = append(list, fmt.Sprintf("%s=%s@%s", n.id, n.peer, n.client))
	}
	return strings.Join(list, ",")
}

// run starts the node and returns when it listens.
func (n *testNode) run(t testing.TB, flags ...string) {
	t.Helper()
	_, port, _ := net.SplitHostPort(n.client)
	args := append([]string{"--node-id", n.id, "--port", port, "--data-dir", n.dir}, flags...)
	n.cmd, n.log = command(t, nil, append(args, n.flags...)...), new(lockedBuffer)
	n.cmd.Stderr = n.log
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log := n.log
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", n.id, log)
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "REDIS_URL=") {
		t.Fatalf("%s printed %q, %v, and said:\n%s", n.id, line, err, n.log)
	}
}

func (n *testNode) kill() {
	n.cmd.Process.Kill()
	n.cmd.Wait()
}

// stop is a polite end, which is to be one.
func (n *testNode) stop(t testing.TB) {
	t.Helper()
	began := time.Now()
	n.cmd.Process.Signal(syscall.SIGTERM)
	if err := n.cmd.Wait(); err != nil {
		t.Errorf("%s ended with %v:\n%s", n.id, err, n.log)
	}
	if took := time.Since(began); took > soon {
		t.Errorf("%s took %s to end", n.id, took)
	}
}

// crema runs one of the other commands against the node.
func (n *testNode) crema(words ...string) (code int, out string) {
	var b bytes.Buffer
	code = run(context.Background(), append(words, "-u", "redis://"+n.client), func(string) string { return "" }, &b, &b)
	return code, b.String()
}

// healthy waits until every node says that it can serve.
func healthy(t testing.TB, nodes ...*testNode) {
	t.Helper()
	for _, n := range nodes {
		eventually(t, func() (bool, string) {
			code, out := n.crema("check")
			return code == exitOK, out + n.log.String()
		})
	}
}

// eventually asks until the answer is yes.
func eventually(t testing.TB, ask func() (bool, string)) {
	t.Helper()
	for deadline := time.Now().Add(soon); ; time.Sleep(10 * time.Millisecond) {
		yes, why := ask()
		if yes {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", soon, why)
		}
	}
}

// three runs a cluster of three, started in an order of their own, and waits
// until all of it serves.
func three(t testing.TB, flags ...string) []*testNode {
	t.Helper()
	nodes := newNodes(t, "n1", "n2", "n3")
	flags = append([]string{"--peers", peersOf(nodes...)}, flags...)
	for _, i := range [...]int{2, 0, 1} {
		nodes[i].flags = flags
		nodes[i].run(t)
	}
	healthy(t, nodes...)
	return nodes
}

// leader is who leads, by what a node that runs says.
func leader(t testing.TB, ask *testNode, nodes []*testNode) *testNode {
	t.Helper()
	var found *testNode
	eventually(t, func() (bool, string) {
		info := talk(t, ask.client, "INFO raft")
		for _, n := range nodes {
			if strings.Contains(info, "raft_leader:"+n.id+"\r\n") {
				found = n
			}
		}
		return found != nil, info
	})
	return found
}

// others is nodes without one.
func others(nodes []*testNode, but *testNode) (rest []*testNode) {
	for _, n := range nodes {
		if n != but {
			rest = append(rest, n)
		}
	}
	return rest
}

// session is a client that keeps its connection.
type session struct {
	sock    net.Conn
	replies *bufio.Reader
}

func connect(t testing.TB, n *testNode) *session {
	t.Helper()
	sock, err := net.Dial("tcp", n.client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sock.Close() })
	return &session{sock, bufio.NewReader(sock)}
}

// line sends an inline command and returns the first line of its answer.
func (s *session) line(command string) (string, error) {
	s.sock.SetDeadline(time.Now().Add(soon))
	if _, err := io.WriteString(s.sock, command+"\r\n"); err != nil {
		return "", err
	}
	line, err := s.replies.ReadString('\n')
	return strings.TrimSuffix(line, "\r\n"), err
}

// Nodes that are started with the same list form a cluster by themselves, in any
// order, and each serves what another has written.
func TestThreeNodesForm(t *testing.T) {
	nodes := three(t)
	for i, n := range nodes {
		if got := talk(t, n.client, fmt.Sprintf("SET from:%d v NX PX 100000", i)); got != "+OK\r\n+OK\r\n" {
			t.Errorf("%s answered %q", n.id, got)
		}
		for _, other := range nodes {
			if got := talk(t, other.client, fmt.Sprintf("GET from:%d", i)); got != "$1\r\nv\r\n+OK\r\n" {
				t.Errorf("%s has written, %s answered %q", n.id, other.id, got)
			}
		}
		code, out := n.crema("cluster", "status")
		if code != exitOK || strings.Count(out, "leader") < 2 || strings.Count(out, "voter") != 2 {
			t.Errorf("status by way of %s ended with %d:\n%s", n.id, code, out)
		}
	}
	sameState(t, nodes)
}

// sameState waits until all nodes have applied the same, and compares what they
// hold.
func sameState(t testing.TB, nodes []*testNode) {
	t.Helper()
	eventually(t, func() (bool, string) {
		digests := map[string]bool{}
		for _, n := range nodes {
			digests[talk(t, n.client, "CREMA DIGEST")] = true
		}
		return len(digests) == 1, fmt.Sprint(digests)
	})
}

// When the leader is killed, who writes through another node is answered again
// soon, and nothing that was acknowledged is lost.
func TestLeaderKilled(t *testing.T) {
	nodes := three(t)
	lost := leader(t, nodes[0], nodes)
	rest := others(nodes, lost)
	clients := []*session{connect(t, rest[0]), connect(t, rest[1])}
	acknowledged, doubtful := 0, 0
	count := func(s *session) bool {
		switch reply, err := s.line("INCR n"); {
		case err != nil:
			t.Fatal(err)
		case strings.HasPrefix(reply, ":"):
			acknowledged++
			return true
		case strings.HasPrefix(reply, "-INDOUBT"):
			doubtful++
		case !strings.HasPrefix(reply, "-CLUSTERDOWN"):
			t.Fatalf("answered %q", reply)
		}
		return false
	}
	for range 100 {
		count(clients[0])
		count(clients[1])
	}
	lost.kill()
	began := time.Now()
	for _, s := range clients {
		for !count(s) {
			if time.Since(began) > soon {
				t.Fatal("nothing was acknowledged any more")
			}
		}
	}
	t.Logf("acknowledged again after %s, %d in doubt", time.Since(began).Round(time.Millisecond), doubtful)
	for range 100 {
		count(clients[1])
	}
	reply := talk(t, rest[0].client, "GET n")
	n, _ := strconv.Atoi(strings.Split(reply, "\r\n")[1])
	if n < acknowledged || n > acknowledged+doubtful {
		t.Errorf("%d were acknowledged, %d are in doubt, %d are there", acknowledged, doubtful, n)
	}
	lost.run(t)
	healthy(t, nodes...)
	sameState(t, nodes)
}

// A restart of one node after the other is not noticed by clients of those that
// stay: every command is answered as if nothing happened.
func TestRollingRestart(t *testing.T) {
	for range 3 {
		if rollingRestart(t) {
			return
		}
		t.Log("a leader was silent without being restarted: once more")
	}
	t.Error("it was noticed each time")
}

// rollingRestart is false when something was noticed and there was an election that
// nobody asked for, as on a machine that stands still for a while.
func rollingRestart(t *testing.T) bool {
	nodes := three(t)
	defer func() {
		for _, n := range nodes {
			n.kill()
		}
	}()
	unasked := func() (count int) {
		for _, n := range nodes {
			count += strings.Count(n.log.String(), " was silent") + strings.Count(n.log.String(), "a majority does not answer")
		}
		return count
	}
	total := 0
	for _, n := range nodes {
		before, noticed := unasked(), make(chan string, 2)
		stop := make(chan struct{})
		counted := make(chan int)
		for _, other := range others(nodes, n) {
			s := connect(t, other)
			go func() {
				done := 0
				defer func() { counted <- done }()
				for {
					select {
					case <-stop:
						return
					default:
					}
					if reply, err := s.line("INCR n"); err != nil || !strings.HasPrefix(reply, ":") {
						noticed <- fmt.Sprintf("%s restarts, and by way of %s INCR answered %q, %v", n.id, other.id, reply, err)
						return
					}
					done++
				}
			}()
		}
		n.stop(t)
		before -= strings.Count(n.log.String(), " was silent") + strings.Count(n.log.String(), "a majority does not answer")
		n.run(t)
		healthy(t, n)
		close(stop)
		for range 2 {
			total += <-counted
		}
		if len(noticed) > 0 {
			t.Log(<-noticed)
			if unasked() > before {
				return false
			}
			t.Fatal("and nobody was silent")
		}
	}
	if got, want := talk(t, nodes[0].client, "GET n"), strconv.Itoa(total); !strings.Contains(got, "\r\n"+want+"\r\n") {
		t.Errorf("%s were acknowledged: %q", want, got)
	}
	sameState(t, nodes)
	return true
}

// Who does not know the secret, or is of another cluster, stays outside and
// says why.
func TestStrangersStayOutside(t *testing.T) {
	nodes := three(t, "--cluster-secret", "ours")
	n3 := nodes[2]
	flags := n3.flags
	n3.stop(t)
	n3.flags = append(flags[:len(flags)-1:len(flags)-1], "theirs")
	n3.run(t)
	eventually(t, func() (bool, string) { return strings.Contains(n3.log.String(), "secret"), n3.log.String() })
	if code, out := n3.crema("check"); code != exitFailed {
		t.Errorf("with another secret the check ended with %d: %s", code, out)
	}
	n3.stop(t)

	// A directory of another cluster, by the same name.
	n3.flags = []string{"--peers", peersOf(n3), "--cluster-secret", "ours"}
	own := n3.dir
	n3.dir = filepath.Join(t.TempDir(), "elsewhere")
	n3.run(t)
	healthy(t, n3)
	n3.stop(t)
	n3.flags = flags
	n3.run(t)
	eventually(t, func() (bool, string) { return strings.Contains(n3.log.String(), "cluster"), n3.log.String() })
	if got := talk(t, nodes[0].client, "INFO replication"); !strings.Contains(got, "role:master") {
		t.Errorf("%q", got)
	}
	n3.stop(t)
	n3.dir = own
	n3.run(t)
	healthy(t, nodes...)
}

// An operator adds a node, moves leadership, takes the node out again.
func TestClusterCommands(t *testing.T) {
	nodes := three(t)
	n4 := newNodes(t, "n4")[0]
	talk(t, nodes[0].client, "SET k v")
	n4.flags = []string{"--join", nodes[1].peer, "--cluster-announce", n4.peer + "@" + n4.client}
	n4.run(t)
	healthy(t, n4)
	eventually(t, func() (bool, string) {
		code, out := nodes[0].crema("cluster", "status")
		return code == exitOK && strings.Count(out, "voter") == 3 && strings.Contains(out, "n4"), out
	})
	if got := talk(t, n4.client, "GET k"); got != "$1\r\nv\r\n+OK\r\n" {
		t.Errorf("n4 answered %q", got)
	}
	if code, out := nodes[0].crema("cluster", "transfer", "n4"); code != exitOK {
		t.Errorf("transfer ended with %d: %s", code, out)
	}
	eventually(t, func() (bool, string) {
		info := talk(t, nodes[0].client, "INFO raft")
		return strings.Contains(info, "raft_leader:n4\r\n"), "after the transfer: " + info
	})
	// A leader that is removed hands leadership over first.
	if code, out := nodes[2].crema("cluster", "remove", "n4"); code != exitOK {
		t.Errorf("remove ended with %d: %s", code, out)
	}
	eventually(t, func() (bool, string) {
		code, out := nodes[0].crema("cluster", "status")
		return code == exitOK && !strings.Contains(out, "n4"), out
	})
	healthy(t, nodes...)
	eventually(t, func() (bool, string) {
		got := talk(t, n4.client, "GET k")
		return strings.HasPrefix(got, "-CLUSTERDOWN ") && strings.Contains(n4.log.String(), "removed"), got
	})
	for _, c := range []struct {
		words []string
		code  int
		say   string
	}{
		{[]string{"remove", "n9"}, exitFailed, "n9"},
		{[]string{"promote", "n9"}, exitFailed, "n9"},
		{[]string{"transfer", "n9"}, exitFailed, "n9"},
		{[]string{"add", "n9", "nowhere"}, exitFailed, "HOST:PORT"},
		{[]string{"restore", filepath.Join(n4.dir, "meta")}, exitFailed, "snapshot"},
		{[]string{"snapshot"}, exitUsage, "cluster snapshot FILE"},
		{[]string{"dance"}, exitUsage, "dance"},
	} {
		code, out := nodes[0].crema(append([]string{"cluster"}, c.words...)...)
		if code != c.code || !strings.Contains(out, c.say) || strings.Count(out, "\n") != 1 {
			t.Errorf("cluster %q ended with %d: %q", c.words, code, out)
		}
	}
}

// A snapshot taken by way of one node is a whole cluster's elsewhere.
func TestSnapshotAndRestore(t *testing.T) {
	nodes := three(t)
	var lines []string
	for i := range 2000 {
		lines = append(lines, fmt.Sprintf("SET k:%d %s", i, strings.Repeat("x", 1000)))
	}
	talk(t, nodes[0].client, append(lines, "SET lock token NX PX 1000000", "SET cached v EX 1000")...)
	file := filepath.Join(t.TempDir(), "copy")
	for _, n := range nodes { // by way of the leader, and of others
		if code, out := n.crema("cluster", "snapshot", file); code != exitOK {
			t.Fatalf("snapshot by way of %s ended with %d: %s", n.id, code, out)
		}
	}
	fresh := newNodes(t, "m1")
	fresh[0].flags = []string{"--peers", peersOf(fresh...)}
	fresh[0].run(t)
	healthy(t, fresh...)
	talk(t, fresh[0].client, "SET before 1")
	if code, out := fresh[0].crema("cluster", "restore", file); code != exitOK {
		t.Fatalf("restore ended with %d: %s", code, out)
	}
	check := func(n *testNode) {
		t.Helper()
		if got := talk(t, n.client, "DBSIZE", "GET lock", "EXISTS cached before", "STRLEN k:1999"); got != ":2001\r\n$5\r\ntoken\r\n:0\r\n:1000\r\n+OK\r\n" {
			t.Errorf("%s holds after the restore: %q", n.id, got)
		}
	}
	check(fresh[0])
	fresh[0].kill()
	fresh[0].run(t)
	healthy(t, fresh...)
	check(fresh[0])

	talk(t, nodes[0].client, "FLUSHALL", "SET after 1")
	if code, out := nodes[1].crema("cluster", "restore", file); code != exitOK {
		t.Fatalf("restore ended with %d: %s", code, out)
	}
	for _, n := range nodes {
		check(n)
	}
	sameState(t, nodes)
	if err := os.WriteFile(file, []byte("crema\x00s\x01 and then nothing of the kind"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _ := nodes[0].crema("cluster", "restore", file); code != exitFailed {
		t.Errorf("what is no snapshot was restored: %d", code)
	}
	check(nodes[0])
}

// Alone there is no cluster to look at, and nothing that a check could miss.
func TestWithoutCluster(t *testing.T) {
	_, addr := start(t, nil, "--port", "0")
	n := &testNode{client: addr}
	if code, out := n.crema("cluster", "status"); code != exitFailed || !strings.Contains(out, "cluster support disabled") {
		t.Errorf("status ended with %d: %s", code, out)
	}
	if code, out := n.crema("check"); code != exitOK {
		t.Errorf("check ended with %d: %s", code, out)
	}
}
