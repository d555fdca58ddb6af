package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// logStore is raft's log and its stable values in one bbolt file, each with a
// checksum: that of an entry is behind its Extensions, that of a stable value
// behind its bytes.
type logStore struct {
	bolt *raftboltdb.BoltStore
	path string
	tail *os.File // the last index synced: tells an older log from a whole one
	disk *disk
	grew func(entries int, bytes int64) // of what was appended

	snapshot func() uint64 // the index of the latest one
	recent   recent

	// cut says that the end of the log was cut, and nothing appended since. Raft
	// believes in the old end until then: were it to go on without the new
	// entries, it would append behind a gap. Raft's main loop owns it.
	cut bool

	mu     sync.Mutex // held while a copy is made
	unsafe bool       // for tests: nothing is synced but now and then
	copies bool       // for tests: what a loss of power would leave is kept in syncedFile
	copied time.Time  // when that was done last
}

const (
	sumBytes  = 4
	tailBytes = 12

	// deletedAtOnce entries go in one transaction when the log is cut, so that
	// appends come in between.
	deletedAtOnce = 1024
)

func boltOptions(readOnly bool) *bbolt.Options {
	return &bbolt.Options{
		Timeout:        time.Second,
		NoFreelistSync: true, // else each append writes the whole list
		FreelistType:   bbolt.FreelistMapType,
		ReadOnly:       readOnly,
	}
}

func openLog(path, tail string, d *disk, faults *Faults, grew func(int, int64), snapshot func() uint64) (*logStore, error) {
	unsafe := faults.broken(BreakFsync)
	bolt, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: boltOptions(false), NoSync: unsafe})
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", path, err)
	}
	f, err := os.OpenFile(tail, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		bolt.Close()
		return nil, fmt.Errorf("open %s: %w", tail, err)
	}
	l := &logStore{bolt: bolt, path: path, tail: f, disk: d, grew: grew, snapshot: snapshot, unsafe: unsafe, copies: faults.powerLoss()}
	return l, l.keeping(func() error { return nil })
}

func (l *logStore) close() error {
	l.tail.Close()
	return l.bolt.Close()
}

func (l *logStore) FirstIndex() (uint64, error) { return l.bolt.FirstIndex() }
func (l *logStore) LastIndex() (uint64, error)  { return l.bolt.LastIndex() }

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
	if err := l.bolt.GetLog(index, entry); err != nil {
		return err
	}
	return unsealEntry(index, entry)
}

func (l *logStore) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

func (l *logStore) StoreLogs(entries []*raft.Log) error {
	sealed := make([]*raft.Log, len(entries))
	size := int64(0)
	for i, e := range entries {
		sealed[i] = sealEntry(e)
		size += int64(len(e.Data) + len(e.Extensions))
	}
	write := l.disk.answer
	if l.cut {
		write = l.disk.insist
	}
	err := write(func() error {
		return l.keeping(func() error { return l.bolt.StoreLogs(sealed) })
	})
	if err != nil {
		return err
	}
	l.cut = false
	for _, e := range entries {
		if at := l.recent.at(e.Index); len(e.Data) <= maxRecentBytes {
			at.Store(e)
		} else {
			at.Store(nil)
		}
	}
	l.noteTail(entries[len(entries)-1].Index)
	l.grew(len(entries), size)
	return nil
}

// DeleteRange cuts the log. Only its beginning is cut piece by piece: after a
// crash in between what is left still has no gap.
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
	if first > begin || last == end && last > l.snapshot() { // what another leader never had
		l.noteTail(first - 1)
		defer func() { l.cut = l.cut || err == nil }()
	}
	if first > begin {
		return l.disk.answer(func() error {
			return l.keeping(func() error { return l.bolt.DeleteRange(first, last) })
		})
	}
	for ; first <= last; first += deletedAtOnce {
		until := min(last, first+deletedAtOnce-1)
		err := l.disk.try(func() error {
			return l.keeping(func() error { return l.bolt.DeleteRange(first, until) })
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// IsMonotonic has raft drop the whole log when a snapshot from elsewhere takes
// its place, restored or sent by the leader: what comes next would leave a gap
// behind the old entries, and some of those may never have been committed.
func (l *logStore) IsMonotonic() bool { return true }

// keeping writes, and keeps what a loss of power would leave then. Without copies
// that is nobody's business, and writes are not held up by each other here.
func (l *logStore) keeping(write func() error) error {
	if !l.copies {
		return write()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	err := write()
	if err != nil || l.unsafe && time.Since(l.copied) < syncUnsafe {
		return err
	}
	l.copied = time.Now()
	to := filepath.Join(filepath.Dir(l.path), syncedFile)
	if err := copyFile(l.path, to+tmpSuffix); err != nil {
		return err
	}
	return os.Rename(to+tmpSuffix, to)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	return err
}

// noteTail remembers the last index that is on disk. It outlives the process at
// once and a loss of power some time later, and is never ahead of the log.
func (l *logStore) noteTail(index uint64) {
	if l.unsafe {
		return
	}
	b := binary.BigEndian.AppendUint64(make([]byte, 0, tailBytes), index)
	l.tail.WriteAt(binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), 0)
}

// readTail is what noteTail remembered, 0 when it is not to be had: it may have
// been torn, and is no more than a second witness.
func readTail(path string) uint64 {
	b, err := os.ReadFile(path)
	if err != nil || len(b) != tailBytes || crc32.Checksum(b[:8], castagnoli) != binary.BigEndian.Uint32(b[8:]) {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// sealEntry returns a copy with the checksum behind the Extensions.
func sealEntry(e *raft.Log) *raft.Log {
	sealed := *e
	sealed.Extensions = binary.BigEndian.AppendUint32(e.Extensions[:len(e.Extensions):len(e.Extensions)], sumOf(e))
	return &sealed
}

var errSum = errors.New("the checksum is wrong")

func unsealEntry(index uint64, e *raft.Log) error {
	n := len(e.Extensions) - sumBytes
	if n < 0 || e.Index != index {
		return fmt.Errorf("entry %d: %w", index, errSum)
	}
	sum := binary.BigEndian.Uint32(e.Extensions[n:])
	if e.Extensions = e.Extensions[:n]; n == 0 {
		e.Extensions = nil
	}
	if sumOf(e) != sum {
		return fmt.Errorf("entry %d: %w", index, errSum)
	}
	return nil
}

// sumOf covers all of an entry but the time it was appended, which only metrics look at.
func sumOf(e *raft.Log) uint32 {
	var head [25]byte
	binary.BigEndian.PutUint64(head[:], e.Index)
	binary.BigEndian.PutUint64(head[8:], e.Term)
	binary.BigEndian.PutUint64(head[16:], uint64(len(e.Data)))
	head[24] = byte(e.Type)
	sum := crc32.Checksum(head[:], castagnoli)
	sum = crc32.Update(sum, castagnoli, e.Data)
	return crc32.Update(sum, castagnoli, e.Extensions)
}

// Set stores one of raft's stable values. Raft panics where it cannot have its
// term stored, so a disk that fails keeps it waiting here.
func (l *logStore) Set(key, value []byte) error {
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
	value = binary.BigEndian.AppendUint32(value[:len(value):len(value)], sum)
	return l.disk.insist(func() error {
		return l.keeping(func() error { return l.bolt.Set(key, value) })
	})
}

func (l *logStore) Get(key []byte) ([]byte, error) {
	b, err := l.bolt.Get(key)
	if err != nil {
		return nil, err
	}
	n := len(b) - sumBytes
	if n < 0 || crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, b[:n]) != binary.BigEndian.Uint32(b[n:]) {
		return nil, fmt.Errorf("stable value %s: %w", key, errSum)
	}
	return b[:n], nil
}

func (l *logStore) SetUint64(key []byte, value uint64) error {
	return l.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

func (l *logStore) GetUint64(key []byte) (uint64, error) {
	b, err := l.Get(key)
	if err != nil {
		return 0, err
	}
	if len(b) != 8 {
		return 0, fmt.Errorf("stable value %s: %d bytes are not a number", key, len(b))
	}
	return binary.BigEndian.Uint64(b), nil
}
