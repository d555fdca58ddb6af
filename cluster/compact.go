package cluster

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// compactor keeps the log short: when enough was appended since the last
// snapshot it has raft take one and cut the log.
type compactor struct {
	n              *Node
	entries, bytes atomic.Int64 // appended since the last snapshot
	atBytes        atomic.Int64
	wake           chan struct{} // holds one token when a limit was reached
}

// grew is called by the log store after each append.
func (c *compactor) grew(entries int, bytes int64) {
	n, b := c.entries.Add(int64(entries)), c.bytes.Add(bytes)
	if n >= c.n.cfg.SnapshotEntries || b >= c.atBytes.Load() {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// aim sets the limit for the next one: writing a large state again for a
// little log would wear the disk.
func (c *compactor) aim(snapshotBytes int64) {
	c.atBytes.Store(max(c.n.cfg.SnapshotBytes, snapshotBytes))
}

// restart counts anew: a snapshot came in the place of the log.
func (c *compactor) restart() {
	c.entries.Store(0)
	c.bytes.Store(0)
	c.aim(c.n.snaps.size.Load())
}

// trail says how many entries are to stay behind the snapshot that is about to be
// taken: nodes that were away for a while get them, and need not get all.
func (c *compactor) trail(r *raft.Raft, entries, bytes int64) {
	if c.n.cfg.alone() {
		return
	}
	average := bytes/max(entries, 1) + entryOverhead
	rc := r.ReloadableConfig()
	rc.TrailingLogs = uint64(max(c.n.cfg.TrailingBytes/average, minTrailing))
	if err := r.ReloadConfig(rc); err != nil {
		c.n.cfg.Log.Error("the length of the log cannot be set", "error", err)
	}
}

const entryOverhead = 64 // bytes that an entry takes beside its own, about

// run takes the snapshots. Close ends it.
func (c *compactor) run() {
	defer c.n.running.Done()
	for {
		select {
		case <-c.wake:
		case <-c.n.done:
			return
		}
		if c.entries.Load() < c.n.cfg.SnapshotEntries && c.bytes.Load() < c.atBytes.Load() {
			continue
		}
		if err := c.n.Snapshot(); err != nil {
			select {
			case <-c.n.done:
				return
			default:
			}
			c.n.cfg.Log.Error("no snapshot could be taken; the log grows until one can be", "error", err)
			select {
			case <-time.After(retrySnapshot):
			case <-c.n.done:
				return
			}
		}
	}
}

// Snapshot takes a snapshot now and cuts the log behind it.
func (n *Node) Snapshot() error {
	c, r := &n.compactor, n.raft.Load()
	if r == nil {
		return fmt.Errorf("%w: this node is in no cluster yet", ErrUnavailable)
	}
	entries, bytes := c.entries.Load(), c.bytes.Load()
	c.trail(r, entries, bytes)
	begin := time.Now()
	if err := r.Snapshot().Error(); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return err
	}
	c.entries.Add(-entries)
	c.bytes.Add(-bytes)
	size := n.snaps.size.Load()
	c.aim(size)
	n.cfg.Log.Info("snapshot taken", "bytes", size, "took", time.Since(begin).Round(time.Millisecond), "log_bytes", n.log.wal.Bytes())
	return nil
}
