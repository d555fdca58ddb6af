package store

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
)

// Listener is told of changes to keys it has asked about: of every one by
// Watch, of the next one by ListenOnce. Touched is called with the key's shard
// held and the change made: it must be quick and must not come back into the
// store. key is valid during the call.
type Listener interface {
	Touched(db int, key []byte)
}

// Observer is told of everything that is applied, with the shards still held,
// under the same rules as a Listener.
type Observer interface {
	Applied(effects []Effect)
}

// Observe makes o the one observer of the store; nil ends it.
func (s *Store) Observe(o Observer) {
	if o == nil {
		s.observer.Store(nil)
	} else {
		s.observer.Store(&o)
	}
}

type watchKey struct {
	db  uint8
	key string
}

type watcher struct {
	l Listener
	// The key had expired, though it was still in memory, when the watching
	// began. Its deletion changes nothing for this listener.
	expired bool
}

// Watch is one connection's WATCH set. Its methods, like those of the Store on
// it, are for that connection's goroutine; Touched is for the store.
type Watch struct {
	dirty    atomic.Bool
	keys     []watchKey
	has      map[watchKey]struct{} // keys, once there are many
	deadline int64                 // the earliest of the watched keys, unix ms, 0 = none
}

// Touched makes w dirty.
func (w *Watch) Touched(int, []byte) { w.dirty.Store(true) }

// Dirty says whether a watched key has changed since it was watched, or has
// expired since. A deadline that moves is a change, so those of the beginning
// are all there is to compare. Called within a Tx over the watched keys'
// shards, it answers for as long as that Tx holds them.
func (w *Watch) Dirty(now int64) bool { return w.dirty.Load() || expired(w.deadline, now) }

// Len is how many keys are watched.
func (w *Watch) Len() int { return len(w.keys) }

// WatchShards is where the watched keys live.
func (s *Store) WatchShards(w *Watch) Shards {
	var set Shards
	for i := range w.keys {
		set |= s.ShardOf(bytesOf(w.keys[i].key))
	}
	return set
}

// Watch adds a key to w. No Tx of the caller may be open.
func (s *Store) Watch(w *Watch, db int, key []byte) {
	k := watchKey{uint8(db), string(key)}
	if w.watches(k) {
		return
	}
	w.keys = append(w.keys, k)
	if w.has != nil {
		w.has[k] = struct{}{}
	}
	if deadline := s.listen(k, w); deadline != 0 && (w.deadline == 0 || deadline < w.deadline) {
		w.deadline = deadline
	}
}

// fewWatched keys are searched one by one.
const fewWatched = 16

func (w *Watch) watches(k watchKey) bool {
	if len(w.keys) < fewWatched {
		return slices.Contains(w.keys, k)
	}
	if w.has == nil {
		w.has = make(map[watchKey]struct{}, 2*len(w.keys))
		for _, k := range w.keys {
			w.has[k] = struct{}{}
		}
	}
	_, ok := w.has[k]
	return ok
}

// listen registers l and returns the deadline of the key, 0 if it has none or
// does not live.
func (s *Store) listen(k watchKey, l Listener) (deadline int64) {
	hash := s.hash(bytesOf(k.key))
	sh := &s.shards[hash&(numShards-1)]
	now := s.now()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	w, deadline := sh.watcher(k, hash, l, now)
	if sh.watches == nil {
		sh.watches = make(map[watchKey][]watcher)
	}
	sh.watches[k] = append(sh.watches[k], w)
	sh.odd |= oddWatched
	return deadline
}

// watcher is l as it begins to listen to a key, and the key's deadline.
func (sh *shard) watcher(k watchKey, hash uint64, l Listener, now int64) (w watcher, deadline int64) {
	w.l = l
	if e, _ := sh.db(int(k.db)).find(sh, hash, bytesOf(k.key)); e != nil {
		if deadline = e.deadline; expired(deadline, now) {
			w.expired, deadline = true, 0
		}
	}
	return w, deadline
}

// ListenOnce has l told of the next change of a key of the current database,
// and forgotten then. Nothing can happen to the key between what tx has read of
// it and this: tx holds its shard. A flush, of whichever database, forgets all
// such listeners without telling them: an Observer tells of flushes. The caller
// sees to it that l listens once to a key at most.
func (tx *Tx) ListenOnce(key string, l Listener) {
	hash := tx.s.hash(bytesOf(key))
	sh := tx.shard(hash)
	defer sh.lockLatched()()
	k := watchKey{uint8(tx.db), key}
	w, _ := sh.watcher(k, hash, l, tx.now)
	if sh.once == nil {
		sh.once = make(map[watchKey][]watcher)
	}
	all := sh.once[k]
	if len(all) == 0 {
		tx.s.listened.Add(1)
	}
	sh.once[k] = append(all, w)
	sh.odd |= oddWatched
}

// Unlisten takes back a ListenOnce. No Tx of the caller may be open.
func (s *Store) Unlisten(db int, key string, l Listener) {
	sh := &s.shards[s.hash(bytesOf(key))&(numShards-1)]
	k := watchKey{uint8(db), key}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	all, ok := sh.once[k]
	if !ok {
		return
	}
	if all = without(all, l); len(all) > 0 {
		sh.once[k] = all
	} else {
		s.forget(sh, k)
	}
}

// Listened is how many keys somebody listens to with ListenOnce.
func (s *Store) Listened() int64 { return s.listened.Load() }

// ForgetListened tells the listeners of some keys what they would hear if these
// changed, until at most limit keys are listened to with ListenOnce. No Tx of
// the caller may be open.
func (s *Store) ForgetListened(limit int64) {
	for i := rand.IntN(numShards); s.listened.Load() > max(limit, 0); i = (i + 1) % numShards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for k, all := range sh.once { // begins anywhere
			s.forget(sh, k)
			for _, w := range all {
				w.l.Touched(int(k.db), bytesOf(k.key))
			}
			break
		}
		sh.mu.Unlock()
	}
}

func (s *Store) forget(sh *shard, k watchKey) {
	delete(sh.once, k)
	s.listened.Add(-1)
	sh.countWatched()
}

// countWatched is when fewer keys are watched than before.
func (sh *shard) countWatched() {
	if len(sh.watches)+len(sh.once) == 0 {
		sh.odd &^= oddWatched
	}
}

// forgetAll is for a flush.
func (s *Store) forgetAll(sh *shard) {
	s.listened.Add(-int64(len(sh.once)))
	sh.once = nil
	sh.countWatched()
}

// Unwatch empties w and makes it clean. No Tx of the caller may be open.
func (s *Store) Unwatch(w *Watch) {
	for _, k := range w.keys {
		s.unlisten(k, w)
	}
	clear(w.keys)
	w.keys, w.has, w.deadline = w.keys[:0], nil, 0
	w.dirty.Store(false) // nobody can touch it any more
}

func (s *Store) unlisten(k watchKey, l Listener) {
	sh := &s.shards[s.hash(bytesOf(k.key))&(numShards-1)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if all := without(sh.watches[k], l); len(all) == 0 {
		delete(sh.watches, k)
		sh.countWatched()
	} else {
		sh.watches[k] = all
	}
}

// without takes l out of a list, once.
func without(all []watcher, l Listener) []watcher {
	for i := range all {
		if all[i].l == l {
			all[i] = all[len(all)-1]
			all[len(all)-1] = watcher{}
			return all[:len(all)-1]
		}
	}
	return all
}

// touch tells the listeners of a key. buried says that all that happened is
// that an expired entry was deleted.
func (s *Store) touch(sh *shard, db int, key []byte, buried bool) {
	for _, w := range sh.watches[watchKey{uint8(db), string(key)}] {
		if !buried || !w.expired {
			w.l.Touched(db, key)
		}
	}
	all, ok := sh.once[watchKey{uint8(db), string(key)}]
	if !ok {
		return
	}
	var kept []watcher
	for _, w := range all {
		if !buried || !w.expired {
			w.l.Touched(db, key)
		} else {
			kept = append(kept, w)
		}
	}
	k := watchKey{uint8(db), string(key)}
	if len(kept) > 0 {
		sh.once[k] = kept
	} else {
		s.forget(sh, k)
	}
}

// touchAll is for a flush: it tells those who watch the keys that are there.
func (s *Store) touchAll(sh *shard, db int) {
	for k := range sh.watches {
		if int(k.db) != db {
			continue
		}
		key := bytesOf(k.key)
		if e, _ := sh.db(db).find(sh, s.hash(key), key); e != nil {
			s.touch(sh, db, key, expired(e.deadline, sh.now))
		}
	}
}

// touchWhere tells those who listen to a key for whose entry, nil if there is
// none, test holds true.
func (s *Store) touchWhere(sh *shard, test func(e *entry) bool) {
	touch := func(k watchKey) {
		key := bytesOf(k.key)
		if e, _ := sh.db(int(k.db)).find(sh, s.hash(key), key); test(e) {
			s.touch(sh, int(k.db), key, false)
		}
	}
	for k := range sh.watches {
		touch(k)
	}
	for k := range sh.once {
		if len(sh.watches[k]) == 0 {
			touch(k)
		}
	}
}

// touchSwapped tells those who listen, in either database, to a key that is in
// one of the two.
func (s *Store) touchSwapped(sh *shard, a, b int) {
	touch := func(k watchKey) {
		if int(k.db) != a && int(k.db) != b {
			return
		}
		key := bytesOf(k.key)
		hash := s.hash(key)
		there, live := false, false
		for _, db := range [2]int{a, b} {
			if e, _ := sh.db(db).find(sh, hash, key); e != nil {
				there = true
				live = live || !expired(e.deadline, sh.now)
			}
		}
		if there {
			s.touch(sh, int(k.db), key, !live)
		}
	}
	for k := range sh.watches {
		touch(k)
	}
	for k := range sh.once {
		if len(sh.watches[k]) == 0 {
			touch(k)
		}
	}
}
