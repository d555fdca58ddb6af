package cluster

import (
	"errors"
	"fmt"

	"crema/store"

	"github.com/hashicorp/raft"
)

// extent is what a log was found to hold.
type extent struct {
	entries int64 // behind the snapshot
	bytes   int64
}

// verify reads the whole log, and believes it or not. snapshot is the index of the
// latest snapshot, tail the last index known to be synced.
//
// This comes before raft sees the log, which panics at what it does not expect.
func (l *logStore) verify(snapshot, tail uint64) (ext extent, err error) {
	first, err := l.FirstIndex()
	if err != nil {
		return ext, err
	}
	last, err := l.LastIndex()
	if err != nil {
		return ext, err
	}
	switch {
	case first > snapshot+1:
		return ext, fmt.Errorf("entries %d to %d are missing: the snapshot ends before them", snapshot+1, first-1)
	case max(last, snapshot) == 0:
		return ext, errors.New("it is empty, and there is no snapshot")
	case max(last, snapshot) < tail:
		return ext, fmt.Errorf("it ends at entry %d, and entry %d was acknowledged", max(last, snapshot), tail)
	}
	var entry raft.Log
	for index := first; index <= last && index > 0; index++ {
		if err := l.GetLog(index, &entry); err != nil {
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
