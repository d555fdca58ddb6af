package cluster

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"crema/store"
)

func (d *disk) setFault(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = func() error { return err }
	if err == nil {
		d.fault = nil
	}
}

// lines is a log that a test reads while the node writes it.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// until tries a write again for as long as it is refused with want.
func until(t *testing.T, write func() error, want error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := write()
		if err == nil {
			return
		}
		if !errors.Is(err, want) || time.Now().After(deadline) {
			t.Fatalf("write: %v", err)
		}
		time.Sleep(10 * time.Millisecond) // a client that retries
	}
}

// A full disk refuses writes, changes nothing, serves reads, and heals.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	var log lines
	n, st := open(t, Config{Dir: dir, Log: log.logger()})
	mustSet(t, n, st, "k", "before")
	n.disk.setFault(&fs.PathError{Op: "write", Path: n.log.path, Err: syscall.ENOSPC})
	for range 3 {
		if err := set(n, st, "k", "refused"); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("set: %v", err)
		}
		wants(t, st, "k", "before")
	}
	if err := n.Stats().DiskError; !errors.Is(err, ErrDiskFull) {
		t.Errorf("DiskError: %v", err)
	}
	n.disk.setFault(nil)
	until(t, func() error { return set(n, st, "k", "after") }, ErrUnavailable)
	wants(t, st, "k", "after")
	await(t, "it says that there is room", func() bool { return log.count("can be written again") > 0 })
	if full, again := log.count("no space left for the log: pinned"), log.count("can be written again"); full != 1 || again != 1 {
		t.Errorf("%d and %d lines", full, again)
	}
	n.Close()
	_, st = open(t, Config{Dir: dir})
	wants(t, st, "k", "after")
}

// After a failed sync nobody knows what the disk holds: in doubt, and nothing
// more until the next start has read it.
func TestBrokenDisk(t *testing.T) {
	dir := t.TempDir()
	var log lines
	n, st := open(t, Config{Dir: dir, Log: log.logger()})
	mustSet(t, n, st, "k", "before")
	n.disk.setFault(syscall.EIO)
	if err := set(n, st, "k", "in doubt"); !errors.Is(err, ErrInDoubt) || errors.Is(err, ErrUnavailable) {
		t.Fatalf("set: %v", err)
	}
	wants(t, st, "k", "before")
	n.disk.setFault(nil)
	for range 3 {
		if err := set(n, st, "k", "refused"); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrInDoubt) {
			t.Fatalf("set: %v", err)
		}
	}
	if n := log.count("until crema is restarted"); n != 1 {
		t.Errorf("%d lines", n)
	}
	if err := n.Close(); err != nil { // as it is after closeWithin
		t.Errorf("Close: %v", err)
	}
	n, st = open(t, Config{Dir: dir})
	wants(t, st, "k", "before")
	mustSet(t, n, st, "k", "after")
}

func TestCloseWhileFull(t *testing.T) {
	n, st := open(t, Config{Dir: t.TempDir()})
	n.disk.setFault(&fs.PathError{Op: "write", Path: n.log.path, Err: syscall.ENOSPC})
	if err := set(n, st, "k", "v"); !errors.Is(err, ErrDiskFull) {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil { // as it is after closeWithin
		t.Errorf("Close: %v", err)
	}
}

// A disk that hangs does not keep the process from ending, and what was on its
// way is in doubt.
func TestCloseWhileHung(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes closeWithin")
	}
	st := store.New(store.Config{})
	defer st.Close()
	n, err := Open(Config{Dir: t.TempDir()}, st)
	if err != nil {
		t.Fatal(err)
	}
	mustSet(t, n, st, "k", "before")
	hanging, release := make(chan struct{}), make(chan struct{})
	n.disk.mu.Lock()
	n.disk.fault = func() error {
		close(hanging)
		<-release
		return syscall.EIO
	}
	n.disk.mu.Unlock()
	result := make(chan error)
	go func() { result <- set(n, st, "k", "after") }()
	<-hanging
	closed := make(chan error)
	go func() { closed <- n.Close() }()
	if err := <-result; !errors.Is(err, ErrInDoubt) {
		t.Errorf("set: %v", err)
	}
	if err := <-closed; err == nil {
		t.Error("Close has nothing to say about a disk that hangs")
	}
	wants(t, st, "k", "before")
	close(release)
}
