package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"crema/cluster/wal"
)

const (
	syncedSuffix = ".synced"
	syncUnsafe   = 2 * time.Second // between two syncs with BreakFsync
	mirrorBytes  = 16 << 20        // as long as a segment becomes
)

// powerLoss keeps beside each segment of the log what a loss of power would leave
// of it.
type powerLoss struct {
	unsafe bool // sync now and then

	mu     sync.Mutex
	since  map[string]*unsynced // by segment
	synced time.Time
}

// unsynced is a part of a file.
type unsynced struct {
	f        *os.File
	from, to int64
}

// logOptions are for the log in dir. What is there at the start counts as synced.
func (f *Faults) logOptions(dir string) (wal.Options, error) {
	if f == nil {
		return wal.Options{}, nil
	}
	if !f.PowerLoss && !f.broken(BreakFsync) {
		return wal.Options{Sync: f.slowly(func(_ string, file *os.File, _, _ int64) error { return file.Sync() })}, nil
	}
	p := &powerLoss{unsafe: f.broken(BreakFsync), since: map[string]*unsynced{}, synced: time.Now()}
	stale, err := filepath.Glob(filepath.Join(dir, "*"+syncedSuffix))
	for _, path := range stale { // of a segment that a process never came to name
		if err == nil {
			err = os.Remove(path)
		}
	}
	segments, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
	for _, path := range segments {
		if err == nil {
			err = copyFile(path, path+syncedSuffix)
		}
	}
	return wal.Options{Sync: f.slowly(p.sync), Gone: p.gone}, err
}

// slowly suffers the delay of the disk before each sync.
func (f *Faults) slowly(sync func(string, *os.File, int64, int64) error) func(string, *os.File, int64, int64) error {
	return func(path string, file *os.File, from, to int64) error {
		if d := f.diskDelay.Load(); d > 0 {
			time.Sleep(time.Duration(d))
		}
		return sync(path, file, from, to)
	}
}

// sync keeps what was written since the last time; the header of a segment, at 0,
// in any case.
func (p *powerLoss) sync(path string, f *os.File, from, to int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if part := p.since[path]; part != nil {
		part.from, part.to = min(part.from, from), max(part.to, to)
	} else {
		p.since[path] = &unsynced{f, from, to}
	}
	if p.unsafe && from > 0 && time.Since(p.synced) < syncUnsafe {
		return nil
	}
	p.synced = time.Now()
	if err := f.Sync(); err != nil {
		return err
	}
	for path, part := range p.since {
		err := copyRange(path+syncedSuffix, part)
		if err != nil && part.from > 0 {
			err = fmt.Errorf("what a loss of power would leave: %v", err) // not to be taken for a write that was refused
		}
		if err != nil {
			return err
		}
	}
	clear(p.since)
	return nil
}

func (p *powerLoss) gone(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.since, path)
	os.Remove(path + syncedSuffix)
}

func copyRange(to string, part *unsynced) error {
	flags := os.O_WRONLY | os.O_CREATE
	if part.from == 0 {
		flags |= os.O_TRUNC // the name may have been that of another segment
	}
	out, err := os.OpenFile(to, flags, 0o600)
	if err != nil {
		return err
	}
	if part.from == 0 { // room for what comes: a sync must not find the disk full
		_, err = io.Copy(out, io.LimitReader(zeros{}, mirrorBytes))
	}
	if err == nil {
		_, err = io.Copy(io.NewOffsetWriter(out, part.from), io.NewSectionReader(part.f, part.from, part.to-part.from))
	}
	return errors.Join(err, out.Close())
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := copyRange(to+tmpSuffix, &unsynced{in, 0, info.Size()}); err != nil {
		return err
	}
	return os.Rename(to+tmpSuffix, to)
}
