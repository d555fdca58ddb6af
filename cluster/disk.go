package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"crema/internal/durations"
)

// disk is how writing to the log goes.
//
// A write that finds no space has changed nothing that counts: the log goes on
// from where it was. It may be tried again. After any other
// error, a failed sync above all, the kernel may have thrown away what it could
// not write and call the next sync a success, so nothing is tried again.
type disk struct {
	log  *slog.Logger
	done <-chan struct{} // the node is closing

	wrote durations.Histogram // until what was written was on disk

	starting atomic.Bool // Open is at work, and returns what insist would wait for

	probe func() error // finds out whether there is room again, and not just for a few bytes

	faults func() error // suffered before each write; nil = none

	mu     sync.Mutex
	fault  func() error // for tests: fails what is about to be written
	unsync func() error // for tests: fails what is about to be synced by itself
	writes []time.Time  // when those that are under way began
	err    error        // why the last write failed, nil when it did not
	broken bool         // for good
}

// failure is nil when the disk takes writes, else an ErrUnavailable.
func (d *disk) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.err == nil:
		return nil
	case d.broken:
		return fmt.Errorf("%w: the disk failed, crema must be restarted: %w", ErrUnavailable, d.err)
	default:
		return fmt.Errorf("%w: %w", ErrDiskFull, d.err)
	}
}

// cause is the bare error of the last write.
func (d *disk) cause() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// try writes, unless the disk is broken.
func (d *disk) try(write func() error) error {
	d.mu.Lock()
	broken, fault := d.broken, d.fault
	d.mu.Unlock()
	if broken {
		return d.failure()
	}
	err := d.suffer()
	if err == nil && fault != nil {
		err = fault()
	}
	if err == nil {
		err = write()
	}
	return d.note(err)
}

// answer is try for what raft's main loop waits for: hangs watches it, as it does
// sync.
func (d *disk) answer(write func() error) error {
	defer d.begin()()
	return d.try(write)
}

// sync is for what was written before. Whatever its error, nothing is tried again. That
// it succeeds says nothing about room for more.
func (d *disk) sync(sync func() error) error {
	defer d.time()()
	defer d.begin()()
	d.mu.Lock()
	fault := d.unsync
	d.mu.Unlock()
	var err error
	if fault != nil {
		err = fault()
	}
	if err == nil {
		err = sync()
	}
	if err != nil {
		d.change(err, true)
	}
	return err
}

// time measures what writes to disk until it has ended.
func (d *disk) time() (ended func()) {
	began := time.Now()
	return func() { d.wrote.Add(time.Since(began)) }
}

func (d *disk) suffer() error {
	if d.faults == nil {
		return nil
	}
	return d.faults()
}

// begin notes a write until it has ended.
func (d *disk) begin() (ended func()) {
	began := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writes = append(d.writes, began)
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		i := slices.Index(d.writes, began)
		d.writes = slices.Delete(d.writes, i, i+1)
	}
}

// hangs says whether a write is under way for longer than that.
func (d *disk) hangs(longer time.Duration) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, began := range d.writes {
		if time.Since(began) > longer {
			return true
		}
	}
	return false
}

// recheck forgets that the disk was full, if there is room.
func (d *disk) recheck() {
	if d.suffer() == nil && d.probe() == nil {
		d.note(nil)
	}
}

// note says what the error of a write means: an ErrUnavailable when nothing was
// written.
func (d *disk) note(err error) error {
	broken := err != nil && !isFull(err)
	d.change(err, broken)
	if err == nil || broken || d.isBroken() {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDiskFull, err)
}

// change logs a line whenever the disk changes its mind.
func (d *disk) change(err error, broken bool) {
	d.mu.Lock()
	if d.broken { // meanwhile; what went well beside it, or a probe, mends nothing
		d.mu.Unlock()
		return
	}
	before := d.err
	d.err, d.broken = err, broken
	d.mu.Unlock()
	switch {
	case err == nil && before != nil:
		d.log.Info("the log can be written again")
	case broken:
		d.log.Error("the log cannot be written: pinned writes fail until crema is restarted, reads are served", "error", err)
	case err != nil && before == nil:
		d.log.Error("no space left for the log: pinned writes fail until there is some, reads are served", "error", err)
	}
}

// isFull tells a write that found no space from a sync that says so, too late.
func isFull(err error) bool {
	var path *fs.PathError
	var link *os.LinkError
	if errors.As(err, &path) && path.Op == "open" && (errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)) {
		return true // nothing was written either
	}
	return (errors.As(err, &path) && path.Op != "sync" || errors.As(err, &link)) && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT))
}

// insist tries until the write succeeds. When the node closes before that, the
// goroutine ends: raft's would panic at an error, and must not go on without.
func (d *disk) insist(write func() error) error {
	for {
		if d.failure() == nil || !d.isBroken() && d.probe() == nil {
			err := d.answer(write)
			if err == nil || d.starting.Load() {
				return err
			}
		}
		select {
		case <-time.After(retryDisk):
		case <-d.done:
			runtime.Goexit()
		}
	}
}

func (d *disk) isBroken() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.broken
}
