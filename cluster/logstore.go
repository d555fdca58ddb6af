package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"crema/cluster/wal"

	"github.com/hashicorp/raft"
)

// logStore is raft's log and its stable values, each in files of its own.
type logStore struct {
	wal    *wal.Log
	stable *stable
	path   string   // of the log
	tail   *os.File // the last index synced: tells an older log from a whole one
	disk   *disk
	grew   func(entries int, bytes int64) // of what was appended

	snapshot func() uint64 // the index of the latest one
	recent   recent

	leads   func() bool // called by raft's main loop: there may be followers to write as well
	flusher *flusher
	flushed chan struct{} // closed by stop
	flushes sync.WaitGroup

	// cut says that the end of the log was cut, and nothing appended since. Raft
	// believes in the old end until then: were it to go on without the new
	// entries, it would append behind a gap. Raft's main loop owns it.
	cut bool

	untold bool // for tests: nothing is synced, and tail does not tell either
}

const tailBytes = 12

// openLog opens what is in dir, which verify is to believe or not.
func openLog(dir *dataDir, d *disk, faults *Faults, grew func(int, int64), snapshot func() uint64) (_ *logStore, err error) {
	l := &logStore{
		path: dir.file(logFile), disk: d, grew: grew, snapshot: snapshot, untold: faults.broken(BreakFsync),
		leads: func() bool { return false }, flushed: make(chan struct{}),
	}
	if l.stable, err = openStable(dir.file(termFile)); err != nil {
		return nil, damaged(dir.file(termFile), err)
	}
	if l.tail, err = os.OpenFile(dir.file(tailFile), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("open %s: %w", dir.file(tailFile), err)
	}
	options, err := faults.logOptions(l.path)
	if err == nil {
		l.wal, err = wal.Open(l.path, options)
	}
	if err == nil {
		l.flusher = newFlusher(func() error { return d.sync(l.wal.Sync) }, func(index uint64) { l.noteTail(index) })
		l.flushes.Go(func() { l.flusher.run(l.flushed) })
		return l, nil
	}
	l.tail.Close()
	if errors.Is(err, wal.ErrDamaged) || errors.Is(err, wal.ErrNewer) {
		return nil, damaged(l.path, err)
	}
	return nil, fmt.Errorf("open log %s: %w", l.path, err)
}

// stop waits for what is still to be synced. Raft has ended.
func (l *logStore) stop() {
	close(l.flushed)
	l.flushes.Wait()
}

// close comes after stop.
func (l *logStore) close() error {
	l.tail.Close()
	return l.wal.Close()
}

func (l *logStore) FirstIndex() (uint64, error) { return l.wal.FirstIndex() }
func (l *logStore) LastIndex() (uint64, error)  { return l.wal.LastIndex() }

// recent is the latest entries: each follower gets them without their being read
// back from disk.
type recent [recentEntries]atomic.Pointer[raft.Log]

const (
	recentEntries  = 32
	maxRecentBytes = 2 * maxEntryBytes // an entry that is larger, with one huge value, is not kept
)

func (r *recent) at(index uint64) *atomic.Pointer[raft.Log] { return &r[index%recentEntries] }

func (r *recent) forget() {
	for i := range r {
		r[i].Store(nil)
	}
}

func (l *logStore) GetLog(index uint64, entry *raft.Log) error {
	if e := l.recent.at(index).Load(); e != nil && e.Index == index {
		*entry = *e
		return nil
	}
	return l.wal.GetLog(index, entry)
}

func (l *logStore) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs has entries on disk when it returns, but for the commands of a leader: see
// flusher.
func (l *logStore) StoreLogs(entries []*raft.Log) error {
	first, last := entries[0].Index, entries[len(entries)-1].Index
	if l.leads() && !slices.ContainsFunc(entries, func(e *raft.Log) bool { return e.Type != raft.LogCommand }) {
		if err := l.disk.answer(func() error { return l.append(entries, l.wal.Write) }); err != nil {
			return err
		}
		l.flusher.add(first, last)
		l.keep(entries)
		return nil
	}
	if err := l.flusher.wait(first - 1); err != nil {
		return err
	}
	write := l.disk.answer
	if l.cut {
		write = l.disk.insist
	}
	ended := l.disk.time()
	if err := write(func() error { return l.append(entries, l.wal.Append) }); err != nil {
		return err
	}
	ended()
	l.cut = false
	l.noteTail(last) // without it there is a witness less
	l.keep(entries)
	return nil
}

// keep has entries at hand that were written.
func (l *logStore) keep(entries []*raft.Log) {
	size := int64(0)
	for _, e := range entries {
		size += int64(len(e.Data) + len(e.Extensions))
		if at := l.recent.at(e.Index); len(e.Data) <= maxRecentBytes {
			at.Store(e)
		} else {
			at.Store(nil)
		}
	}
	l.grew(len(entries), size)
}

// append writes entries. Raft goes on behind a snapshot from elsewhere even if the
// log before it could not be dropped.
func (l *logStore) append(entries []*raft.Log, write func([]*raft.Log) error) error {
	if snapshot := l.snapshot(); entries[0].Index == snapshot+1 {
		if err := l.dropCovered(snapshot); err != nil {
			return err
		}
	}
	return write(entries)
}

// dropCovered drops a log that ends before a snapshot.
func (l *logStore) dropCovered(snapshot uint64) error {
	last, err := l.wal.LastIndex()
	if err != nil || last == 0 || last >= snapshot {
		return err
	}
	return l.wal.DeleteRange(0, last)
}

// DeleteRange cuts the log.
func (l *logStore) DeleteRange(first, last uint64) (err error) {
	l.recent.forget()
	begin, err := l.FirstIndex()
	if err != nil {
		return err
	}
	end, err := l.LastIndex()
	if err != nil {
		return err
	}
	if first <= begin && (last < end || last <= l.snapshot()) {
		return l.disk.try(func() error { return l.wal.DeleteRange(first, last) })
	}
	if err := l.flusher.wait(end); err != nil {
		return err
	}
	cut := func() error { // what another leader never had
		if err := l.lowerTail(first - 1); err != nil {
			return err
		}
		return l.wal.DeleteRange(first, last)
	}
	err = l.disk.answer(cut)
	if now, _ := l.LastIndex(); err != nil && now != end { // raft would go on as if nothing were gone
		err = l.disk.insist(cut)
	}
	l.cut = l.cut || err == nil
	return err
}

// IsMonotonic has raft drop the whole log when a snapshot from elsewhere takes
// its place, restored or sent by the leader: what comes next would leave a gap
// behind the old entries, and some of those may never have been committed.
func (l *logStore) IsMonotonic() bool { return true }

// noteTail remembers the last index that is on disk. It outlives the process at
// once and a loss of power some time later, and is never ahead of the log.
func (l *logStore) noteTail(index uint64) error {
	if l.untold {
		return nil
	}
	b := binary.BigEndian.AppendUint64(make([]byte, 0, tailBytes), index)
	_, err := l.tail.WriteAt(binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), 0)
	return err
}

// lowerTail is noteTail before the end of the log is cut. It is on disk when it
// returns: else a loss of power could bring the old index back, and the next start
// would miss entries that were dropped.
func (l *logStore) lowerTail(index uint64) error {
	if err := l.noteTail(index); err != nil || l.untold {
		return err
	}
	return l.tail.Sync()
}

// readTail is what noteTail remembered, 0 when it is not to be had: it may have
// been torn, and is no more than a second witness.
func readTail(path string) uint64 {
	b, err := readSmall(path, tailBytes)
	if err != nil || len(b) != tailBytes || crc32.Checksum(b[:8], castagnoli) != binary.BigEndian.Uint32(b[8:]) {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}
