package store

import (
	"errors"
	"slices"
)

// Pending is one Tx's effects on their way through the log: evaluated, and
// neither applied nor refused yet. Until then whoever writes what it writes, or
// what rests on reading it, comes after it in the log.
type Pending struct {
	Effects []Effect // all of them; those with Local set need not go into the log

	// Applying and Applied, if not nil, are called before and after the effects
	// are applied, with their shards held: for announcing them. They must not
	// open a Tx.
	Applying, Applied func()

	// Index is the position in the log of the entry that p was in, also with
	// nothing to say there; 0 if it was in none. The log sets it before Commit,
	// and it may be read after Wait.
	Index uint64

	shards   Shards
	all      bool    // a flush or a swap: everything is held
	layers   []layer // one for each effect, unless all
	built    bool    // evaluated on what others had pending
	failures uint64  // the store's when this was evaluated
	broken   bool    // what it was built on has certainly not happened
	done     chan struct{}
	err      error // valid when done is closed
}

// ErrNotLogged is for a Pending that never reached the log: nothing has happened
// and nothing will. Any other error of Wait is in doubt: the log does not know
// whether the effects survive.
var ErrNotLogged = errors.New("store: the effects never reached the log")

// Hand takes what tx has recorded and holds its keys until Commit or Fail. tx
// is still open: a log that is given the Pending before tx.End has it in the
// order in which Txs that touch the same keys were evaluated. Hand copies keys
// and values. There may be no effects at all: such a Pending waits for its place
// in the log's order, which is how the answer of a Tx that Builds, and has found
// nothing to change, becomes true.
func (tx *Tx) Hand() *Pending {
	if tx.blocked != nil {
		panic("store: Hand of a Tx that is blocked")
	}
	p := &Pending{
		Effects: slices.Clone(tx.Effects()), done: make(chan struct{}),
		built: tx.built, failures: tx.s.failures.Load(),
	}
	for i := range p.Effects {
		switch f := &p.Effects[i]; f.Op {
		case OpFlush, OpSwap:
			p.all, p.shards = true, AllShards
		default:
			f.hash, f.hashed = tx.s.hash(f.Key), true
			p.shards |= 1 << (f.hash & (numShards - 1))
		}
	}
	if p.all {
		tx.holdAll(p)
	} else if len(p.Effects) > 0 {
		tx.cover(p)
	}
	return p
}

// holdAll is for a Pending that changes what cannot be listed.
func (tx *Tx) holdAll(p *Pending) {
	for i := range p.Effects {
		if f := &p.Effects[i]; f.Op != OpFlush && f.Op != OpSwap {
			f.Key, f.Value = slices.Clone(f.Key), slices.Clone(f.Value)
		}
	}
	for i := range tx.s.shards {
		sh := &tx.s.shards[i]
		unlock := sh.lockLatched()
		sh.heldAll = p
		sh.holds = true
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
func (s *Store) Commit(p *Pending) { s.CommitAll([]*Pending{p}) }

// CommitAll is Commit for the Pendings of one entry, in order. It takes the
// shards of many at once.
func (s *Store) CommitAll(ps []*Pending) {
	for len(ps) > 0 {
		n := min(len(ps), commitAtOnce)
		s.finish(ps[:n], nil)
		ps = ps[n:]
	}
}

// commitAtOnce bounds how long others wait for a shard.
const commitAtOnce = 64

// Fail changes nothing and wakes who waits for p with err. What was built on p
// must not be committed then, unless p is in doubt and has come through after
// all. Nearly always the log fails everything that came after p as well, because
// it has lost its gate. Where p fails alone, the log asks Doomed.
func (s *Store) Fail(p *Pending, err error) { s.finish([]*Pending{p}, err) }

// Doomed says that p may rest on a Pending that has failed: that came before it
// and has not been applied. The log asks before it puts p into an entry, in the
// order of Propose, and fails p at once if so, before it asks for the next:
// otherwise those that rest on p would not be found.
//
// A Pending may be called doomed for a failure that it has nothing to do with.
func (s *Store) Doomed(p *Pending) bool { return p.built && p.failures != s.failures.Load() }

func (s *Store) finish(ps []*Pending, err error) {
	var shards Shards
	for _, p := range ps {
		shards |= p.shards
	}
	s.hold(shards)
	for _, p := range ps {
		if err == nil {
			s.apply(p)
		} else {
			s.failures.Add(1)
		}
		s.release(p, errors.Is(err, ErrNotLogged))
	}
	s.settleAll(shards)
	s.give(shards)
	for _, p := range ps {
		p.err = err
		close(p.done)
	}
}

func (s *Store) apply(p *Pending) {
	if p.broken {
		panic("store: commit of what was built on effects that never reached the log")
	}
	if p.Applying != nil {
		p.Applying()
	}
	s.Apply(p.Effects)
	if p.Applied != nil {
		p.Applied()
	}
}

// release ends p's hold on its keys. Those built on it are broken when p has
// certainly not happened.
func (s *Store) release(p *Pending, broken bool) {
	if p.all {
		for i := range s.shards {
			s.shards[i].heldAll = nil
			s.shards[i].countHeld()
		}
	}
	for i := range p.layers {
		l := &p.layers[i]
		if broken && l.above != nil {
			l.above.by.broken = true
		}
		s.shards[l.hash&(numShards-1)].lift(l)
	}
	p.layers = nil
}

// Blocked is a Pending that holds something tx has looked at and could not see
// through, nil if there is none. What was evaluated then rests on values that
// are about to change: a Tx that writes must be discarded, ended and evaluated
// again when the Pending is done. One that only reads has seen the state before
// it, which is as good.
//
// A Tx that is Ahead is blocked by a flush or a swap, and by a change of a key
// that it watches.
func (tx *Tx) Blocked() *Pending { return tx.blocked }

// Builds says that tx, which is Ahead, has looked at what is pending. Neither
// what it has recorded nor what it answers is true before that has been
// committed: it must go to the log, by Hand, even with nothing recorded or with
// Local effects only.
func (tx *Tx) Builds() bool { return tx.built }

// Look notes whether a key is about to change, whichever database it is in, so
// that one need not begin what Blocked would undo.
func (tx *Tx) Look(key []byte) {
	sh := tx.shard(tx.s.hash(key))
	switch {
	case !sh.holds:
	case sh.heldAll != nil:
		tx.blocked = sh.heldAll
	case !tx.scope.Ahead:
		for db := range NumDBs {
			tx.noteHeld(sh, db, key)
		}
	}
}

// Read looks at the keys of a watch, so that Blocked tells whether one of them
// is about to change.
func (tx *Tx) Read(w *Watch) {
	for i := range w.keys {
		k := &w.keys[i]
		key := bytesOf(k.key)
		tx.noteHeld(tx.shard(tx.s.hash(key)), int(k.db), key)
		tx.beyond = true
	}
}

// noteHeld notes who holds a key of a database of the store.
func (tx *Tx) noteHeld(sh *shard, db int, key []byte) {
	if sh.heldAll != nil {
		tx.blocked = sh.heldAll
	} else if l := sh.top(db, key); l != nil {
		tx.blocked = l.by
	}
}

// noteAllHeld is for a flush or a swap. It can come after whatever is pending,
// for it does not depend on it; but two of them do not go together.
func (tx *Tx) noteAllHeld() {
	if p := tx.s.shards[0].heldAll; p != nil {
		tx.blocked = p
	}
}

// noteAnyHeld is for a walk over all keys.
func (tx *Tx) noteAnyHeld() {
	tx.noteAllHeld()
	for i := range tx.s.shards {
		for _, l := range tx.s.shards[i].held {
			if tx.scope.Ahead {
				tx.built = true
			} else {
				tx.blocked = l.by
			}
			return
		}
	}
}
