package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crema/store"
)

// open starts a node on dir with a store of its own, for as long as the test.
func open(t testing.TB, cfg Config) (*Node, *store.Store) {
	t.Helper()
	st := store.New(store.Config{})
	n, err := Open(cfg, st)
	if err != nil {
		st.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		st.Close()
	})
	return n, st
}

// refused is the error of a start that must not succeed.
func refused(t *testing.T, dir string, want error) error {
	t.Helper()
	st := store.New(store.Config{})
	defer st.Close()
	n, err := Open(Config{Dir: dir}, st)
	if err == nil {
		n.Close()
	}
	if !errors.Is(err, want) {
		t.Fatalf("Open: %v, want %v", err, want)
	}
	return err
}

// change evaluates f under the shard of key and waits for the log.
func change(n *Node, st *store.Store, key string, f func(tx *store.Tx)) error {
	for {
		n.WaitRoom()
		var tx store.Tx
		if err := tx.Begin(st, time.Now().UnixMilli(), 0, store.Scope{Shards: st.ShardOf([]byte(key))}); err != nil {
			return err
		}
		f(&tx)
		if blocked := tx.Blocked(); blocked != nil {
			tx.End()
			<-blocked.Done()
			continue
		}
		p := tx.Hand()
		n.Propose(p)
		tx.End()
		return p.Wait()
	}
}

func set(n *Node, st *store.Store, key, value string) error {
	return change(n, st, key, func(tx *store.Tx) {
		tx.Put([]byte(key), store.Put{Value: []byte(value)})
	})
}

func get(t testing.TB, st *store.Store, key string) (string, bool) {
	t.Helper()
	var tx store.Tx
	if err := tx.Begin(st, time.Now().UnixMilli(), 0, store.Scope{Shards: st.ShardOf([]byte(key))}); err != nil {
		t.Fatal(err)
	}
	defer tx.End()
	e, ok := tx.Get([]byte(key))
	return string(e.Value), ok
}

func mustSet(t testing.TB, n *Node, st *store.Store, key, value string) {
	t.Helper()
	if err := set(n, st, key, value); err != nil {
		t.Fatal(err)
	}
}

func wants(t testing.TB, st *store.Store, key, want string) {
	t.Helper()
	if got, _ := get(t, st, key); got != want {
		t.Errorf("%s is %q, want %q", key, got, want)
	}
}

// state is every pinned entry, in the bytes of a snapshot.
func state(t testing.TB, st *store.Store) []byte {
	t.Helper()
	snap := st.Snapshot()
	defer snap.Release()
	var b bytes.Buffer
	if _, err := snap.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// writers runs f in so many goroutines and waits for all.
func writers(count int, f func(w int)) {
	var wg sync.WaitGroup
	for w := range count {
		wg.Go(func() { f(w) })
	}
	wg.Wait()
}

func TestSurvivesRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	n, st := open(t, Config{Dir: dir})
	writers(16, func(w int) {
		for i := range 50 {
			if err := set(n, st, fmt.Sprintf("k%d.%d", w, i%40), fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
		}
	})
	err := change(n, st, "k0.0", func(tx *store.Tx) { tx.Delete([]byte("k0.0")) })
	if err != nil {
		t.Fatal(err)
	}
	before := state(t, st)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}
	n, st = open(t, Config{Dir: dir})
	if !bytes.Equal(state(t, st), before) {
		t.Error("the state is another one after the restart")
	}
	wants(t, st, "k3.9", "49")
	if _, ok := get(t, st, "k0.0"); ok {
		t.Error("a deleted key is back")
	}
	mustSet(t, n, st, "more", "yes")
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	mustSet(t, n, st, "after", "the snapshot")
	before = state(t, st)
	n.Close()
	_, st = open(t, Config{Dir: dir})
	if !bytes.Equal(state(t, st), before) {
		t.Error("the state is another one after a restart from a snapshot")
	}
	if err := st.Check(); err != nil {
		t.Error(err)
	}
}

func TestCachedKeysStayHere(t *testing.T) {
	dir := t.TempDir()
	n, st := open(t, Config{Dir: dir})
	index := n.Stats().CommitIndex
	far := time.Now().Add(time.Hour).UnixMilli()
	err := change(n, st, "c", func(tx *store.Tx) {
		tx.Put([]byte("c"), store.Put{Value: []byte("v"), Deadline: far})
	})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, st, "c", "v")
	if got := n.Stats().CommitIndex; got != index {
		t.Errorf("a cached write took the log from %d to %d", index, got)
	}
	n.Close()
	_, st = open(t, Config{Dir: dir})
	if _, ok := get(t, st, "c"); ok {
		t.Error("a cached key outlived the process")
	}
}

func TestGroupCommit(t *testing.T) {
	n, st := open(t, Config{Dir: t.TempDir()})
	writers(64, func(w int) {
		for i := range 20 {
			if err := set(n, st, fmt.Sprint("k", w), fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
		}
	})
	// An entry is counted before the next is begun, but after its writers woke.
	if err := set(n, st, "last", "x"); err != nil {
		t.Error(err)
	}
	if s := n.Stats(); s.Pendings < 64*20 || s.Entries > s.Pendings/4 {
		t.Errorf("%d writes in %d entries", s.Pendings, s.Entries)
	}
}

func TestSnapshotWhileProposing(t *testing.T) {
	dir := t.TempDir()
	n, st := open(t, Config{Dir: dir})
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		writers(8, func(w int) {
			for i := 0; !stop.Load(); i++ {
				if err := set(n, st, fmt.Sprintf("k%d.%d", w, i%500), fmt.Sprint(i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}()
	for i := range 10 {
		for n.Stats().Pendings < int64(i+1)*200 {
			time.Sleep(time.Millisecond) // load, of which there is no event
		}
		if err := n.Snapshot(); err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	<-done
	before := state(t, st)
	n.Close()
	_, st = open(t, Config{Dir: dir})
	if !bytes.Equal(state(t, st), before) {
		t.Error("the state is another one after the restart")
	}
}

func TestFilesStayBounded(t *testing.T) {
	dir := t.TempDir()
	n, st := open(t, Config{Dir: dir, SnapshotBytes: 4 << 20, SnapshotEntries: 2000})
	value := strings.Repeat("v", 100)
	total := 200_000
	if testing.Short() || raceEnabled {
		total = 40_000
	}
	writers(256, func(w int) {
		for i := range total / 256 {
			if err := set(n, st, fmt.Sprintf("k%d.%d", w, i%4), value); err != nil {
				t.Error(err)
				return
			}
		}
	})
	s := n.Stats()
	t.Logf("%d writes, %d entries, log %d KiB, snapshot %d KiB", s.Pendings, s.Entries, s.LogBytes>>10, s.SnapBytes>>10)
	if s.LogBytes > 48<<20 {
		t.Errorf("the log has %d bytes", s.LogBytes)
	}
	before := state(t, st)
	n.Close()
	snapshots, err := os.ReadDir(filepath.Join(dir, snapshotDir))
	if err != nil || len(snapshots) != 1 {
		t.Errorf("snapshots: %v, %v", snapshots, err)
	}
	_, st = open(t, Config{Dir: dir})
	if !bytes.Equal(state(t, st), before) {
		t.Error("the state is another one after the restart")
	}
}

func TestOneProcessPerDirectory(t *testing.T) {
	dir := t.TempDir()
	open(t, Config{Dir: dir})
	err := refused(t, dir, ErrInUse)
	if !strings.Contains(err.Error(), dir) {
		t.Error(err)
	}
}

func TestNodeIDStays(t *testing.T) {
	dir := t.TempDir()
	n, _ := open(t, Config{Dir: dir, NodeID: "n7"})
	if s := n.Stats(); s.NodeID != "n7" || s.Leader != "n7" || s.State != "leader" || len(s.Peers) != 1 {
		t.Errorf("%+v", s)
	}
	n.Close()
	st := store.New(store.Config{})
	defer st.Close()
	if _, err := Open(Config{Dir: dir, NodeID: "n8"}, st); err == nil || !strings.Contains(err.Error(), "n7") {
		t.Errorf("under another id: %v", err)
	}
	n, _ = open(t, Config{Dir: dir})
	if s := n.Stats(); s.NodeID != "n7" {
		t.Errorf("%+v", s)
	}
}

func TestAfterClose(t *testing.T) {
	n, st := open(t, Config{Dir: t.TempDir()})
	mustSet(t, n, st, "k", "v")
	n.Close()
	n.WaitRoom()
	if err := set(n, st, "k", "w"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("set: %v", err)
	}
	wants(t, st, "k", "v")
}

func TestQueueHasALimit(t *testing.T) {
	n := &Node{queue: newQueue()} // with nobody who takes from it
	n.queue.term = 1
	p := &store.Pending{Effects: []store.Effect{{Op: store.OpPut, Value: make([]byte, 16<<20)}}}
	for !n.Full() {
		if n.queue.bytes > maxQueueBytes {
			t.Fatal("beyond the limit and not full")
		}
		n.Propose(p)
	}
	if got := len(n.queue.waiting); got != maxQueueBytes/(16<<20) {
		t.Errorf("full with %d", got)
	}
	waited := make(chan struct{})
	go func() {
		n.WaitRoom()
		close(waited)
	}()
	if batch, _, _ := n.queue.take(); len(batch) != 1 {
		t.Errorf("%d large ones in one entry", len(batch))
	}
	<-waited
	n.queue.take()
	small := &store.Pending{Effects: []store.Effect{{Op: store.OpDelete, Key: []byte("k")}}}
	for !n.Full() {
		n.Propose(small)
	}
	if got := len(n.queue.waiting); got != maxQueuePendings {
		t.Errorf("full with %d", got)
	}
	n.queue.take()
	n.queue.take()
	if batch, _, _ := n.queue.take(); len(batch) != maxEntryPendings {
		t.Errorf("%d small ones in one entry", len(batch))
	}
	n.queue.close()
	n.WaitRoom()
}

// BenchmarkSet is pinned writes through the log, every one of them synced.
func BenchmarkSet(b *testing.B) {
	for _, clients := range []int{1, 64, 512} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			n, st := open(b, Config{Dir: b.TempDir()})
			value := strings.Repeat("v", 64)
			var next atomic.Int64
			b.ResetTimer()
			writers(clients, func(w int) {
				for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
					if err := set(n, st, fmt.Sprintf("key%013d", i%100_000), value); err != nil {
						b.Error(err)
						return
					}
				}
			})
			s := n.Stats()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			b.ReportMetric(float64(s.Pendings)/float64(s.Entries), "writes/entry")
			b.ReportMetric(float64(s.LogTime.Microseconds())/float64(s.Entries), "µs/entry")
		})
	}
}

// BenchmarkRestart opens a directory with a million pinned keys, half of them
// in the snapshot and half in the log as far as that may go.
func BenchmarkRestart(b *testing.B) {
	dir := b.TempDir()
	n, st := open(b, Config{Dir: dir})
	value := []byte(strings.Repeat("v", 64))
	const keys, atOnce = 1_000_000, 100
	writers(16, func(w int) {
		for i := w; i < keys/atOnce; i += 16 {
			var tx store.Tx
			tx.Begin(st, time.Now().UnixMilli(), 0, store.Scope{Shards: store.AllShards})
			for j := range atOnce {
				tx.Put(fmt.Appendf(nil, "key%013d", i*atOnce+j), store.Put{Value: value})
			}
			p := tx.Hand()
			n.Propose(p)
			tx.End()
			if err := p.Wait(); err != nil {
				b.Error(err)
			}
		}
	})
	n.Close()
	b.ResetTimer()
	for b.Loop() {
		st := store.New(store.Config{})
		n, err := Open(Config{Dir: dir}, st)
		if err != nil {
			b.Fatal(err)
		}
		s := n.Stats()
		b.ReportMetric(float64(s.SnapBytes>>20), "snapshot-MiB")
		b.ReportMetric(float64(s.LogBytes>>20), "log-MiB")
		n.Close()
		st.Close()
	}
}
