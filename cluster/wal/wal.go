package wal

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

var (
	// ErrNewer says that a later version of this package wrote the log.
	ErrNewer = errors.New("a newer version wrote it")
	// ErrDamaged says that the log is not what was written.
	ErrDamaged = errors.New("it is not what was written")
)

// Options are for Open. The zero value is good.
type Options struct {
	// SegmentBytes is how large a segment becomes before the next one begins:
	// 16 MiB. Entries that are appended together stay together.
	SegmentBytes int64

	// Sync is called instead of fdatasync, for a file of which the bytes in
	// between were written; those that others write meanwhile are not among them.
	Sync func(path string, f *os.File, from, to int64) error
	// Gone is called when a file that Sync knows is not part of the log any more.
	Gone func(path string)

	// step comes before each change of a file or of the directory, which it may
	// fail: for tests.
	step func(op, path string) error
}

const (
	defaultSegmentBytes = 16 << 20

	growBytes  = 256 << 10 // of zeros, ahead of what is written
	maxSpares  = 4
	keptBuffer = 4 << 20 // a larger one is not kept for the next append

	segmentSuffix = ".seg"
	spareSuffix   = ".spare"
	newSuffix     = ".tmp"
)

// Log is a log. FirstIndex, LastIndex and GetLog may be called at any time, from
// anywhere.
type Log struct {
	dir   string
	names *os.File // the directory, open to be synced
	opt   Options

	writing sync.Mutex // held by who writes or deletes
	buf     []byte
	places  []place

	syncing sync.Mutex // held by who syncs
	failed  error      // of a sync: what is not synced may never be

	removing sync.Mutex // held by who removes files
	doomed   []*segment // no part of the log any more, oldest first

	mu       sync.RWMutex // guards the rest
	segments []*segment   // oldest first
	first    uint64       // index of the first entry, or the next one
	spares   []spare
	unsynced extent // of the last segment
}

// extent is a part of a segment; the zero value is none.
type extent struct {
	s        *segment
	from, to int64
}

// spare is a file that was a segment.
type spare struct {
	path string
	size int64
}

func segmentName(first uint64) string { return fmt.Sprintf("%016x%s", first, segmentSuffix) }

// Open opens the log in dir, or makes one. It fails with ErrDamaged or ErrNewer,
// and with those of the file system.
func Open(dir string, opt Options) (_ *Log, err error) {
	if opt.SegmentBytes == 0 {
		opt.SegmentBytes = defaultSegmentBytes
	}
	if opt.Sync == nil {
		opt.Sync = func(_ string, f *os.File, _, _ int64) error { return datasync(f) }
	}
	if opt.Gone == nil {
		opt.Gone = func(string) {}
	}
	if opt.step == nil {
		opt.step = func(string, string) error { return nil }
	}
	l := &Log{dir: dir, opt: opt}
	if err := os.Mkdir(dir, 0o700); err == nil {
		if err := SyncDir(filepath.Dir(dir)); err != nil {
			return nil, err
		}
	} else if !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if l.names, err = os.Open(dir); err != nil {
		return nil, err
	}
	files, err := os.ReadDir(dir) // by name, which is by index
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		switch suffix := filepath.Ext(path); {
		case suffix == segmentSuffix:
			err = l.add(path)
		case f.IsDir(): // somebody else's
		case suffix == newSuffix:
			err = l.unlink(path)
		case suffix == spareSuffix:
			var info os.FileInfo
			if info, err = f.Info(); err == nil {
				l.spares = append(l.spares, spare{path, info.Size()})
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if len(l.segments) > 0 {
		l.first = l.segments[0].first
	}
	return l, l.settle()
}

// settle puts on disk what was found: a process that was killed before its sync
// leaves bytes and names that the next loss of power takes. The bytes are written
// again, because after a sync that failed they may be in memory only, and for the
// kernel are on disk.
func (l *Log) settle() error {
	if s := l.tail(); s != nil {
		if err := l.opt.step("write", s.path); err != nil {
			return err
		}
		found := io.NewSectionReader(s.f, 0, s.end)
		if _, err := io.CopyBuffer(io.NewOffsetWriter(s.f, 0), struct{ io.Reader }{found}, make([]byte, readBytes)); err != nil {
			return err
		}
		if err := l.sync(s, s.end, s.end); err != nil {
			return err
		}
	}
	return l.syncDir()
}

// add opens the next segment.
func (l *Log) add(path string) error {
	s, err := openSegment(path)
	if err != nil {
		return err
	}
	if n := len(l.segments); n > 0 {
		before := l.segments[n-1]
		before.shut()
		before.forgetRefused(s)
		switch {
		case before.next() != s.first:
			err = fmt.Errorf("%w: %s ends with entry %d, and %s begins with entry %d", ErrDamaged, filepath.Base(before.path), before.next()-1, filepath.Base(path), s.first)
		case before.sum() != s.before:
			err = fmt.Errorf("%w: %s does not go on from %s", ErrDamaged, filepath.Base(path), filepath.Base(before.path))
		}
	}
	l.segments = append(l.segments, s)
	return err
}

// Close closes the files, and syncs nothing. Nothing may be under way but reading.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	for _, s := range l.segments {
		err = errors.Join(err, s.shut())
	}
	l.segments = nil
	if l.names != nil {
		err = errors.Join(err, l.names.Close())
	}
	return err
}

// Bytes is how much room the log takes.
func (l *Log) Bytes() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	sum := int64(0)
	for _, s := range l.spares {
		sum += s.size
	}
	for _, s := range l.segments {
		sum += s.size
	}
	return sum
}

func (l *Log) tail() *segment {
	if len(l.segments) == 0 {
		return nil
	}
	return l.segments[len(l.segments)-1]
}

// empty says that there is no entry, though there may be a segment.
func (l *Log) empty() bool { return len(l.segments) == 0 || l.first == l.tail().next() }

// FirstIndex is 0 when the log is empty.
func (l *Log) FirstIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.empty() {
		return 0, nil
	}
	return l.first, nil
}

// LastIndex is 0 when the log is empty.
func (l *Log) LastIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.empty() {
		return 0, nil
	}
	return l.tail().next() - 1, nil
}

// GetLog reads an entry, or fails with raft.ErrLogNotFound. It holds no lock while
// it reads, for a large entry on a slow disk would hold Append up.
func (l *Log) GetLog(index uint64, e *raft.Log) error {
	l.mu.RLock()
	p, there := l.find(index)
	l.mu.RUnlock()
	if there && p.read(e) == nil {
		return nil
	}
	// It may have been deleted meanwhile, and its file closed or used again.
	l.mu.RLock()
	defer l.mu.RUnlock()
	if p, there = l.find(index); !there {
		return raft.ErrLogNotFound
	}
	return p.read(e)
}

func (l *Log) find(index uint64) (p piece, there bool) {
	if l.empty() || index < l.first || index >= l.tail().next() {
		return p, false
	}
	i, _ := slices.BinarySearchFunc(l.segments, index, func(s *segment, index uint64) int {
		switch {
		case s.next() <= index:
			return -1
		case s.first > index:
			return 1
		}
		return 0
	})
	return l.segments[i].piece(index), true
}

// Append is Write and Sync.
func (l *Log) Append(entries []*raft.Log) error {
	if err := l.Write(entries); err != nil {
		return err
	}
	return l.Sync()
}

// Write writes entries that go on from the last one; in an empty log they may
// begin anywhere. They are in the log then, and on disk only after the next Sync. After
// an error of the file system that says why it did not write, no room above all, the log
// is what it was, on disk too, and the same may be tried again.
//
// After any other error, of a sync above all, here, in Sync or in DeleteRange, nobody
// knows what the disk holds, and nothing may be tried again before the next Open, which
// may find what was to be written.
func (l *Log) Write(entries []*raft.Log) error {
	if len(entries) == 0 {
		return nil
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	s, err := l.room(entries)
	if err == nil {
		err = l.open(s)
	}
	if err != nil {
		return err
	}
	l.encode(s, entries)
	defer func() {
		if cap(l.buf) > keptBuffer {
			l.buf = nil
		}
	}()
	n := len(l.buf)
	written := s.end + int64(n)
	if short := written - s.size; short > 0 && written < l.opt.SegmentBytes {
		l.buf = slices.Grow(l.buf, growBytes)
		l.buf = l.buf[:len(l.buf)+int(min(growBytes, l.opt.SegmentBytes-written))]
		clear(l.buf[written-s.end:])
	}
	err = l.put(s, l.buf, s.end)
	if err != nil && n < len(l.buf) { // there may be room for what counts
		l.buf = l.buf[:n]
		err = l.put(s, l.buf, s.end)
	}
	if err != nil {
		return l.takeBack(s, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unsynced.s == nil {
		l.unsynced = extent{s: s, from: s.end}
	}
	l.unsynced.to = written // not the zeros behind it, where the next entry may be written during the sync
	s.entries = append(s.entries, l.places...)
	s.size = max(s.size, s.end+int64(len(l.buf)))
	s.end = written
	return nil
}

// Sync returns when everything is on disk that was written before it was called. It
// may be called while something else is written.
func (l *Log) Sync() error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.mu.Lock()
	part := l.unsynced
	l.unsynced = extent{}
	l.mu.Unlock()
	if part.s == nil || l.failed != nil {
		return l.failed
	}
	l.failed = l.syncFile(part.s, part.from, part.to)
	return l.failed
}

// takeBack makes sure that what a write that failed has left is no entry: it was
// refused, and must not be found at the next start.
func (l *Log) takeBack(s *segment, cause error) error {
	err := s.f.Truncate(s.size)
	var none [entryBytes]byte // no entry begins like that, nor like a part of it at the end of a file
	n := min(entryBytes, s.size-s.end)
	if err == nil && n > 0 {
		err = l.put(s, none[:n], s.end)
	}
	if err == nil {
		err = l.sync(s, s.end, s.end+n)
	}
	if err != nil {
		return fmt.Errorf("%v, and what was written cannot be taken back: %v", cause, err)
	}
	return cause
}

// write is on disk when it returns.
func (l *Log) write(s *segment, b []byte, at int64) error {
	if err := l.put(s, b, at); err != nil {
		return err
	}
	return l.sync(s, at, at+int64(len(b)))
}

func (l *Log) put(s *segment, b []byte, at int64) error {
	if err := l.opt.step("write", s.path); err != nil {
		return err
	}
	_, err := s.f.WriteAt(b, at)
	var named *os.PathError
	if errors.As(err, &named) {
		named.Path = s.path // it may have had another when it was opened
	}
	return err
}

// open has the last segment open, which others were behind.
func (l *Log) open(s *segment) error {
	if s.f != nil {
		return nil
	}
	if err := l.opt.step("open", s.path); err != nil {
		return err
	}
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.f = f
	return nil
}

// sync is for what is not an entry of the log. The kernel tells of an error only once:
// whatever else is to be synced has to know.
func (l *Log) sync(s *segment, from, to int64) error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	err := l.syncFile(s, from, to)
	l.mu.RLock()
	defer l.mu.RUnlock()
	if err != nil && l.unsynced.s != nil {
		l.failed = err
	}
	return err
}

func (l *Log) syncFile(s *segment, from, to int64) error {
	if err := l.opt.step("sync", s.path); err != nil {
		return err
	}
	return l.opt.Sync(s.path, s.f, from, to)
}

// encode fills buf and places.
func (l *Log) encode(s *segment, entries []*raft.Log) {
	l.buf, l.places = l.buf[:0], l.places[:0]
	sum := s.sum()
	for _, e := range entries {
		at := s.end + int64(len(l.buf))
		l.buf, sum = appendEntry(l.buf, e, sum)
		l.places = append(l.places, place{at, sum})
	}
}

// room is the segment that the entries go to.
func (l *Log) room(entries []*raft.Log) (*segment, error) {
	first, size := entries[0].Index, int64(0)
	for i, e := range entries {
		if e.Index != first+uint64(i) {
			return nil, fmt.Errorf("entry %d behind entry %d", e.Index, first+uint64(i)-1)
		}
		n := entryBytes + int64(len(e.Extensions)) + int64(len(e.Data))
		if n > math.MaxUint32 {
			return nil, fmt.Errorf("entry %d: its %d bytes are too many", e.Index, n)
		}
		size += n
	}
	s := l.tail()
	switch {
	case s == nil:
		return l.begin(first, 0)
	case s.next() != first && l.empty():
		if err := l.deleteAll(); err != nil {
			return nil, err
		}
		return l.begin(first, 0)
	case s.next() != first:
		return nil, fmt.Errorf("entry %d behind entry %d", first, s.next()-1)
	case len(s.entries) > 0 && s.end+size > l.opt.SegmentBytes:
		return l.begin(first, s.sum())
	}
	return s, nil
}

// begin makes the next segment. It has its name only when its header is on disk.
func (l *Log) begin(first uint64, before uint32) (_ *segment, err error) {
	if err := l.Sync(); err != nil { // of the last one, which is closed here
		return nil, err
	}
	path := filepath.Join(l.dir, segmentName(first))
	temporary := path + newSuffix
	if spare := l.takeSpare(); spare != "" {
		l.rename(spare, temporary) // or it will be a new file: somebody may have removed the spare one
	}
	if err := l.opt.step("open", temporary); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(temporary, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
			l.unlink(temporary)
			l.opt.Gone(path)
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	header := appendHeader(nil, first, before, rand.Uint32())
	s := &segment{f: f, path: path, first: first, before: before, seed: headerSum(header), end: headerBytes, size: max(info.Size(), headerBytes)}
	if err := l.write(s, header, 0); err != nil {
		return nil, err
	}
	if err := l.rename(temporary, path); err != nil {
		return nil, err
	}
	if err := l.syncDir(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.segments) == 0 {
		l.first = first
	} else {
		l.tail().shut()
	}
	l.segments = append(l.segments, s)
	return s, nil
}

func (l *Log) takeSpare() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.spares)
	if n == 0 {
		return ""
	}
	s := l.spares[n-1]
	l.spares = l.spares[:n-1]
	return s.path
}

func (l *Log) rename(from, to string) error {
	if err := l.opt.step("rename", from); err != nil {
		return err
	}
	return os.Rename(from, to)
}

func (l *Log) unlink(path string) error {
	if err := l.opt.step("unlink", path); err != nil {
		return err
	}
	return os.Remove(path)
}

func (l *Log) syncDir() error {
	if err := l.opt.step("sync directory", l.dir); err != nil {
		return err
	}
	return l.names.Sync()
}

// SyncDir puts the names in a directory on disk.
func SyncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
