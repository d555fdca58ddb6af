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

	"crema/cluster/peer"
	"crema/cluster/wal"
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
	fsm   *fsm
	queue *queue
	gate  *gate
	lease *lease
	stats counts

	promise   *promise
	members   *members
	book      *addresses
	port      *peer.Port // nil alone, as the next
	transport *transport
	raft      atomic.Pointer[raft.Raft] // nil until the node is in a cluster
	bornIn    uint64                    // the term in which raft started; set before raft
	isolated  atomic.Bool               // no heartbeat leaves: the disk hangs, or has failed

	compactor compactor

	notify   chan bool     // raft: leadership won or lost, each in turn
	opened   chan struct{} // closed when the gate opened for the first time
	done     chan struct{} // closed by Close: the goroutines end
	once     sync.Once
	refusing sync.Mutex // held by who fails what was refused

	proposing, running sync.WaitGroup // the queue's goroutine; the others
}

// Open brings st to what the directory holds. Alone it returns when the node
// takes proposals; where there may be other nodes as soon as they can talk to it:
// there may be no leader yet. st must be empty and in nobody else's hands. From
// here on every change of a pinned key goes through Propose.
func Open(cfg Config, st *store.Store) (_ *Node, err error) {
	cfg = withDefaults(cfg)
	dir, err := openDir(cfg.Dir, cfg.NodeID)
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, store: st, dir: dir, queue: newQueue(), gate: newGate(), lease: newLease(raft.ServerID(dir.meta.node)),
		notify: make(chan bool, 16), opened: make(chan struct{}), done: make(chan struct{}),
	}
	n.fsm = &fsm{n: n}
	n.disk = &disk{log: cfg.Log, done: n.done, probe: dir.probe, faults: func() error { return cfg.Faults.write(dir.file(logFile)) }}
	n.compactor = compactor{n: n, wake: make(chan struct{}, 1)}
	n.members = newMembers(n.done)
	n.book = openAddresses(dir.file(addressFile), &n.cfg, dir.meta.node)
	n.lease.voters = n.servers
	// What we promised before a restart we do not know.
	n.promise = newPromise(time.Now().Add(heartbeatTimeout))
	st.Follow()
	begin := time.Now()
	if err := n.open(); err != nil {
		n.Close()
		return nil, err
	}
	stats := n.Stats()
	cfg.Log.Info("log replayed", "dir", cfg.Dir, "entries", stats.LastIndex,
		"snapshot_bytes", stats.SnapBytes, "log_bytes", stats.LogBytes, "took", time.Since(begin).Round(time.Millisecond))
	return n, nil
}

func (n *Node) open() error {
	if err := n.openFiles(); err != nil {
		return err
	}
	if err := n.mayRecover(); err != nil {
		return err
	}
	alone := n.cfg.alone()
	if !alone {
		if err := n.nameCluster(); err != nil {
			return err
		}
		if err := n.openPort(); err != nil {
			return err
		}
		n.transport = newTransport(n)
		n.lease.beat = n.transport.beat
	}
	var first []raft.Server
	if alone && !n.dir.phase().formed() {
		first = servers([]string{n.dir.meta.node})
	}
	if alone || n.dir.phase().formed() {
		if err := n.startRaft(first); err != nil {
			return err
		}
	}
	n.proposing.Add(1)
	go n.runQueue()
	n.running.Add(3)
	go n.runRefusals()
	go n.runGate()
	go n.compactor.run()
	if alone {
		if err := n.checkAlone(n.raft.Load()); err != nil {
			return err
		}
		return n.waitOpen()
	}
	n.running.Add(4)
	go n.runVerify()
	go n.runClock()
	go n.runWatchdog()
	go n.runMembers(n.startRaft)
	return nil
}

// servers is the latest configuration.
func (n *Node) servers() []raft.Server {
	r := n.raft.Load()
	if r == nil {
		return nil
	}
	return r.GetConfiguration().Configuration().Servers
}

// openFiles reads everything. Of what it does not believe nothing is lost.
func (n *Node) openFiles() error {
	snapPath := n.dir.file(snapshotDir)
	if n.dir.meta.formed {
		for _, path := range [...]string{n.dir.file(logFile), n.dir.file(termFile), snapPath} {
			if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
				return damaged(path, errMissing)
			}
		}
	}
	var err error
	if n.snaps, err = openSnapshots(n.dir.path, snapPath, n.done); err != nil {
		return err
	}
	if err := wal.SyncDir(snapPath); err != nil { // before the log goes that a snapshot covers
		return fmt.Errorf("sync snapshots: %w", err)
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
	tail := readTail(n.dir.file(tailFile))
	if n.log, err = openLog(n.dir, n.disk, n.cfg.Faults, n.compactor.grew, n.snaps.index.Load); err != nil {
		return err
	}
	n.log.leads = func() bool {
		r := n.raft.Load()
		return r != nil && !n.cfg.alone() && r.State() == raft.Leader
	}
	if n.dir.meta.formed {
		found, err := n.log.verify(snapshot, tail)
		if err != nil {
			return damaged(n.log.path, err)
		}
		n.compactor.entries.Store(found.entries)
		n.compactor.bytes.Store(found.bytes)
	}
	return n.log.dropCovered(snapshot)
}

// startRaft is called once. first is the configuration that begins a log, nil
// where there is one, or where the leader will send it.
func (n *Node) startRaft(first []raft.Server) (err error) {
	// Raft panics where a disk fails or a log does not go on; here that is an
	// error of ours to return.
	n.disk.starting.Store(true)
	defer n.disk.starting.Store(false)
	defer func() {
		if r := recover(); r == nil {
			return
		} else if cause := n.disk.cause(); cause != nil {
			err = errNoStart(cause)
		} else {
			err = fmt.Errorf("start raft: %v", r)
		}
	}()
	id := n.dir.meta.node
	conf := raftConfig(id, n.cfg.alone(), n.notify, n.cfg.Log)
	var transport raft.Transport = n.transport
	if n.cfg.alone() {
		_, transport = raft.NewInmemTransport(raft.ServerAddress(id))
	}
	if first != nil {
		if err := raft.BootstrapCluster(conf, n.log, n.log, n.snaps, transport, raft.Configuration{Servers: first}); err != nil {
			return fmt.Errorf("form the cluster: %w", err)
		}
		if err := wal.SyncDir(n.dir.path); err != nil {
			return fmt.Errorf("sync data directory: %w", err)
		}
		if err := n.dir.form(); err != nil {
			return err
		}
	} else if err := n.recover(conf, transport); err != nil {
		return err
	}
	r, err := raft.NewRaft(conf, n.fsm, n.log, n.log, n.snaps, transport)
	failed := n.snaps.failed.Load()
	switch {
	case failed != nil && *failed != nil:
		return *failed
	case err != nil && n.fsm.restoreErr != nil:
		return damaged(filepath.Join(n.snaps.dir, "*", "state.bin"), n.fsm.restoreErr)
	case err != nil:
		return fmt.Errorf("start raft: %w", err)
	}
	n.bornIn = r.CurrentTerm()
	n.raft.Store(r)
	if n.transport != nil {
		n.transport.run(r)
	}
	return nil
}

// waitOpen waits for the gate, or for what will keep it shut.
func (n *Node) waitOpen() error {
	tick := time.NewTicker(aloneTimeout)
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
			return errNoStart(err)
		}
	}
}

func errNoStart(cause error) error {
	return fmt.Errorf("cluster: the log cannot be written, as it must be at every start: %w", cause)
}

// Close ends the node. What waits fails with ErrClosed, what is in flight is
// given closeWithin to land. The store stays as it is; it must still be open.
func (n *Node) Close() error {
	var err error
	n.once.Do(func() { err = n.close() })
	return err
}

func (n *Node) close() error {
	close(n.done)
	n.queue.close()
	ended := make(chan struct{})
	go func() {
		n.proposing.Wait() // until the flight has landed
		n.shutGate("closing")
		n.stopTransport()
		if r := n.raft.Load(); r != nil {
			r.Shutdown().Error()
		}
		if n.log != nil {
			n.log.stop()
		}
		n.running.Wait()
		n.refuse()
		close(ended)
	}()
	var hung error
	select {
	case <-ended:
	case <-time.After(closeWithin):
		n.abandon()
		n.stopTransport()
		if r := n.raft.Load(); r != nil {
			r.Shutdown()
		}
		hung = fmt.Errorf("close node: the disk did not answer within %s", closeWithin)
	}
	if n.port != nil {
		n.port.Close()
	}
	if hung != nil {
		// Closing the files would hang as well; the process is about to end, and
		// the lock goes with it.
		return hung
	}
	var err error
	if n.log != nil {
		err = n.log.close()
	}
	n.dir.close()
	return err
}

// stopTransport ends what would be waited for until its deadline.
func (n *Node) stopTransport() {
	if n.transport != nil {
		n.transport.Close()
		n.port.Isolate(true)
	}
}
