package peer

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
)

func TestAdminNeedsNoCommonCluster(t *testing.T) {
	tn := newTown()
	n1, n2 := tn.open(t, "n1", withCluster("c1")), tn.open(t, "n2", withCluster("c2"))
	answer, err := n1.CallAdmin(soon(t), n2.Addr().String(), []byte("may I join?"))
	if err != nil || string(answer) != "n1 asks n2: may I join?" {
		t.Errorf("%q, %v", answer, err)
	}
	if answer, err := n1.CallAdmin(soon(t), n1.Addr().String(), []byte("me?")); err != nil || string(answer) != "n1 asks n1: me?" {
		t.Errorf("%q, %v", answer, err)
	}
}

func TestAdminNeedsTheSecret(t *testing.T) {
	tn := newTown()
	n1, n2 := tn.open(t, "n1", withSecret("a guess")), tn.open(t, "n2")
	_, err := n1.CallAdmin(soon(t), n2.Addr().String(), []byte("may I join?"))
	if !errors.Is(err, ErrNotSent) || !strings.Contains(err.Error(), "its secret is not ours") {
		t.Errorf("got %v", err)
	}
}

func TestAdminEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n1 := newTown().open(t, "n1")
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		conn, err := l.Accept()
		if err == nil {
			defer conn.Close()
			conn.Read(make([]byte, 1))
			cancel()
			conn.Read(make([]byte, 1<<10))
		}
	}()
	if _, err := n1.CallAdmin(ctx, l.Addr().String(), nil); err == nil {
		t.Error("answered by nobody")
	}
}
