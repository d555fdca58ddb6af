package peer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// refused waits until n says why it has no link, and checks both logs.
func refused(t *testing.T, n, by *node, sentence string) {
	t.Helper()
	awaitThat(t, n.id+" says: "+sentence, func() bool { return strings.Contains(n.log.String(), sentence) })
	if by != nil {
		awaitThat(t, by.id+" says that it refused", func() bool { return by.log.count("refused a connection") == 1 })
	}
	if _, err := n.Call(soon(t), "n2", nil); !errors.Is(err, ErrNotSent) {
		t.Errorf("call without a link: %v", err)
	}
	if n.Post("n2", nil) || n.Linked("n2") || n.Dropped() != 1 {
		t.Errorf("post without a link: linked %v, dropped %d", n.Linked("n2"), n.Dropped())
	}
}

func TestNodesAnnounceThemselves(t *testing.T) {
	pair(t, []option{withCluster("c1")}, []option{withCluster("c1")})
	tn := newTown()
	a, b := tn.open(t, "a"), tn.open(t, "b", withCluster("c1"))
	a.SetPeers([]string{"b"})
	a.await(t, "known b client-of-b:6379")
	b.await(t, "known a client-of-a:6379")
}

func TestWrongSecretIsRefused(t *testing.T) {
	tn := newTown()
	n1, n2 := tn.open(t, "n1", withSecret("a guess")), tn.open(t, "n2")
	n1.SetPeers([]string{"n2"})
	refused(t, n1, n2, "its secret is not ours")
}

// An acceptor that does not know the secret is not believed either.
func TestWrongSecretOfTheAcceptor(t *testing.T) {
	near, far := net.Pipe()
	go func() {
		_, w, err := receive(far, "hush")
		if err == nil {
			w.secret = "a guess"
			w.welcome("n2", "", Address{})
		}
	}()
	if _, err := introduce(near, "hush", hello{purpose: purposeLink, from: "n1", to: "n2"}); !errors.Is(err, errSecret) {
		t.Errorf("got %v", err)
	}
}

// One side's proof, sent back, is not the other's.
func TestProofsAreNotReflected(t *testing.T) {
	said, challenge := []byte("hello"), make([]byte, nonceBytes)
	if bytes.Equal(proof("s", "dialer", said, challenge), proof("s", "acceptor", said, challenge)) {
		t.Error("both roles prove the same")
	}
	if bytes.Equal(proof("s", "dialer", []byte("ab"), []byte("c")), proof("s", "dialer", []byte("a"), []byte("bc"))) {
		t.Error("parts run into each other")
	}
}

func TestOtherClusterIsRefused(t *testing.T) {
	tn := newTown()
	n1, n2 := tn.open(t, "n1", withCluster("c1")), tn.open(t, "n2", withCluster("c2"))
	n1.SetPeers([]string{"n2"})
	refused(t, n1, n2, "node n2 belongs to cluster c2, not to c1")
}

func TestOtherNodeIsRefused(t *testing.T) {
	tn := newTown()
	n1, n3 := tn.open(t, "n1"), tn.open(t, "n3")
	tn.move("n2", tn.where("n3"))
	n1.SetPeers([]string{"n2"})
	refused(t, n1, n3, "this is node n3, not n2")
}

func TestOwnIDIsRefused(t *testing.T) {
	tn, other := newTown(), newTown()
	twin := tn.open(t, "n2")
	other.open(t, "n2")
	tn.move("n2", other.where("n2"))
	if _, _, err := twin.dialNode(soon(t), "n2", purposeLink, dialTimeout); err == nil || !strings.Contains(err.Error(), "node ids must differ") {
		t.Errorf("got %v", err)
	}
}

// Two nodes that knew of no cluster had a link; now each belongs to one.
func TestLinkEndsWhenClustersDiffer(t *testing.T) {
	n1, n2 := pair(t, nil, nil)
	c1, c2 := "c1", "c2"
	n1.cluster.Store(&c1)
	n1.await(t, "unlinked n2")
	n1.await(t, "linked n2") // n2 may still join c1
	n2.cluster.Store(&c2)
	n1.await(t, "unlinked n2")
	awaitThat(t, "n1 says why", func() bool { return n1.log.count("belongs to cluster c2") == 1 })
}

func TestRubbish(t *testing.T) {
	tn := newTown()
	n2 := tn.open(t, "n2")
	for _, said := range []string{
		"GET / HTTP/1.1\r\nHost: n2\r\n\r\n",
		"*1\r\n$4\r\nPING\r\n",
		magic + "\xff\xff" + strings.Repeat("x", 70000),
		magic + "\x00\x03abc",
		magic + "\x00\x40" + strings.Repeat("\xff", 64),
	} {
		conn, err := net.Dial("tcp", n2.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, said)
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%.20q: still open", said)
		}
		conn.Close()
	}
	awaitThat(t, "one line", func() bool { return n2.log.count("refused a connection") == 1 })
	n1 := tn.open(t, "n1")
	n1.SetPeers([]string{"n2"})
	n1.await(t, "linked n2")
	if got := n2.log.count("refused a connection"); got != 1 {
		t.Errorf("%d lines about strangers", got)
	}
}

func TestOtherVersionIsToldSo(t *testing.T) {
	n2 := newTown().open(t, "n2")
	conn, err := net.Dial("tcp", n2.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, magic[:len(magic)-1]+"\x07")
	if _, err := readSaid(conn, saidChallenge); !errors.Is(err, errRefused) || !strings.Contains(err.Error(), "version 7") {
		t.Errorf("got %v", err)
	}
}

// More strangers than there is room for say nothing: the oldest are closed, and
// a node still gets in.
func TestHalfHandshakes(t *testing.T) {
	tn := newTown()
	n1, n2 := tn.open(t, "n1"), tn.open(t, "n2")
	var idle []net.Conn
	for range maxKnocking + 40 {
		conn, err := net.Dial("tcp", n2.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, magic[:5])
		idle = append(idle, conn)
	}
	idle[0].SetDeadline(time.Now().Add(patience))
	if _, err := idle[0].Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the oldest is still open: %v", err)
	}
	n1.SetPeers([]string{"n2"})
	n1.await(t, "linked n2")
	n2.mu.Lock()
	defer n2.mu.Unlock()
	if got := len(n2.knocking); got > maxKnocking {
		t.Errorf("%d connections without a handshake", got)
	}
}

func TestSilentStrangerIsClosed(t *testing.T) {
	t.Parallel()
	n2 := newTown().open(t, "n2")
	conn, err := net.Dial("tcp", n2.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}

func TestComplaintsAreRareAndBounded(t *testing.T) {
	c := complaints{last: map[string]time.Time{}}
	now := time.Now()
	if !c.due("n1", now) || c.due("n1", now.Add(complainEvery-1)) || !c.due("n1", now.Add(complainEvery)) {
		t.Error("not once per minute")
	}
	for i := range 10 * maxComplaints {
		c.due(strings.Repeat("x", i), now)
	}
	if len(c.last) > maxComplaints+1 {
		t.Errorf("%d remembered", len(c.last))
	}
}
