package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

func snapshotBytes(t testing.TB, s *Store) []byte {
	t.Helper()
	snap := s.Snapshot()
	defer snap.Release()
	return written(t, snap)
}

func written(t testing.TB, snap *Snapshot) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := snap.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("wrote %d of %d bytes: %v", n, b.Len(), err)
	}
	return b.Bytes()
}

// goldenSnapshot is read for ever, as the entries are.
const goldenSnapshot = "6372656d61007301" +
	"0d000000" + "0102a0a1abfef962006d522f89" + // the clock
	"26000000" + "0101" + // the keys: a and c of database 0, lock of database 7
	"01030001610131" + "01030001630132" + "010f07046c6f636b026d65e8a7abfef96201" + "5dc14091" +
	"00000000" + "0300000000000000" + "c2bab274"

func TestGoldenSnapshot(t *testing.T) {
	clk := newClock()
	s := newStore(t, clk.config())
	s.ApplyClock(Clock{Now: 1_700_000_000_080})
	put(t, s, "b", "cached", clk.in(1000))
	put(t, s, "c", "2", 0)
	put(t, s, "a", "1", 0)
	do(t, s, func(tx *Tx) {
		tx.PutIn(7, []byte("lock"), Put{Value: []byte("me"), Deadline: clk.in(500), Sure: true, Encoding: Raw})
	})
	got := snapshotBytes(t, s)
	if hex.EncodeToString(got) != goldenSnapshot {
		t.Errorf("%x, want %s", got, goldenSnapshot)
	}
	b, _ := hex.DecodeString(goldenSnapshot)
	fresh := newStore(t, clk.config())
	if err := fresh.Restore(bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	if again := snapshotBytes(t, fresh); !bytes.Equal(again, got) {
		t.Errorf("restored, it is %x", again)
	}
	if empty := newStore(t, clk.config()); hex.EncodeToString(snapshotBytes(t, empty)) != "6372656d61007301"+"000000000000000000000000"+"c7604cd4" {
		t.Errorf("the snapshot of nothing is %x", snapshotBytes(t, empty))
	}
}

func TestRestoreReplacesAll(t *testing.T) {
	clk := newClock()
	from, to := newStore(t, clk.config()), newStore(t, clk.config())
	for i := range 3000 {
		put(t, from, fmt.Sprint("k", i), fmt.Sprint(i), 0)
	}
	put(t, from, "cached", "x", clk.in(1000))
	do(t, from, func(tx *Tx) { tx.PutIn(3, []byte("ttl"), Put{Deadline: clk.in(10), Sure: true}); tx.Swap(0, 2) })
	for i := range to.shards {
		to.shards[i].gen = 40_000 // a store that has seen many snapshots
	}
	put(t, to, "old", "x", 0)
	put(t, to, "stale", "x", clk.in(1000))
	do(t, to, func(tx *Tx) { tx.Swap(0, 1) })
	var old, fresh, never Watch
	to.Watch(&old, 1, []byte("old"))
	to.Watch(&fresh, 2, []byte("k1"))
	heard := told{}
	do(t, to, func(tx *Tx) { tx.ListenOnce("old", heard) })
	var observed observed
	to.Observe(&observed)
	before := snapshotBytes(t, to)
	kept := to.Snapshot()
	defer kept.Release()

	if err := to.Restore(bytes.NewReader(snapshotBytes(t, from))); err != nil {
		t.Fatal(err)
	}
	check(t, to)
	if !bytes.Equal(snapshotBytes(t, to), snapshotBytes(t, from)) {
		t.Error("the copy differs")
	}
	if !bytes.Equal(written(t, kept), before) {
		t.Error("a snapshot from before shows what came after")
	}
	if st := to.Stats(); st.CachedEntries != 0 || st.PinnedEntries != 3001 || st.UsedBytes != to.UsedBytes() || st.DBs[3].Expires != 1 {
		t.Errorf("%+v", st)
	}
	if !old.Dirty(clk.ms.Load()) || !fresh.Dirty(clk.ms.Load()) || never.Dirty(clk.ms.Load()) || to.Listened() != 0 {
		t.Error("those who watched were not told")
	}
	if len(observed) != 1 || observed[0].Op != OpFlush || observed[0].DB != AllDBs {
		t.Errorf("observed %+v", observed)
	}
	clk.pass(11)
	sweepNow(t, to)
	if n := to.Stats().DBs[3].Keys; n != 0 {
		t.Error("a restored deadline is not kept")
	}
	check(t, to)
}

type observed []Effect

func (o *observed) Applied(effects []Effect) { *o = append(*o, effects...) }

// Every cut and every flipped byte is found, and changes nothing.
func TestBadSnapshots(t *testing.T) {
	clk := newClock()
	s := newStore(t, clk.config())
	s.ApplyClock(Clock{Now: 5})
	for i := range 20 {
		put(t, s, fmt.Sprint("k", i), fmt.Sprint(i), 0)
	}
	whole := snapshotBytes(t, s)
	other := newStore(t, clk.config())
	put(t, other, "mine", "v", 0)
	put(t, other, "cached", "v", clk.in(100))
	mine := snapshotBytes(t, other)
	refused := func(name string, b []byte, want ...error) {
		t.Helper()
		err := other.Restore(bytes.NewReader(b))
		if !slices.ContainsFunc(want, func(w error) bool { return errors.Is(err, w) }) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range whole {
		refused(fmt.Sprint("cut at ", i), whole[:i], ErrTruncated)
		flipped := bytes.Clone(whole)
		flipped[i] ^= byte(1 << rand.IntN(8))
		refused(fmt.Sprintf("byte %d is %#x, not %#x", i, flipped[i], whole[i]), flipped, ErrDamaged, ErrTruncated, ErrMalformed, ErrNewer)
	}
	refused("goes on", append(bytes.Clone(whole), 0), ErrMalformed)
	refused("newer", append([]byte(magic[:7]+"\x02"), whole[8:]...), ErrNewer)

	// Right checksums around what is wrong.
	snapshot := func(count int, entries ...[]byte) []byte {
		var b bytes.Buffer
		out := snapshotWriter{w: &b}
		out.write([]byte(magic))
		for _, e := range entries {
			out.block(append(out.begin(), e...))
		}
		out.end(count)
		return b.Bytes()
	}
	puts := func(keys ...string) []byte {
		var effects []Effect
		for _, k := range keys {
			effects = append(effects, Effect{Op: OpPut, Key: []byte(k), Pinned: true})
		}
		return AppendEffects(nil, effects)
	}
	clock := AppendClock(nil, Clock{Now: 5})
	refused("twice", snapshot(2, puts("a", "a")), ErrMalformed)
	refused("out of order", snapshot(2, puts("b"), puts("a")), ErrMalformed)
	refused("a deletion", snapshot(1, AppendEffects(nil, []Effect{{Op: OpDelete, Key: []byte("k")}})), ErrMalformed)
	refused("count", snapshot(1, puts("a", "b")), ErrMalformed)
	refused("late clock", snapshot(1, puts("a"), clock), ErrMalformed)
	refused("newer entry", snapshot(0, seal([]byte{9, 1}, 0)), ErrNewer)
	check(t, other)
	if v, ok := get(t, other, "cached"); !ok || v != "v" || !bytes.Equal(snapshotBytes(t, other), mine) {
		t.Error("a refused snapshot has changed something")
	}
	if err := other.Restore(bytes.NewReader(snapshot(2, clock, puts("a"), puts("b")))); err != nil {
		t.Error(err)
	}
	if err := other.Restore(&failing{}); !errors.Is(err, errFailing) {
		t.Error(err)
	}
	snap := s.Snapshot()
	if _, err := snap.WriteTo(&failing{}); !errors.Is(err, errFailing) {
		t.Error(err)
	}
	snap.Release()
}

var errFailing = errors.New("the disk is gone")

type failing struct{}

func (*failing) Read([]byte) (int, error)  { return 0, errFailing }
func (*failing) Write([]byte) (int, error) { return 0, errFailing }

// Snapshots of a store in motion: transactions move a token among keys of
// different shards and databases, so every moment has one and the same sum.
func TestSnapshotIsOneMoment(t *testing.T) {
	s := newStore(t, Config{MaxMemory: 1 << 20})
	const keys = 2000
	key := func(i int) []byte { return fmt.Appendf(nil, "k%d", i) }
	do(t, s, func(tx *Tx) {
		for i := range keys {
			tx.Put(key(i), Put{Value: []byte{100}, Sure: true})
		}
	})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 3))
			var tx Tx
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				a, b := key(rng.IntN(keys)), key(rng.IntN(keys))
				sc := Scope{Shards: s.ShardOf(a) | s.ShardOf(b)}
				if i%50 == 0 {
					sc = Scope{Shards: AllShards}
				}
				s.MakeRoom()
				if err := tx.Begin(s, s.now(), 0, sc); err != nil {
					t.Error(err)
					return
				}
				from, ok1 := tx.Find(a)
				to, ok2 := tx.Find(b)
				switch {
				case i%50 == 0 && i%100 == 0:
					tx.Swap(0, 1)
				case i%50 == 0:
					tx.Swap(1, 0)
				case !ok1 && !ok2: // the other database is in front
				case string(a) != string(b) && from.Value[0] > 0 && to.Value[0] < 255:
					tx.Put(a, Put{Value: []byte{from.Value[0] - 1}, Sure: true})
					tx.Put(b, Put{Value: []byte{to.Value[0] + 1}, Sure: true})
				}
				s.Apply(tx.Effects())
				tx.End()
				// What comes and goes beside them makes the indexes grow and shrink.
				k := fmt.Appendf(nil, "x%d", i%5000)
				tx.Begin(s, s.now(), i/100%2, Scope{Shards: s.ShardOf(k)})
				if i%10_000 < 5000 {
					tx.Put(k, Put{Deadline: tx.Now() + hour, Sure: rng.IntN(2) == 0})
				} else {
					tx.Delete(k)
				}
				s.Apply(tx.Effects())
				tx.End()
			}
		})
	}
	for range 30 {
		first := s.Snapshot()
		second := s.Snapshot()
		for range 100 {
			runtime.Gosched() // writers come before us
		}
		for _, snap := range []*Snapshot{second, first} {
			sum, n := 0, 0
			for _, k := range snap.sorted() {
				if k.e.key()[0] == 'k' {
					sum += int(k.e.value()[0])
					n++
				}
			}
			if n != keys || sum != 100*keys {
				t.Errorf("%d keys with a sum of %d", n, sum)
			}
		}
		first.Release()
		s.Snapshot().Release() // never looked at
		second.Release()
	}
	close(stop)
	wg.Wait()
	check(t, s)
	for i := range s.shards {
		if len(s.shards[i].snapshots) != 0 {
			t.Error("a shard remembers a released snapshot")
		}
	}
}

// Whatever happens after Snapshot is not in it.
func TestSnapshotIsThePast(t *testing.T) {
	tx := func(f func(tx *Tx)) func(*testing.T, *Store) {
		return func(t *testing.T, s *Store) { do(t, s, f) }
	}
	k := []byte("k")
	for _, c := range []struct {
		name   string
		change func(*testing.T, *Store)
	}{
		{"put", tx(func(tx *Tx) { tx.Put(k, Put{Value: []byte("new")}) })},
		{"new key", tx(func(tx *Tx) { tx.Put([]byte("other"), Put{}) })},
		{"expire", tx(func(tx *Tx) { tx.Expire(k, tx.Now()+5, false) })},
		{"delete", tx(func(tx *Tx) { tx.Delete(k) })},
		{"delete, cached", tx(func(tx *Tx) { tx.Delete(k); tx.Put(k, Put{Deadline: tx.Now() + 5}) })},
		{"persisted", tx(func(tx *Tx) { tx.Expire([]byte("cached"), 0, true) })},
		{"flush", tx(func(tx *Tx) { tx.Flush(0) })},
		{"flush all", tx(func(tx *Tx) { tx.Flush(-1) })},
		{"swap", tx(func(tx *Tx) { tx.Swap(0, 1) })},
		{"clock", func(_ *testing.T, s *Store) { s.ApplyClock(Clock{Now: 9, Extend: 7}) }},
		{"entry", func(t *testing.T, s *Store) {
			if err := s.ApplyEntry(AppendEffects(nil, []Effect{{Op: OpDelete, Key: k}})); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			clk := newClock()
			s := newStore(t, clk.config())
			for i := range s.shards {
				s.shards[i].gen = math.MaxUint16 - 1 // it begins anew between the two
			}
			do(t, s, func(tx *Tx) {
				tx.Put(k, Put{Value: []byte("old"), Deadline: tx.Now() + 1000, Sure: true})
				tx.Put([]byte("cached"), Put{Value: []byte("c"), Deadline: tx.Now() + 1000})
			})
			before := snapshotBytes(t, s)
			snap := s.Snapshot()
			defer snap.Release()
			c.change(t, s)
			if !bytes.Equal(written(t, snap), before) {
				t.Error("the snapshot has changed")
			}
			if bytes.Equal(snapshotBytes(t, s), before) {
				t.Error("nothing has changed")
			}
			check(t, s)
		})
	}
}

const million = 1_000_000

func millionKeys(b *testing.B) *Store {
	s := newStore(b, Config{})
	value := make([]byte, 64)
	var tx Tx
	for i := range million {
		key := fmt.Appendf(nil, "key:%012d", i)
		tx.Begin(s, 1_700_000_000_000, 0, Scope{Shards: s.ShardOf(key)})
		tx.Put(key, Put{Value: value, Sure: true, Deadline: int64(i%2) * (4_000_000_000_000 + int64(i))})
		s.Apply(tx.Effects())
		tx.End()
	}
	b.ResetTimer()
	return s
}

// BenchmarkSnapshot has a million keys of 16 + 64 bytes. Between Snapshot and
// WriteTo come 512 writes all over the shards, in batch-us all together.
func BenchmarkSnapshot(b *testing.B) {
	s := millionKeys(b)
	var taking, writing time.Duration
	var entry []byte
	for b.Loop() {
		begun := time.Now()
		snap := s.Snapshot()
		taking = max(taking, time.Since(begun))
		begun = time.Now()
		for i := range 512 {
			entry = AppendEffects(entry[:0], []Effect{{Op: OpPut, Key: fmt.Appendf(nil, "key:%012d", i*million/512), Value: make([]byte, 64), Pinned: true}})
			if err := s.ApplyEntry(entry); err != nil {
				b.Fatal(err)
			}
		}
		writing = max(writing, time.Since(begun))
		n, err := snap.WriteTo(io.Discard)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(n)
		snap.Release()
	}
	b.ReportMetric(float64(taking.Microseconds()), "max-take-us")
	b.ReportMetric(float64(writing.Microseconds()), "max-batch-us")
}

func BenchmarkRestore(b *testing.B) {
	image := snapshotBytes(b, millionKeys(b))
	s := newStore(b, Config{})
	b.SetBytes(int64(len(image)))
	b.ResetTimer()
	for b.Loop() {
		if err := s.Restore(bytes.NewReader(image)); err != nil {
			b.Fatal(err)
		}
	}
	if n := s.Stats().PinnedEntries; n != million {
		b.Fatal(n)
	}
}

// BenchmarkApplyEntry is a follower's work, or that of a restart, for one write.
func BenchmarkApplyEntry(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint("effects=", n), func(b *testing.B) { benchmarkApplyEntry(b, n) })
	}
}

func benchmarkApplyEntry(b *testing.B, n int) {
	s := newStore(b, Config{})
	var entry []byte
	value := make([]byte, 64)
	effects := make([]Effect, n)
	b.ReportAllocs()
	for i := 0; b.Loop(); i += n {
		for j := range effects {
			key := fmt.Appendf(effects[j].Key[:0], "key:%012d", (i+j)%million)
			effects[j] = Effect{Op: OpPut, Key: key, Value: value, Pinned: true}
		}
		entry = AppendEffects(entry[:0], effects)
		if err := s.ApplyEntry(entry); err != nil {
			b.Fatal(err)
		}
	}
}
