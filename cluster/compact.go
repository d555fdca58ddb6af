package cluster

import (
	"errors"
	"os"
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
	c := &n.compactor
	entries, bytes := c.entries.Load(), c.bytes.Load()
	begin := time.Now()
	if err := n.raft.Snapshot().Error(); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return err
	}
	c.entries.Add(-entries)
	c.bytes.Add(-bytes)
	size := n.snaps.size.Load()
	c.aim(size)
	n.cfg.Log.Info("snapshot taken", "bytes", size, "took", time.Since(begin).Round(time.Millisecond), "log_bytes", fileSize(n.log.path))
	return nil
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
