package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"crema/cluster/wal"

	"github.com/hashicorp/raft"
)

// snapStore is raft's file snapshots, of which only the latest counts: the log
// begins where it ends, so an older one in its place would lose what lies
// between. Raft's own checksum covers the state; ours, at the beginning of the
// state, covers what raft keeps beside it.
type snapStore struct {
	files *raft.FileSnapshotStore
	dir   string
	done  <-chan struct{} // the node is closing: a snapshot being written is given up
	size  atomic.Int64    // bytes of the latest snapshot
	index atomic.Uint64   // where it ends, 0 if there is none

	opened atomic.Uint64 // the index of the one that was opened last

	// failed is why the latest could not be opened: raft reports only that none could.
	failed atomic.Pointer[error]
}

const (
	snapshotMagic  = "crema\x00r\x01"
	sumBytes       = 4
	snapshotHeader = len(snapshotMagic) + sumBytes
	tmpSuffix      = ".tmp"
)

// openSnapshots also clears away what an interrupted snapshot left.
func openSnapshots(dataDir, dir string, done <-chan struct{}) (*snapStore, error) {
	files, err := raft.NewFileSnapshotStore(dataDir, 1, io.Discard)
	if err != nil {
		return nil, fmt.Errorf("open snapshots: %w", err)
	}
	s := &snapStore{files: files, dir: dir, done: done}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read snapshots: %w", err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), tmpSuffix) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return nil, fmt.Errorf("clear an unfinished snapshot: %w", err)
			}
		}
	}
	return s, nil
}

// latest is the newest snapshot by the name of its directory, nil if there is none.
func (s *snapStore) latest() (*raft.SnapshotMeta, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("read snapshots: %w", err)
	}
	name := ""
	var newest [3]uint64 // term, index, time
	for _, e := range entries {
		if !e.IsDir() || strings.HasSuffix(e.Name(), tmpSuffix) {
			continue
		}
		var v [3]uint64
		if _, err := fmt.Sscanf(e.Name(), "%d-%d-%d", &v[0], &v[1], &v[2]); err != nil {
			return nil, damaged(filepath.Join(s.dir, e.Name()), errors.New("no snapshot has such a name"))
		}
		if name == "" || less(newest, v) {
			name, newest = e.Name(), v
		}
	}
	if name == "" {
		return nil, nil
	}
	metas, err := s.files.List()
	if err != nil {
		return nil, err
	}
	for _, m := range metas {
		if m.ID == name && m.Term == newest[0] && m.Index == newest[1] {
			s.size.Store(m.Size)
			s.index.Store(m.Index)
			return m, nil
		}
	}
	return nil, damaged(filepath.Join(s.dir, name, "meta.json"), errors.New("it cannot be read, or does not belong to this snapshot"))
}

func less(a, b [3]uint64) bool {
	for i := range a {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}

func (s *snapStore) List() ([]*raft.SnapshotMeta, error) {
	meta, err := s.latest()
	if meta == nil {
		return nil, err
	}
	return []*raft.SnapshotMeta{meta}, nil
}

func (s *snapStore) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, transport raft.Transport) (raft.SnapshotSink, error) {
	sink, err := s.files.Create(version, index, term, configuration, configurationIndex, transport)
	if err != nil {
		return nil, err
	}
	t := &snapSink{SnapshotSink: sink, store: s, index: index, tmp: filepath.Join(s.dir, sink.ID()+tmpSuffix)}
	header := headerOf(&raft.SnapshotMeta{Index: index, Term: term, Configuration: configuration, ConfigurationIndex: configurationIndex})
	if _, err := t.Write(header); err != nil {
		t.Cancel()
		return nil, err
	}
	return t, nil
}

// Open hands out the state of a snapshot that is what was written.
func (s *snapStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, state, err := s.open(id)
	s.failed.Store(&err)
	if err == nil {
		s.opened.Store(meta.Index)
	}
	return meta, state, err
}

func (s *snapStore) open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, state, err := s.files.Open(id)
	if err != nil {
		return nil, nil, damaged(filepath.Join(s.dir, id), err)
	}
	header := make([]byte, snapshotHeader)
	_, err = io.ReadFull(state, header)
	if err == nil && string(header) != string(headerOf(meta)) {
		err = errors.New("meta.json is not the one that was written")
	}
	if err != nil {
		state.Close()
		return nil, nil, damaged(filepath.Join(s.dir, id), err)
	}
	meta.Size -= int64(snapshotHeader)
	return meta, state, nil
}

// headerOf is what stands before the state: a checksum of what a node would
// believe of meta.json.
func headerOf(m *raft.SnapshotMeta) []byte {
	b := binary.BigEndian.AppendUint64(nil, m.Index)
	b = binary.BigEndian.AppendUint64(b, m.Term)
	b = binary.BigEndian.AppendUint64(b, m.ConfigurationIndex)
	b = append(b, raft.EncodeConfiguration(m.Configuration)...)
	return binary.BigEndian.AppendUint32([]byte(snapshotMagic), crc32.Checksum(b, castagnoli))
}

// snapSink leaves nothing behind when it fails, and has the names of its files
// on disk before the snapshot gets its own.
type snapSink struct {
	raft.SnapshotSink
	store *snapStore
	tmp   string
	index uint64
	size  int64
}

func (s *snapSink) Write(b []byte) (int, error) {
	select {
	case <-s.store.done:
		return 0, ErrClosed
	default:
	}
	n, err := s.SnapshotSink.Write(b)
	s.size += int64(n)
	return n, err
}

func (s *snapSink) Close() error {
	if err := wal.SyncDir(s.tmp); err != nil {
		s.Cancel()
		return err
	}
	if err := s.SnapshotSink.Close(); err != nil {
		os.RemoveAll(s.tmp)
		return err
	}
	s.store.size.Store(s.size)
	s.store.index.Store(s.index)
	return nil
}

func (s *snapSink) Cancel() error {
	err := s.SnapshotSink.Cancel()
	if removeErr := os.RemoveAll(s.tmp); err == nil {
		err = removeErr
	}
	return err
}
