package cluster

import (
	"crypto/tls"
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

	// Where there are to be other nodes, or may be later, Peers has this one at
	// least, with the addresses that it tells the others, and Listen is where it
	// listens. Without Listen the node is alone.
	Peers   []Member
	Listen  string // host:port
	Join    string // host:port of a node whose cluster to join, where nobody's Peers has this one
	Secret  string // the same on all nodes, "" = none
	TLS     *tls.Config
	Handler Handler // nil = nobody answers other nodes

	Clock  *Clock // the one that the store has; nil = the wall clock
	Faults *Faults

	// A snapshot is taken, and the log cut, when either is reached since the
	// last one. 0 = the defaults below.
	SnapshotBytes   int64 // of entries; never less than what the last snapshot took
	SnapshotEntries int64

	// TrailingBytes of entries stay in the log behind a snapshot, about, for
	// nodes that were away for a while. 0 = the default. Alone nothing stays.
	TrailingBytes int64
}

// Member is a node and where it is.
type Member struct {
	ID     string
	Peer   string // host:port for nodes
	Client string // host:port for clients
}

// Handler is the server of this node, which other nodes' servers talk to.
type Handler interface {
	// Answer answers a Call, on a goroutine of its own.
	Answer(node string, request []byte) (answer []byte)
	// Hear is told what was Posted, one frame of a node after the other.
	Hear(node string, frame []byte)
	// Linked says that our link to node is up, Unlinked that it is down. What is
	// posted from within Linked goes first.
	Linked(node string)
	Unlinked(node string)
	// Left says that node's link to us is down.
	Left(node string)
}

// nobody is the Handler of a node without a server.
type nobody struct{}

func (nobody) Answer(string, []byte) []byte { return nil }
func (nobody) Hear(string, []byte)          {}
func (nobody) Linked(string)                {}
func (nobody) Unlinked(string)              {}
func (nobody) Left(string)                  {}

const (
	defaultNodeID          = "n1"
	defaultSnapshotBytes   = 64 << 20
	defaultSnapshotEntries = 64 << 10
	defaultTrailingBytes   = 32 << 20

	// minTrailing entries stay in any case: a follower may have a few that
	// nobody else has, and a snapshot that ends among them would not go with it.
	minTrailing = 64

	maxEntryBytes    = 1 << 20 // an entry ends with the Pending that makes it so large
	maxEntryPendings = 4096
	maxPendingBytes  = 1 << 30 // one Pending alone; an entry is written and read in one piece
	maxQueueBytes    = 64 << 20
	maxQueuePendings = 64 << 10

	// maxAppendEntries is how many entries, which may be large, are read for one
	// message to a node that is behind.
	maxAppendEntries = 16

	aloneTimeout   = 50 * time.Millisecond // alone there is nobody to listen to
	enqueueTimeout = time.Second
	closeWithin    = 5 * time.Second
	retryDisk      = 200 * time.Millisecond
	retrySnapshot  = 30 * time.Second
)

// With other nodes.
const (
	// heartbeatTimeout is how long a follower waits for a leader that is silent,
	// and what it promises: not to vote for anybody else meanwhile.
	heartbeatTimeout = 300 * time.Millisecond
	// leaseTime rests on that promise; clocks may differ in speed by the rest.
	leaseTime = heartbeatTimeout * 8 / 10
	// quorumTimeout is how long a leader goes on without a majority.
	quorumTimeout = heartbeatTimeout
	// commitTimeout is how late a follower may learn what was committed, when
	// nothing follows. Each time costs all of them a message.
	commitTimeout = 40 * time.Millisecond

	rpcTimeout   = time.Second
	rpcBytesRate = 8 << 20 // bytes a second that a slow peer takes at least

	// hungAfter is how long a leader waits for its disk.
	hungAfter = time.Second

	clockEvery = time.Second
)

func withDefaults(c Config) Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Handler == nil {
		c.Handler = nobody{}
	}
	if c.Clock == nil {
		c.Clock = NewClock(nil)
	}
	if c.SnapshotBytes == 0 {
		c.SnapshotBytes = defaultSnapshotBytes
	}
	if c.SnapshotEntries == 0 {
		c.SnapshotEntries = defaultSnapshotEntries
	}
	if c.TrailingBytes == 0 {
		c.TrailingBytes = defaultTrailingBytes
	}
	return c
}

// alone says that there is no port, and so nobody else for as long as we run.
func (c *Config) alone() bool { return c.Listen == "" }

func raftConfig(id string, alone bool, notify chan<- bool, log *slog.Logger) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(id)
	if alone {
		c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = aloneTimeout, aloneTimeout, aloneTimeout
		c.TrailingLogs = 0
	} else {
		c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = heartbeatTimeout, heartbeatTimeout, quorumTimeout
		c.TrailingLogs = minTrailing
	}
	c.CommitTimeout = commitTimeout
	c.MaxAppendEntries = maxAppendEntries
	c.NotifyCh = notify
	c.ShutdownOnRemove = false // its clients are still told that there is no leader
	// The compactor decides by bytes; raft would count entries.
	c.SnapshotThreshold, c.SnapshotInterval = math.MaxUint64, 24*time.Hour
	c.NoLegacyTelemetry = true
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
