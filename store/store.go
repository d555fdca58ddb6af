package store

import (
	"fmt"
	"hash/maphash"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// NumDBs is how many numbered databases there are, as in Redis's default.
const NumDBs = 16

const (
	numShards = 32
	shardBits = 5
)

// Shards is a set of shards, one bit each. A key lives in the same shard
// whatever database it is in.
type Shards uint64

// AllShards is what a command needs that looks at keys it cannot name.
const AllShards Shards = 1<<numShards - 1

// Policy is what gives way when memory is short.
type Policy uint8

const (
	VolatileLFU Policy = iota // plain writes with a TTL are cached
	AllKeysLFU                // plain writes without a TTL are cached too
	NoEviction                // nothing is evicted, everything written is pinned
)

var policyNames = [...]string{"volatile-lfu", "allkeys-lfu", "noeviction"}

func (p Policy) String() string { return policyNames[p] }

// ParsePolicy reads the value of maxmemory-policy, in any case.
func ParsePolicy(name string) (Policy, error) {
	for i, n := range policyNames {
		if strings.EqualFold(n, name) {
			return Policy(i), nil
		}
	}
	return 0, fmt.Errorf("unknown eviction policy %q (want %s)", name, strings.Join(policyNames[:], ", "))
}

// Config is what an operator may choose. The functions must be quick and must
// not come back into the store.
type Config struct {
	MaxMemory int64 // bytes, 0 = no limit
	Policy    Policy

	MaxValueBytes int64 // what Tx.MaxValue tells the commands; 0 = 512 MB

	// Pin and Cache override the kind of the keys they hold true for; nil is
	// never. Cache wins.
	Pin, Cache func(key []byte) bool

	// BusyAfter is how long a latched scope may keep others waiting before
	// their Begin returns ErrBusy; 0 lets them wait for ever.
	BusyAfter time.Duration

	Now func() time.Time // the wall clock; nil = time.Now

	// Commit makes the deletions that sweeper and eviction recorded on tx
	// happen, and tells of its events; nil applies them at once, and nobody is
	// told. It is called with the shards of tx
	// held and must not End it. It returns nil when they are applied, or a
	// Pending when a log has yet to answer.
	Commit func(tx *Tx) *Pending
}

// Store is every database of one server.
type Store struct {
	shards [numShards]shard
	seed   maphash.Seed
	cfg    atomic.Pointer[Config]
	cfgMu  sync.Mutex // one Reconfigure at a time

	used   atomic.Int64 // bytes of all entries, as far as the shards have told
	pinned atomic.Int64 // bytes of the pinned ones among them
	drift  atomic.Int64 // by how many bytes a shard may be ahead of what it has told
	peak   atomic.Int64 // the highest that used ever was; ResetStats leaves it

	events       atomic.Uint32 // the EventClass set that somebody listens to
	observer     atomic.Pointer[Observer]
	listened     atomic.Int64 // keys in the shards' once
	activeExpire atomic.Bool
	leads        atomic.Bool // only a leader sweeps
	clock        atomic.Pointer[heard]
	failures     atomic.Uint64 // Pendings that have failed

	entryMu sync.Mutex // one ApplyEntry at a time; taken before any shard
	entry   []Effect   // room for its effects

	cache   cache
	sweeper sweeper
	done    chan struct{} // closed by Close: sweeper and evictor end
	running sync.WaitGroup
	users   atomic.Int32 // the store itself, until Close, and snapshots
}

// New starts an empty store and its two goroutines: the sweeper, which deletes
// what has expired, and the evictor, which finishes what MakeRoom left. Close
// ends both.
func New(c Config) *Store {
	s := &Store{seed: maphash.MakeSeed(), done: make(chan struct{})}
	s.configure(c)
	s.users.Store(1)
	for i := range s.shards {
		s.shards[i].init(i, s.seed)
	}
	s.activeExpire.Store(true)
	s.leads.Store(true)
	s.cache.init(s)
	s.sweeper.init(s)
	s.running.Add(2)
	go s.sweeper.run()
	go s.cache.run()
	return s
}

func withDefaults(c Config) *Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.MaxValueBytes == 0 {
		c.MaxValueBytes = 512 << 20
	}
	c.MaxValueBytes = min(c.MaxValueBytes, maxPieceBytes)
	return &c
}

// maxPieceBytes is as much as an entry can hold.
const maxPieceBytes = 1 << 31

func (s *Store) configure(c Config) {
	s.cfg.Store(withDefaults(c))
	s.drift.Store(driftOf(c.MaxMemory))
}

// Close ends the store's goroutines and gives its memory back, at once or when
// the last Snapshot is released. No Tx may be open; the store is empty then. If a
// latch stands all the same, a script's that nobody could wait for, the memory stays:
// its holder reads there.
func (s *Store) Close() {
	close(s.done)
	s.running.Wait()
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		if sh.latch != nil {
			sh.mu.Unlock()
			return
		}
		s.settle(sh)
		s.wipe(sh)
		sh.mu.Unlock()
	}
	s.leave()
}

// leave is for Close and for each Snapshot's Release: the last of them unmaps all
// there is.
func (s *Store) leave() {
	if s.users.Add(-1) == 0 {
		s.cache.unmap()
	}
}

// Reconfigure changes the configuration as one step. A smaller MaxMemory is
// made true in the background, beginning at once.
func (s *Store) Reconfigure(change func(*Config)) {
	s.cfgMu.Lock()
	defer s.cfgMu.Unlock()
	c := *s.cfg.Load()
	change(&c)
	s.configure(c)
	// What the shards have not told counts at once. The caller may have a Tx open,
	// and hold some: those tell when they are written to, or with the next tidy.
	for i := range s.shards {
		if sh := &s.shards[i]; sh.mu.TryLock() {
			s.tell(sh, 0)
			sh.mu.Unlock()
		}
	}
	s.cache.kick()
	s.sweeper.kick()
}

// WantEvents says which classes of keyspace events Notify should record; 0,
// the beginning state, makes Notify cost one load.
func (s *Store) WantEvents(classes EventClass) { s.events.Store(uint32(classes)) }

// SetActiveExpire switches the sweeper. While it is off nothing expired is
// served, but it stays in memory.
func (s *Store) SetActiveExpire(on bool) {
	s.activeExpire.Store(on)
	s.sweeper.kick()
}

func (s *Store) now() int64 { return s.cfg.Load().Now().UnixMilli() }

func (s *Store) hash(key []byte) uint64 { return maphash.Bytes(s.seed, key) }

// ShardOf is the set of the one shard that key lives in.
func (s *Store) ShardOf(key []byte) Shards { return 1 << (s.hash(key) & (numShards - 1)) }

// each calls f for the numbers of the shards in the set, ascending.
func (set Shards) each(f func(i int)) {
	for set != 0 {
		i := bits.TrailingZeros64(uint64(set))
		set &^= 1 << i
		f(i)
	}
}
