package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// three is three stores that follow one log, and the hand that leads them.
type three struct {
	t       *testing.T
	rng     *rand.Rand
	clock   *clock // the time by which a client reckons
	clocks  [3]*clock
	nodes   [3]*Store
	leader  int
	log     [][]byte
	applied [3]int // entries of the log
	pending []*Pending
	said    [][]saying // beside pending
	state   map[string]truth
	cached  map[string]string // what was written last
	serial  int
}

// truth is what a pinned key has to hold, up to and including a moment of the
// client's clock; from then on it may.
type truth struct {
	value    string
	deadline int64 // 0 = none
}

// saying is what one effect does to the truth; no value deletes.
type saying struct {
	key string
	truth
}

func newThree(t *testing.T, seed uint64) *three {
	c := &three{
		t: t, rng: rand.New(rand.NewPCG(seed, 3)), clock: newClock(),
		state: map[string]truth{}, cached: map[string]string{},
	}
	for i := range c.nodes {
		c.clocks[i] = newClock()
		c.clocks[i].pass(int64(i-1) * 60_000) // one is a minute behind, one ahead
		c.nodes[i] = newStore(t, Config{
			Now: c.clocks[i].Now,
			Commit: func(tx *Tx) *Pending { // called with nothing pending
				if i != c.leader {
					t.Error("a follower has deleted something by itself")
				}
				effects := tx.Effects()
				if Replicated(effects) {
					c.log = append(c.log, AppendEffects(nil, effects))
					c.applied[i]++
				}
				c.nodes[i].Apply(effects)
				return nil
			},
		})
		c.nodes[i].SetActiveExpire(false) // swept by hand
		c.nodes[i].Follow()
	}
	c.lead(0)
	return c
}

func (c *three) pass(ms int64) {
	c.clock.pass(ms)
	for _, clk := range c.clocks {
		clk.pass(ms)
	}
}

// append makes a batch part of the log, whether anybody hears of it or not.
func (c *three) append(n int) {
	effects := make([][]Effect, n)
	for i, p := range c.pending[:n] {
		effects[i] = p.Effects
		for _, s := range c.said[i] {
			if s.value == "" {
				delete(c.state, s.key)
			} else {
				c.state[s.key] = s.truth
			}
		}
	}
	c.log = append(c.log, AppendBatch(nil, effects))
}

func (c *three) commit(n int) {
	c.append(n)
	c.nodes[c.leader].CommitAll(c.pending[:n])
	c.applied[c.leader]++
	c.pending, c.said = c.pending[n:], c.said[n:]
}

// catchUp applies what a node has not got yet, up to an entry.
func (c *three) catchUp(node, to int) {
	for ; c.applied[node] < to; c.applied[node]++ {
		if err := c.nodes[node].ApplyEntry(c.log[c.applied[node]]); err != nil {
			c.t.Error(err)
		}
	}
}

// change takes the lead from one node and gives it to any: some of what was
// pending is in doubt and comes through, the rest never reached the log.
func (c *three) change() {
	old := c.nodes[c.leader]
	doubtful := c.rng.IntN(len(c.pending) + 1)
	if doubtful > 0 {
		c.append(doubtful)
	}
	for i, p := range c.pending {
		err := errors.New("leadership lost while committing")
		if i >= doubtful {
			err = ErrNotLogged
		}
		old.Fail(p, err)
	}
	c.pending, c.said = nil, nil
	old.Follow()
	c.lead(c.rng.IntN(3))
}

func (c *three) lead(node int) {
	s := c.nodes[node]
	c.leader = node
	c.catchUp(node, len(c.log))
	s.Follow()
	c.cached = map[string]string{}
	c.log = append(c.log, AppendClock(nil, s.TakeOver(c.clocks[node].Now())))
	c.catchUp(node, len(c.log))
	s.Lead()
}

// write changes a key or two, in one Tx that is Ahead of the log.
func (c *three) write() {
	s := c.nodes[c.leader]
	now := map[string]truth{}
	for _, said := range c.said {
		for _, w := range said {
			now[w.key] = w.truth
		}
	}
	var tx Tx
	if err := tx.Begin(s, c.clocks[c.leader].ms.Load(), 0, Scope{Shards: AllShards, Ahead: true}); err != nil {
		c.t.Fatal(err)
	}
	defer tx.End()
	var said []saying
	for range 1 + c.rng.IntN(2) {
		key := fmt.Sprint("p", c.rng.IntN(12))
		want, known := now[key]
		if !known {
			want = c.state[key]
		}
		e, live := tx.Find([]byte(key))
		due := want.deadline != 0 && c.clock.ms.Load() > want.deadline
		switch {
		case live && string(e.Value) != want.value:
			c.t.Errorf("%s is %s, should be %+v", key, e.Value, want)
		case !live && want.value != "" && !due:
			c.t.Errorf("%s is gone %d ms early", key, want.deadline-c.clock.ms.Load())
		}
		ttl := int64(c.rng.IntN(400))
		deadline := func() (theirs, ours int64) {
			if ttl < 50 {
				return 0, 0
			}
			return tx.Now() + ttl, c.clock.ms.Load() + ttl
		}
		var w saying
		switch n := c.rng.IntN(10); {
		case n < 6:
			c.serial++
			theirs, ours := deadline()
			w = saying{key, truth{fmt.Sprint(c.serial), ours}}
			tx.Put([]byte(key), Put{Value: []byte(w.value), Deadline: theirs, Sure: true})
		case n < 8 && live:
			theirs, ours := deadline()
			w = saying{key, truth{want.value, ours}}
			tx.Expire([]byte(key), theirs, theirs == 0)
		case n < 9:
			w = saying{key: key}
			tx.Delete([]byte(key))
		default:
			continue
		}
		said = append(said, w)
		now[key] = w.truth
	}
	if tx.Builds() || Replicated(tx.Effects()) {
		c.pending, c.said = append(c.pending, tx.Hand()), append(c.said, said)
	}
}

func (c *three) cache() {
	s := c.nodes[c.leader]
	key := fmt.Sprint("c", c.rng.IntN(5))
	var tx Tx
	if err := tx.Begin(s, c.clocks[c.leader].ms.Load(), 0, Scope{Shards: AllShards, Ahead: true}); err != nil {
		c.t.Fatal(err)
	}
	defer tx.End()
	if e, live := tx.Get([]byte(key)); live && string(e.Value) != c.cached[key] || !live == tx.OnlyCached() {
		c.t.Errorf("%s is %q, was written as %q", key, e.Value, c.cached[key])
	}
	c.serial++
	c.cached[key] = fmt.Sprint(c.serial)
	tx.Put([]byte(key), Put{Value: []byte(c.cached[key]), Deadline: tx.Now() + 1000})
	s.Apply(tx.Effects())
}

// Three nodes whose clocks are a minute apart, and a lead that wanders: nodes
// that have applied the same entries have the same pinned keys, to the byte; no
// pinned key is gone before its client's time for it is up, none comes back, and
// nothing cached is older than what was written last.
func TestThreeNodes(t *testing.T) {
	for _, seed := range []uint64{1, 2, rand.Uint64()} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			c := newThree(t, seed)
			for step := range 3000 {
				c.pass(int64(c.rng.IntN(10)))
				switch n := c.rng.IntN(100); {
				case n < 55:
					c.write()
				case n < 70:
					c.cache()
				case n < 85 && len(c.pending) > 0:
					c.commit(1 + c.rng.IntN(len(c.pending)))
				case n < 92:
					node := c.rng.IntN(3)
					c.catchUp(node, max(c.applied[node], c.rng.IntN(len(c.log)+1)))
				case n < 95 && len(c.pending) == 0:
					sweepNow(t, c.nodes[c.leader])
				case n < 97:
					c.change()
				}
				if step%500 == 499 {
					c.compare()
				}
				if t.Failed() {
					t.Fatalf("step %d", step)
				}
			}
		})
	}
}

func (c *three) compare() {
	if n := len(c.pending); n > 0 {
		c.commit(n)
	}
	want := snapshotBytes(c.t, c.nodes[c.leader])
	for i, s := range c.nodes {
		c.catchUp(i, len(c.log))
		check(c.t, s)
		if !bytes.Equal(snapshotBytes(c.t, s), want) {
			c.t.Errorf("node %d differs from the leader", i)
		}
		if n := s.Stats().CachedEntries; i != c.leader && n != 0 {
			c.t.Errorf("node %d, which follows, has %d cached entries", i, n)
		}
	}
}

type countingObserver struct{ effects int }

func (o *countingObserver) Applied(effects []Effect) { o.effects += len(effects) }

// Whoever watches or observes on a node that only follows is told.
func TestFollowersTell(t *testing.T) {
	s := newStore(t, Config{})
	s.Follow()
	o := new(countingObserver)
	s.Observe(o)
	var changed, moved, other Watch
	s.Watch(&changed, 0, []byte("k"))
	s.Watch(&other, 0, []byte("l"))
	put := Effect{Op: OpPut, Key: []byte("k"), Pinned: true, Deadline: s.now() + 60_000}
	if err := s.ApplyEntry(AppendBatch(nil, [][]Effect{{put}, {{Op: OpDelete, Key: []byte("m")}}})); err != nil {
		t.Fatal(err)
	}
	s.Watch(&moved, 0, []byte("k"))
	if err := s.ApplyEntry(AppendClock(nil, Clock{Now: s.now(), Extend: 10})); err != nil {
		t.Fatal(err)
	}
	if !changed.Dirty(0) || !moved.Dirty(0) || other.Dirty(0) || o.effects != 2 {
		t.Errorf("changed %v, moved %v, other %v, %d effects", changed.Dirty(0), moved.Dirty(0), other.Dirty(0), o.effects)
	}
}
