package cluster

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"crema/store"

	"github.com/hashicorp/raft"
)

// Restore puts a snapshot, as WriteState or store.Snapshot writes it, in the place
// of all data on all nodes. It runs on the leader. size is how many bytes come, -1
// when that is not known.
//
// What is in flight meanwhile is in doubt. So is the Restore itself when this node
// is lost or loses its leadership before all is done: the others have it or not.
func (n *Node) Restore(ctx context.Context, from io.Reader, size int64) error {
	r, err := n.leading()
	if err != nil {
		return err
	}
	// Nobody else changes the members, or restores, meanwhile.
	_, release, err := n.members.begin(ctx, "")
	if err != nil {
		return err
	}
	defer release()
	f, err := n.Scratch()
	if err != nil {
		return fmt.Errorf("cluster: restore: %w", err)
	}
	defer f.Close()
	got, err := io.Copy(f, from)
	switch {
	case err != nil:
		return fmt.Errorf("cluster: restore: %w", err)
	case size >= 0 && got != size:
		return fmt.Errorf("cluster: restore: %d bytes came instead of %d", got, size)
	}
	// Raft ends the process at a snapshot that it cannot restore.
	if err := believe(f); err != nil {
		return fmt.Errorf("cluster: this snapshot cannot be restored: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("cluster: restore: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("cluster: restore: %w", err)
	}
	n.cfg.Log.Warn("a snapshot is put in the place of all data", "bytes", got)
	err = n.paused(func() error {
		return r.Restore(&raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Size: got}, f, 0)
	})
	if err != nil {
		return fmt.Errorf("cluster: restore: %w", err)
	}
	n.cfg.Log.Info("snapshot restored", "bytes", got)
	return nil
}

// believe reads a snapshot into a store that is thrown away.
func believe(f io.ReadSeeker) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	scratch := store.New(store.Config{})
	defer scratch.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	if err := scratch.Restore(r); err != nil {
		return err
	}
	if _, err := r.ReadByte(); err != io.EOF {
		return fmt.Errorf("something follows its end")
	}
	return nil
}
