package store

import "time"

// A store leads from the beginning: alone it is its own leader. Where there are
// several nodes, each is told.
//
//	a node loses leadership:  gate closed, proposals answered  → Follow
//	a node wins leadership:   log applied up to its own term   → Follow (nothing is cached now)
//	                          commit AppendClock(TakeOver(now)), applied everywhere by ApplyClock
//	                          → Lead → gate open

// Lead lets the sweeper turn what has expired into deletions.
func (s *Store) Lead() {
	s.leads.Store(true)
	s.sweeper.kick()
}

// Follow ends that and empties the cached side, under the rules of EmptyCached.
// What has expired stays in memory, hidden, until the leader deletes it.
func (s *Store) Follow() {
	s.leads.Store(false)
	s.EmptyCached()
}

// EmptyCached forgets every cached entry: those from our last term may be older
// than what another leader has told its clients since. A miss is allowed; a
// stale hit is not. Whoever watches one of them, or observes, is told as of a
// deletion; there are no events. It goes shard by shard and waits for latches.
func (s *Store) EmptyCached() {
	var batch []Effect
	for i := range s.shards {
		sh := &s.shards[i]
		s.hold(1 << i)
		for sh.count[inWindow]+sh.count[inMain] > 0 {
			batch = sh.cachedDeletions(batch[:0])
			s.Apply(batch)
			s.settle(sh)
		}
		s.give(1 << i)
	}
}

const emptyBatch = 256 // deletions applied together

// cachedDeletions appends the deletion of some of the cached entries.
func (sh *shard) cachedDeletions(effects []Effect) []Effect {
	sh.lend()
	for _, l := range [2]*list{&sh.window, &sh.main} {
		for r := l.oldest; r != 0 && len(effects) < emptyBatch; r = sh.at(r).newer {
			e := sh.at(r)
			effects = append(effects, Effect{
				Op: OpDelete, DB: uint8(sh.dbOf(e.slot())), Key: e.key(),
				Local: true, hash: sh.hashOf(e), hashed: true,
			})
		}
	}
	return effects
}

// Clock is a leader's reading of its clock, for the others to know how far its
// time has come. The first of a term also moves the deadlines.
type Clock struct {
	Now    int64 // unix ms
	Extend int64 // ms by which every pinned deadline is to be later, never negative
}

// heard is the latest Clock that was applied here.
type heard struct {
	now int64
	at  time.Time // here, monotonic: wall clocks differ and jump
}

// leaderTime is what the clock that set the deadlines shows by now, or less:
// the last reading is older than the moment it was applied here.
func (s *Store) leaderTime() (now int64, ok bool) {
	h := s.clock.Load()
	if h == nil {
		return 0, false
	}
	return h.now + time.Since(h.at).Milliseconds(), true
}

// TakeOver is the first Clock of a new leader's term, to be committed before
// Lead. The deadlines of pinned keys were set by another clock. Where ours is
// ahead of it, every one of them would come early by the difference, so they
// are moved by as much: each has at least as long to go as it would have had.
// Where ours is behind they come late, which does no harm.
func (s *Store) TakeOver(now time.Time) Clock {
	c := Clock{Now: now.UnixMilli()}
	if theirs, ok := s.leaderTime(); ok {
		c.Extend = max(c.Now-theirs, 0)
	}
	return c
}

// ApplyClock makes a committed Clock true, on every node. It waits for latches,
// so nobody who holds one may be waiting for the caller. Whoever watches a key
// whose deadline moves is told.
func (s *Store) ApplyClock(c Clock) {
	if c.Extend > 0 {
		s.hold(AllShards)
		for i := range s.shards {
			s.extend(&s.shards[i], c.Extend)
		}
		s.give(AllShards)
	}
	s.clock.Store(&heard{c.Now, time.Now()})
}

func (s *Store) extend(sh *shard, by int64) {
	sh.preserveAll()
	for i := range sh.deadlines.n {
		if e := sh.at(sh.deadlines.filing(i).r); e.place() == inPinned {
			e.deadline = later(e.deadline, by) // it stays filed under the earlier one
		}
	}
	s.touchWhere(sh, func(e *entry) bool { return e != nil && e.place() == inPinned && e.deadline != 0 })
}

func later(deadline, by int64) int64 {
	if deadline > 0 && deadline+by < deadline {
		return deadline // beyond the end of time
	}
	if deadline+by == 0 {
		return 1 // 0 is none
	}
	return deadline + by
}

// keepEntry is how many effects there is room for from one entry to the next.
const keepEntry = 8 << 10

// ApplyEntry makes true what an entry of the log says, on a node that has not
// got the effects in hand. It takes the shards and waits for latches, so nobody
// who holds one may be waiting for the caller. After an error nothing has changed.
func (s *Store) ApplyEntry(b []byte) error {
	kind, body, err := openEntry(b)
	if err != nil {
		return err
	}
	if kind == KindClock {
		c, err := parseClock(body)
		if err == nil {
			s.ApplyClock(c)
		}
		return err
	}
	s.entryMu.Lock()
	defer s.entryMu.Unlock()
	effects, err := parseEffects(s.entry[:0], body)
	if err != nil {
		return err
	}
	if cap(effects) <= keepEntry {
		s.entry = effects
		defer func() { clear(effects) }() // it does not keep b
	}
	var shards Shards
	for i := range effects {
		f := &effects[i]
		if f.Op == OpFlush || f.Op == OpSwap {
			shards = AllShards
			continue
		}
		f.hash, f.hashed = s.hash(f.Key), true
		shards |= 1 << (f.hash & (numShards - 1))
	}
	now := s.now()
	s.hold(shards)
	shards.each(func(i int) { s.shards[i].now = now })
	s.Apply(effects)
	s.settleAll(shards)
	s.give(shards)
	return nil
}
