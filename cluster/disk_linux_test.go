package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"crema/store"
)

// A real file system of a few megabytes runs full and heals.
func TestFullFileSystem(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a file system takes root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	n, st := open(t, Config{Dir: filepath.Join(dir, "data")})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 12<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	value := strings.Repeat("v", 100<<10)
	var err error
	written := 0
	for ; written < 1000 && err == nil; written++ {
		err = set(n, st, fmt.Sprint("k", written), value)
	}
	t.Logf("%d writes of 100 KiB, then: %v", written-1, err)
	if !errors.Is(err, ErrUnavailable) {
		t.Fatal("it was never full")
	}
	for i := range written - 1 {
		wants(t, st, fmt.Sprint("k", i), value)
	}
	if _, there := get(t, st, fmt.Sprint("k", written-1)); there {
		t.Error("a refused write is there")
	}
	// It is not there after a restart either, however much of it had been written.
	killed, killedStore := open(t, Config{Dir: copyDir(t, n.cfg.Dir)})
	if !bytes.Equal(state(t, killedStore), state(t, st)) {
		t.Error("a refused write is there after a restart")
	}
	killed.Close()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	until(t, func() error { return set(n, st, "after", "room") }, ErrUnavailable)
	want := state(t, st)
	n.Close()

	// To start on a full disk is refused, or succeeds if there is just enough.
	fill(t, ballast)
	data := n.cfg.Dir
	st = store.New(store.Config{})
	if n, err = Open(Config{Dir: data}, st); err == nil {
		n.Close()
	} else if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("start on a full disk: %v", err)
	}
	t.Logf("start on a full disk: %v", err)
	st.Close()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	_, st = open(t, Config{Dir: data})
	if !bytes.Equal(state(t, st), want) {
		t.Error("the state is another one after the restart")
	}
}

// fill writes until there is no space left.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 64<<10))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}
