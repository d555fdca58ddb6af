package server

import (
	"bytes"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"crema/resp"
	"crema/store"
)

// tracking is client-side caching: clients keep what they have read, and are
// told when it changes.
// https://redis.io/docs/latest/develop/use/client-side-caching/
//
// In the default mode a connection listens in the store to each key that it
// reads, once: the next change is told and the key forgotten. In broadcast mode
// it hears of every key with one of its prefixes, read or not.
//
// An invalidation never comes too early. The store tells of a change while it
// holds the key's shard, with the change made; who reads the key again waits
// for the shard and finds the new value. Nor is one lost: a connection begins
// to listen in the same Tx that read the key, so there is no moment between the
// two. Why an invalidation never overtakes the reply it is about, tracker says.
//
// In a cluster the leader reads for the connections of the other nodes: far is
// about these.
type tracking struct {
	store *store.Store
	relay *relay       // nil without other nodes
	items atomic.Int64 // pairs of a key and a tracker that listens to it
	far   far

	mu       sync.RWMutex // guards what follows; taken after shard locks, before a tracker's
	all      map[*tracker]struct{}
	prefixes map[string]map[*tracker]struct{} // who broadcasts tell; never holds an empty inner map
	peers    bool                             // clients of other nodes track
	mark     uint64                           // under which peers are told of clients here
}

const (
	itemsPerKey = 8    // of tracking-table-max-keys: what a table of keys with many clients each may hold
	maxPrefixes = 1024 // of one client
)

// tracker is CLIENT TRACKING of one connection.
//
// Invalidations from other connections go straight to the outbox while the
// connection waits for its next command, and wait for its replies while it is
// busy. Otherwise:
//
//	A  GET k: reads 1, which stays in A's output until the batch is answered
//	B  SET k 2: A is told that k is invalid, through its outbox
//	A  writes its replies; the client takes 1 for the newest value, for ever
type tracker struct {
	c *conn

	// Of c's goroutine alone.
	caching    bool     // CLIENT CACHING counts for the next command
	forwarding bool     // another node may still be asked for replies of this batch
	prefixes   []string // sorted

	mu       sync.Mutex // guards what follows; taken after shard locks and tracking's, before an outbox's
	off      bool       // CLIENT TRACKING OFF; until the command's end the tracker is still there
	mode     trackingMode
	redirect int64 // the connection that is told instead, 0 = none
	target   *conn // it
	broken   bool  // it was gone when it should have been told
	keys     map[trackedKey]ownership
	busy     bool         // commands are being answered: invalidations wait
	ownReads bool         // c reads from this node though another leads
	pending  []byte       // those that wait
	writing  store.Shards // what the Tx holds that c is committing, under NOLOOP
}

type trackingMode struct{ bcast, optin, optout, noloop bool }

type trackedKey struct {
	db  uint8
	key string
}

// ownership tells who may be changing a key that was read.
type ownership uint8

const (
	notOwn ownership = iota
	own              // the connection itself is, under NOLOOP
	early            // as own, but it has read already what it is making of it: that is told
)

func newTracking(st *store.Store) *tracking {
	return &tracking{store: st, all: map[*tracker]struct{}{}, prefixes: map[string]map[*tracker]struct{}{}}
}

// counts is what INFO shows: tracking_clients, tracking_total_keys,
// tracking_total_items and tracking_total_prefixes.
func (tr *tracking) counts() (clients, keys, items, prefixes int64) {
	tr.mu.RLock()
	defer tr.mu.RUnlock()
	keys, items = tr.far.counts()
	return int64(len(tr.all)), keys + tr.store.Listened(), items + tr.items.Load(), int64(len(tr.prefixes))
}

// join makes a connection track, or gives one that does other options.
func (tr *tracking) join(c *conn, mode trackingMode, target *conn, prefixes []string) {
	t := c.tracker.Load()
	if t == nil {
		c.needOutbox()
		t = &tracker{c: c, busy: true, keys: map[trackedKey]ownership{}}
	}
	if mode.bcast && len(prefixes) == 0 {
		prefixes = []string{""}
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, prefix := range prefixes {
		if at, there := slices.BinarySearch(t.prefixes, prefix); !there {
			t.prefixes = slices.Insert(t.prefixes, at, prefix)
		}
		if tr.prefixes[prefix] == nil {
			tr.prefixes[prefix] = map[*tracker]struct{}{}
		}
		tr.prefixes[prefix][t] = struct{}{}
	}
	t.mu.Lock()
	t.off, t.mode, t.broken, t.target, t.redirect = false, mode, false, target, 0
	if target != nil {
		t.redirect = target.id
	}
	t.mu.Unlock()
	tr.all[t] = struct{}{}
	c.tracker.Store(t)
	tr.change()
}

// clients is how many connections track.
func (tr *tracking) clients() int {
	tr.mu.RLock()
	defer tr.mu.RUnlock()
	return len(tr.all)
}

// observe is called when a peer's clients begin to track, or stop.
func (tr *tracking) observe() {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.watchStore()
}

// change is called when a connection begins to track, or stops; the caller holds
// mu.
func (tr *tracking) change() {
	tr.watchStore()
	if tr.relay != nil {
		tr.mark = tr.relay.mark(interest{space: trackingSpace})
		tr.relay.signal()
	}
}

// agree waits until the other nodes know that clients of this one track, with
// nothing held.
func (tr *tracking) agree(c *conn) {
	if tr.relay == nil {
		return
	}
	tr.mu.RLock()
	mark := tr.mark
	tr.mu.RUnlock()
	tr.relay.agree(mark, true, c.done)
}

// watchStore has the store tell of changes while somebody wants to know; the
// caller holds mu.
func (tr *tracking) watchStore() {
	tr.peers = tr.relay != nil && tr.relay.tracked()
	if len(tr.all) > 0 || tr.peers {
		tr.store.Observe(tr)
	} else {
		tr.store.Observe(nil)
	}
}

// stop makes a connection track no more. Its keys are given back by leave, for
// which no Tx may be open, as there is inside EXEC.
func (tr *tracking) stop(c *conn) {
	t := c.tracker.Load()
	if t == nil {
		return
	}
	tr.mu.Lock()
	for _, prefix := range t.prefixes {
		delete(tr.prefixes[prefix], t)
		if len(tr.prefixes[prefix]) == 0 {
			delete(tr.prefixes, prefix)
		}
	}
	delete(tr.all, t)
	tr.change()
	tr.mu.Unlock()
	t.prefixes, t.caching = nil, false
	t.mu.Lock()
	t.off, t.broken, t.mode, t.redirect, t.target = true, false, trackingMode{}, 0, nil
	t.mu.Unlock()
}

// leave ends the tracking of a connection and forgets its keys.
func (tr *tracking) leave(c *conn) {
	t := c.tracker.Load()
	if t == nil {
		return
	}
	tr.stop(c)
	c.tracker.Store(nil)
	t.mu.Lock()
	keys := t.keys
	t.keys = nil
	c.out = append(c.out, t.pending...)
	t.pending = nil
	t.mu.Unlock()
	for k := range keys {
		tr.store.Unlisten(int(k.db), k.key, t)
	}
	tr.items.Add(-int64(len(keys)))
	tr.far.leave(t)
}

// trackerOn is the connection's tracker while CLIENT TRACKING is on.
func (c *conn) trackerOn() *tracker {
	t := c.tracker.Load()
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.off {
		return nil
	}
	return t
}

// remember listens to the keys that a command has read; the Tx that read them
// is still open.
func (t *tracker) remember(row *command, words [][]byte) {
	if !t.remembers() {
		return
	}
	tx := &t.c.tx
	whose := notOwn
	if t.mode.noloop && (tx.Builds() || len(tx.Effects()) > 0) {
		// The change that is in what was read comes after this, and the store
		// forgets with it who listens. Not told, the client would keep the value
		// and hear of no later one.
		whose = early
	}
	row.keys.each(words, func(key []byte) {
		if k, ok := t.adopt(tx.DB(), key, whose); ok {
			// Without t's mutex: ListenOnce takes that of a shard, under
			// which others call Touched.
			tx.ListenOnce(k.key, t)
			t.c.srv.tracking.items.Add(1)
		}
	})
}

// remembers tells whether t listens to the keys of the command at hand. Only
// this goroutine writes mode and off, so it may read them unlocked.
func (t *tracker) remembers() bool {
	m := t.mode
	return !t.off && !m.bcast && !(m.optin && !t.caching) && !(m.optout && t.caching)
}

// adopt makes a key t's, to which t must listen then; false means that it was
// and does. Only c's goroutine adopts.
func (t *tracker) adopt(db int, key []byte, whose ownership) (k trackedKey, fresh bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if was, ok := t.keys[trackedKey{uint8(db), string(key)}]; ok {
		if was != whose {
			t.keys[trackedKey{uint8(db), string(key)}] = whose
		}
		return k, false
	}
	k = trackedKey{uint8(db), string(key)}
	t.keys[k] = whose
	return k, true
}

// Touched is what the store calls when a key that was read changes, expires, is
// evicted or forgotten, once.
func (t *tracker) Touched(db int, key []byte) {
	k := trackedKey{uint8(db), string(key)}
	t.mu.Lock()
	defer t.mu.Unlock()
	whose, ok := t.keys[k]
	if !ok {
		return
	}
	delete(t.keys, k)
	t.c.srv.tracking.items.Add(-1)
	if !t.off && !t.mode.bcast && whose != own {
		t.tell(&invalidation{what: resp.Array(resp.Bulk(key))})
	}
}

// writes is called by a NOLOOP connection before and after it makes its effects
// happen: it hears nothing of them. Of the keys that it has read only those
// among them count, because any other may be forgotten at the same time, which
// it must hear.
func (t *tracker) writes(shards store.Shards, effects []store.Effect, whose ownership) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writing = shards
	for i := range effects {
		f := &effects[i]
		if was, ok := t.keys[trackedKey{f.DB, string(f.Key)}]; ok && was != early {
			t.keys[trackedKey{f.DB, string(f.Key)}] = whose
		}
	}
}

// applies tells whether a NOLOOP connection itself is what applies an effect on
// a key: nobody else can on the shards that its Tx holds. The caller holds mu.
func (t *tracker) applies(key []byte) bool {
	return t.writing != 0 && t.writing&t.c.srv.store.ShardOf(key) != 0
}

// Applied tells broadcast listeners of what has changed, and everybody of a
// flush. Of a SWAPDB those who broadcast are told as of a flush; Redis leaves
// them with what they have. Under another leader, who has told what it applied
// before it came here, it tells those again who may have read it here since.
func (tr *tracking) Applied(effects []store.Effect) {
	tr.mu.RLock()
	defer tr.mu.RUnlock()
	leads := tr.relay == nil || tr.relay.leads()
	if leads && tr.peers {
		tr.relay.touched(effects)
	}
	flushed, swapped := false, false
	for len(effects) > 0 && (effects[0].Op == store.OpFlush || effects[0].Op == store.OpSwap) {
		flushed = flushed || effects[0].Op == store.OpFlush
		swapped = swapped || effects[0].Op == store.OpSwap
		effects = effects[1:]
	}
	if flushed || swapped {
		tr.tellAll(flushed, leads)
	}
	if len(effects) == 0 || len(tr.prefixes) == 0 {
		return
	}
	keys := make([][]byte, len(effects))
	for i := range effects {
		keys[i] = effects[i].Key
	}
	// One Tx, so a connection applies all of them or none.
	tr.tellPrefixes(keys, func(t *tracker) bool { return (leads || t.ownReads) && !t.applies(keys[0]) })
}

// tellPrefixes tells those who broadcast of keys that have changed, for whom
// wanted holds true, which is called with the tracker's mutex held. The caller
// holds mu.
func (tr *tracking) tellPrefixes(changed [][]byte, wanted func(*tracker) bool) {
	for _, prefix := range slices.Sorted(maps.Keys(tr.prefixes)) {
		var keys [][]byte
		for _, key := range changed {
			if len(key) >= len(prefix) && string(key[:len(prefix)]) == prefix {
				keys = append(keys, key)
			}
		}
		if len(keys) == 0 {
			continue
		}
		slices.SortFunc(keys, bytes.Compare)
		keys = slices.CompactFunc(keys, bytes.Equal) // COPY and MOVE: one key in two databases
		list := make([]resp.Reply, len(keys))
		for i, key := range keys {
			list[i] = resp.Bulk(key)
		}
		inv := &invalidation{what: resp.Array(list...)}
		for t := range tr.prefixes[prefix] {
			t.mu.Lock()
			if wanted(t) {
				t.tell(inv)
			}
			t.mu.Unlock()
		}
	}
}

// tellAll says that everything has changed: to all after a flush, by which the
// store has forgotten who listens to what; else to those who broadcast. The
// caller holds mu.
func (tr *tracking) tellAll(flushed, leads bool) {
	inv := &invalidation{what: resp.Nil}
	for t := range tr.all {
		t.mu.Lock()
		told := !leads && !t.ownReads && len(t.keys) == 0
		if flushed {
			tr.items.Add(-int64(len(t.keys)))
			clear(t.keys)
		}
		if (flushed || t.mode.bcast) && !told {
			t.tell(inv)
		}
		t.mu.Unlock()
	}
}
