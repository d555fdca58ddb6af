package wal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Entries of any shape come back, from any index, in a segment that they fill to
// the last byte and in one that is too small for them.
func TestOddEntries(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	opt := Options{SegmentBytes: 4 << 10, Sync: unsynced}
	l := open(t, dir, opt)
	var want []*raft.Log
	index := uint64(math.MaxInt64 - 3)
	for _, e := range []raft.Log{
		{},
		{Data: []byte{0}},
		{Extensions: []byte("no data")},
		{Term: math.MaxUint64, Type: 255},
		{Data: make([]byte, 4<<10-headerBytes-5*entryBytes-1-len("no data"))}, // the rest
		{Data: make([]byte, 4<<10-headerBytes-entryBytes)},                    // a whole segment
		{Data: make([]byte, 20<<20), Extensions: make([]byte, 3<<20)},
		{Data: make([]byte, 1)},
	} {
		e.Index = index
		index++
		if err := l.Append([]*raft.Log{&e}); err != nil {
			t.Fatal(err)
		}
		want = append(want, &e)
	}
	if n := len(l.segments); n != 4 {
		t.Errorf("%d segments", n)
	}
	if s := l.segments[0]; s.end != opt.SegmentBytes || s.size != s.end {
		t.Errorf("the first segment ends at %d of %d", s.end, s.size)
	}
	if cap(l.buf) > keptBuffer {
		t.Errorf("%d bytes are kept", cap(l.buf))
	}
	holds(t, l, want)
	l.Close()
	holds(t, open(t, dir, opt), want)
}

// What is not ours is neither touched nor in the way; what passes for ours and is
// not is an error that names it.
func TestForeignFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	opt := Options{SegmentBytes: 4 << 10, Sync: unsynced}
	l := open(t, dir, opt)
	want := batch(rand.New(rand.NewPCG(9, 1)), 7, 3, 100)
	if err := l.Append(want); err != nil {
		t.Fatal(err)
	}
	l.Close()
	foreign := []string{"notes", "0000000000000007.seg~", "0000000000000009.seg.synced", "a.tmp/b", "c.spare/d", "lost+found/e"}
	for _, name := range foreign {
		write(t, filepath.Join(dir, name), []byte("theirs"))
	}
	write(t, filepath.Join(dir, segmentName(99)+newSuffix), nil)
	l = open(t, dir, opt)
	for index := uint64(10); len(l.segments) < 3; index++ {
		more := batch(rand.New(rand.NewPCG(9, 2)), index, 1, 1000)
		if err := l.Append(more); err != nil {
			t.Fatal(err)
		}
		want = append(want, more...)
	}
	holds(t, l, want)
	l.Close()
	for _, name := range foreign {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, segmentName(99)+newSuffix)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was never named is there: %v", err)
	}

	newer := appendHeader(nil, 8, 0, 0)
	newer[11]++
	binary.BigEndian.PutUint32(newer[headerBytes-4:], crc32.Checksum(newer[:headerBytes-4], castagnoli))
	for _, wrong := range []struct {
		name string
		b    []byte
		want error
	}{
		{segmentName(1), nil, ErrDamaged},
		{segmentName(math.MaxUint64), nil, ErrDamaged},
		{"copy of it.seg", appendHeader(nil, 7, 0, 0), ErrDamaged},
		{segmentName(8), newer, ErrNewer},
	} {
		path := filepath.Join(dir, wrong.name)
		write(t, path, wrong.b)
		if _, err := Open(dir, opt); !errors.Is(err, wrong.want) || !strings.Contains(err.Error(), wrong.name) {
			t.Errorf("%s: %v", wrong.name, err)
		}
		os.Remove(path)
	}
	write(t, filepath.Join(dir, segmentName(1), "f"), nil)
	if _, err := Open(dir, opt); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("a directory in the place of a segment: %v", err)
	}
}

// A spare segment that somebody removes is not missed.
func TestSpareRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := open(t, dir, Options{SegmentBytes: 4 << 10, Sync: unsynced})
	var want []*raft.Log
	r := rand.New(rand.NewPCG(9, 3))
	for index := uint64(1); len(l.segments) < 3; index++ {
		want = append(want, batch(r, index, 1, 1000)...)
		if err := l.Append(want[index-1:]); err != nil {
			t.Fatal(err)
		}
	}
	from := l.tail().first
	if err := l.DeleteRange(1, from-1); err != nil {
		t.Fatal(err)
	}
	want = want[from-1:]
	spares, _ := filepath.Glob(filepath.Join(dir, "*"+spareSuffix))
	if len(spares) != 2 {
		t.Fatalf("spares %v", spares)
	}
	for _, path := range spares {
		os.Remove(path)
	}
	for len(l.segments) < 4 {
		more := batch(r, want[len(want)-1].Index+1, 1, 1000)
		if err := l.Append(more); err != nil {
			t.Fatal(err)
		}
		want = append(want, more...)
	}
	holds(t, l, want)
}
