package store

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, Config{BusyAfter: 400 * time.Millisecond})
		put(t, s, "k", "v", 0)
		var script, other Tx
		if err := script.Begin(s, s.now(), 0, Scope{Shards: AllShards, Latch: true}); err != nil {
			t.Fatal(err)
		}
		script.Put([]byte("k"), Put{Value: []byte("w")})
		sc := Scope{Shards: s.ShardOf([]byte("k"))}
		begun := time.Now()
		if err := other.Begin(s, s.now(), 0, sc); !errors.Is(err, ErrBusy) {
			t.Fatalf("Begin beside a script: %v, want ErrBusy", err)
		}
		if d := time.Since(begun); d < 399*time.Millisecond {
			t.Errorf("ErrBusy came after %v", d)
		}
		begun = time.Now()
		if err := other.Begin(s, s.now(), 0, Scope{Shards: AllShards, Latch: true}); !errors.Is(err, ErrBusy) {
			t.Fatalf("a second script: %v, want ErrBusy", err)
		}
		if d := time.Since(begun); d > 0 {
			t.Errorf("the second had to wait for %v, though the threshold had passed", d)
		}
		s.Apply(script.Effects())
		script.End()
		script.End() // does nothing
		if v, _ := get(t, s, "k"); v != "w" {
			t.Errorf("the script's write reads %q", v)
		}
		check(t, s)
	})
}

func TestWaitingForALatch(t *testing.T) {
	s := newStore(t, Config{BusyAfter: time.Minute})
	var script Tx
	if err := script.Begin(s, s.now(), 0, Scope{Shards: AllShards, Latch: true}); err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	ready := make(chan struct{})
	go func() {
		var tx Tx
		close(ready)
		if err := tx.Begin(s, s.now(), 0, Scope{Shards: s.ShardOf([]byte("k"))}); err != nil {
			got <- err.Error()
			return
		}
		e, _ := tx.Get([]byte("k"))
		v := string(e.Value)
		tx.End()
		got <- v
	}()
	<-ready
	script.Put([]byte("k"), Put{Value: []byte("after")})
	s.Apply(script.Effects())
	script.End()
	if v := <-got; v != "after" {
		t.Errorf("who waited for the latch read %q", v)
	}
}

// Counters incremented by scopes of every sort add up.
func TestScopesExclude(t *testing.T) {
	s := newStore(t, Config{})
	const workers, rounds, keys = 8, 300, 5
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			var tx Tx
			for r := range rounds {
				k := []byte(fmt.Sprint("n", r%keys))
				sc := Scope{Shards: s.ShardOf(k)}
				switch w % 4 {
				case 1:
					sc.Latch = true
				case 2:
					sc.Shards |= s.ShardOf([]byte("n0")) | s.ShardOf([]byte("n3"))
				case 3:
					sc.Shards, sc.Latch = AllShards, r%2 == 0
				}
				if err := tx.Begin(s, s.now(), 0, sc); err != nil {
					t.Error(err)
					return
				}
				n := 0
				if e, ok := tx.Find(k); ok {
					fmt.Sscan(string(e.Value), &n)
				}
				tx.Put(k, Put{Value: []byte(fmt.Sprint(n + 1)), Sure: true})
				s.Apply(tx.Effects())
				tx.End()
				s.Stats()
			}
		})
	}
	wg.Wait()
	sum := 0
	for k := range keys {
		v, _ := get(t, s, fmt.Sprint("n", k))
		n := 0
		fmt.Sscan(v, &n)
		sum += n
	}
	if sum != workers*rounds {
		t.Errorf("%d increments, counted %d", workers*rounds, sum)
	}
	check(t, s)
}

func TestOutsideTheScope(t *testing.T) {
	s := newStore(t, Config{})
	var tx Tx
	tx.Begin(s, s.now(), 0, Scope{})
	defer tx.End()
	defer func() {
		if recover() == nil {
			t.Error("a key outside the scope was touched, and nobody minded")
		}
	}()
	tx.Get([]byte("k"))
}
