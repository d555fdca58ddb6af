package store

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// A limit that comes when there is something to forget already is made true, though
// no shard has told of what it holds.
func TestLoweredLimitIsMadeTrue(t *testing.T) {
	const limit = 50 << 10
	s := newStore(t, Config{})
	do(t, s, func(tx *Tx) {
		for i := range 1000 {
			tx.Put(fmt.Append(nil, i), Put{Value: make([]byte, 100), Deadline: tx.Now() + hour})
		}
	})
	s.Reconfigure(func(c *Config) { c.MaxMemory = limit })
	for s.Stats().UsedBytes > limit {
		runtime.Gosched()
	}
	check(t, s)
}

// A node that is given one snapshot after the other maps no more memory for it.
func TestRestoreTakesSpacesAgain(t *testing.T) {
	s := newStore(t, Config{})
	do(t, s, func(tx *Tx) {
		for i := range 3000 {
			tx.Put(fmt.Append(nil, i), Put{Value: make([]byte, 100)})
		}
	})
	var b bytes.Buffer
	snap := s.Snapshot()
	if _, err := snap.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	snap.Release()
	for range 8 {
		if err := s.Restore(bytes.NewReader(b.Bytes())); err != nil {
			t.Fatal(err)
		}
		check(t, s)
		s.cache.recycle()
	}
	for i := range s.shards {
		// The evictor may be about to add the last.
		s.shards[i].mu.Lock()
		n := len(s.shards[i].spares)
		s.shards[i].mu.Unlock()
		if n > 2 {
			t.Errorf("shard %d has %d empty spaces", i, n)
		}
	}
	if n := s.Stats().PinnedEntries; n != 3000 {
		t.Errorf("%d keys were restored", n)
	}
}

// Close does not pull memory from under a script that nobody could wait for.
func TestCloseBesideLatch(t *testing.T) {
	s := New(Config{})
	value := strings.Repeat("v", 1000)
	put(t, s, "k", value, 0)
	var tx Tx
	if err := tx.Begin(s, s.now(), 0, Scope{Shards: s.ShardOf([]byte("k")), Latch: true}); err != nil {
		t.Fatal(err)
	}
	e, ok := tx.Get([]byte("k"))
	s.Close()
	if !ok || string(e.Value) != value {
		t.Error("the value has changed")
	}
	if _, ok = tx.Get([]byte("k")); !ok {
		t.Error("the key has gone")
	}
	tx.End()
	s.leave()
}
