package store

import (
	"math"
	"sync/atomic"
	"time"
)

// sweeper deletes what has expired, within a few milliseconds of the deadline.
// It sleeps until the earliest deadline there is, and is woken when an earlier
// one arrives.
type sweeper struct {
	s    *Store
	wake chan struct{}
	// The deadline it sleeps for. While it is at work that is the end of time,
	// so that any deadline that comes first in its shard wakes it once more:
	// it may have passed that shard already.
	next atomic.Int64
	tx   Tx
	dead []*entry
}

const (
	sweepBatch = 128                    // entries deleted with a shard held
	tidyTurns  = 16                     // times sweepMoves entries moved in a shard before the next look at the deadlines
	sweepNap   = time.Second            // the longest sleep: the wall clock may be set
	sweepPause = 100 * time.Millisecond // after a commit that failed
)

func (w *sweeper) init(s *Store) {
	w.s = s
	w.wake = make(chan struct{}, 1)
	w.next.Store(math.MaxInt64)
}

// expect is told of deadlines that come first in their shard.
func (w *sweeper) expect(deadline int64) {
	if deadline < w.next.Load() {
		w.kick()
	}
}

func (w *sweeper) kick() {
	select {
	case w.wake <- struct{}{}:
	default: // it will wake anyway
	}
}

func (w *sweeper) run() {
	defer w.s.running.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	on := func() bool { return w.s.activeExpire.Load() && w.s.leads.Load() }
	for {
		select {
		case <-w.s.done:
			return
		case <-w.wake:
		case <-timer.C:
		}
		w.next.Store(math.MaxInt64)
		nap := sweepNap
		if on() {
			next, err := w.sweep(on)
			if err != nil {
				nap = sweepPause
			} else if next != math.MaxInt64 {
				w.next.Store(next)
				// A key lives through the millisecond of its deadline.
				until := time.UnixMilli(next + 1).Sub(w.s.cfg.Load().Now())
				nap = min(max(until, 0), sweepNap)
			}
		}
		timer.Reset(nap)
		w.tidy()
	}
}

// sweep deletes all that has expired, but in latched shards, whose holder will
// kick when done, and returns the next deadline. It ends where on, which is asked with
// each shard held, says no: what is written from then on stays.
func (w *sweeper) sweep(on func() bool) (next int64, err error) {
	next = math.MaxInt64
	for i := range w.s.shards {
		at, err := w.sweepShard(i, on)
		if err != nil {
			return 0, err
		}
		next = min(next, at)
	}
	return next, nil
}

func (w *sweeper) sweepShard(i int, on func() bool) (next int64, err error) {
	for {
		next, more, err := w.batch(i, on)
		if err != nil || !more {
			return next, err
		}
	}
}

func (w *sweeper) batch(i int, on func() bool) (next int64, more bool, err error) {
	sh := &w.s.shards[i]
	now := w.s.now()
	if !w.tx.tryBegin(w.s, now, 0, Scope{Shards: 1 << i}) {
		return math.MaxInt64, false, nil
	}
	defer w.tx.End()
	if !on() {
		return math.MaxInt64, false, nil
	}
	var came int
	sh.lend()
	w.dead, came = sh.deadlines.due(sh, now, sweepBatch, w.dead[:0])
	for _, e := range w.dead {
		w.tx.DeleteIn(sh.dbOf(e.slot()), e.key())
	}
	clear(w.dead)
	if by := w.tx.Blocked(); by != nil { // one of them is about to change
		w.tx.End()
		by.Wait() // its error is for who proposed it
		return math.MaxInt64, true, nil
	}
	if p := w.s.commit(&w.tx); p != nil {
		w.tx.End()
		return math.MaxInt64, true, p.Wait()
	}
	if sh.deadlines.n == 0 {
		return math.MaxInt64, false, nil
	}
	return sh.deadlines.filing(0).at(), came == sweepBatch, nil
}

// tidy has each shard tell what it holds, for no write may come to do it, and
// moves some of its entries where memory is held for few of them. It comes back for
// the others. It passes over latched shards, whose holder will
// kick when done, and over those that a snapshot refers to, as its Release will.
func (w *sweeper) tidy() {
	again := false
	before := w.s.used.Load()
	for i := range w.s.shards {
		sh := &w.s.shards[i]
		more := true
		for n := 0; more && n < tidyTurns; n++ {
			sh.mu.Lock()
			w.s.tell(sh, 0)
			if more = sh.odd&oddSparse != 0 && sh.latch == nil && sh.open == 0; more {
				sh.tidy(sweepMoves)
				more = sh.odd&oddSparse != 0
			}
			sh.mu.Unlock()
		}
		again = again || more
	}
	if limit, used := w.s.cfg.Load().MaxMemory, w.s.used.Load(); used != before && limit > 0 && used > limit {
		w.s.cache.kick()
	}
	if again {
		w.kick()
	}
}

// commit makes the store's own deletions happen.
func (s *Store) commit(tx *Tx) *Pending {
	c := s.cfg.Load()
	if len(tx.effects) == 0 {
		return nil
	}
	if c.Commit != nil {
		return c.Commit(tx)
	}
	s.Apply(tx.Effects())
	return nil
}
