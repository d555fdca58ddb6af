package store

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
)

// The costs of one key, at a million keys of 16 + 64 bytes in random order, the
// whole way from MakeRoom to End.

const (
	benchKeys  = 1_000_000
	benchValue = 64
)

type bench struct {
	s    *Store
	tx   Tx
	now  int64
	rng  *rand.Rand
	keys []byte // 16 bytes each
	v    []byte
}

func newBench(b *testing.B, c Config, n int, ttl bool) *bench {
	w := &bench{s: New(c), rng: rand.New(rand.NewPCG(1, 2)), v: make([]byte, benchValue)}
	b.Cleanup(w.s.Close)
	w.now = w.s.now()
	for i := range max(n, benchKeys) {
		w.keys = fmt.Appendf(w.keys, "key:%012d", i)
	}
	for i := range n {
		deadline := int64(0)
		if ttl {
			deadline = w.now + hour + int64(w.rng.IntN(hour))
		}
		w.put(w.key(i), deadline)
	}
	b.ReportAllocs()
	b.ResetTimer()
	began := cpu()
	b.Cleanup(func() { b.ReportMetric(float64(cpu()-began)/float64(b.N), "cpu-ns/op") })
	return w
}

// cpu is the time that the process has been at work, in ns, which on a machine with
// others at work tells more than the clock.
func cpu() int64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

func (w *bench) key(i int) []byte { return w.keys[16*i : 16*i+16] }
func (w *bench) any() []byte      { return w.key(w.rng.IntN(benchKeys)) }

func (w *bench) begin(key []byte) {
	if err := w.tx.Begin(w.s, w.now, 0, Scope{Shards: w.s.ShardOf(key)}); err != nil {
		panic(err)
	}
}

func (w *bench) put(key []byte, deadline int64) {
	w.s.MakeRoom()
	w.begin(key)
	w.tx.Put(key, Put{Value: w.v, Deadline: deadline})
	w.s.Apply(w.tx.Effects())
	w.tx.End()
}

func BenchmarkGet(b *testing.B) {
	w := newBench(b, Config{}, benchKeys, true)
	for b.Loop() {
		k := w.any()
		w.begin(k)
		if _, ok := w.tx.Get(k); !ok {
			b.Fatal("a miss")
		}
		w.tx.End()
	}
}

func BenchmarkSet(b *testing.B) {
	w := newBench(b, Config{}, benchKeys, false)
	for b.Loop() {
		w.put(w.any(), 0)
	}
}

func BenchmarkSetTTL(b *testing.B) {
	w := newBench(b, Config{}, benchKeys, true)
	for b.Loop() {
		w.put(w.any(), w.now+hour+int64(w.rng.IntN(hour)))
	}
}

func BenchmarkSetNew(b *testing.B) {
	for _, ttl := range []bool{false, true} {
		b.Run(fmt.Sprint("ttl=", ttl), func(b *testing.B) {
			w := newBench(b, Config{}, 0, ttl)
			key := make([]byte, 0, 16)
			for i := 0; b.Loop(); i++ {
				key = fmt.Appendf(key[:0], "new:%012d", i)
				deadline := int64(0)
				if ttl {
					deadline = w.now + hour
				}
				w.put(key, deadline)
			}
		})
	}
}

func BenchmarkSetEvicting(b *testing.B) {
	w := newBench(b, Config{MaxMemory: 64 << 20}, benchKeys, true)
	key := make([]byte, 0, 16)
	for i := 0; b.Loop(); i++ {
		key = fmt.Appendf(key[:0], "new:%012d", i)
		w.put(key, w.now+hour)
	}
}

func BenchmarkIncr(b *testing.B) {
	w := newBench(b, Config{}, benchKeys, false)
	for b.Loop() {
		k := w.any()
		w.begin(k)
		e, _ := w.tx.Find(k)
		w.v[0] = e.Value[0] + 1
		w.tx.Put(k, Put{Value: w.v[:20], Sure: true})
		w.s.Apply(w.tx.Effects())
		w.tx.End()
	}
}

func BenchmarkExpire(b *testing.B) {
	w := newBench(b, Config{}, benchKeys, true)
	for b.Loop() {
		k := w.any()
		w.begin(k)
		w.tx.Expire(k, w.now+hour+int64(w.rng.IntN(hour)), false)
		w.s.Apply(w.tx.Effects())
		w.tx.End()
	}
}

// A deletion and a SET that brings the key back.
func BenchmarkDelSet(b *testing.B) {
	w := newBench(b, Config{}, benchKeys, true)
	for b.Loop() {
		k := w.any()
		w.begin(k)
		w.tx.Delete(k)
		w.s.Apply(w.tx.Effects())
		w.tx.End()
		w.put(k, w.now+hour)
	}
}

// BenchmarkCollection is one of the collector's, with a million keys in the store.
func BenchmarkCollection(b *testing.B) {
	newBench(b, Config{}, benchKeys, true)
	for b.Loop() {
		runtime.GC()
	}
}
