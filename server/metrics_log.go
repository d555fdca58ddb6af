package server

import "crema/internal/durations"

// Measured is a Log that tells of itself in numbers; of one that is not, there
// are no metrics. cluster.Node is Measured.
type Measured interface {
	Figures() LogFigures
}

// LogFigures is a log in numbers. The type has no name of its own, so that a
// cluster need not know this package.
type LogFigures = struct {
	State, Leader string // leader, follower or candidate; who leads, "" when nobody does

	Term, CommitIndex, AppliedIndex, LastIndex uint64
	Peers                                      int               // this node among them
	Lag                                        map[string]uint64 // entries that a node is not known to have, where this one leads

	Elections, PostsDropped                                    uint64 // terms since the start; frames that found no link, or no room
	LeaderChanges, Entries, Commits, EntryBytes, Verifications int64
	Waiting                                                    int // proposals that are in no entry yet
	LogBytes, SnapshotBytes                                    int64

	DiskFailed             bool             // proposals fail
	CommitTimes, DiskTimes durations.Counts // from proposing to applied; of one sync, with the write where that is waited for
}

// logMetrics are those without labels of a server with a log.
var logMetrics = []metric[*LogFigures]{
	{"raft_leader_known", "1 if this node leads or knows who does.", gauge, func(f *LogFigures) float64 { return one(f.Leader != "") }},
	{"raft_term", "The newest term that this node knows of.", gauge, func(f *LogFigures) float64 { return float64(f.Term) }},
	{"raft_commit_index", "The last entry that is known to be committed.", gauge, func(f *LogFigures) float64 { return float64(f.CommitIndex) }},
	{"raft_applied_index", "The last entry that is in this node's store.", gauge, func(f *LogFigures) float64 { return float64(f.AppliedIndex) }},
	{"raft_last_index", "The last entry in this node's log.", gauge, func(f *LogFigures) float64 { return float64(f.LastIndex) }},
	{"raft_peers", "Nodes of the cluster, this one among them.", gauge, func(f *LogFigures) float64 { return float64(f.Peers) }},
	{"raft_elections_total", "Terms that have begun since this node started.", counter, func(f *LogFigures) float64 { return float64(f.Elections) }},
	{"raft_leader_changes_total", "How often this node has seen another one come to lead.", counter, func(f *LogFigures) float64 { return float64(f.LeaderChanges) }},
	{"raft_entries_total", "Entries that this node has proposed.", counter, func(f *LogFigures) float64 { return float64(f.Entries) }},
	{"raft_commits_total", "Commands whose effects were in these entries.", counter, func(f *LogFigures) float64 { return float64(f.Commits) }},
	{"raft_entry_bytes_total", "Bytes of these entries.", counter, func(f *LogFigures) float64 { return float64(f.EntryBytes) }},
	{"raft_verifications_total", "Rounds in which this node has made sure that it still leads.", counter, func(f *LogFigures) float64 { return float64(f.Verifications) }},
	{"raft_queue_length", "Commands whose effects wait for the entry before them.", gauge, func(f *LogFigures) float64 { return float64(f.Waiting) }},
	{"raft_log_bytes", "Size of the log's file.", gauge, func(f *LogFigures) float64 { return float64(f.LogBytes) }},
	{"raft_snapshot_bytes", "Size of the latest snapshot.", gauge, func(f *LogFigures) float64 { return float64(f.SnapshotBytes) }},
	{"raft_disk_failed", "1 if the log cannot be written, so that pinned writes fail.", gauge, func(f *LogFigures) float64 { return one(f.DiskFailed) }},
	{"peer_frames_dropped_total", "Frames for other nodes that found no link, or no room in its outbox.", counter, func(f *LogFigures) float64 { return float64(f.PostsDropped) }},
}
