package wal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"

	"github.com/hashicorp/raft"
)

// segment is a file: a header and entries, by index and without a gap.
//
//	header  magic 8, version 4, sum of the entry before 4, random 4, first index 8, sum 4
//	entry   sum 4, size of the rest 4, index 8, term 8, time 8, type 1, size of the extensions 4, extensions, data
//
// All numbers are big endian. The sum of an entry is CRC-32C of what follows it,
// begun with the sum before: that of the header in the case of the first.
type segment struct {
	f       *os.File // nil: others may open it to read; the last one is open to be written
	path    string
	first   uint64
	before  uint32  // sum of the entry before the first, as the header has it
	seed    uint32  // sum of the header
	entries []place // one for each
	end     int64   // of the last entry
	size    int64   // of the file
}

// place is where an entry is, and its sum.
type place struct {
	at  int64
	sum uint32
}

const (
	magic   = "cremalog"
	version = 1

	headerBytes = 32
	entryBytes  = 37

	readBytes = 256 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// next is the index that the next entry has.
func (s *segment) next() uint64 { return s.first + uint64(len(s.entries)) }

// sum is that of the last entry.
func (s *segment) sum() uint32 {
	if n := len(s.entries); n > 0 {
		return s.entries[n-1].sum
	}
	return s.seed
}

// until is where the entry before index ends.
func (s *segment) until(index uint64) int64 {
	if index == s.next() {
		return s.end
	}
	return s.entries[index-s.first].at
}

func appendHeader(b []byte, first uint64, before, random uint32) []byte {
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint32(b, version)
	b = binary.BigEndian.AppendUint32(b, before)
	b = binary.BigEndian.AppendUint32(b, random)
	b = binary.BigEndian.AppendUint64(b, first)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[len(b)-headerBytes+4:], castagnoli))
}

// headerSum is the sum of a header, where it is.
func headerSum(b []byte) uint32 { return binary.BigEndian.Uint32(b[headerBytes-4:]) }

// appendEntry encodes e behind an entry with the sum before.
func appendEntry(b []byte, e *raft.Log, before uint32) (_ []byte, sum uint32) {
	at := len(b)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(entryBytes-8+len(e.Extensions)+len(e.Data)))
	b = binary.BigEndian.AppendUint64(b, e.Index)
	b = binary.BigEndian.AppendUint64(b, e.Term)
	appended := int64(0)
	if !e.AppendedAt.IsZero() {
		appended = e.AppendedAt.UnixNano()
	}
	b = binary.BigEndian.AppendUint64(b, uint64(appended))
	b = append(b, byte(e.Type))
	b = binary.BigEndian.AppendUint32(b, uint32(len(e.Extensions)))
	b = append(b, e.Extensions...)
	b = append(b, e.Data...)
	sum = crc32.Update(before, castagnoli, b[at+4:])
	binary.BigEndian.PutUint32(b[at:], sum)
	return b, sum
}

// decodeEntry reads into e what appendEntry wrote. e has its share of b then.
func decodeEntry(b []byte, index uint64, before uint32, e *raft.Log) error {
	if len(b) < entryBytes || int64(binary.BigEndian.Uint32(b[4:])) != int64(len(b)-8) ||
		binary.BigEndian.Uint64(b[8:]) != index || binary.BigEndian.Uint32(b) != crc32.Update(before, castagnoli, b[4:]) {
		return fmt.Errorf("entry %d: %w", index, ErrDamaged)
	}
	extensions := int64(binary.BigEndian.Uint32(b[33:]))
	if extensions > int64(len(b)-entryBytes) {
		return fmt.Errorf("entry %d: %w", index, ErrDamaged)
	}
	*e = raft.Log{Index: index, Term: binary.BigEndian.Uint64(b[16:]), Type: raft.LogType(b[32])}
	if at := int64(binary.BigEndian.Uint64(b[24:])); at != 0 {
		e.AppendedAt = time.Unix(0, at)
	}
	rest := b[entryBytes:]
	if extensions > 0 {
		e.Extensions = rest[:extensions:extensions]
	}
	if int64(len(rest)) > extensions {
		e.Data = rest[extensions:]
	}
	return nil
}

// shut closes the file.
func (s *segment) shut() error {
	if s.f == nil {
		return nil
	}
	err := s.f.Close()
	s.f = nil
	return err
}

// piece is where to read an entry.
type piece struct {
	f      *os.File // or path
	path   string
	index  uint64
	at     int64
	size   int64
	before uint32 // sum of the entry before
}

func (s *segment) piece(index uint64) piece {
	i := index - s.first
	before := s.seed
	if i > 0 {
		before = s.entries[i-1].sum
	}
	at := s.entries[i].at
	return piece{s.f, s.path, index, at, s.until(index+1) - at, before}
}

func (p piece) read(e *raft.Log) error {
	f := p.f
	if f == nil {
		var err error
		if f, err = os.Open(p.path); err != nil {
			return fmt.Errorf("read entry %d: %w", p.index, err)
		}
		defer f.Close()
	}
	b := make([]byte, p.size)
	if _, err := f.ReadAt(b, p.at); err != nil {
		return fmt.Errorf("read entry %d: %w", p.index, err)
	}
	return decodeEntry(b, p.index, p.before, e)
}

// openSegment reads a file up to the first entry that is not whole.
func openSegment(path string) (_ *segment, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var header [headerBytes]byte
	if _, err := f.ReadAt(header[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	s := &segment{
		f: f, path: path, end: headerBytes, size: info.Size(),
		before: binary.BigEndian.Uint32(header[12:]),
		first:  binary.BigEndian.Uint64(header[20:]),
		seed:   headerSum(header[:]),
	}
	switch {
	case string(header[:8]) != magic || crc32.Checksum(header[:headerBytes-4], castagnoli) != s.seed:
		return nil, fmt.Errorf("%w: the header of %s", ErrDamaged, info.Name())
	case binary.BigEndian.Uint32(header[8:]) > version:
		return nil, fmt.Errorf("%s: %w", info.Name(), ErrNewer)
	case s.first == 0 || segmentName(s.first) != info.Name():
		return nil, fmt.Errorf("%w: %s has entry %d and the next ones", ErrDamaged, info.Name(), s.first)
	}
	return s, s.scan()
}

// scan finds the entries. The last one may be cut off.
func (s *segment) scan() error {
	r := bufio.NewReaderSize(io.NewSectionReader(s.f, headerBytes, s.size-headerBytes), readBytes)
	sum := s.seed
	for {
		var head [entryBytes]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return unlessEnd(err)
		}
		size := int64(binary.BigEndian.Uint32(head[4:])) + 8
		if size < entryBytes || s.end+size > s.size || binary.BigEndian.Uint64(head[8:]) != s.next() {
			return nil
		}
		sum = crc32.Update(sum, castagnoli, head[4:])
		for left := size - entryBytes; left > 0; {
			b, err := r.Peek(int(min(left, readBytes)))
			if err != nil {
				return unlessEnd(err)
			}
			sum = crc32.Update(sum, castagnoli, b)
			r.Discard(len(b))
			left -= int64(len(b))
		}
		if sum != binary.BigEndian.Uint32(head[:]) {
			return nil
		}
		s.entries = append(s.entries, place{s.end, sum})
		s.end += size
	}
}

// forgetRefused drops entries that were refused, where the log went on in the next
// segment: which entry that follows, its header says.
func (s *segment) forgetRefused(next *segment) {
	if next.first <= s.first || next.first >= s.next() || s.entries[next.first-s.first-1].sum != next.before {
		return
	}
	s.end = s.until(next.first)
	s.entries = s.entries[:next.first-s.first]
}

func unlessEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}
