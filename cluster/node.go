package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"crema/store"

	"github.com/hashicorp/raft"
)

// Node is one member of the cluster: a data directory, a log, and the store
// that the log makes durable.
type Node struct {
	cfg   Config
	store *store.Store
	dir   *dataDir
	disk  *disk
	log   *logStore
	snaps *snapStore
	raft  *raft.Raft
	fsm   *fsm
	queue *queue
	stats counts

	compactor compactor

	gate   atomic.Bool   // we lead, and what was committed before us is applied
	notify chan bool     // raft: leadership won or lost, each in turn
	opened chan struct{} // closed when the gate opened for the first time
	done   chan struct{} // closed by Close: the goroutines end
	once   sync.Once

	proposing, running sync.WaitGroup // the queue's goroutine; the others
}

// Open brings st to what the directory holds and returns when the node takes
// proposals. st must be empty and in nobody else's hands. From here on every
// change of a pinned key goes through Propose.
func Open(cfg Config, st *store.Store) (_ *Node, err error) {
	cfg = withDefaults(cfg)
	dir, err := openDir(cfg.Dir, cfg.NodeID)
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, store: st, dir: dir, queue: newQueue(),
		notify: make(chan bool, 16), opened: make(chan struct{}), done: make(chan struct{}),
	}
	n.fsm = &fsm{n: n}
	n.disk = &disk{log: cfg.Log, done: n.done, probe: dir.probe}
	n.compactor = compactor{n: n, wake: make(chan struct{}, 1)}
	st.Follow()
	begin := time.Now()
	if err := n.open(); err != nil {
		n.Close()
		return nil, err
	}
	stats := n.Stats()
	cfg.Log.Info("log replayed", "dir", cfg.Dir, "entries", n.raft.LastIndex(),
		"snapshot_bytes", stats.SnapBytes, "log_bytes", stats.LogBytes, "took", time.Since(begin).Round(time.Millisecond))
	return n, nil
}

func (n *Node) open() error {
	if err := n.openFiles(); err != nil {
		return err
	}
	if err := n.startRaft(); err != nil {
		return err
	}
	n.running.Add(2)
	n.proposing.Add(1)
	go n.runQueue()
	go n.runGate()
	go n.compactor.run()
	return n.waitOpen()
}

// openFiles reads everything, and opens for writing what it believes.
func (n *Node) openFiles() error {
	logPath, tailPath, snapPath := n.dir.file(logFile), n.dir.file(tailFile), n.dir.file(snapshotDir)
	if n.dir.meta.formed {
		for _, path := range [...]string{logPath, snapPath} {
			if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
				return damaged(path, errMissing)
			}
		}
	}
	var err error
	if n.snaps, err = openSnapshots(n.dir.path, snapPath, n.done); err != nil {
		return err
	}
	snapshot := uint64(0)
	meta, err := n.snaps.latest()
	if err != nil {
		return err
	}
	if meta != nil {
		snapshot = meta.Index
	}
	n.compactor.aim(n.snaps.size.Load())
	if n.dir.meta.formed {
		ext, err := verifyLog(logPath, snapshot, readTail(tailPath), n.cfg.Log)
		if err != nil {
			return damaged(logPath, err)
		}
		n.compactor.entries.Store(ext.entries)
		n.compactor.bytes.Store(ext.bytes)
	}
	n.log, err = openLog(logPath, tailPath, n.disk, n.compactor.grew)
	return err
}

func (n *Node) startRaft() (err error) {
	// Raft panics where a disk fails or a log does not go on; here that is an
	// error of ours to return.
	n.disk.starting.Store(true)
	defer n.disk.starting.Store(false)
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("start raft: %v", r)
		}
	}()
	id := n.dir.meta.node
	conf := raftConfig(id, n.notify, n.cfg.Log)
	// A server's address in the log is its id, so that nodes may move.
	address, transport := raft.NewInmemTransport(raft.ServerAddress(id))
	if !n.dir.meta.formed {
		servers := []raft.Server{{ID: conf.LocalID, Address: address}}
		if err := raft.BootstrapCluster(conf, n.log, n.log, n.snaps, transport, raft.Configuration{Servers: servers}); err != nil {
			return fmt.Errorf("form the cluster: %w", err)
		}
		if err := syncDir(n.dir.path); err != nil {
			return fmt.Errorf("sync data directory: %w", err)
		}
		if err := n.dir.form(); err != nil {
			return err
		}
	}
	n.raft, err = raft.NewRaft(conf, n.fsm, n.log, n.log, n.snaps, transport)
	switch {
	case n.snaps.failed != nil:
		return n.snaps.failed
	case err != nil && n.fsm.restoreErr != nil:
		return damaged(filepath.Join(n.snaps.dir, "*", "state.bin"), n.fsm.restoreErr)
	case err != nil:
		return fmt.Errorf("start raft: %w", err)
	}
	return nil
}

// waitOpen waits for the gate, or for what will keep it shut.
func (n *Node) waitOpen() error {
	tick := time.NewTicker(electionTimeout)
	defer tick.Stop()
	for {
		select {
		case <-n.opened:
			return nil
		case <-tick.C:
		}
		if err := n.fsm.err(); err != nil {
			return damaged(n.log.path, err)
		}
		if err := n.disk.cause(); err != nil {
			return fmt.Errorf("cluster: the log cannot be written, as it must be at every start: %w", err)
		}
	}
}

// runGate follows leadership. Close ends it.
func (n *Node) runGate() {
	defer n.running.Done()
	for {
		var leads bool
		select {
		case leads = <-n.notify:
		case <-n.done:
			return
		}
		if !leads {
			if n.gate.Swap(false) {
				n.cfg.Log.Warn("leadership lost", "term", n.raft.CurrentTerm())
				n.store.Follow()
			}
			continue
		}
		// A Barrier that fails has met the end of this leadership, of which we
		// are told next.
		if !n.barrier() || n.fsm.err() != nil {
			continue
		}
		// Entries of our last term may be older than what another leader has
		// told its clients since.
		n.store.Follow()
		n.store.Lead()
		n.gate.Store(true)
		n.cfg.Log.Info("leadership won", "term", n.raft.CurrentTerm())
		select {
		case <-n.opened:
		default:
			close(n.opened)
		}
	}
}

// barrier waits until all that was committed before is applied. It is tried
// again where raft was too busy to take it, as after a long replay.
func (n *Node) barrier() bool {
	for {
		err := n.raft.Barrier(enqueueTimeout).Error()
		if !errors.Is(err, raft.ErrEnqueueTimeout) || n.raft.State() != raft.Leader {
			return err == nil
		}
	}
}

// closedGate is why nothing can be proposed now, nil when it can.
func (n *Node) closedGate() error {
	if n.gate.Load() {
		return nil
	}
	if err := n.disk.failure(); err != nil {
		return err
	}
	return fmt.Errorf("%w: no leader", ErrUnavailable)
}

// Close ends the node. What waits fails with ErrClosed, what is in flight is
// given closeWithin to land. The store stays as it is; it must still be open.
func (n *Node) Close() error {
	var err error
	n.once.Do(func() { err = n.close() })
	return err
}

func (n *Node) close() error {
	n.fail(n.queue.close(), ErrClosed)
	close(n.done)
	ended := make(chan struct{})
	go func() {
		n.proposing.Wait() // until the flight has landed
		if n.raft != nil {
			n.raft.Shutdown().Error()
		}
		n.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(closeWithin):
		n.queue.mu.Lock()
		origin := n.queue.origin()
		n.queue.mu.Unlock()
		n.fail(n.queue.land(origin), fmt.Errorf("%w: the node closed meanwhile", ErrInDoubt))
		if n.raft != nil {
			n.raft.Shutdown()
		}
		// The disk hangs. Closing the files would hang as well; the process is
		// about to end, and the lock goes with it.
		return fmt.Errorf("close node: the disk did not answer within %s", closeWithin)
	}
	var err error
	if n.log != nil {
		err = n.log.close()
	}
	n.dir.close()
	return err
}
