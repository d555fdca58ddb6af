package cluster

import "crema/internal/durations"

// Figures is Stats for those who draw curves. The type has no name of its own, so
// that a server need not know this package.
type Figures = struct {
	State, Leader string // as in Stats

	Term, CommitIndex, AppliedIndex, LastIndex uint64
	Peers                                      int
	Lag                                        map[string]uint64 // by node id, where this node leads

	Elections, PostsDropped                                    uint64
	LeaderChanges, Entries, Commits, EntryBytes, Verifications int64
	Waiting                                                    int
	LogBytes, SnapshotBytes                                    int64

	DiskFailed             bool
	CommitTimes, DiskTimes durations.Counts // from proposing to applied; of one sync, with the write where that is waited for
}

// Figures looks at one thing after the other.
func (n *Node) Figures() Figures {
	s := n.Stats()
	f := Figures{
		State: s.State, Leader: s.Leader,
		Term: s.Term, CommitIndex: s.CommitIndex, AppliedIndex: s.AppliedIndex, LastIndex: s.LastIndex,
		Peers: len(s.Peers), Lag: map[string]uint64{},
		Elections: s.Elections, PostsDropped: s.PostsMissed,
		LeaderChanges: s.Changes, Entries: s.Entries, Commits: s.Pendings, EntryBytes: s.Bytes, Verifications: s.Rounds,
		Waiting: s.Waiting, LogBytes: s.LogBytes, SnapshotBytes: s.SnapBytes,
		DiskFailed:  s.DiskError != nil,
		CommitTimes: n.stats.took.Read(), DiskTimes: n.disk.wrote.Read(),
	}
	for _, lag := range s.Lag {
		f.Lag[lag.Node] = lag.Entries
	}
	return f
}
