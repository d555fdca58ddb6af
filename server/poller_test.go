//go:build linux

package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"crema/server"
)

// onePoller has one poller serve all connections, whatever the machine.
func onePoller(t *testing.T) {
	was := runtime.GOMAXPROCS(2)
	t.Cleanup(func() { runtime.GOMAXPROCS(was) })
}

// A turn that waits, or computes for long, is not waited for by others.
func TestOthersAreServedDuringATurn(t *testing.T) {
	onePoller(t)
	srv := serving(t, server.Config{})
	a, b := connect(t, srv.Addr()), connect(t, srv.Addr())
	a.wants(t, "OK", "CLIENT", "PAUSE", "60000", "WRITE")
	a.send(encodeCommand([]string{"SET", "k", "v"}))
	awaitCommand(t, srv.Addr(), "client|pause", 1)
	b.wants(t, "PONG", "PING")
	b.wants(t, "OK", "CLIENT", "UNPAUSE")
	if got := a.read().text(); got != "OK" {
		t.Errorf("SET was answered %s", got)
	}
	looping := busy(t, srv.Addr())
	b.wants(t, "PONG", "PING")
	b.wants(t, "OK", "SCRIPT", "KILL")
	looping.read()
	looping.wants(t, "PONG", "PING")
}

// A client that asks and does not read holds up nobody, and gets everything once
// it reads.
func TestAClientThatDoesNotReadWaitsAlone(t *testing.T) {
	onePoller(t)
	srv := serving(t, server.Config{})
	value := strings.Repeat("v", 1<<20)
	a, b := connect(t, srv.Addr()), connect(t, srv.Addr())
	b.wants(t, "OK", "SET", "large", value)
	const asked = 64
	go a.send(bytes.Repeat(encodeCommand([]string{"GET", "large"}), asked))
	awaitCommand(t, srv.Addr(), "get", 1)
	for range 100 {
		b.wants(t, "PONG", "PING")
	}
	for i := range asked {
		if got := a.read().frame.text; got != value {
			t.Fatalf("reply %d has %d bytes", i, len(got))
		}
	}
	a.wants(t, "PONG", "PING")
}

// Connections that come, hang up in the middle and are killed leave nothing
// behind, and nobody gets another's answers when descriptors are used again.
func TestConnectionsComeAndGo(t *testing.T) {
	onePoller(t)
	srv := serving(t, server.Config{})
	var clients sync.WaitGroup
	for g := range 8 {
		clients.Go(func() {
			for i := range 50 {
				sock, err := net.Dial("tcp", srv.Addr())
				if err != nil {
					t.Error(err)
					return
				}
				text := fmt.Sprintf("client %d connection %d", g, i)
				fmt.Fprintf(sock, "*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n", len(text), text)
				switch i % 5 {
				case 0: // hangs up without reading
				case 1: // resets
					sock.(*net.TCPConn).SetLinger(0)
				default:
					want := fmt.Sprintf("$%d\r\n%s\r\n", len(text), text)
					got := make([]byte, len(want))
					sock.SetReadDeadline(time.Now().Add(10 * time.Second))
					if _, err := io.ReadFull(sock, got); err != nil || string(got) != want {
						t.Errorf("%s was answered %q, %v", text, got, err)
					}
				}
				sock.Close()
			}
		})
	}
	control := connect(t, srv.Addr())
	for range 50 {
		idle := connect(t, srv.Addr())
		id := strings.TrimPrefix(idle.do("CLIENT", "ID").text(), "(integer) ")
		control.wants(t, "(integer) 1", "CLIENT", "KILL", "ID", id)
		if got := idle.read().text(); got != "(closed)" {
			t.Errorf("a killed client was told %s", got)
		}
	}
	clients.Wait()
	await(t, func() bool { return strings.Count(control.do("CLIENT", "LIST").frame.text, "\n") == 1 })
}
