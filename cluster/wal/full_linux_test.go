package wal

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// What found no room is not found at the next start either, though entries of it
// were written whole; and what fits is taken, though the zeros behind it do not.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	small := t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(small, syscall.MNT_DETACH) })
	r := rand.New(rand.NewPCG(9, 10))
	dir := filepath.Join(small, "log")
	l := open(t, dir, Options{})
	want := batch(r, 1, 3, 100)
	if err := l.Append(want); err != nil {
		t.Fatal(err)
	}
	found := func() {
		t.Helper()
		holds(t, l, want)
		copied := filepath.Join(t.TempDir(), "log")
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		holds(t, open(t, copied, Options{}), want)
	}
	refused := append(batch(r, 4, 5, 100), batch(r, 9, 1, 2<<20)...)
	for range 2 {
		if err := l.Append(refused); !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		found()
	}
	for { // until nothing fits, not even without zeros
		more := batch(r, want[len(want)-1].Index+1, 2, 10_000)
		if err := l.Append(more); errors.Is(err, syscall.ENOSPC) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		want = append(want, more...)
	}
	found()
	if n := len(want) * 10_000; n < 900_000 {
		t.Errorf("%d bytes were taken of a megabyte", n)
	}
}
