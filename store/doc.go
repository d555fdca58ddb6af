// Package store keeps what the server keeps: sixteen databases of keys, in
// memory, each key either pinned (it may not be forgotten) or cached (it may).
//
// # How it works
//
// Keys are spread over 32 shards by their hash. A shard has a mutex, an index
// for each database, a heap of deadlines and the queues of its cached entries.
// All of these, and keys and values themselves, are in memory that the collector
// does not see (see Memory). Everybody reads and writes through a Tx:
//
//	if err := tx.Begin(s, now, db, store.Scope{Shards: s.ShardOf(key)}); err != nil {
//		return err // store.ErrBusy: a script has held the shard for too long
//	}
//	defer tx.End()
//	old, ok := tx.Get(key)            // sees what this Tx has recorded so far
//	tx.Put(key, store.Put{Value: v})  // records an effect, changes nothing
//	s.Apply(tx.Effects())             // changes the store, under the scope of tx
//
// Between Apply and End, tx.Discard lets the same Tx go on to the next command
// with nothing recorded. Keys and values given to a Tx belong to the caller and
// stay unchanged until Discard or End; Apply and Hand copy them. What a Tx hands
// out is valid until End, and not for a moment longer; tx.Return, after a Discard,
// says that it is not used any more, which spares the next command a copy. A Tx
// that touches a key outside its scope panics; Len, Scan, Each and RandomKey want
// AllShards.
//
// An Effect is absolute and there is at most one per key, so that a list of
// them can be sent elsewhere and applied there. Effects come in this order:
// swaps, flushes, keys.
//
// A read never sees what is past its deadline. The sweeper deletes it within
// milliseconds; MakeRoom, called before a write that may grow the store and
// with no Tx open, evicts cached entries until memory is within its limit.
//
// # Kinds
//
// A write is pinned or cached by the first of these rules that holds: a key
// that Config.Cache matches is cached; one that Config.Pin matches is pinned; a
// live pinned key stays pinned; under NoEviction it is pinned; a Sure write, and
// any write of a scope with PinAll, is pinned; without a deadline it is pinned
// (cached under AllKeysLFU); else it is cached. A new deadline leaves the kind
// as it is, unless it is Sure or PinAll.
//
// # Memory
//
// An entry is one piece of its shard's slab.Space: a head of 32 bytes, the key,
// the value. What refers to it, in the index, the queues and the heap, is a number
// of four bytes. So the collector has next to nothing to look at, however many
// keys there are, and memory is free as soon as its key is gone.
//
// Three things would pull memory from under somebody's feet, and each has its rule.
// What a Tx has handed out is lent: until its End or Return values are not written over where
// they stand, but in another piece, and what is gone is freed at the End. With
// nothing lent, which is what a plain SET finds, a value of about the same size is
// written over the old one. What a snapshot has noted is kept in the same way, until
// its Release. And entries that are moved, because their value does not fit any more
// or to gather those of many slabs in few, are moved with the shard held, nothing
// lent and no snapshot open.
//
// What an entry costs, as maxmemory counts it, is its piece and its share of index
// and deadlines. So what is used is close to what the kernel has given; Stats tells
// both.
//
// # Logs and snapshots
//
// Cached keys are one node's own. What other nodes, and this one after a
// restart, have to know is what happens to pinned keys. An effect is Local when
// its key is not pinned in the store, expired or not, and is not after it: a
// plain write with a TTL over nothing or over a cached key, a deletion of
// either, what a Tx itself has flushed before included. All other effects go
// through the log, flushes and swaps always. There a key that is pinned no more
// is a deletion; and PERSIST and its like, where they pin a cached key, are
// Puts, since nobody else has the value.
//
// AppendEffects writes an entry of the log, ApplyEntry makes it true elsewhere.
// Hand makes a Pending of what a Tx has recorded. The log, which is given it
// before End, calls CommitAll or Fail when it knows. Until then the store is as
// before, and a Tx that looks at one of its keys is Blocked, or is Ahead: it sees
// what will be, and if it Builds on that it must be handed itself, even with
// nothing recorded. The log keeps them in order, and fails what is Doomed. So a
// key that many change commits as often as they ask, as do lock scripts; only
// behind a flush or a swap, and for a watched key, does everybody wait.
//
// Snapshot is the pinned keys as they were at one moment, in an order of their
// own, so that nodes with equal states write equal bytes; Restore puts them in
// the place of all there is. Lead and Follow say who sweeps; TakeOver and
// ApplyClock see to it that no deadline comes early because another node's
// clock is ahead.
//
// # Lock order
//
// latch → shard → outbox. A latch is waited for with no mutex held. Shards are
// locked in ascending order. With a shard held one may take an outbox or
// another leaf lock, never a latch. The cache's own mutex comes before the
// shards: MakeRoom and the evictor take it with nothing held. So does ApplyEntry
// with its own.
//
// A Tx with Scope.Latch holds latches instead of mutexes, so that others can be
// told that the server is busy. Only its goroutine may then look into those
// shards; it takes the mutexes for a moment in Apply and End. Sweeper and
// eviction pass latched shards over.
//
// # Caveats
//
// A read changes the access information of an entry before anything is
// committed: it is advice, not state.
//
// Key or value kept beyond End, without a copy, is somebody else's value a moment
// later.
//
// A shard has 32 GiB of addresses. A value has at most 2 GiB.
//
// To flush one database of several deletes its keys one by one, with all shards
// held; to flush them all, or the only one in use, takes a moment.
//
// While a snapshot is open, nothing is moved together, and each pinned value that
// changes is there twice.
//
// Stats looks at one shard after the other; its sums are exact only when
// nothing moves. UsedBytes, and what MakeRoom goes by, are behind by up to 64 KiB,
// or a sixteen-thousandth of MaxMemory, in each shard, for as long as a second.
//
// What has expired and waits for its deletion is hidden by the leader's clock.
// After a change of leader it may show again for as long as the new one cannot
// know that its time was up.
//
// Restore, ApplyClock, ApplyEntry and EmptyCached wait for latches. Whoever
// holds one must not be waiting for them.
//
// A Tx that is Ahead and has found nothing to change answers with what was
// pending. Unless its own Pending was in an entry, which Index tells, the answer
// says nothing of who leads: what it has seen may have been sent before somebody
// else was elected.
//
// Commit, Listener.Touched and Observer.Applied run with shards held.
// They must not open a Tx, nor call MakeRoom, Watch, Unwatch, Unlisten,
// ForgetListened, Stats or Check.
package store
