package cluster

import (
	"io"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// Config is what an operator may choose.
type Config struct {
	Dir    string // the data directory, made if it is not there
	NodeID string // "" = what the directory says, or n1
	Log    *slog.Logger

	// A snapshot is taken, and the log cut, when either is reached since the
	// last one. 0 = the defaults below.
	SnapshotBytes   int64 // of entries; never less than what the last snapshot took
	SnapshotEntries int64
}

const (
	defaultNodeID          = "n1"
	defaultSnapshotBytes   = 64 << 20
	defaultSnapshotEntries = 64 << 10

	trailingEntries = 0 // kept behind a snapshot: alone there is nobody to catch up from them

	maxEntryBytes    = 1 << 20 // an entry ends with the Pending that makes it so large
	maxEntryPendings = 4096
	maxPendingBytes  = 1 << 30 // one Pending alone; bbolt holds less than 2 GiB in a value
	maxQueueBytes    = 64 << 20
	maxQueuePendings = 64 << 10

	electionTimeout = 50 * time.Millisecond // alone there is nobody to listen to
	enqueueTimeout  = time.Second
	closeWithin     = 5 * time.Second
	retryDisk       = 200 * time.Millisecond
	retrySnapshot   = 30 * time.Second
)

func withDefaults(c Config) Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.SnapshotBytes == 0 {
		c.SnapshotBytes = defaultSnapshotBytes
	}
	if c.SnapshotEntries == 0 {
		c.SnapshotEntries = defaultSnapshotEntries
	}
	return c
}

func raftConfig(id string, notify chan<- bool, log *slog.Logger) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(id)
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = electionTimeout, electionTimeout, electionTimeout
	c.CommitTimeout = 5 * time.Millisecond
	c.NotifyCh = notify
	c.TrailingLogs = trailingEntries
	// The compactor decides by bytes; raft would count entries.
	c.SnapshotThreshold, c.SnapshotInterval = math.MaxUint64, 24*time.Hour
	c.LogLevel, c.LogOutput = "INFO", raftLines{log}
	return c
}

// raftLines passes on what raft has to say, for those who look for a fault.
type raftLines struct{ log *slog.Logger }

var _ io.Writer = raftLines{}

func (l raftLines) Write(line []byte) (int, error) {
	l.log.Debug("raft", "line", strings.TrimSpace(string(line)))
	return len(line), nil
}
