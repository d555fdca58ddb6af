package cluster

import (
	"fmt"
	"io"
	"sync"
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

	mu    sync.Mutex // held while the state changes
	index uint64     // of the last entry in it
}

// errOvertaken is for an entry that was evaluated in another term than it was
// appended in: the leader lost its leadership and won it again in between, so that
// it may rest on what another leader has changed. No node applies it.
var errOvertaken = fmt.Errorf("%w: leadership changed meanwhile", ErrUnavailable)

// Apply makes one entry true. One of ours that is still in flight has its
// Pendings at hand, with more in them than the log holds: the cached side, and
// somebody who waits. It returns an error when nothing has happened here; one that
// is no ErrUnavailable where it may happen elsewhere.
func (f *fsm) Apply(entry *raft.Log) any {
	if err := f.err(); err != nil {
		return fmt.Errorf("%w: %w", ErrInDoubt, err)
	}
	if err := f.n.log.flusher.wait(entry.Index); err != nil { // the disk has said so
		err = fmt.Errorf("%w: %w", ErrInDoubt, err)
		f.broken.Store(&err)
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.index = entry.Index
	o, ok := parseOrigin(entry.Extensions)
	if ok && o.term != entry.Term {
		return errOvertaken
	}
	if flight := f.n.queue.land(o); flight != nil {
		f.n.commit(flight, entry.Index)
	} else if err := f.n.store.ApplyEntry(entry.Data); err != nil {
		err = fmt.Errorf("entry %d of term %d: %w", entry.Index, entry.Term, err)
		f.broken.Store(&err)
		f.n.cfg.Log.Error("an entry of the log cannot be applied; this node stops here", "error", err)
	}
	return nil
}

// state is the store between two entries.
func (f *fsm) state() (index uint64, state *store.Snapshot, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.err(); err != nil {
		return 0, nil, err
	}
	return f.index, f.n.store.Snapshot(), nil
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
	f.mu.Lock()
	defer f.mu.Unlock()
	f.restoreErr = f.n.store.Restore(from)
	if f.restoreErr == nil {
		f.index = f.n.snaps.opened.Load()
		f.n.compactor.restart()
	}
	return f.restoreErr
}

type snapshot struct{ *store.Snapshot }

// Persist leaves Close and Cancel of the sink to raft, which does both.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	_, err := s.WriteTo(sink)
	return err
}
