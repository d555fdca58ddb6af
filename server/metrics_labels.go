package server

import (
	"maps"
	"slices"
	"strconv"

	"crema/internal/durations"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	descBuild = describe("build_info", "Version of the server, of the Redis whose commands it has, and of Go.", "version", "redis_version", "go_version")

	descCommands = describe("command_duration_seconds", "How long commands took, by name; in a cluster without the wait for the log.", "command")
	descFailed   = describe("commands_failed_total", "Commands that ran and answered an error.", "command")
	descRejected = describe("commands_rejected_total", "Commands that were refused before they ran.", "command")
	descErrors   = describe("error_replies_total", "Errors that were answered, by their first word; \"other\" is what is not told apart.", "code")

	descEntries  = describe("entries", "Entries by kind, pinned or cached, and where the cached ones are: in the window, or kept for how often they are used.", "kind", "part")
	descBytes    = describe("entry_bytes", "Memory of entries by kind and part.", "kind", "part")
	descKeys     = describe("keys", "Keys by database.", "db")
	descVolatile = describe("keys_expiring", "Keys with a time to live, by database.", "db")

	descHTTPConnections = describe("http_connections", "HTTP connections that are open.")
	descStreamDelay     = describe("http_stream_delay_seconds", "From this node's hearing of a message to its having been written to an event stream, for each stream.")

	descState      = describe("raft_state", "1 for what this node is.", "state")
	descLag        = describe("raft_peer_lag_entries", "Committed entries that another node is not known to have; told by the leader.", "peer")
	descCommitTime = describe("raft_commit_duration_seconds", "From proposing an entry to its being applied; told by the node that led.")
	descDiskTime   = describe("raft_disk_write_duration_seconds", "One sync of the log, with the write where that is waited for.")
)

var labelled = []*prometheus.Desc{
	descBuild, descCommands, descFailed, descRejected, descErrors, descEntries, descBytes, descKeys, descVolatile,
	descHTTPConnections, descStreamDelay, descState, descLag, descCommitTime, descDiskTime,
}

// collectCommands tells of the commands that were called: there are some two
// hundred, most of which nobody calls.
func (v *view) collectCommands(to chan<- prometheus.Metric) {
	for name, row := range v.s.table.byName {
		if took := row.stat.durations(); took.Any() {
			tellDurations(to, descCommands, &took, name)
			tell(to, descFailed, counter, float64(row.stat.failed.Load()), name)
		}
		if n := row.stat.rejected.Load(); n > 0 {
			tell(to, descRejected, counter, float64(n), name)
		}
	}
}

// durations is how long the row's commands took.
func (st *commandStat) durations() durations.Counts {
	c := durations.Counts{Nanos: st.nanos.Load()}
	for i := range st.buckets {
		c.Buckets[i] = st.buckets[i].Load()
	}
	return c
}

var _ = [1]int{}[latencyBuckets-durations.Buckets] // the two count alike

const otherCodes = "other"

// collectErrors tells of errors by code. Scripts make codes up: those that
// look alike when they are fit to be shown count together.
func (v *view) collectErrors(to chan<- prometheus.Metric) {
	st := &v.s.stats
	st.mu.Lock()
	total, byCode := st.errorReplies.Load(), maps.Clone(st.errors)
	st.mu.Unlock()
	shown := map[string]int64{}
	for code, n := range byCode {
		shown[printableCode(code)] += n // which is valid UTF-8, as labels must be
		total -= n
	}
	shown[otherCodes] += max(total, 0)
	for code, n := range shown {
		tell(to, descErrors, counter, float64(n), code)
	}
}

func (v *view) collectEntries(to chan<- prometheus.Metric) {
	st := &v.store
	for _, of := range []struct {
		kind, part string
		entries    int
		bytes      int64
	}{
		{"pinned", "pinned", st.PinnedEntries, st.PinnedBytes},
		{"cached", "window", st.WindowEntries, st.WindowBytes},
		{"cached", "main", st.MainEntries, st.MainBytes},
	} {
		tell(to, descEntries, gauge, float64(of.entries), of.kind, of.part)
		tell(to, descBytes, gauge, float64(of.bytes), of.kind, of.part)
	}
	for db, in := range st.DBs {
		if in.Keys > 0 || db == 0 {
			tell(to, descKeys, gauge, float64(in.Keys), strconv.Itoa(db))
			tell(to, descVolatile, gauge, float64(in.Expires), strconv.Itoa(db))
		}
	}
}

// raftStates is what a node can be.
var raftStates = []string{"leader", "follower", "candidate"}

func (v *view) collectLog(to chan<- prometheus.Metric) {
	f := v.log
	for _, state := range raftStates {
		tell(to, descState, gauge, one(f.State == state), state)
	}
	for _, node := range slices.Sorted(maps.Keys(f.Lag)) {
		tell(to, descLag, gauge, float64(f.Lag[node]), node)
	}
	tellDurations(to, descCommitTime, &f.CommitTimes)
	tellDurations(to, descDiskTime, &f.DiskTimes)
}

// one is 1 for true.
func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
