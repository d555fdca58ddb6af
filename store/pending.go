package store

import (
	"errors"
	"slices"
)

// Pending is one Tx's effects on their way through the log: evaluated, and
// neither applied nor refused yet. Until then nobody else may write what it
// writes, nor write what rests on reading it.
type Pending struct {
	Effects []Effect // all of them; those with Local set need not go into the log

	// Applying and Applied, if not nil, are called before and after the effects
	// are applied, with their shards held: for announcing them. They must not
	// open a Tx.
	Applying, Applied func()

	shards Shards
	all    bool // a flush or a swap: everything is held
	done   chan struct{}
	err    error // valid when done is closed
}

// ErrNotLogged is for a Pending that never reached the log: nothing has happened
// and nothing will. Any other error of Wait is in doubt: the log does not know
// whether the effects survive.
var ErrNotLogged = errors.New("store: the effects never reached the log")

// Hand takes what tx has recorded and holds its keys until Commit or Fail. tx
// is still open: a log that is given the Pending before tx.End has it in the
// order in which Txs that touch the same keys were evaluated.
//
// Keys and values stay the caller's until the Pending is done.
func (tx *Tx) Hand() *Pending {
	p := &Pending{Effects: slices.Clone(tx.Effects()), done: make(chan struct{})}
	for i := range p.Effects {
		switch f := &p.Effects[i]; f.Op {
		case OpFlush, OpSwap:
			p.all, p.shards = true, AllShards
		default:
			f.hash, f.hashed = tx.s.hash(f.Key), true
			p.shards |= 1 << (f.hash & (numShards - 1))
		}
	}
	tx.s.mark(p, p, tx.latch != nil)
	return p
}

// mark sets who holds the keys of p: p itself, or nobody any more. Under a latch
// the mutexes have yet to be taken.
func (s *Store) mark(p, holder *Pending, latched bool) {
	lock := func(sh *shard) (unlock func()) {
		if !latched {
			return func() {}
		}
		sh.mu.Lock()
		return sh.mu.Unlock
	}
	if p.all {
		for i := range s.shards {
			sh := &s.shards[i]
			unlock := lock(sh)
			sh.heldAll = holder
			unlock()
		}
	}
	for i := range p.Effects {
		f := &p.Effects[i]
		if f.Op == OpFlush || f.Op == OpSwap {
			continue
		}
		sh := &s.shards[f.hash&(numShards-1)]
		unlock := lock(sh)
		if holder == nil {
			delete(sh.held, watchKey{f.DB, string(f.Key)})
		} else {
			if sh.held == nil {
				sh.held = map[watchKey]*Pending{}
			}
			sh.held[watchKey{f.DB, string(f.Key)}] = holder
		}
		unlock()
	}
}

// Shards is where p's keys live.
func (p *Pending) Shards() Shards { return p.shards }

// Wait returns when the effects are applied, or with the reason why they were
// not, or may not have been.
func (p *Pending) Wait() error {
	<-p.done
	return p.err
}

// Done is closed when Wait would return.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Commit applies p, which the log has made durable, and wakes who waits for it.
// Called by the log, in the log's order.
func (s *Store) Commit(p *Pending) {
	s.finish(p, nil)
}

// Fail changes nothing and wakes who waits for p with err.
func (s *Store) Fail(p *Pending, err error) {
	s.finish(p, err)
}

func (s *Store) finish(p *Pending, err error) {
	s.hold(p.shards)
	if err == nil {
		if p.Applying != nil {
			p.Applying()
		}
		s.Apply(p.Effects)
		if p.Applied != nil {
			p.Applied()
		}
	}
	s.mark(p, nil, false)
	s.give(p.shards)
	p.err = err
	close(p.done)
}

// Blocked is a Pending that holds something tx has looked at, nil if there is
// none. What was evaluated then rests on values that are about to change: a Tx
// that writes must be discarded, ended and evaluated again when the Pending is
// done. One that only reads has seen the state before it, which is as good.
func (tx *Tx) Blocked() *Pending { return tx.blocked }

// Look notes whether a key is about to change, whichever database it is in.
func (tx *Tx) Look(key []byte) {
	hash := tx.s.hash(key)
	sh := tx.shard(hash)
	if sh.heldAll == nil && len(sh.held) == 0 {
		return
	}
	for db := range NumDBs {
		tx.noteHeld(db, key, hash)
	}
}

// Read looks at the keys of a watch, so that Blocked tells whether one of them
// is about to change.
func (tx *Tx) Read(w *Watch) {
	for i := range w.keys {
		k := &w.keys[i]
		key := bytesOf(k.key)
		tx.noteHeld(int(k.db), key, tx.s.hash(key))
	}
}

// noteHeld notes who holds a key. Without a log nothing is ever held, and this
// is one look at an empty map.
func (tx *Tx) noteHeld(db int, key []byte, hash uint64) {
	sh := tx.shard(hash)
	if sh.heldAll != nil {
		tx.blocked = sh.heldAll
	} else if len(sh.held) > 0 {
		if len(tx.swaps) > 0 {
			db = int(tx.base[db])
		}
		if p := sh.held[watchKey{uint8(db), string(key)}]; p != nil {
			tx.blocked = p
		}
	}
}

// noteAnyHeld is noteHeld for a walk over all keys.
func (tx *Tx) noteAnyHeld() {
	for i := range tx.s.shards {
		sh := &tx.s.shards[i]
		if sh.heldAll != nil {
			tx.blocked = sh.heldAll
		}
		for _, p := range sh.held {
			tx.blocked = p
			break
		}
	}
}
