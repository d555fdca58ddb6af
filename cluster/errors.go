package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"crema/cluster/wal"
	"crema/store"

	"github.com/hashicorp/raft"
)

var (
	// ErrUnavailable is for what was never handed to the log: nothing was
	// written, and nothing will be. It may be tried again.
	ErrUnavailable = fmt.Errorf("cluster: %w", store.ErrNotLogged)

	// ErrInDoubt is for what was handed to the log and then lost sight of: it
	// may have happened, it may yet happen, or it may never.
	ErrInDoubt = errors.New("cluster: handed to the log, and nobody knows whether it was committed")

	// ErrDiskFull is the ErrUnavailable of a log that has no room left. The node
	// goes on as soon as there is some.
	ErrDiskFull = fmt.Errorf("%w: no space left for the log", ErrUnavailable)

	// ErrTooLarge is for one Pending that no entry can hold.
	ErrTooLarge = fmt.Errorf("%w: larger than an entry of the log may be", ErrUnavailable)

	// ErrClosed is the ErrUnavailable of a node that is going down.
	ErrClosed = fmt.Errorf("%w: the node is closing", ErrUnavailable)

	// ErrDamaged is for a data directory that does not hold what was written to it.
	ErrDamaged = errors.New("cluster: the data directory is damaged")

	// ErrInUse is for a data directory that another process has open.
	ErrInUse = errors.New("cluster: the data directory is in use by another process")
)

// damaged is the sentence that ends a start: which file, what is wrong, what to
// do. A file that cannot be read yet, or not by us, is none of that.
func damaged(file string, err error) error {
	switch {
	case errors.Is(err, ErrDamaged):
		return err
	case errors.Is(err, store.ErrNewer), errors.Is(err, wal.ErrNewer):
		return fmt.Errorf("cluster: cannot read %s: %w; start the version that wrote it, or a newer one", file, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EIO), isFull(err):
		return fmt.Errorf("cluster: cannot read %s: %w", file, err)
	case errors.Is(err, errOlder):
		return fmt.Errorf("cluster: cannot read %s: %w; save the data with that version (crema cluster snapshot) and restore it into an empty --data-dir", file, err)
	}
	return fmt.Errorf("%w: %s: %w; %s", ErrDamaged, file, err, remedy)
}

var (
	errMissing = errors.New("it is missing")
	errOlder   = errors.New("an earlier version wrote it")
)

const remedy = "put back a copy of the whole directory, or start with an empty --data-dir: " +
	"starting from this one would silently lose acknowledged writes"

// verdict says what became of an entry that raft did not commit.
func verdict(err error) error {
	switch {
	case err == nil: // it was committed, and the fsm refused it
		return ErrInDoubt
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrInDoubt):
		return err
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout),
		errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	default:
		return fmt.Errorf("%w: %w", ErrInDoubt, err)
	}
}
