package store

import (
	"sync"
	"sync/atomic"

	"crema/store/slab"
)

// cache decides which cached entries give way when memory is short.
//
// A cached entry begins in its shard's window, a queue. While there is room that
// is all. When memory is short the oldest leave the window: whom nobody has
// read since it was written is deleted, the others go to main. When they have
// become too many, who is read least leaves main: a hand goes round, looks at a
// few entries at a time and takes the one with the lowest counter, Redis's
// logarithmic one, which every entry has anyway, and which loses one at each look.
//
// So half of the cached memory passes by before a newcomer must have been
// asked for, and what is asked for again and again survives any number of them.
type cache struct {
	s    *Store
	wake chan struct{}

	mu     sync.Mutex // one makeRoom at a time; taken before any shard
	tx     Tx         // deletes the losers
	cursor int        // the shard whose turn is next

	promoted, unread, displaced atomic.Int64 // verdicts since the start

	buryMu sync.Mutex // guards buried; taken after a shard
	buried []grave
}

const (
	windowShare   = 50      // percent of the cached bytes, when memory is short; see TestHitRatio
	handful       = 8       // entries that the hand looks at to take one
	perTurn       = 16      // entries that a shard gives before the next has its turn
	quotaBytes    = 4 << 20 // freed by one MakeRoom; the evictor does the rest
	maxSlackBytes = 16 << 10
)

// grave is a space of a shard that nobody reads any more.
type grave struct {
	sh  *shard
	old *slab.Space
}

// bury has the evictor give the memory of a space back, which takes the kernel a
// while.
func (c *cache) bury(sh *shard, old *slab.Space) {
	c.buryMu.Lock()
	c.buried = append(c.buried, grave{sh, old})
	c.buryMu.Unlock()
	c.kick()
}

func (c *cache) dig() []grave {
	c.buryMu.Lock()
	defer c.buryMu.Unlock()
	buried := c.buried
	c.buried = nil
	return buried
}

// recycle makes buried spaces empty ones, which keep their addresses: whoever
// should still read there reads nonsense, and does not bring the process down.
func (c *cache) recycle() {
	for _, g := range c.dig() {
		g.old.Reset()
		g.sh.mu.Lock()
		g.sh.spares = append(g.sh.spares, g.old)
		g.sh.mu.Unlock()
	}
}

// unmap is recycle for a store that is closed.
func (c *cache) unmap() {
	for _, g := range c.dig() {
		g.old.Close()
	}
	for i := range c.s.shards {
		sh := &c.s.shards[i]
		sh.mu.Lock()
		for _, spare := range sh.spares {
			spare.Close()
		}
		sh.spares = nil
		sh.space.Close()
		sh.mu.Unlock()
	}
}
