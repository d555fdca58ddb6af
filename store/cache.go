package store

import (
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/ristretto/v2"
)

// cache decides which cached entries give way when memory is short. The index
// is the truth; what is here is only an opinion about it.
//
// A cached entry begins in its shard's window, a queue. While there is room
// that is all, and it costs two pointers. When memory is short the oldest
// leave the windows in batches and meet ristretto, which knows how often keys
// were read: it keeps the entry, perhaps sending others away, or it does not.
// Whoever it does not keep is deleted.
//
// Ristretto gets no TTLs. It would free up to five seconds late what the
// sweeper frees within milliseconds, and it would be a second opinion about
// who is expired. It gets no keys either: an entry is known by its hash, and
// the loser of a collision is evicted.
type cache struct {
	s       *Store
	wake    chan struct{}
	pressed atomic.Bool // memory has been short: reads count
	stale   atomic.Bool // a wipe has left ristretto with entries that are no more

	mu     sync.Mutex // one judgement at a time; taken before any shard
	tx     Tx         // deletes the losers
	batch  []offer
	limbo  []*entry // losers whose shard was latched; they are deleted later
	cursor int      // the shard whose window is next
	usual  int      // how long the windows have been of late

	// Appended to by ristretto's goroutine between Set and Wait, read by us
	// after Wait.
	losers []*entry

	judgeMu  sync.RWMutex // held to use judge, exclusively to replace it
	judge    *ristretto.Cache[uint64, *entry]
	sizedFor int64 // the limit when judge was made
	leaving  bool  // judge is being closed: what it lets go of is no loser

	offered, refused, displaced atomic.Int64 // verdicts since the start
}

// offer is what ristretto is told of an entry, as read under its shard's mutex.
type offer struct {
	e    *entry
	cost int64
}

const (
	batchEntries  = 64
	perWindow     = 16      // taken at a time from a window of the usual length
	mainShare     = 50      // percent of the cached memory that ristretto is given, see TestHitRatio
	maxFeed       = 64      // reads one Tx tells ristretto of
	quotaBytes    = 4 << 20 // freed by one MakeRoom; the evictor does the rest
	maxSlackBytes = 16 << 10
	countersEach  = 4 // ristretto's counters for each entry, 3 bytes apiece
	minCounters   = 1 << 10
	owedAtOnce    = 1 << 10
)

// appoint makes ristretto when memory is short for the first time, so large
// that it knows the frequency of as many keys as the limit has been seen to hold.
func (c *cache) appoint(limit int64) {
	if c.judge != nil {
		if limit > 2*c.sizedFor {
			c.stale.Store(true) // too small for the limit of now: begin anew with the next batch
		}
		return
	}
	entries := 0
	for i := range c.s.shards {
		sh := &c.s.shards[i]
		sh.mu.Lock()
		entries += sh.entries()
		sh.mu.Unlock()
	}
	judge, err := ristretto.NewCache(&ristretto.Config[uint64, *entry]{
		NumCounters:        int64(max(countersEach*entries, minCounters)),
		MaxCost:            1, // share lets it grow as it fills
		BufferItems:        maxFeed,
		IgnoreInternalCost: true,
		OnEvict:            func(i *ristretto.Item[*entry]) { c.lose(i.Value, &c.displaced) },
		OnReject:           func(i *ristretto.Item[*entry]) { c.lose(i.Value, &c.refused) },
	})
	if err != nil {
		panic(err) // the sizes are ours
	}
	c.judgeMu.Lock()
	c.judge, c.sizedFor = judge, limit
	c.judgeMu.Unlock()
	c.pressed.Store(true)
}

// lose runs on ristretto's goroutine, where Wait would wait for itself.
func (c *cache) lose(e *entry, verdict *atomic.Int64) {
	if e != nil && !c.leaving {
		c.losers = append(c.losers, e)
		verdict.Add(1)
	}
}

// dismiss forgets ristretto and all it knows.
func (c *cache) dismiss() {
	c.pressed.Store(false)
	c.judgeMu.Lock()
	c.leaving = true
	c.judge.Close()
	c.judge, c.leaving = nil, false
	c.judgeMu.Unlock()
	c.losers, c.limbo = nil, nil
}

// restart begins anew after a wipe: whom ristretto kept goes back to the front
// of the windows. It needs all shards at once, and returns false when one is
// latched.
func (c *cache) restart() bool {
	if c.s.take(AllShards) != nil {
		return false
	}
	c.stale.Store(false)
	for i := range c.s.shards {
		sh := &c.s.shards[i]
		for e := sh.main.oldest; e != nil; e = e.newer {
			e.place, e.judged = inWindow, false
		}
		for _, e := range sh.owed {
			e.owed, e.judged = false, false
		}
		sh.owed = emptied(sh.owed)
		sh.window.before(&sh.main)
		overhead := int64(sh.count[inMain]) * mainOverhead
		sh.bytes[inWindow] += sh.bytes[inMain] - overhead
		sh.count[inWindow] += sh.count[inMain]
		sh.bytes[inMain], sh.count[inMain] = 0, 0
		c.s.charge(-overhead, 0)
	}
	c.s.give(AllShards)
	c.dismiss()
	return true
}

// feed tells ristretto of reads. It holds no shard: this is the part of a read
// that nobody has to wait for.
func (c *cache) feed(keys []uint64) {
	c.judgeMu.RLock()
	defer c.judgeMu.RUnlock()
	for _, k := range keys {
		c.judge.Get(k)
	}
}
