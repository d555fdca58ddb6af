package cluster

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"crema/cluster/wal"

	"github.com/hashicorp/raft"
)

// rawLog is a log without raft, with n entries, behind a snapshot.
func rawLog(t *testing.T, n uint64, snapshot *uint64) *logStore {
	t.Helper()
	dir, err := openDir(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dir.close)
	d := &disk{log: slog.New(slog.NewTextHandler(io.Discard, nil)), done: make(chan struct{}), probe: func() error { return nil }}
	l, err := openLog(dir, d, nil, func(int, int64) {}, func() uint64 { return *snapshot })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.stop(); l.close() })
	extend(t, l, 1, n)
	return l
}

func extend(t *testing.T, l *logStore, first, last uint64) {
	t.Helper()
	for index := first; index <= last; index++ {
		if err := l.StoreLog(&raft.Log{Index: index, Term: 1, Type: raft.LogNoop}); err != nil {
			t.Fatal(err)
		}
	}
}

func ends(t *testing.T, l *logStore, first, last uint64) {
	t.Helper()
	gotFirst, _ := l.FirstIndex()
	if got, _ := l.LastIndex(); got != last || gotFirst != first {
		t.Fatalf("the log is %d to %d, not %d to %d", gotFirst, got, first, last)
	}
}

// The end of the log is not cut before the disk knows that it will be: what is
// remembered of a longer log would have a healthy directory called damaged.
func TestTailBeforeCut(t *testing.T) {
	l := rawLog(t, 10, new(uint64))
	good := l.tail
	var err error
	if l.tail, err = os.Open(good.Name()); err != nil { // which cannot be written
		t.Fatal(err)
	}
	defer good.Close()
	if err := l.DeleteRange(6, 10); err == nil {
		t.Error("cut, and the tail is not lowered")
	}
	ends(t, l, 1, 10)
	l.tail.Close()
	l.tail = good
	l.disk.mu.Lock()
	l.disk.err, l.disk.broken = nil, false
	l.disk.mu.Unlock()
	if err := l.DeleteRange(6, 10); err != nil {
		t.Fatal(err)
	}
	ends(t, l, 1, 5)
	if tail := readTail(good.Name()); tail != 5 {
		t.Errorf("the tail is %d", tail)
	}
	extend(t, l, 6, 7)
	if _, err := l.verify(0, readTail(good.Name())); err != nil {
		t.Error(err)
	}
}

// A disk that is full in the middle of a cut does not leave raft with half of it:
// it would go on as if nothing were gone.
func TestFullWithinCut(t *testing.T) {
	l := rawLog(t, 0, new(uint64))
	l.wal.Close()
	full := false
	options := wal.Options{SegmentBytes: 1 << 10, Sync: func(string, *os.File, int64, int64) error {
		if full {
			full = false
			return noSpace
		}
		return nil
	}}
	var err error
	if l.wal, err = wal.Open(l.path, options); err != nil {
		t.Fatal(err)
	}
	extend(t, l, 1, 100)
	if segments, _ := filepath.Glob(filepath.Join(l.path, "*.seg")); len(segments) < 4 {
		t.Fatalf("%d segments", len(segments))
	}
	full = true
	if err := l.DeleteRange(40, 100); err != nil {
		t.Error(err)
	}
	if full {
		t.Error("it was not full in between")
	}
	ends(t, l, 1, 39)
	extend(t, l, 40, 50)
}

// A full disk that keeps the log before a snapshot from being dropped does not
// keep what follows the snapshot from being written when there is room.
func TestFullWhenDropping(t *testing.T) {
	snapshot := uint64(0)
	l := rawLog(t, 10, &snapshot)
	snapshot = 50
	l.disk.setFault(noSpace)
	if err := l.DeleteRange(1, 10); err == nil {
		t.Fatal("dropped from a full disk")
	}
	if err := l.StoreLog(&raft.Log{Index: 51}); err == nil {
		t.Fatal("written to a full disk")
	}
	ends(t, l, 1, 10)
	l.disk.setFault(nil)
	extend(t, l, 51, 53)
	ends(t, l, 51, 53)
	if _, err := l.verify(snapshot, readTail(l.tail.Name())); err != nil {
		t.Error(err)
	}
}

// A disk that breaks while something else is written to it stays so.
func TestBrokenBeside(t *testing.T) {
	d := rawLog(t, 1, new(uint64)).disk
	err := d.try(func() error {
		d.try(func() error { return syscall.EIO })
		return nil
	})
	if err != nil || !d.isBroken() || d.failure() == nil {
		t.Errorf("%v, and the disk is whole again", err)
	}
}

// A sync that finds no space is one that failed.
func TestFullAtSync(t *testing.T) {
	dir := t.TempDir()
	for op, want := range map[string]bool{"sync": false, "write": true} {
		err := *noSpace
		err.Op, err.Path = op, dir
		if isFull(&err) != want {
			t.Errorf("%s: tried again %v", op, !want)
		}
	}
}

// The term file is replaced, and refuses to be anything else than what was written.
func TestTermFile(t *testing.T) {
	l := rawLog(t, 1, new(uint64))
	if _, err := l.Get([]byte("CurrentTerm")); err == nil || err.Error() != "not found" {
		t.Errorf("raft does not know %v", err)
	}
	for term := uint64(1); term < 4; term++ {
		if err := l.SetUint64([]byte("CurrentTerm"), term); err != nil {
			t.Fatal(err)
		}
		if err := l.Set([]byte("LastVoteCand"), nil); err != nil {
			t.Fatal(err)
		}
	}
	// A temporary file that was cut off is nothing.
	if err := os.WriteFile(l.stable.path+".tmp", []byte(stableHead), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := openStable(l.stable.path)
	if err != nil {
		t.Fatal(err)
	}
	if term, err := (&logStore{stable: again}).GetUint64([]byte("CurrentTerm")); term != 3 || err != nil {
		t.Errorf("term %d, %v", term, err)
	}
	whole := readFile(t, l.stable.path)
	for _, b := range []string{"", string(whole[:len(whole)-1]), string(whole) + "\n", strings.Replace(string(whole), "3", "2", 1), string(whole[:5])} {
		if err := os.WriteFile(l.stable.path, []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openStable(l.stable.path); err == nil {
			t.Errorf("%q is believed", b)
		}
	}
}
