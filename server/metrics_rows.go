package server

import (
	"crema/server/gateway"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// plainMetrics are those without labels that every server has.
var plainMetrics = []metric[*view]{
	{"keyspace_hits_total", "Reads that found their key.", counter, func(v *view) float64 { return float64(v.store.Hits) }},
	{"keyspace_misses_total", "Reads that did not find their key.", counter, func(v *view) float64 { return float64(v.store.Misses) }},
	{"expired_keys_total", "Keys deleted because their time was up.", counter, func(v *view) float64 { return float64(v.store.Expired) }},
	{"evicted_keys_total", "Cached keys that gave way because memory was short.", counter, func(v *view) float64 { return float64(v.store.Evicted) }},
	{"cache_promoted_total", "Cached entries that had been read when they left the window, and moved to main.", counter, func(v *view) float64 { return float64(v.store.Promoted) }},
	{"cache_unread_total", "Cached entries that nobody had read when they left the window, and were evicted.", counter, func(v *view) float64 { return float64(v.store.Unread) }},
	{"cache_displaced_total", "Cached entries that were read least of main, and were evicted.", counter, func(v *view) float64 { return float64(v.store.Displaced) }},

	{"memory_used_bytes", "Memory of entries: what maxmemory is compared with.", gauge, func(v *view) float64 { return float64(v.store.UsedBytes) }},
	{"memory_peak_bytes", "The most memory that entries have taken.", gauge, func(v *view) float64 { return float64(v.store.PeakBytes) }},
	{"memory_max_bytes", "maxmemory, 0 if there is no limit.", gauge, func(v *view) float64 { return float64(v.store.MaxBytes) }},
	{"memory_available_bytes", "What the machine or the control group has for the process, 0 if that is not known.", gauge, func(*view) float64 { return float64(availableMemory()) }},
	{"memory_slab_allocated_bytes", "Memory outside of Go's heap that entries, indexes and deadlines take.", gauge, func(v *view) float64 { return float64(v.store.AllocatedBytes) }},
	{"memory_slab_resident_bytes", "Memory that the kernel has given for these.", gauge, func(v *view) float64 { return float64(v.store.ResidentBytes) }},
	{"client_buffer_bytes", "Memory of what came from clients and is not read, and of what waits for them.", gauge, func(v *view) float64 { return float64(v.buffered) }},

	{"clients", "Clients that are connected, event streams among them.", gauge, func(v *view) float64 { return float64(v.clients) }},
	{"clients_max", "How many clients may be connected.", gauge, func(v *view) float64 { return float64(v.s.settings().maxClients) }},
	{"subscribers", "Clients that listen to channels or patterns.", gauge, func(v *view) float64 { return float64(v.subscribers) }},
	{"monitors", "Clients that are shown every command.", gauge, func(v *view) float64 { return float64(v.monitors) }},
	{"tracking_clients", "Clients that are told of changes of what they have read.", gauge, func(v *view) float64 { return float64(v.trackers) }},
	{"tracked_keys", "Keys that such clients are to be told of.", gauge, func(v *view) float64 { return float64(v.trackedKeys) }},
	{"connections_total", "Connections that were accepted.", counter, func(v *view) float64 { return float64(v.s.stats.connections.Load()) }},
	{"connections_rejected_total", "Connections over maxclients, or refused by protected mode.", counter, func(v *view) float64 { return float64(v.s.stats.rejected.Load()) }},
	{"slow_clients_closed_total", "Clients closed because what waited for them was over the limit.", counter, func(v *view) float64 { return float64(v.s.stats.outboxClosed.Load()) }},
	{"protocol_errors_total", "Clients closed because they did not speak the protocol.", counter, func(v *view) float64 { return float64(v.s.stats.protocolFails.Load()) }},
	{"auth_failures_total", "Wrong passwords and tokens.", counter, func(v *view) float64 { return float64(v.s.stats.authFails.Load()) }},
	{"command_panics_total", "Commands that failed by a mistake of the server's own.", counter, func(v *view) float64 { return float64(v.s.stats.panics.Load()) }},
	{"network_received_bytes_total", "Bytes that came from clients of the Redis protocol.", counter, func(v *view) float64 { return float64(v.s.stats.bytesIn.Load()) }},
	{"network_sent_bytes_total", "Bytes that were sent to them.", counter, func(v *view) float64 { return float64(v.s.stats.bytesOut.Load()) }},

	{"pubsub_messages_total", "Messages that clients of this node have published.", counter, func(v *view) float64 { return float64(v.s.stats.messages.Load()) }},
	{"pubsub_deliveries_total", "Messages put into the outbox of a subscriber of this node.", counter, func(v *view) float64 { return float64(v.s.stats.deliveries.Load()) }},
	{"pubsub_channels", "Channels with a subscriber on this node.", gauge, func(v *view) float64 { return float64(v.channels) }},
	{"pubsub_patterns", "Patterns with a subscriber on this node.", gauge, func(v *view) float64 { return float64(v.patterns) }},
	{"pubsub_shard_channels", "Shard channels with a subscriber on this node.", gauge, func(v *view) float64 { return float64(v.shards) }},
	{"relay_messages_sent_total", "Messages posted to other nodes.", counter, func(v *view) float64 { return float64(v.s.relay.stats.out.Load()) }},
	{"relay_messages_received_total", "Messages that came from other nodes.", counter, func(v *view) float64 { return float64(v.s.relay.stats.in.Load()) }},
	{"relay_messages_dropped_total", "Messages that the link to another node had no room for.", counter, func(v *view) float64 { return float64(v.s.relay.stats.dropped.Load()) }},
	{"relay_frames_refused_total", "What other nodes said that is over a limit or makes no sense.", counter, func(v *view) float64 { return float64(v.s.relay.stats.refused.Load()) }},

	{"history_channels", "Channels of which messages are kept.", gauge, func(v *view) float64 { return float64(v.history.channels) }},
	{"history_messages", "Messages that are kept for event streams that come back.", gauge, func(v *view) float64 { return float64(v.history.messages) }},
	{"history_bytes", "Memory of these.", gauge, func(v *view) float64 { return float64(v.history.bytes) }},
	{"history_repaired_total", "Kept messages that this node had missed and asked others for.", counter, func(v *view) float64 { return float64(v.history.repaired) }},
	{"history_gaps_total", "How often event streams were told that something is missing.", counter, func(v *view) float64 { return float64(v.history.gaps) }},

	{"scripts_cached", "Scripts that are known.", gauge, func(v *view) float64 { return float64(v.s.scripts.engine.Len()) }},
	{"scripts_memory_bytes", "Memory of these.", gauge, func(v *view) float64 { return float64(v.s.scripts.engine.MemoryUsage()) }},
	{"scripts_stopped_total", "Scripts that were stopped before their end.", counter, func(v *view) float64 { return float64(v.s.stats.scriptsKilled.Load()) }},

	{"in_doubt_total", "Answers that say INDOUBT: the change may have happened or not.", counter, func(v *view) float64 { return float64(v.s.stats.inDoubt.Load()) }},
	{"held_requests", "Requests that wait for somebody to lead.", gauge, func(v *view) float64 { return float64(v.s.stats.holding.Load()) }},
	{"held_requests_total", "Requests that have waited for somebody to lead.", counter, func(v *view) float64 { return float64(v.s.stats.held.Load()) }},
}

// httpMetrics are what the HTTP door counts.
var httpMetrics = []metric[*gateway.Stats]{
	{"http_requests_total", "HTTP requests.", counter, func(s *gateway.Stats) float64 { return float64(s.Requests.Load()) }},
	{"http_requests_failed_total", "HTTP requests answered with a code from 400 on.", counter, func(s *gateway.Stats) float64 { return float64(s.Failed.Load()) }},
	{"http_requests_unauthorized_total", "HTTP requests without a valid token.", counter, func(s *gateway.Stats) float64 { return float64(s.Unauthorized.Load()) }},
	{"http_batches_total", "Batches of commands that came over HTTP.", counter, func(s *gateway.Stats) float64 { return float64(s.Batches.Load()) }},
	{"http_commands_total", "Commands in these batches.", counter, func(s *gateway.Stats) float64 { return float64(s.Commands.Load()) }},
	{"http_connections_refused_total", "HTTP connections over the limit.", counter, func(s *gateway.Stats) float64 { return float64(s.Refused.Load()) }},
	{"http_panics_total", "HTTP requests that failed by a mistake of the server's own.", counter, func(s *gateway.Stats) float64 { return float64(s.Panics.Load()) }},
	{"http_received_bytes_total", "Bytes of HTTP requests' bodies.", counter, func(s *gateway.Stats) float64 { return float64(s.BytesIn.Load()) }},
	{"http_sent_bytes_total", "Bytes of the answers to commands, and of event streams.", counter, func(s *gateway.Stats) float64 { return float64(s.BytesOut.Load()) }},
	{"http_streams", "Event streams that are open.", gauge, func(s *gateway.Stats) float64 { return float64(s.Streams.Load()) }},
	{"http_streams_opened_total", "Event streams that were opened.", counter, func(s *gateway.Stats) float64 { return float64(s.StreamsBegun.Load()) }},
	{"http_streams_slow_total", "Event streams closed because they were not read.", counter, func(s *gateway.Stats) float64 { return float64(s.StreamsSlow.Load()) }},
	{"http_streams_refused_total", "Event streams over the limit.", counter, func(s *gateway.Stats) float64 { return float64(s.StreamsRefused.Load()) }},
	{"http_stream_messages_total", "Messages written to event streams.", counter, func(s *gateway.Stats) float64 { return float64(s.Messages.Load()) }},
}
