package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func open(t testing.TB, dir string, opt Options) *Log {
	t.Helper()
	l, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func unsynced(string, *os.File, int64, int64) error { return nil }

// entry is one with data of that many bytes.
func entry(r *rand.Rand, index uint64, size int) *raft.Log {
	e := &raft.Log{Index: index, Term: 1 + r.Uint64N(9), Type: raft.LogType(r.IntN(5))}
	if size > 0 {
		e.Data = make([]byte, size)
		for i := range e.Data {
			e.Data[i] = byte(r.Uint32())
		}
	}
	if r.IntN(2) == 0 {
		e.Extensions = []byte(fmt.Sprint("of ", index))
	}
	if r.IntN(2) == 0 {
		e.AppendedAt = time.Unix(0, r.Int64())
	}
	return e
}

func batch(r *rand.Rand, first uint64, n, size int) (all []*raft.Log) {
	for i := range uint64(n) {
		all = append(all, entry(r, first+i, size))
	}
	return all
}

func same(a, b *raft.Log) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Type == b.Type && a.AppendedAt.Equal(b.AppendedAt) &&
		bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Extensions, b.Extensions)
}

// holds demands exactly these entries.
func holds(t testing.TB, l *Log, want []*raft.Log) {
	t.Helper()
	first, last := uint64(0), uint64(0)
	if n := len(want); n > 0 {
		first, last = want[0].Index, want[n-1].Index
	}
	if got, _ := l.FirstIndex(); got != first {
		t.Fatalf("the first entry is %d, not %d", got, first)
	}
	if got, _ := l.LastIndex(); got != last {
		t.Fatalf("the last entry is %d, not %d", got, last)
	}
	var e raft.Log
	for _, w := range want {
		if err := l.GetLog(w.Index, &e); err != nil || !same(&e, w) {
			t.Fatalf("entry %d: %v, is %+v, not %+v", w.Index, err, e, w)
		}
	}
	for _, index := range []uint64{first - 1, last + 1} {
		if err := l.GetLog(index, &e); err != raft.ErrLogNotFound {
			t.Fatalf("entry %d, which is not there: %v", index, err)
		}
	}
}

// held is what a log holds.
func held(t testing.TB, l *Log) (all []*raft.Log) {
	first, _ := l.FirstIndex()
	last, _ := l.LastIndex()
	for index := first; index <= last && index > 0; index++ {
		e := &raft.Log{}
		if err := l.GetLog(index, e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// prefix says whether a is what b begins with.
func prefix(a, b []*raft.Log) bool {
	return len(a) <= len(b) && slices.EqualFunc(a, b[:len(a)], same)
}

// Whatever is done, the log is what a list would be, now and after a crash at any
// moment; what was refused may be found after one.
func TestLikeAList(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	rounds := 3000
	if testing.Short() {
		rounds = 600
	}
	dir := filepath.Join(t.TempDir(), "log")
	refusals := 0
	opt := Options{SegmentBytes: 4 << 10, Sync: unsynced, step: func(op, path string) error {
		if op != "write" || refusals == 0 {
			return nil
		}
		refusals--
		return &os.PathError{Op: op, Path: path, Err: syscall.ENOSPC}
	}}
	l := open(t, dir, opt)
	var want, refused []*raft.Log
	next := uint64(1)
	inDoubt := false
	for range rounds {
		c := r.IntN(12)
		if inDoubt {
			c = 0
		}
		switch n := uint64(len(want)); c {
		case 0:
			inDoubt = false
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = open(t, dir, opt)
			if all := held(t, l); n > 0 && prefix(want, all) && prefix(all[n:], refused) {
				want = all
			} else if n > 0 && len(all) > 0 { // segments with entries that were deleted may be there
				if all[0].Index > want[0].Index {
					t.Fatalf("entry %d is gone", want[0].Index)
				}
				if from := want[0].Index - all[0].Index; prefix(want, all[from:]) && prefix(all[from+n:], refused) {
					want = all
				}
			} else if n == 0 && prefix(all, refused) {
				want = all
			}
			refused = nil
			if len(want) > 0 {
				next = want[len(want)-1].Index + 1
			}
		case 1:
			if n > 0 {
				cut := r.Uint64N(n) + 1
				if err := l.DeleteRange(want[0].Index, want[cut-1].Index); err != nil {
					t.Fatal(err)
				}
				if want = want[cut:]; cut == n {
					next += r.Uint64N(3)
				}
			}
		case 2:
			if n > 0 {
				cut := r.Uint64N(n)
				next = want[cut].Index
				if err := l.DeleteRange(next, want[n-1].Index+r.Uint64N(2)); err != nil {
					t.Fatal(err)
				}
				want, refused = want[:cut], nil
			}
		case 3:
			refusals = 1 + r.IntN(2)
			more := batch(r, next, 1+r.IntN(3), r.IntN(700))
			var why *os.PathError
			if err := l.Append(more); err == nil { // there was room for what counts
				want, refused = append(want, more...), nil
				next += uint64(len(more))
			} else if !errors.As(err, &why) {
				refused, inDoubt = more, true
			}
			refusals = 0
		default:
			more := batch(r, next, 1+r.IntN(4), []int{0, 1, 100, 100, 900, 6000}[r.IntN(6)])
			add := l.Append
			if r.IntN(2) == 0 {
				add = l.Write
			}
			if err := add(more); err != nil {
				t.Fatal(err)
			}
			want, refused = append(want, more...), nil
			next += uint64(len(more))
		}
		holds(t, l, want)
		if bytes := l.Bytes(); len(want) == 0 && bytes > (maxSpares+1)*opt.SegmentBytes {
			t.Fatalf("an empty log takes %d bytes", bytes)
		}
	}
	if err := l.Append(batch(r, next+1, 1, 1)); err == nil && len(want) > 0 {
		t.Error("a gap was taken")
	}
}

// recycled is a log whose last segment was another one before, full of entries of
// the same size, and the file of that segment before the last append and after it.
func recycled(t *testing.T, n int) (dir string, want, last []*raft.Log, path string, before, after []byte) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	dir = filepath.Join(t.TempDir(), "log")
	l := open(t, dir, Options{SegmentBytes: 4 << 10})
	next := uint64(1)
	add := func(n int) (more []*raft.Log) {
		for i := range uint64(n) {
			more = append(more, &raft.Log{Index: next + i, Term: 1, Data: []byte(fmt.Sprintf("%090d", r.Uint64()))})
		}
		if err := l.Append(more); err != nil {
			t.Fatal(err)
		}
		next += uint64(n)
		want = append(want, more...)
		return more
	}
	for len(l.segments) < 3 {
		add(1)
	}
	if err := l.DeleteRange(1, l.segments[1].first-1); err != nil {
		t.Fatal(err)
	}
	want = want[l.first-1:]
	if len(l.spares) != 1 {
		t.Fatalf("%d spares", len(l.spares))
	}
	for len(l.segments) < 3 {
		add(1)
	}
	path = l.tail().path
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Count(before, []byte("00000")) < 30 {
		t.Fatal("the segment is not a used one")
	}
	kept := slices.Clone(want)
	last = add(n)
	if after, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	l.Close()
	return dir, kept, last, path, before, after
}

// An append that a crash cut off anywhere leaves the entries before it, and none
// that was there in an earlier life of the file.
func TestTornAppend(t *testing.T) {
	dir, want, last, path, before, after := recycled(t, 3)
	from, to := 0, len(after)
	for after[from] == before[from] {
		from++
	}
	for after[to-1] == before[to-1] {
		to--
	}
	try := func(file []byte) {
		t.Helper()
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Open(dir, Options{SegmentBytes: 4 << 10, Sync: unsynced})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		all := held(t, l)
		if !prefix(want, all) || !prefix(all[len(want):], last) {
			t.Fatalf("%d entries, %d were there before and %d were appended", len(all), len(want), len(last))
		}
	}
	for cut := from; cut < to; cut++ { // the beginning is written, or the end
		try(append(slices.Clone(after[:cut]), before[cut:]...))
		try(append(slices.Clone(before[:cut]), after[cut:]...))
	}
	try(after)
}

// A bit that is not what was written ends the log there, in its last segment, and
// is an error in the others. It never changes an entry.
func TestFlippedBit(t *testing.T) {
	dir, want, last, path, _, _ := recycled(t, 3)
	want = append(want, last...)
	files, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	refused := 0
	for _, file := range files {
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		end := len(whole)
		if file == path {
			end = bytes.Index(whole, last[2].Data) + len(last[2].Data)
		} else if l, err := openSegment(file); err == nil {
			end = int(l.end)
			l.f.Close()
		}
		step := 7
		if file == path {
			step = 1
		}
		for at := 0; at < end; at += step {
			flipped := slices.Clone(whole)
			flipped[at] ^= 1 << (at % 8)
			if err := os.WriteFile(file, flipped, 0o600); err != nil {
				t.Fatal(err)
			}
			l, err := Open(dir, Options{SegmentBytes: 4 << 10, Sync: unsynced})
			if err != nil {
				refused++
				if !strings.Contains(err.Error(), segmentSuffix) {
					t.Errorf("it does not say where: %v", err)
				}
				continue
			}
			if file != path {
				t.Fatalf("%s, byte %d: nobody noticed", file, at)
			}
			if all := held(t, l); !prefix(all, want) {
				t.Fatalf("byte %d: %d entries, not the first of those written", at, len(all))
			}
			l.Close()
		}
		if err := os.WriteFile(file, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "begins with entry") {
		t.Errorf("without a segment: %v", err)
	}
}

// Entries are read, and deleted from the front, while others are appended, and
// while the log is closed.
func TestReadersBeside(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "log"), Options{SegmentBytes: 8 << 10, Sync: unsynced})
	r := rand.New(rand.NewPCG(3, 4))
	var all, deleter sync.WaitGroup
	done, deleted := make(chan struct{}), make(chan struct{})
	for range 3 {
		all.Go(func() {
			var e raft.Log
			for {
				select {
				case <-done:
					return
				default:
				}
				last, _ := l.LastIndex()
				for index := last; index+20 > last && index > 0; index-- {
					if err := l.GetLog(index, &e); err != nil && err != raft.ErrLogNotFound {
						t.Error(err)
					} else if err == nil && e.Index != index {
						t.Errorf("entry %d is said to be %d", e.Index, index)
					}
				}
			}
		})
	}
	deleter.Go(func() {
		for {
			select {
			case <-deleted:
				return
			default:
			}
			first, _ := l.FirstIndex()
			if last, _ := l.LastIndex(); last > first+50 {
				if err := l.DeleteRange(first, last-50); err != nil {
					t.Error(err)
				}
			}
		}
	})
	entries := uint64(20_000)
	if testing.Short() {
		entries = 5000
	}
	for index := uint64(1); index < entries; index += 2 {
		if err := l.Append(batch(r, index, 2, 100)); err != nil {
			t.Fatal(err)
		}
	}
	close(deleted)
	deleter.Wait()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	close(done)
	all.Wait()
}

// Rubbish is an error or a log, at no great cost.
func FuzzOpen(f *testing.F) {
	l, err := Open(filepath.Join(f.TempDir(), "log"), Options{SegmentBytes: 1 << 10})
	if err != nil {
		f.Fatal(err)
	}
	if err := l.Append(batch(rand.New(rand.NewPCG(5, 6)), 1, 3, 50)); err != nil {
		f.Fatal(err)
	}
	whole, err := io.ReadAll(io.NewSectionReader(l.segments[0].f, 0, 1<<20))
	if err != nil {
		f.Fatal(err)
	}
	l.Close()
	f.Add(whole)
	f.Add(whole[:headerBytes+20])
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, segmentName(1)), b, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Open(dir, Options{Sync: unsynced})
		if err != nil {
			return
		}
		defer l.Close()
		all := held(t, l)
		more := batch(rand.New(rand.NewPCG(7, 8)), uint64(len(all))+1, 2, 10)
		if err := l.Append(more); err != nil {
			t.Fatal(err)
		}
		holds(t, l, append(all, more...))
	})
}

// BenchmarkAppend is one entry of 200 bytes at a time, synced and not.
func BenchmarkAppend(b *testing.B) {
	for name, sync := range map[string]func(string, *os.File, int64, int64) error{
		"synced": nil, "unsynced": unsynced,
	} {
		b.Run(name, func(b *testing.B) {
			l := open(b, filepath.Join(b.TempDir(), "log"), Options{Sync: sync})
			e := []*raft.Log{{Index: 1, Term: 1, Data: make([]byte, 200)}}
			b.ReportAllocs()
			longest := time.Duration(0)
			for b.Loop() {
				began := time.Now()
				if err := l.Append(e); err != nil {
					b.Fatal(err)
				}
				longest = max(longest, time.Since(began))
				if e[0].Index%50_000 == 0 {
					if err := l.DeleteRange(1, e[0].Index-100); err != nil {
						b.Fatal(err)
					}
				}
				e[0].Index++
			}
			b.ReportMetric(float64(longest.Nanoseconds()), "longest-ns")
		})
	}
}
