package cluster

import (
	"fmt"
	"io"
	"sync/atomic"

	"crema/store"

	"github.com/hashicorp/raft"
)

// fsm is how raft sees the store. Raft calls Apply, Snapshot and Restore one at
// a time.
type fsm struct {
	n *Node

	// broken is the first entry that could not be applied. Nothing is applied
	// after it, and no snapshot taken: the state lacks something.
	broken atomic.Pointer[error]

	restoreErr error // of the last Restore: raft reports only that it failed
}

// Apply makes one entry true. One of ours that is still in flight has its
// Pendings at hand, with more in them than the log holds: the cached side, and
// somebody who waits.
func (f *fsm) Apply(entry *raft.Log) any {
	if f.err() != nil {
		return nil
	}
	if flight := f.n.queue.land(entry.Extensions); flight != nil {
		f.n.commit(flight)
	} else if err := f.n.store.ApplyEntry(entry.Data); err != nil {
		err = fmt.Errorf("entry %d of term %d: %w", entry.Index, entry.Term, err)
		f.broken.Store(&err)
		f.n.cfg.Log.Error("an entry of the log cannot be applied; this node stops here", "error", err)
	}
	return nil
}

func (f *fsm) err() error {
	if err := f.broken.Load(); err != nil {
		return *err
	}
	return nil
}

func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if err := f.err(); err != nil {
		return nil, err
	}
	return snapshot{f.n.store.Snapshot()}, nil
}

func (f *fsm) Restore(from io.ReadCloser) error {
	defer from.Close()
	f.restoreErr = f.n.store.Restore(from)
	return f.restoreErr
}

type snapshot struct{ *store.Snapshot }

// Persist leaves Close and Cancel of the sink to raft, which does both.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	_, err := s.WriteTo(sink)
	return err
}
