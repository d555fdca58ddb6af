package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// line is a log for tests: it decides nothing by itself.
type line struct {
	t        *testing.T
	rng      *rand.Rand
	s        *Store
	follower *Store   // is told what was committed
	done     *model   // what has been committed
	waiting  []*model // after each of pending
	pending  []*Pending
}

func (l *line) top() *model {
	if n := len(l.waiting); n > 0 {
		return l.waiting[n-1]
	}
	return l.done
}

// apply is what effects do to the model.
func (m *model) apply(effects []Effect) {
	for _, f := range effects {
		k := string(f.Key)
		switch f.Op {
		case OpPut:
			m.dbs[f.DB][k] = modelEntry{string(f.Value), f.Deadline, f.Pinned}
		case OpExpire:
			if e, ok := m.dbs[f.DB][k]; ok {
				m.dbs[f.DB][k] = modelEntry{e.value, f.Deadline, f.Pinned}
			}
		case OpDelete:
			delete(m.dbs[f.DB], k)
		case OpFlush:
			for i := range m.dbs {
				if f.DB == AllDBs || int(f.DB) == i {
					m.dbs[i] = map[string]modelEntry{}
				}
			}
		case OpSwap:
			m.dbs[f.DB], m.dbs[f.DB2] = m.dbs[f.DB2], m.dbs[f.DB]
		}
	}
}

// commit lets the oldest n through, as one entry.
func (l *line) commit(n int) {
	batch := l.pending[:n]
	effects := make([][]Effect, n)
	for i, p := range batch {
		effects[i] = p.Effects
	}
	entry := AppendBatch(nil, effects)
	l.s.CommitAll(batch)
	for _, p := range batch {
		if err := p.Wait(); err != nil {
			l.t.Error(err)
		}
	}
	if err := l.follower.ApplyEntry(entry); err != nil {
		l.t.Error(err)
	}
	l.done = l.waiting[n-1]
	l.pending, l.waiting = l.pending[n:], l.waiting[n:]
}

// loseFrom fails everything from i on, in any order, as a log does that has
// lost its gate.
func (l *line) loseFrom(i int) {
	lost := l.pending[i:]
	for _, n := range l.rng.Perm(len(lost)) {
		l.s.Fail(lost[n], fmt.Errorf("gate closed: %w", ErrNotLogged))
	}
	l.pending, l.waiting = l.pending[:i], l.waiting[:i]
}

// refuse fails one, and those that may rest on it.
func (l *line) refuse(i int) {
	l.s.Fail(l.pending[i], ErrNotLogged)
	kept, models := l.pending[:i], l.waiting[:i]
	for _, p := range l.pending[i+1:] {
		if l.s.Doomed(p) {
			l.s.Fail(p, ErrNotLogged)
			continue
		}
		m := l.done
		if len(models) > 0 {
			m = models[len(models)-1]
		}
		m = m.copy()
		m.apply(p.Effects)
		kept, models = append(kept, p), append(models, m)
	}
	l.pending, l.waiting = kept, models
}

func (l *line) setNow(now int64) {
	l.done.now = now
	for _, m := range l.waiting {
		m.now = now
	}
}

// Random transactions, Ahead and not, on their way through a log that commits
// some, loses some and refuses some, against the model: every Tx sees what it
// should, a follower of the log has the same pinned keys, and nothing stays held.
func TestOverlayModel(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3, rand.Uint64()} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { runOverlay(t, seed) })
	}
}

func runOverlay(t *testing.T, seed uint64) {
	clk := newClock()
	l := &line{t: t, rng: rand.New(rand.NewPCG(seed, 0)), s: newStore(t, clk.config()), follower: newStore(t, clk.config())}
	l.s.SetActiveExpire(false)
	l.follower.Follow()
	l.done = newModel(clk.ms.Load())
	rng, s := l.rng, l.s
	var tx Tx
	var built, refused, blocked, deepest int
	for step := range 2500 {
		if rng.IntN(10) == 0 {
			clk.pass(int64(rng.IntN(30)))
			l.setNow(clk.ms.Load())
		}
		sc := Scope{Shards: AllShards, Latch: rng.IntN(4) == 0, PinAll: rng.IntN(6) == 0, Ahead: rng.IntN(5) != 0}
		if err := tx.Begin(s, clk.ms.Load(), rng.IntN(2), sc); err != nil {
			t.Fatal(err)
		}
		base := l.done
		if sc.Ahead {
			base = l.top()
		}
		after := base.copy()
		if tx.noteAllHeld(); tx.Blocked() == nil { // beneath a flush nobody but a reader may look
			n := 1 + rng.IntN(4)
			if rng.IntN(10) == 0 {
				n = 30
			}
			for range n {
				modelStep(t, rng, &tx, after, sc.PinAll)
			}
			if rng.IntN(3) == 0 {
				compare(t, &tx, after)
			}
		}
		switch {
		case tx.Blocked() != nil:
			blocked++
		case tx.Builds() || Replicated(tx.Effects()):
			if tx.Builds() {
				built++
			}
			if !sc.Ahead { // it has seen less than it comes after
				after = l.top().copy()
				after.apply(tx.Effects())
			}
			l.pending, l.waiting = append(l.pending, tx.Hand()), append(l.waiting, after)
		default:
			effects := tx.Effects()
			s.Apply(effects)
			l.done.apply(effects)
			for _, m := range l.waiting {
				m.apply(effects)
			}
		}
		tx.End()
		if n := len(l.pending); n > 0 {
			deepest = max(deepest, n)
			r := rng.IntN(100)
			if s.shards[0].heldAll != nil {
				r /= 5
			}
			switch {
			case r < 10:
				l.commit(1 + rng.IntN(n))
			case r < 12:
				l.loseFrom(rng.IntN(n))
			case r < 14:
				l.refuse(rng.IntN(n))
				refused++
			case r < 15:
				l.commit(n)
			}
		}
		for _, ahead := range []bool{false, true} {
			if step%3 != 0 {
				continue
			}
			if err := tx.Begin(s, clk.ms.Load(), 0, Scope{Shards: AllShards, Ahead: ahead}); err != nil {
				t.Fatal(err)
			}
			if tx.noteAllHeld(); !ahead {
				compare(t, &tx, l.done)
			} else if tx.Blocked() == nil {
				compare(t, &tx, l.top())
			}
			tx.End()
		}
		if len(l.pending) == 0 {
			for i := range s.shards {
				if sh := &s.shards[i]; len(sh.held) > 0 || sh.heldAll != nil {
					t.Fatal("something is still held")
				}
			}
			if !bytes.Equal(snapshotBytes(t, s), snapshotBytes(t, l.follower)) {
				t.Error("leader and follower differ")
			}
		}
		if step%10 == 0 {
			check(t, s)
		}
		if t.Failed() {
			t.Fatalf("seed %d, step %d", seed, step)
		}
	}
	if built < 400 || refused < 5 || deepest < 10 || blocked < 10 {
		t.Errorf("an easy run: %d built, %d refusals, %d deep, %d blocked", built, refused, deepest, blocked)
	}
}
