package cluster

import (
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"crema/internal/durations"

	"github.com/hashicorp/raft"
)

// Stats is how a node is, for INFO and the metrics.
type Stats struct {
	NodeID       string
	State        string // leader, follower, candidate
	Leader       string // its node id, "" when there is none
	Term         uint64
	LeaderClient string // where its clients connect
	CommitIndex  uint64
	AppliedIndex uint64
	LastIndex    uint64
	Peers        []string // node ids, ours among them

	Entries   int64         // proposed by this node
	Pendings  int64         // in them
	Bytes     int64         // of them
	LogTime   time.Duration // from proposing to applied, of all of them
	Waiting   int           // Pendings in the queue
	LogBytes  int64         // of the log's file
	SnapBytes int64         // of the latest snapshot

	Rounds      int64  // of verification that were made
	Elections   uint64 // terms since this node started
	Changes     int64  // of the leader, since this node started
	Lag         []Lag  // where this node leads
	PostsMissed uint64 // frames that found no link, or no room

	DiskError error // why proposals fail, nil when they need not
}

// Lag is how many committed entries a node is not known to have.
type Lag struct {
	Node    string
	Entries uint64
}

type counts struct {
	entries, pendings, bytes atomic.Int64
	took                     durations.Histogram
}

func (c *counts) entry(pendings, bytes int, took time.Duration) {
	c.entries.Add(1)
	c.pendings.Add(int64(pendings))
	c.bytes.Add(int64(bytes))
	c.took.Add(took)
}

// Stats looks at one thing after the other.
func (n *Node) Stats() Stats {
	term, leader := n.Lead()
	s := Stats{
		NodeID: n.dir.meta.node, Leader: leader, LeaderClient: n.book.of(leader).Client, State: "follower",
		Entries: n.stats.entries.Load(), Pendings: n.stats.pendings.Load(), Bytes: n.stats.bytes.Load(),
		LogTime:  time.Duration(n.stats.took.Nanos()),
		LogBytes: n.log.wal.Bytes(), SnapBytes: n.snaps.size.Load(),
		Rounds: n.lease.rounds.Load(), DiskError: n.disk.failure(),
	}
	if n.port != nil {
		s.PostsMissed = n.port.Dropped()
	}
	n.queue.mu.Lock()
	s.Waiting = len(n.queue.waiting)
	n.queue.mu.Unlock()
	n.gate.mu.Lock()
	s.Changes = n.gate.changes
	n.gate.mu.Unlock()
	r := n.raft.Load()
	if r == nil {
		return s
	}
	s.Term, s.LastIndex = r.CurrentTerm(), r.LastIndex()
	s.CommitIndex, s.AppliedIndex = n.log.flusher.onDisk(r.CommitIndex()), n.log.flusher.onDisk(r.AppliedIndex())
	s.Elections = s.Term - n.bornIn
	switch {
	case term != 0:
		s.State = "leader"
	case r.State() != raft.Follower && r.State() != raft.Shutdown: // or has won, and may not serve yet
		s.State = "candidate"
	}
	for _, server := range n.servers() {
		id := string(server.ID)
		s.Peers = append(s.Peers, id)
		if term != 0 && id != s.NodeID {
			s.Lag = append(s.Lag, Lag{id, s.CommitIndex - min(n.lease.matched(server.ID), s.CommitIndex)})
		}
	}
	return s
}

// Info is Stats as INFO's raft section shows it, names and values.
func (n *Node) Info() [][2]string {
	s := n.Stats()
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	index := func(n uint64) string { return strconv.FormatUint(n, 10) }
	disk := "ok"
	if s.DiskError != nil {
		disk = s.DiskError.Error()
	}
	info := [][2]string{
		{"raft_node_id", s.NodeID},
		{"raft_state", s.State},
		{"raft_leader", s.Leader},
		{"raft_leader_address", s.LeaderClient},
		{"raft_term", index(s.Term)},
		{"raft_commit_index", index(s.CommitIndex)},
		{"raft_applied_index", index(s.AppliedIndex)},
		{"raft_peers", strings.Join(s.Peers, ",")},
		{"raft_elections", index(s.Elections)},
		{"raft_leader_changes", number(s.Changes)},
		{"raft_verifications", number(s.Rounds)},
		{"raft_posts_dropped", index(s.PostsMissed)},
		{"raft_entries", number(s.Entries)},
		{"raft_commits", number(s.Pendings)},
		{"raft_entry_bytes", number(s.Bytes)},
		{"raft_entry_usec", number(s.LogTime.Microseconds())},
		{"raft_waiting", strconv.Itoa(s.Waiting)},
		{"raft_log_bytes", number(s.LogBytes)},
		{"raft_snapshot_bytes", number(s.SnapBytes)},
		{"raft_disk", disk},
	}
	for _, lag := range s.Lag {
		info = append(info, [2]string{"raft_lag_" + lag.Node, index(lag.Entries)})
	}
	return info
}
