package cluster

import (
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// Stats is how a node is, for INFO and the metrics.
type Stats struct {
	NodeID       string
	State        string // leader, follower, candidate
	Leader       string // its node id, "" when there is none
	Term         uint64
	CommitIndex  uint64
	AppliedIndex uint64
	Peers        []string // node ids, ours among them

	Entries   int64         // proposed by this node
	Pendings  int64         // in them
	Bytes     int64         // of them
	LogTime   time.Duration // from proposing to applied, of all of them
	Waiting   int           // Pendings in the queue
	LogBytes  int64         // of the log's file
	SnapBytes int64         // of the latest snapshot

	DiskError error // why proposals fail, nil when they need not
}

type counts struct {
	entries, pendings, bytes, nanos atomic.Int64
}

func (c *counts) entry(pendings, bytes int, took time.Duration) {
	c.entries.Add(1)
	c.pendings.Add(int64(pendings))
	c.bytes.Add(int64(bytes))
	c.nanos.Add(int64(took))
}

// Stats looks at one thing after the other.
func (n *Node) Stats() Stats {
	_, leader := n.raft.LeaderWithID()
	s := Stats{
		NodeID: n.dir.meta.node, Leader: string(leader), Term: n.raft.CurrentTerm(),
		CommitIndex: n.raft.CommitIndex(), AppliedIndex: n.raft.AppliedIndex(),
		Entries: n.stats.entries.Load(), Pendings: n.stats.pendings.Load(), Bytes: n.stats.bytes.Load(),
		LogTime:  time.Duration(n.stats.nanos.Load()),
		LogBytes: fileSize(n.log.path), SnapBytes: n.snaps.size.Load(),
		DiskError: n.disk.failure(),
	}
	switch n.raft.State() {
	case raft.Leader:
		s.State = "leader"
	case raft.Candidate:
		s.State = "candidate"
	default: // one that is shut down serves as a follower without a leader
		s.State = "follower"
	}
	if f := n.raft.GetConfiguration(); f.Error() == nil {
		for _, server := range f.Configuration().Servers {
			s.Peers = append(s.Peers, string(server.ID))
		}
	}
	n.queue.mu.Lock()
	s.Waiting = len(n.queue.waiting)
	n.queue.mu.Unlock()
	return s
}

// Info is Stats as INFO's raft section shows it, names and values.
func (n *Node) Info() [][2]string {
	s := n.Stats()
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	disk := "ok"
	if s.DiskError != nil {
		disk = s.DiskError.Error()
	}
	return [][2]string{
		{"raft_node_id", s.NodeID},
		{"raft_state", s.State},
		{"raft_leader", s.Leader},
		{"raft_term", strconv.FormatUint(s.Term, 10)},
		{"raft_commit_index", strconv.FormatUint(s.CommitIndex, 10)},
		{"raft_applied_index", strconv.FormatUint(s.AppliedIndex, 10)},
		{"raft_peers", strings.Join(s.Peers, ",")},
		{"raft_entries", number(s.Entries)},
		{"raft_commits", number(s.Pendings)},
		{"raft_entry_bytes", number(s.Bytes)},
		{"raft_entry_usec", number(s.LogTime.Microseconds())},
		{"raft_waiting", strconv.Itoa(s.Waiting)},
		{"raft_log_bytes", number(s.LogBytes)},
		{"raft_snapshot_bytes", number(s.SnapBytes)},
		{"raft_disk", disk},
	}
}
