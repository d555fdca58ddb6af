package server

import (
	"time"

	"crema/resp"
	"crema/store"
)

// settings are the parameters that CONFIG SET may change while the server
// runs. A value is never changed in place: CONFIG SET copies, changes and
// publishes a new one, so a reader sees one consistent set.
type settings struct {
	limits       resp.Limits
	maxClients   int
	timeout      time.Duration // close idle clients after; 0 = never
	tcpKeepalive time.Duration
	protected    bool // protected-mode
	requirepass  string

	maxMemory int64 // bytes, 0 = no limit
	policy    store.Policy

	outboxNormal  outboxLimit
	outboxPubsub  outboxLimit
	outboxReplica outboxLimit // shown only: there are no replicas

	events store.EventClass // notify-keyspace-events

	slowlogAfter    time.Duration // slowlog-log-slower-than; negative = off
	slowlogMaxLen   int
	latencyAfter    time.Duration // latency-monitor-threshold; 0 = off
	latencyTrack    bool          // latency-tracking
	busyAfter       time.Duration // busy-reply-threshold
	debugCommand    string        // enable-debug-command: no, local or yes
	trackingMaxKeys int           // tracking-table-max-keys; 0 = no limit
	logLevel        string
}

// outboxLimit is one class of client-output-buffer-limit.
type outboxLimit struct {
	hard, soft int64 // bytes, 0 = no limit
	seconds    int   // how long above soft is tolerated
}

// settings is the set in force.
func (s *Server) settings() *settings { return s.live.Load() }

// change publishes a changed copy of the settings and lets the parts that keep
// a copy of their own take it over. Concurrent changes queue up.
func (s *Server) change(edit func(*settings)) {
	s.changing.Lock()
	defer s.changing.Unlock()
	next := *s.live.Load()
	edit(&next)
	s.live.Store(&next)
	s.store.Reconfigure(func(c *store.Config) {
		c.MaxMemory, c.Policy, c.BusyAfter = next.maxMemory, next.policy, next.busyAfter
		c.MaxValueBytes = next.limits.MaxBulkBytes
	})
	s.store.WantEvents(next.events)
	if s.cfg.OnMaxMemory != nil {
		s.cfg.OnMaxMemory(next.maxMemory)
	}
	s.users.setDefaultPassword(next.requirepass)
	s.logLevel.Set(slogLevel(next.logLevel))
}
