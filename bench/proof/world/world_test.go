//go:build linux

package world

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// newWorld has nodes that are redis-servers, which know nothing of each other.
func newWorld(t *testing.T) (*World, *atomic.Int32) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip(err)
	}
	redis, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := filepath.Join(t.TempDir(), DirName())
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "node")
	text := fmt.Sprintf("#!/bin/sh\nexec %s --port %d --protected-mode no --save ''\n", redis, clientPort)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	var deaths atomic.Int32
	w, err := New(Config{Binary: script, Nodes: 2, Dir: dir, DiskMB: 4, OnExit: func(*Node, string) { deaths.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Close()
		spaces, _ := exec.Command("ip", "netns", "list").Output()
		mounts, _ := os.ReadFile("/proc/mounts")
		if strings.Contains(string(spaces), fmt.Sprintf("%s-%d-", prefix, os.Getpid())) || strings.Contains(string(mounts), dir) {
			t.Error("namespaces or mounts are left behind")
		}
	})
	for _, n := range w.Nodes {
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
	}
	return w, &deaths
}

// ping says how long an answer takes.
func ping(address string, timeout time.Duration) (time.Duration, error) {
	started := time.Now()
	conn, err := net.DialTimeout("tcp", address, timeout)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	conn.SetDeadline(started.Add(timeout))
	fmt.Fprint(conn, "PING\r\n")
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && line != "+PONG\r\n" {
		err = fmt.Errorf("answered %q", line)
	}
	return time.Since(started), err
}

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestWorld(t *testing.T) {
	w, deaths := newWorld(t)
	a, b := w.Nodes[0], w.Nodes[1]
	alive := func(n *Node) func() error {
		return func() error { _, err := ping(n.Address, time.Second); return err }
	}
	eventually(t, "start", alive(a))
	eventually(t, "start", alive(b))

	// One direction is enough to be cut off, and cuts lie over each other.
	w.Network.Cut(a.Port, w.Clients)
	w.Network.Cut(a.Port, w.Clients)
	w.Network.Mend(a.Port, w.Clients)
	if alive(a)() == nil {
		t.Error("a cut link carries")
	}
	if _, err := ping(b.Address, 10*time.Second); err != nil {
		t.Error("another link is cut too:", err)
	}
	w.Network.Mend(a.Port, w.Clients)
	eventually(t, "mend", alive(a))

	// A handshake and a request are two round trips.
	slow := Quality{Delay: 30 * time.Millisecond}
	w.Network.Degrade(a.Port, w.Clients, slow)
	w.Network.Degrade(w.Clients, a.Port, slow)
	if took, err := ping(a.Address, 20*time.Second); err != nil || took < 4*slow.Delay {
		t.Errorf("took %s (%v), want at least %s", took, err, 4*slow.Delay)
	}
	w.Network.Degrade(a.Port, w.Clients, Quality{Loss: 1})
	if alive(a)() == nil {
		t.Error("a link that loses everything carries")
	}
	w.Network.Degrade(a.Port, w.Clients, Quality{})
	w.Network.Degrade(w.Clients, a.Port, Quality{})
	eventually(t, "no loss", alive(a))

	a.Pause()
	if alive(a)() == nil {
		t.Error("a stopped process answers")
	}
	a.Resume()
	eventually(t, "resume", alive(a))

	a.Kill()
	if a.Running() || alive(a)() == nil {
		t.Error("a killed process answers")
	}
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "start again", alive(a))
	if _, err := a.Terminate(); err != nil {
		t.Error(err)
	}
	if deaths.Load() != 0 {
		t.Error("asked deaths were reported")
	}
	b.signal(syscall.SIGKILL)
	eventually(t, "a death that nobody asked for is reported", func() error {
		if deaths.Load() != 1 {
			return fmt.Errorf("%d deaths", deaths.Load())
		}
		return nil
	})
}

func TestDisk(t *testing.T) {
	w, _ := newWorld(t)
	n := w.Nodes[0]
	path := filepath.Join(n.Dir, "file")
	if err := n.FillDisk(); err != nil {
		t.Fatal(err)
	}
	if os.WriteFile(path, make([]byte, 4096), 0o644) == nil {
		t.Error("a full disk takes more")
	}
	if err := n.EmptyDisk(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("unsynced"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+syncedSuffix, []byte("synced"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := n.LosePower(); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); string(text) != "synced" {
		t.Errorf("after a power loss it holds %q", text)
	}
	if err := n.Control(func(c *Control) { c.ClockOffsetMillis, c.Break = -60000, []string{"fsync"} }); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(n.control); string(text) != `{"clock_offset_ms":-60000,"break":["fsync"]}` {
		t.Errorf("control file: %s", text)
	}
	if err := n.LoseDisk(); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(n.Dir); err != nil || len(entries) != 0 {
		t.Errorf("a lost disk holds %v (%v)", entries, err)
	}
}
