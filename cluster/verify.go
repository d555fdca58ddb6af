package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"crema/store"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// extent is what a log was found to hold.
type extent struct {
	first, last uint64 // both 0 when it is empty
	entries     int64  // behind the snapshot
	bytes       int64
}

// verifyLog reads a whole log, read-only, and believes it or not. snapshot is
// the index of the latest snapshot, tail the last index known to be synced.
//
// This comes before bbolt opens the file for writing and before raft opens the
// log: both panic at what they do not expect, on goroutines of their own.
func verifyLog(path string, snapshot, tail uint64, log *slog.Logger) (ext extent, err error) {
	if err := verifyBoltHeader(path, log); err != nil {
		return ext, err
	}
	// A damaged page may point anywhere, outside of the map as well.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("its pages do not hang together (%v)", r)
		}
	}()
	bolt, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: boltOptions(true)})
	if err != nil {
		return ext, err
	}
	defer bolt.Close()
	l := &logStore{bolt: bolt}
	for _, key := range [...]string{"CurrentTerm", "LastVoteTerm", "LastVoteCand"} {
		if _, err := l.Get([]byte(key)); err != nil && !errors.Is(err, raftboltdb.ErrKeyNotFound) {
			return ext, err
		}
	}
	if ext.first, err = l.FirstIndex(); err != nil {
		return ext, err
	}
	if ext.last, err = l.LastIndex(); err != nil {
		return ext, err
	}
	switch {
	case ext.first > snapshot+1:
		return ext, fmt.Errorf("entries %d to %d are missing: the snapshot ends before them", snapshot+1, ext.first-1)
	case max(ext.last, snapshot) == 0:
		return ext, errors.New("it is empty, and there is no snapshot")
	case max(ext.last, snapshot) < tail:
		return ext, fmt.Errorf("it ends at entry %d, and entry %d was acknowledged", max(ext.last, snapshot), tail)
	}
	var entry raft.Log
	for index := ext.first; index <= ext.last && index > 0; index++ {
		entry = raft.Log{}
		if err := l.GetLog(index, &entry); err != nil {
			if errors.Is(err, raft.ErrLogNotFound) {
				err = fmt.Errorf("entry %d is missing", index)
			}
			return ext, err
		}
		if entry.Type == raft.LogCommand {
			if _, err := store.KindOf(entry.Data); err != nil {
				return ext, fmt.Errorf("entry %d: %w", index, err)
			}
		}
		if index > snapshot {
			ext.entries++
			ext.bytes += int64(len(entry.Data))
		}
	}
	return ext, nil
}

// verifyBoltHeader looks at the two headers of a bbolt file, of which the valid
// one with the higher transaction counts. A file that ends before the pages that
// its header speaks of would end the process at the first look at them.
func verifyBoltHeader(path string, log *slog.Logger) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	newest, valid := boltHeader{}, 0
	consider := func(page int64) boltHeader {
		h, ok := readBoltHeader(f, page)
		if ok {
			valid++
			if h.tx >= newest.tx {
				newest = h
			}
		}
		return h
	}
	if pageSize := int64(consider(0).pageSize); valid == 1 {
		consider(pageSize)
	} else {
		for pageSize = 1 << 10; pageSize <= 1<<16 && valid == 0; pageSize <<= 1 {
			consider(pageSize)
		}
	}
	switch want := int64(newest.pages) * int64(newest.pageSize); {
	case valid == 0:
		return errors.New("neither of its two headers is whole")
	case info.Size() < want:
		return fmt.Errorf("it has %d bytes and should have %d at least", info.Size(), want)
	case valid == 1:
		log.Warn("one of the two headers of the log is torn, as by a loss of power in the middle of a write; going on with the other", "file", path)
	}
	return nil
}

type boltHeader struct {
	pageSize  uint32
	pages, tx uint64
}

func readBoltHeader(f io.ReaderAt, at int64) (h boltHeader, ok bool) {
	const (
		pageHeader = 16
		size       = 64
		magic      = 0xED0CDAED
	)
	var b [size]byte
	if _, err := f.ReadAt(b[:], at+pageHeader); err != nil {
		return h, false
	}
	order := binary.NativeEndian
	sum := fnv.New64a()
	sum.Write(b[:size-8])
	if order.Uint32(b[:]) != magic || order.Uint64(b[size-8:]) != sum.Sum64() {
		return h, false
	}
	return boltHeader{order.Uint32(b[8:]), order.Uint64(b[40:]), order.Uint64(b[48:])}, true
}
