package cluster

import (
	"sync"
	"sync/atomic"
)

// flusher syncs what the leader has written to its log while the followers are at
// work on the same entries [Raft dissertation, 10.2.1].
//
// Raft is told that an entry is stored once it is written, and counts this node
// among those who have it from then on. A loss of power makes a lie of that, or a sync
// that fails, and nobody may have relied on it by then. So until an entry is on disk here
//
//   - it is not applied here, and so nobody is answered (fsm.Apply waits),
//   - no follower hears that it is committed (transport.append),
//   - no other leader is told that it is here (transport.admit), and nothing that
//     another leader sends is stored behind it (logStore.StoreLogs).
type flusher struct {
	sync   func() error       // of all that is written
	synced func(index uint64) // called when the log is on disk up to there
	wake   chan struct{}      // holds one token when there is something to sync

	from atomic.Uint64 // the first entry that is not on disk, 0 when all are

	mu    sync.Mutex
	moved sync.Cond // from has changed, or err
	last  uint64    // the last entry written
	err   error     // of a sync: there will be no other
}

func newFlusher(sync func() error, synced func(index uint64)) *flusher {
	f := &flusher{sync: sync, synced: synced, wake: make(chan struct{}, 1)}
	f.moved.L = &f.mu
	return f
}

// add is called when entries have been written, before raft knows.
func (f *flusher) add(first, last uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.idle() {
		f.from.Store(first)
	}
	f.last = last
	token(f.wake)
}

// run syncs until done is closed, and then what is left.
func (f *flusher) run(done <-chan struct{}) {
	for {
		select {
		case <-f.wake:
			f.flush()
		case <-done:
			f.flush()
			return
		}
	}
}

func (f *flusher) flush() {
	f.mu.Lock()
	last, nothing := f.last, f.idle() || f.err != nil
	f.mu.Unlock()
	if nothing {
		return
	}
	err := f.sync()
	if err == nil {
		f.synced(last)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil:
		f.err = err
	case f.last == last:
		f.from.Store(0)
	default:
		f.from.Store(last + 1)
	}
	f.moved.Broadcast()
}

// idle says whether all that was added is on disk.
func (f *flusher) idle() bool { return f.from.Load() == 0 }

// onDisk is up to where the log is on disk, as far as it is about index or before.
func (f *flusher) onDisk(index uint64) uint64 {
	if from := f.from.Load(); from != 0 {
		return min(index, from-1)
	}
	return index
}

// wait returns when the log is on disk up to index, or when it never will be.
func (f *flusher) wait(index uint64) error {
	if f.onDisk(index) == index {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.onDisk(index) < index {
		if f.err != nil {
			return f.err
		}
		f.moved.Wait()
	}
	return nil
}
