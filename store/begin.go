package store

import (
	"errors"
	"math/bits"
	"time"
)

// ErrBusy is what Begin returns when a latch, a running script that is,
// has kept it waiting for longer than Config.BusyAfter.
var ErrBusy = errors.New("store: a latched scope has been busy for too long")

// Begin takes the shards of sc, in ascending order, and opens tx over them.
// now is the clock reading of the whole evaluation in unix ms. After an error
// nothing is held and tx stays closed.
func (tx *Tx) Begin(s *Store, now int64, db int, sc Scope) error {
	if tx.open {
		panic("store: Begin of a Tx that is open")
	}
	for {
		l := s.take(sc.Shards)
		if l == nil {
			break
		}
		began := time.Now()
		if err := l.wait(s.cfg.Load().BusyAfter); err != nil {
			return err
		}
		now += time.Since(began).Milliseconds() // the reading is from before the wait
	}
	tx.begun(s, now, db, sc)
	return nil
}

// tryBegin is Begin for those who would rather come back than wait.
func (tx *Tx) tryBegin(s *Store, now int64, db int, sc Scope) bool {
	if s.take(sc.Shards) != nil {
		return false
	}
	tx.begun(s, now, db, sc)
	return true
}

// begun completes Begin with the mutexes of the scope held.
func (tx *Tx) begun(s *Store, now int64, db int, sc Scope) {
	tx.s, tx.now, tx.db, tx.scope, tx.open = s, now, db, sc, true
	if !sc.Latch {
		for set := sc.Shards; set != 0; set &= set - 1 {
			s.shards[bits.TrailingZeros64(uint64(set))].now = now
		}
		return
	}
	tx.latch = &latch{since: time.Now(), done: make(chan struct{})}
	sc.Shards.each(func(i int) {
		s.shards[i].now = now
		s.shards[i].latch = tx.latch
	})
	s.give(sc.Shards)
}

// take locks the mutexes of a set, or returns the first latch in the way
// with none of them locked.
func (s *Store) take(shards Shards) *latch {
	for set := shards; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(uint64(set))
		sh := &s.shards[i]
		sh.mu.Lock()
		if l := sh.latch; l != nil {
			sh.mu.Unlock()
			s.give(shards & (1<<i - 1))
			return l
		}
	}
	return nil
}

// hold is take for those who wait for as long as a latch stands.
func (s *Store) hold(shards Shards) {
	for l := s.take(shards); l != nil; l = s.take(shards) {
		<-l.done
	}
}

// settleAll is before give for whoever has read or applied something.
func (s *Store) settleAll(shards Shards) {
	for set := shards; set != 0; set &= set - 1 {
		s.settle(&s.shards[bits.TrailingZeros64(uint64(set))])
	}
}

func (s *Store) give(shards Shards) {
	for set := shards; set != 0; set &= set - 1 {
		s.shards[bits.TrailingZeros64(uint64(set))].mu.Unlock()
	}
}

func (l *latch) wait(busyAfter time.Duration) error {
	if busyAfter <= 0 {
		<-l.done
		return nil
	}
	left := busyAfter - time.Since(l.since)
	if left <= 0 {
		select {
		case <-l.done:
			return nil
		default:
			return ErrBusy
		}
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-l.done:
		return nil
	case <-timer.C:
		return ErrBusy
	}
}

// End releases the shards and forgets what has not been applied. Ending a Tx
// that is not open does nothing, so it may be deferred.
func (tx *Tx) End() {
	if !tx.open {
		return
	}
	s := tx.s
	if first := bits.TrailingZeros64(uint64(tx.scope.Shards)); tx.latch != nil {
		tx.scope.Shards.each(func(i int) {
			sh := &s.shards[i]
			sh.mu.Lock()
			if i == first {
				tx.count(sh)
			}
			s.settle(sh)
			sh.latch = nil
			sh.mu.Unlock()
		})
		close(tx.latch.done)
		tx.latch = nil
		s.sweeper.kick() // it passed over our shards
	} else if set := tx.scope.Shards; set&(set-1) != 0 {
		tx.count(&s.shards[first])
		s.settleAll(set)
		s.give(set)
	} else if set != 0 { // nearly always
		sh := &s.shards[first]
		tx.count(sh)
		s.settle(sh)
		sh.mu.Unlock()
	}
	tx.open, tx.lent = false, 0
	tx.small = emptied(tx.small)
	tx.Discard()
}

func (tx *Tx) count(sh *shard) {
	sh.tally.hits += tx.hits
	sh.tally.misses += tx.misses
	tx.hits, tx.misses, tx.looked = 0, 0, 0
}

// shard is where a hash lives. To look outside one's scope is to race.
func (tx *Tx) shard(hash uint64) *shard {
	i := hash & (numShards - 1)
	if tx.scope.Shards&(1<<i) == 0 || !tx.open {
		panic("store: Tx touched a key outside its scope")
	}
	return &tx.s.shards[i]
}

func (tx *Tx) needAll() {
	if tx.scope.Shards != AllShards || !tx.open {
		panic("store: a walk over the keys needs AllShards")
	}
	tx.beyond = true
	tx.noteAnyHeld()
}
