package wal

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
)

// DeleteRange deletes the entries from first to last, which must be at one of the
// ends of the log, or all of it.
func (l *Log) DeleteRange(first, last uint64) error {
	l.writing.Lock()
	unlock := sync.OnceFunc(l.writing.Unlock)
	defer unlock()
	if l.empty() {
		return nil
	}
	end := l.tail().next()
	switch {
	case first > last || last < l.first || first >= end:
		return nil
	case first <= l.first && last >= end-1:
		return l.deleteAll()
	case first <= l.first:
		l.cutFront(last + 1)
		unlock() // the files need hold nobody up
		return l.removeDoomed()
	case last >= end-1:
		return l.cutBack(first)
	}
	return fmt.Errorf("entries %d to %d are in the middle of the log", first, last)
}

// cutFront makes first the first entry. Segments that have none are doomed: when
// they cannot be removed now, Open finds their entries again.
func (l *Log) cutFront(first uint64) {
	l.removing.Lock()
	defer l.removing.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(l.segments)-1 && l.segments[n].next() <= first {
		n++
	}
	l.doomed = append(l.doomed, l.segments[:n]...)
	l.segments = slices.Delete(l.segments, 0, n)
	l.first = first
}

// removeDoomed goes from the oldest to the newest: a crash leaves no gap.
func (l *Log) removeDoomed() error {
	l.removing.Lock()
	defer l.removing.Unlock()
	for len(l.doomed) > 0 {
		s := l.doomed[0]
		if err := l.remove(s, func() { l.doomed = slices.Delete(l.doomed, 0, 1) }); err != nil {
			return err
		}
	}
	return nil
}

// cutBack makes first the next entry to be written. After a crash in between the
// log has some more, and no gap.
func (l *Log) cutBack(first uint64) error {
	if err := l.Sync(); err != nil {
		return err
	}
	for l.tail().first > first {
		if err := l.removeTail(); err != nil {
			return err
		}
	}
	s := l.tail()
	if s.next() == first {
		return nil
	}
	if err := l.open(s); err != nil {
		return err
	}
	end := s.until(first)
	var none, was [entryBytes]byte // no entry begins like none
	if _, err := s.f.ReadAt(was[:], end); err != nil {
		return err
	}
	if err := l.write(s, none[:], end); err != nil {
		s.f.WriteAt(was[:], end) // the entry is still there to be read
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.entries = s.entries[:first-s.first]
	s.end, s.size = end, max(s.size, end+entryBytes)
	return nil
}

// deleteAll goes from the newest to the oldest but for the doomed, which nobody
// misses: what a crash leaves is a log.
func (l *Log) deleteAll() error {
	if err := l.Sync(); err != nil { // of a file that is closed here
		return err
	}
	if err := l.removeDoomed(); err != nil {
		return err
	}
	for len(l.segments) > 0 {
		if err := l.removeTail(); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) removeTail() error {
	l.removing.Lock()
	defer l.removing.Unlock()
	return l.remove(l.tail(), func() { l.segments = l.segments[:len(l.segments)-1] })
}

// remove takes a file away, or keeps it for the next segment, and then lets go of
// it. It may be called again after an error.
func (l *Log) remove(s *segment, letGo func()) error {
	l.opt.Gone(s.path)
	l.mu.RLock()
	keep := s.size <= l.opt.SegmentBytes && len(l.spares) < maxSpares
	l.mu.RUnlock()
	to := fmt.Sprintf("%s-%08x%s", strings.TrimSuffix(s.path, segmentSuffix), s.seed, spareSuffix)
	var err error
	if keep {
		err = l.rename(s.path, to)
	} else {
		err = l.unlink(s.path)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) { // as after an error in syncDir
		return err
	}
	if err := l.syncDir(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	letGo()
	s.shut()
	if keep && err == nil {
		l.spares = append(l.spares, spare{to, s.size})
	}
	return nil
}
