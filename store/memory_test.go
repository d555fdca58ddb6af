package store

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// What a Tx has handed out stays as it is until its End, whatever is applied
// meanwhile.
func TestLentStays(t *testing.T) {
	clk := newClock()
	const size = 100
	value := func(k string) []byte { return bytes.Repeat([]byte(k[:1]), size) }
	a, b, c := []byte("a"), []byte("b"), []byte("c")
	for _, latch := range []bool{false, true} {
		for _, test := range []struct {
			name string
			run  func(s *Store, tx *Tx, apply func())
		}{
			{"overwrite", func(s *Store, tx *Tx, apply func()) {
				tx.Put(a, Put{Value: value("x")})
				apply()
				tx.Put(a, Put{Value: value("y")})
				apply()
			}},
			{"delete", func(s *Store, tx *Tx, apply func()) {
				tx.Delete(a)
				tx.Delete(b)
				apply()
				for i := range 100 { // whoever gets their memory
					tx.Put(fmt.Appendf(nil, "new%d", i), Put{Value: value("z")})
				}
				apply()
			}},
			{"flush", func(s *Store, tx *Tx, apply func()) {
				tx.Flush(-1)
				apply()
				for i := range 100 {
					tx.Put(fmt.Appendf(nil, "new%d", i), Put{Value: value("z")})
				}
				apply()
			}},
			{"flush of one of two databases", func(s *Store, tx *Tx, apply func()) {
				tx.PutIn(1, c, Put{Value: value("c")})
				apply()
				tx.Flush(0)
				apply()
				tx.Put(a, Put{Value: value("z")})
				apply()
			}},
			{"three renames that swap", func(s *Store, tx *Tx, apply func()) {
				for _, pair := range [][2][]byte{{a, c}, {b, a}, {c, b}} {
					e, ok := tx.Find(pair[0])
					if !ok {
						t.Fatalf("no %s", pair[0])
					}
					tx.Put(pair[1], Put{Value: e.Value})
					tx.Delete(pair[0])
					apply()
				}
				x, _ := tx.Get(a)
				y, _ := tx.Get(b)
				if !bytes.Equal(x.Value, value("b")) || !bytes.Equal(y.Value, value("a")) {
					t.Errorf("a is %.10q, b is %.10q", x.Value, y.Value)
				}
			}},
			{"expire and overwrite", func(s *Store, tx *Tx, apply func()) {
				tx.Expire(a, clk.in(5), false)
				apply()
				tx.Expire(a, 0, true)
				tx.Put(b, Put{Value: []byte("another size")})
				apply()
			}},
		} {
			t.Run(fmt.Sprint(test.name, " latch=", latch), func(t *testing.T) {
				s := newStore(t, clk.config())
				put(t, s, "a", string(value("a")), 0)
				put(t, s, "b", string(value("b")), clk.in(1000))
				var tx Tx
				if err := tx.Begin(s, clk.ms.Load(), 0, Scope{Shards: AllShards, Latch: latch}); err != nil {
					t.Fatal(err)
				}
				x, _ := tx.Get(a)
				y, _ := tx.Peek(b)
				var keys [][]byte
				tx.Each(func(k []byte, e Entry) bool { keys = append(keys, k); return true })
				test.run(s, &tx, func() { s.Apply(tx.Effects()); tx.Discard() })
				if !bytes.Equal(x.Value, value("a")) || !bytes.Equal(y.Value, value("b")) || len(keys) != 2 || keys[0][0]+keys[1][0] != 'a'+'b' {
					t.Errorf("what was read has become %.10q, %.10q, %q", x.Value, y.Value, keys)
				}
				tx.End()
				check(t, s)
			})
		}
	}
}

// A value of the same size is written where the old one stood, if nobody has it.
func TestPlainSetWritesInPlace(t *testing.T) {
	s := newStore(t, Config{})
	put(t, s, "k", "one", 0)
	place := func() (r ref) {
		do(t, s, func(tx *Tx) {
			sh := tx.shard(s.hash([]byte("k")))
			_, r = sh.db(0).find(sh, s.hash([]byte("k")), []byte("k"))
		})
		return
	}
	before := place()
	put(t, s, "k", "two", 0)
	if place() != before {
		t.Error("SET moved the entry")
	}
	do(t, s, func(tx *Tx) {
		for _, v := range []string{"three", "four"} {
			tx.Get([]byte("k"))
			tx.Return()
			tx.Put([]byte("k"), Put{Value: []byte(v)})
			s.Apply(tx.Effects())
			tx.Discard()
		}
	})
	if place() != before {
		t.Error("SET moved the entry after what was read had been returned")
	}
	put(t, s, "k", string(make([]byte, 1000)), 0)
	if place() == before {
		t.Error("a thousand bytes are where three were")
	}
	check(t, s)
}

// What a snapshot has noted outlives flushes, changes and the store itself.
func TestSnapshotKeepsMemory(t *testing.T) {
	clk := newClock()
	s := New(clk.config())
	const keys = 2000
	do(t, s, func(tx *Tx) {
		for i := range keys {
			tx.Put(fmt.Appendf(nil, "key%04d", i), Put{Value: fmt.Appendf(nil, "value%d", i)})
		}
	})
	var want bytes.Buffer
	snap := s.Snapshot()
	if _, err := snap.WriteTo(&want); err != nil {
		t.Fatal(err)
	}
	old := s.Snapshot()
	change := func(v string) {
		do(t, s, func(tx *Tx) {
			for i := range keys {
				tx.Put(fmt.Appendf(nil, "key%04d", i), Put{Value: fmt.Appendf(nil, "%s%d", v, i)})
			}
		})
		check(t, s)
	}
	change("other")
	do(t, s, func(tx *Tx) { tx.Flush(-1) })
	check(t, s)
	change("third")
	snap.Release()
	check(t, s)
	for i := range s.shards {
		if len(s.shards[i].shelve)+len(s.shards[i].kept) == 0 {
			t.Errorf("shard %d keeps nothing for the snapshot that is left", i)
		}
	}
	s.Close()
	var got bytes.Buffer
	if _, err := old.WriteTo(&got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Error("the snapshot has changed")
	}
	old.Release()
	old.Release()
	if n := len(s.cache.buried); n > 0 || s.shards[0].space.Resident() > 0 {
		t.Errorf("%d spaces are still mapped", n)
	}
}

// A key of 16 bytes with a value of 64 and a TTL takes no more than it did.
func TestBytesPerKey(t *testing.T) {
	const n, most = 200_000, 144
	s := newStore(t, Config{})
	do(t, s, func(tx *Tx) {
		for i := range n {
			tx.Put(fmt.Appendf(nil, "key:%012d", i), Put{Value: make([]byte, 64), Deadline: tx.Now() + hour + int64(i)})
			if i%1000 == 999 {
				s.Apply(tx.Effects())
				tx.Discard()
			}
		}
	})
	if per := s.Stats().ResidentBytes / n; per > most {
		t.Errorf("a key takes %d bytes, more than %d", per, most)
	} else {
		t.Logf("a key takes %d bytes", per)
	}
}

// Keys are as long as anybody likes.
func TestLongKeys(t *testing.T) {
	clk := newClock()
	s := newStore(t, clk.config())
	for _, n := range []int{0, 1, longKey - 1, longKey, longKey + 1, 1 << 20} {
		key, value := string(bytes.Repeat([]byte("k"), n)), fmt.Sprint("value of ", n)
		put(t, s, key, value, clk.in(1000))
		put(t, s, key, value, 0) // pinned
		put(t, s, key, value+" that is longer", 0)
		if got, ok := get(t, s, key); !ok || got != value+" that is longer" {
			t.Errorf("a key of %d bytes has %.50q (%v)", n, got, ok)
		}
	}
	check(t, s)
	to := newStore(t, clk.config())
	var b bytes.Buffer
	snap := s.Snapshot()
	if _, err := snap.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	snap.Release()
	if err := to.Restore(&b); err != nil {
		t.Fatal(err)
	}
	check(t, to)
	if n := to.Stats().PinnedEntries; n != 6 {
		t.Errorf("%d keys were restored", n)
	}
}

// Churn: whatever comes and goes, the memory that is held stays near what the
// entries are said to cost. CREMA_CHURN=10m makes it longer.
func TestChurn(t *testing.T) {
	length := 3 * time.Second
	if testing.Short() {
		length = time.Second
	}
	if v := os.Getenv("CREMA_CHURN"); v != "" {
		var err error
		if length, err = time.ParseDuration(v); err != nil {
			t.Fatal(err)
		}
	}
	const limit = 192 << 20
	s := newStore(t, Config{MaxMemory: limit})
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	value := make([]byte, 2<<20)
	for i := range value {
		value[i] = byte(rng.Uint32())
	}
	var tx Tx
	var worst float64
	sizes := 20 // bits; the mix of sizes changes with each round
	begun := time.Now()
	for round := 0; time.Since(begun) < length; round++ {
		for range 20_000 {
			key := fmt.Appendf(nil, "k%d", rng.IntN(200_000))
			if !s.MakeRoom() {
				t.Fatal("OOM")
			}
			if err := tx.Begin(s, s.now(), 0, Scope{Shards: s.ShardOf(key)}); err != nil {
				t.Fatal(err)
			}
			switch n := rng.IntN(20); {
			case n < 12:
				size := 1 << rng.IntN(sizes)
				size += rng.IntN(size)
				if size > 4096 && rng.IntN(20) > 0 {
					size = 1 + rng.IntN(4096)
				}
				tx.Put(key, Put{Value: value[:size], Deadline: tx.Now() + 1 + int64(rng.IntN(10_000))})
			case n < 16:
				tx.Delete(key)
			default:
				if e, ok := tx.Get(key); ok {
					if !bytes.Equal(e.Value, value[:len(e.Value)]) {
						t.Fatalf("seed %d: %s is not what was written", seed, key)
					}
					if n < 18 {
						tx.Expire(key, tx.Now()+int64(rng.IntN(1000)), false)
					}
				}
			}
			s.Apply(tx.Effects())
			tx.End()
		}
		sizes = 4 + rng.IntN(17)
		if round%10 == 9 {
			check(t, s)
		}
		least := math.Inf(1)
		for tries := 0; tries < 20 && least > 1.25; tries++ { // much may have expired at once
			s.sweeper.tidy()
			st := s.Stats()
			if st.UsedBytes <= limit/2 {
				least = 0
			} else {
				least = min(least, float64(st.ResidentBytes)/float64(st.UsedBytes))
			}
		}
		worst = max(worst, least)
	}
	check(t, s)
	st := s.Stats()
	t.Logf("seed %d: resident at most %.2f × used; %d keys, %d evicted, %d expired, used %d MB", seed, worst, st.CachedEntries, st.Evicted, st.Expired, st.UsedBytes>>20)
	if worst > 1.25 {
		t.Errorf("resident is %.2f × used", worst)
	}
}
