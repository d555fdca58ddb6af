package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"
)

// What is handed is copied: the buffers of a command that has been answered, or
// waits for its answer, are used again.
func TestHandCopies(t *testing.T) {
	s := newStore(t, Config{})
	var tx Tx
	buffer := []byte("kv")
	step := func(change func(key, value []byte)) *Pending {
		copy(buffer, "kv")
		if err := tx.Begin(s, s.now(), 0, Scope{Shards: AllShards, Ahead: true}); err != nil {
			t.Fatal(err)
		}
		change(buffer[:1], buffer[1:])
		p := tx.Hand()
		tx.End()
		copy(buffer, "xx")
		return p
	}
	ps := []*Pending{
		step(func(key, value []byte) { tx.Put(key, Put{Value: value}) }),
		step(func(key, value []byte) { // RENAME
			e, _ := tx.Find(key)
			tx.Put([]byte("l"), Put{Value: e.Value})
			tx.Delete(key)
		}),
		step(func(key, _ []byte) { tx.Put(key, Put{Value: []byte("again")}) }),
		step(func(key, value []byte) { tx.Flush(3); tx.Put([]byte("m"), Put{Value: value}) }),
	}
	s.CommitAll(ps)
	for key, want := range map[string]string{"k": "again", "l": "v", "m": "v"} {
		if v, _ := get(t, s, key); v != want {
			t.Errorf("%s is %q, want %q", key, v, want)
		}
	}
	check(t, s)
}

// Which Txs have to wait, and which go to the log behind what they have seen.
func TestBuilds(t *testing.T) {
	clk := newClock()
	s := newStore(t, clk.config())
	s.SetActiveExpire(false)
	put(t, s, "held", "old", 0)
	put(t, s, "free", "old", 0)
	var watch Watch
	s.Watch(&watch, 0, []byte("held"))
	defer s.Unwatch(&watch)
	var tx Tx
	begin := func(ahead bool) {
		t.Helper()
		if err := tx.Begin(s, clk.ms.Load(), 0, Scope{Shards: AllShards, Ahead: ahead}); err != nil {
			t.Fatal(err)
		}
	}
	begin(false)
	tx.Put([]byte("held"), Put{Value: []byte("new")})
	p := tx.Hand()
	tx.End()
	k := func(key string) []byte { return []byte(key) }
	for _, c := range []struct {
		name                   string
		ahead, blocked, builds bool
		look                   func()
	}{
		{"a read", false, true, false, func() { tx.Get(k("held")) }},
		{"a read ahead", true, false, true, func() { tx.Get(k("held")) }},
		{"another key", true, false, false, func() { tx.Get(k("free")) }},
		{"a blind write", false, true, false, func() { tx.Put(k("held"), Put{}) }},
		{"a blind write ahead", true, false, true, func() { tx.Put(k("held"), Put{}) }},
		{"a walk", false, true, false, func() { tx.Len() }},
		{"a walk ahead", true, false, true, func() { tx.Len() }},
		{"a flush", false, false, false, func() { tx.Flush(-1) }},
		{"a flush and a write", true, false, false, func() { tx.Flush(0); tx.Put(k("held"), Put{}) }},
		{"a swap", true, false, false, func() { tx.Swap(1, 2) }},
		{"a key of another database", true, false, false, func() { tx.Swap(0, 1); tx.Get(k("held")) }},
		{"the same after a swap", true, false, true, func() { tx.Swap(0, 1); tx.Select(1); tx.Get(k("held")) }},
		{"a watch", true, true, false, func() { tx.Read(&watch) }},
		{"keys announced", true, false, false, func() { tx.Look(k("held")) }},
		{"keys announced", false, true, false, func() { tx.Look(k("held")) }},
	} {
		begin(c.ahead)
		c.look()
		if blocked := tx.Blocked() != nil; blocked != c.blocked || tx.Builds() != c.builds {
			t.Errorf("%s: blocked %v, builds %v", c.name, blocked, tx.Builds())
		}
		tx.End()
	}
	begin(true)
	tx.Flush(2)
	flush := tx.Hand()
	tx.End()
	for name, look := range map[string]func(){
		"a read": func() { tx.Get(k("free")) }, "a walk": func() { tx.Len() }, "a flush": func() { tx.Flush(0) },
		"a watch": func() { tx.Read(&watch) }, "keys announced": func() { tx.Look(k("free")) },
	} {
		begin(true)
		if look(); tx.Blocked() != flush {
			t.Errorf("%s is not blocked by a flush", name)
		}
		tx.End()
	}
	s.CommitAll([]*Pending{p, flush})
	if !watch.Dirty(0) {
		t.Error("the watch has missed the change")
	}
}

// A Tx that has seen what is pending, and changes nothing or only what is
// cached, is as good as what it has seen.
func TestDoomed(t *testing.T) {
	s := newStore(t, Config{})
	var tx Tx
	hand := func(change func()) *Pending {
		if err := tx.Begin(s, s.now(), 0, Scope{Shards: AllShards, Ahead: true}); err != nil {
			t.Fatal(err)
		}
		defer tx.End()
		change()
		return tx.Hand()
	}
	inc := func() {
		e, _ := tx.Get([]byte("n"))
		n, _ := strconv.Atoi(string(e.Value))
		tx.Put([]byte("n"), Put{Value: strconv.AppendInt(nil, int64(n+1), 10)})
	}
	first, other := hand(inc), hand(func() { tx.Put([]byte("else"), Put{}) })
	second, reader := hand(inc), hand(func() { tx.Get([]byte("n")) })
	s.Fail(first, ErrNotLogged)
	if s.Doomed(other) || !s.Doomed(second) || !s.Doomed(reader) {
		t.Error("not those that have seen what failed are doomed")
	}
	late := hand(inc) // sees second, which is not known to have failed
	if s.Doomed(late) {
		t.Error("doomed too early")
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("committed what rests on nothing")
			}
			s.give(second.shards)
		}()
		s.Commit(second)
	}()
	s.Fail(second, ErrNotLogged)
	if !s.Doomed(late) {
		t.Error("the third of a chain is not doomed")
	}
	s.Fail(late, ErrNotLogged)
	s.Fail(reader, ErrNotLogged)
	s.Commit(other)
	check(t, s)

	// In doubt, and come through after all: what was built on it came through as well.
	first, second = hand(inc), hand(inc)
	entry := AppendEffects(nil, first.Effects)
	s.Fail(first, fmt.Errorf("the node has lost leadership"))
	if err := s.ApplyEntry(entry); err != nil {
		t.Fatal(err)
	}
	s.Commit(second)
	if v, _ := get(t, s, "n"); v != "2" {
		t.Errorf("n is %q", v)
	}
	check(t, s)
}

// slowLog answers everything it was given, a while later, and now and then loses
// all of it.
type slowLog struct {
	s       *Store
	mu      sync.Mutex // a leaf
	waiting []*Pending
	every   time.Duration
	loses   int // one in so many, 0 = never
	end     chan struct{}
	ended   sync.WaitGroup
	entries int
}

func startSlowLog(t testing.TB, s *Store, every time.Duration, loses int) *slowLog {
	l := &slowLog{s: s, every: every, loses: loses, end: make(chan struct{})}
	l.ended.Go(l.run)
	t.Cleanup(func() { close(l.end); l.ended.Wait() })
	return l
}

// propose is called with the shards of p held.
func (l *slowLog) propose(p *Pending) {
	l.mu.Lock()
	l.waiting = append(l.waiting, p)
	l.mu.Unlock()
}

func (l *slowLog) run() {
	tick := time.NewTicker(l.every)
	defer tick.Stop()
	for {
		select {
		case <-l.end:
			return
		case <-tick.C:
		}
		l.mu.Lock()
		batch := l.waiting
		l.waiting = nil
		l.mu.Unlock()
		if len(batch) == 0 {
			continue
		}
		l.entries++
		var ok []*Pending
		lose := l.loses > 0 && l.entries%l.loses == 0
		for _, p := range batch {
			if lose || l.s.Doomed(p) {
				l.s.Fail(p, ErrNotLogged)
				lose = false // one fails, and those that rest on it
			} else {
				ok = append(ok, p)
			}
		}
		l.s.CommitAll(ok)
	}
}

// Many raise the same counters, through a log that is slow and forgets: what
// they are told adds up, and no number is given out twice.
func TestHotKeys(t *testing.T) {
	s := newStore(t, Config{})
	log := startSlowLog(t, s, 200*time.Microsecond, 5)
	const workers, rounds, keys = 16, 150, 3
	var mu sync.Mutex
	var told [keys]map[string]bool
	for i := range told {
		told[i] = map[string]bool{}
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 9))
			var tx Tx
			for range rounds {
				n := rng.IntN(keys)
				key := []byte{'k', byte('0' + n)}
				sc := Scope{Shards: s.ShardOf(key), Ahead: true}
				if rng.IntN(10) == 0 {
					sc = Scope{Shards: AllShards, Latch: true, PinAll: true, Ahead: true}
				}
				if err := tx.Begin(s, s.now(), 0, sc); err != nil {
					t.Error(err)
					return
				}
				value := increment(&tx, key)
				if by := tx.Blocked(); by != nil {
					t.Error("blocked")
				}
				p := tx.Hand()
				log.propose(p)
				tx.End()
				if err := p.Wait(); err != nil {
					if !errors.Is(err, ErrNotLogged) {
						t.Error(err)
					}
					continue
				}
				mu.Lock()
				if told[n][value] {
					t.Errorf("%s was %s twice", key, value)
				}
				told[n][value] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for i := range told {
		if v, _ := get(t, s, fmt.Sprint("k", i)); v != strconv.Itoa(len(told[i])) {
			t.Errorf("k%d is %s after %d", i, v, len(told[i]))
		}
	}
	check(t, s)
}

func increment(tx *Tx, key []byte) string {
	e, _ := tx.Find(key)
	n, _ := strconv.Atoi(string(e.Value))
	value := strconv.Itoa(n + 1)
	tx.Put(key, Put{Value: []byte(value), Sure: true})
	return value
}

// 64 clients raise one counter, through a log that answers every millisecond.
func BenchmarkHotKey(b *testing.B) {
	for _, ahead := range []bool{false, true} {
		b.Run(fmt.Sprint("ahead=", ahead), func(b *testing.B) {
			s := newStore(b, Config{})
			log := startSlowLog(b, s, time.Millisecond, 0)
			key := []byte("hot")
			b.SetParallelism(32)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				var tx Tx
				for pb.Next() {
					for {
						if err := tx.Begin(s, s.now(), 0, Scope{Shards: s.ShardOf(key), Ahead: ahead}); err != nil {
							b.Error(err)
							return
						}
						increment(&tx, key)
						by := tx.Blocked()
						if by == nil {
							break
						}
						tx.End()
						by.Wait()
					}
					p := tx.Hand()
					log.propose(p)
					tx.End()
					p.Wait()
				}
			})
		})
	}
}
