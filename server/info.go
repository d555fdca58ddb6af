package server

import (
	"crypto/sha1"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"crema/resp"
	"crema/store"
)

func infoRows() []command {
	return []command{{"info", -1, loading | stale | catDangerous, noKeys, session(cmdInfo)}}
}

// infoSections is every section in the order in which INFO shows them.
var infoSections = []struct {
	name  string
	title string
	extra bool // not part of a plain INFO, only of INFO all
	write func(*infoText)
}{
	{"server", "Server", false, infoServer},
	{"clients", "Clients", false, infoClients},
	{"memory", "Memory", false, infoMemory},
	{"persistence", "Persistence", false, infoPersistence},
	{"stats", "Stats", false, infoStats},
	{"replication", "Replication", false, infoReplication},
	{"cpu", "CPU", false, infoCPU},
	{"modules", "Modules", false, func(*infoText) {}},
	{"commandstats", "Commandstats", true, infoCommands},
	{"errorstats", "Errorstats", false, infoErrors},
	{"latencystats", "Latencystats", true, infoLatency},
	{"raft", "Raft", false, infoRaft},
	{"cluster", "Cluster", false, func(t *infoText) { t.line("cluster_enabled", 0) }},
	{"keyspace", "Keyspace", false, infoKeyspace},
	{"crema", "Crema", false, infoCrema},
}

// infoText is an INFO being written, and what its sections read.
type infoText struct {
	strings.Builder
	c     *conn
	s     *Server
	store store.Stats
	heap  heap
}

// line writes one field.
func (t *infoText) line(name string, value any) { fmt.Fprintf(t, "%s:%v\r\n", name, value) }

// bytes writes an amount of memory, once for machines and once for people.
func (t *infoText) bytes(name string, n int64) {
	t.line(name, n)
	t.line(name+"_human", humanBytes(n))
}

// zeros writes fields that are always 0 here, because what they count does not
// exist; exporters expect them.
func (t *infoText) zeros(names string) {
	for _, name := range strings.Fields(names) {
		t.line(name, 0)
	}
}

// INFO [section ...]
func cmdInfo(c *conn, a *resp.Args) resp.Reply {
	plain, all := !a.More(), false
	named := map[string]bool{}
	for _, word := range a.Rest() {
		switch name := resp.Lower(word); name {
		case "default":
			plain = true
		case "all", "everything":
			all = true
		default:
			named[name] = true
		}
	}
	t := &infoText{c: c, s: c.srv, store: c.storeStats(), heap: readHeap()}
	for _, section := range infoSections {
		if !all && !named[section.name] && (!plain || section.extra) {
			continue
		}
		if section.name == "raft" && c.srv.cluster == nil {
			continue
		}
		if t.Len() > 0 {
			t.WriteString("\r\n")
		}
		fmt.Fprintf(t, "# %s\r\n", section.title)
		section.write(t)
	}
	return resp.Verbatim("txt", t.String())
}

func infoServer(t *infoText) {
	now := time.Now()
	up := now.Sub(t.s.started)
	t.line("redis_version", RedisVersion)
	t.line("redis_git_sha1", "00000000")
	t.line("redis_git_dirty", 0)
	t.line("redis_build_id", 0)
	t.line("redis_mode", "standalone")
	t.line("os", operatingSystem())
	t.line("arch_bits", 32<<(^uint(0)>>63))
	t.line("monotonic_clock", "POSIX clock_gettime")
	t.line("multiplexing_api", "go")
	t.line("go_version", runtime.Version())
	t.line("process_id", os.Getpid())
	t.line("process_supervised", "no")
	t.line("run_id", t.s.runID())
	t.line("tcp_port", max(t.s.cfg.Port, 0))
	t.line("server_time_usec", t.c.clock.micros())
	t.line("uptime_in_seconds", int64(up/time.Second))
	t.line("uptime_in_days", int64(up/(24*time.Hour)))
	t.line("hz", int(time.Second/cronEvery))
	t.line("configured_hz", int(time.Second/cronEvery))
	t.line("lru_clock", now.Unix()&(1<<24-1))
	executable, _ := os.Executable()
	t.line("executable", executable)
	t.line("config_file", "")
	t.line("io_threads_active", 0)
}

// runID names this server as no other: 40 hexadecimal digits.
func (s *Server) runID() string {
	name := fmt.Sprint(s.started.UnixNano(), " ", os.Getpid(), " ", s.Addr())
	return fmt.Sprintf("%x", sha1.Sum([]byte(name)))
}

// operatingSystem is what uname says, as far as it can be asked.
func operatingSystem() string {
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		return "Linux " + strings.TrimSpace(string(text)) + " " + runtime.GOARCH
	}
	return runtime.GOOS + " " + runtime.GOARCH
}

func infoClients(t *infoText) {
	var biggestIn, biggestOut int64
	var subscribers, watchers int
	t.s.clients.each(func(c *conn) {
		_, waiting := c.waiting()
		biggestIn = max(biggestIn, c.inBytes.Load())
		biggestOut = max(biggestOut, c.outBytes.Load()+waiting)
		if c.subscribed() {
			subscribers++
		}
		if c.watched.Load() > 0 {
			watchers++
		}
	})
	t.line("connected_clients", t.s.clients.count())
	t.line("cluster_connections", 0)
	t.line("maxclients", t.s.settings().maxClients)
	t.line("client_recent_max_input_buffer", biggestIn)
	t.line("client_recent_max_output_buffer", biggestOut)
	tracking, _, _, _ := t.s.tracking.counts()
	t.zeros("blocked_clients")
	t.line("tracking_clients", tracking)
	t.zeros("clients_in_timeout_table")
	t.line("pubsub_clients", subscribers)
	t.line("watching_clients", watchers)
}

func infoMemory(t *infoText) {
	st, h := t.store, t.heap
	scripts := t.s.scripts.engine
	t.bytes("used_memory", st.UsedBytes)
	t.bytes("used_memory_rss", h.rss)
	t.bytes("used_memory_peak", st.PeakBytes)
	t.line("used_memory_peak_perc", fmt.Sprintf("%.2f%%", 100*ratio(st.UsedBytes, st.PeakBytes)))
	t.line("used_memory_overhead", max(h.objects-st.UsedBytes, 0))
	t.line("used_memory_startup", 0)
	t.line("used_memory_dataset", st.UsedBytes)
	t.line("used_memory_dataset_perc", fmt.Sprintf("%.2f%%", 100*ratio(st.UsedBytes, max(st.UsedBytes, h.objects))))
	t.line("allocator_allocated", h.objects)
	t.line("allocator_active", h.objects+h.unused)
	t.line("allocator_resident", h.resident)
	t.bytes("total_system_memory", availableMemory())
	t.bytes("used_memory_lua", 0)
	t.line("used_memory_vm_eval", 0)
	t.line("used_memory_scripts_eval", scripts.MemoryUsage())
	t.line("number_of_cached_scripts", scripts.Len())
	t.zeros("number_of_functions number_of_libraries used_memory_vm_functions used_memory_functions")
	t.bytes("used_memory_vm_total", 0)
	t.bytes("used_memory_scripts", scripts.MemoryUsage())
	t.bytes("maxmemory", st.MaxBytes)
	t.line("maxmemory_policy", st.Policy)
	t.line("allocator_frag_ratio", fmt.Sprintf("%.2f", ratio(h.objects+h.unused, h.objects)))
	t.line("allocator_frag_bytes", h.unused)
	t.line("allocator_rss_ratio", fmt.Sprintf("%.2f", ratio(h.resident, h.objects+h.unused)))
	t.line("allocator_rss_bytes", h.resident-h.objects-h.unused)
	t.line("rss_overhead_ratio", fmt.Sprintf("%.2f", ratio(h.rss, h.resident)))
	t.line("rss_overhead_bytes", h.rss-h.resident)
	t.line("mem_fragmentation_ratio", fmt.Sprintf("%.2f", ratio(h.rss, st.UsedBytes)))
	t.line("mem_fragmentation_bytes", h.rss-st.UsedBytes)
	t.zeros("mem_not_counted_for_evict mem_replication_backlog mem_total_replication_buffers mem_clients_slaves")
	t.line("mem_clients_normal", t.s.clientBytes())
	t.zeros("mem_cluster_links mem_aof_buffer")
	t.line("mem_allocator", "go")
	t.zeros("active_defrag_running lazyfree_pending_objects lazyfreed_objects")
}

// infoRaft is what the log tells of itself; without one there is no such section.
func infoRaft(t *infoText) {
	for _, field := range t.s.cluster.Info() {
		t.line(field[0], field[1])
	}
}

func infoPersistence(t *infoText) {
	t.zeros("loading async_loading current_cow_peak current_cow_size current_cow_size_age")
	t.line("current_fork_perc", "0.00")
	t.zeros("current_save_keys_processed current_save_keys_total rdb_changes_since_last_save rdb_bgsave_in_progress")
	t.line("rdb_last_save_time", t.s.started.Unix())
	t.line("rdb_last_bgsave_status", "ok")
	t.line("rdb_last_bgsave_time_sec", -1)
	t.line("rdb_current_bgsave_time_sec", -1)
	t.zeros("rdb_saves rdb_last_cow_size rdb_last_load_keys_expired rdb_last_load_keys_loaded")
	t.zeros("aof_enabled aof_rewrite_in_progress aof_rewrite_scheduled")
	t.line("aof_last_rewrite_time_sec", -1)
	t.line("aof_current_rewrite_time_sec", -1)
	t.line("aof_last_bgrewrite_status", "ok")
	t.zeros("aof_rewrites aof_rewrites_consecutive_failures")
	t.line("aof_last_write_status", "ok")
	t.zeros("aof_last_cow_size module_fork_in_progress module_fork_last_cow_size")
}

func infoStats(t *infoText) {
	st := &t.s.stats
	ops, in, out := t.s.rates.mean()
	channels, patterns, shards := t.s.pubsub.listenedTo()
	t.line("total_connections_received", st.connections.Load())
	t.line("total_commands_processed", t.s.commandsRun())
	t.line("instantaneous_ops_per_sec", int64(ops))
	t.line("total_net_input_bytes", st.bytesIn.Load())
	t.line("total_net_output_bytes", st.bytesOut.Load())
	t.zeros("total_net_repl_input_bytes total_net_repl_output_bytes")
	t.line("instantaneous_input_kbps", fmt.Sprintf("%.2f", in/1024))
	t.line("instantaneous_output_kbps", fmt.Sprintf("%.2f", out/1024))
	t.line("instantaneous_input_repl_kbps", "0.00")
	t.line("instantaneous_output_repl_kbps", "0.00")
	t.line("rejected_connections", st.rejected.Load())
	t.zeros("sync_full sync_partial_ok sync_partial_err")
	t.line("expired_keys", t.store.Expired)
	t.line("expired_stale_perc", "0.00")
	t.zeros("expired_time_cap_reached_count expire_cycle_cpu_milliseconds")
	t.line("evicted_keys", t.store.Evicted)
	t.zeros("evicted_clients total_eviction_exceeded_time current_eviction_exceeded_time")
	t.line("keyspace_hits", t.store.Hits)
	t.line("keyspace_misses", t.store.Misses)
	t.line("pubsub_channels", channels)
	t.line("pubsub_patterns", patterns)
	t.line("pubsubshard_channels", shards)
	t.zeros("latest_fork_usec total_forks migrate_cached_sockets slave_expires_tracked_keys")
	t.zeros("active_defrag_hits active_defrag_misses active_defrag_key_hits active_defrag_key_misses")
	t.zeros("total_active_defrag_time current_active_defrag_time")
	_, keys, items, prefixes := t.s.tracking.counts()
	t.line("tracking_total_keys", keys)
	t.line("tracking_total_items", items)
	t.line("tracking_total_prefixes", prefixes)
	t.zeros("unexpected_error_replies")
	t.line("total_error_replies", st.errorReplies.Load())
	if t.s.cluster != nil {
		t.s.relay.info(t)
	}
	t.zeros("dump_payload_sanitizations")
}

// listenedTo counts the channels, patterns and shard channels that have listeners.
func (p *pubsub) listenedTo() (channels, patterns, shards int) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.channels), len(p.patterns), len(p.shards)
}

func infoReplication(t *infoText) {
	t.line("role", "master")
	slaves := 0 // on the leader: the nodes that it reaches
	if t.s.cluster != nil && t.s.evaluates() {
		slaves = len(t.s.peers.all())
	}
	t.line("connected_slaves", slaves)
	t.line("master_failover_state", "no-failover")
	t.line("master_replid", t.s.runID())
	t.line("master_replid2", strings.Repeat("0", 40))
	t.line("master_repl_offset", 0)
	t.line("second_repl_offset", -1)
	t.zeros("repl_backlog_active repl_backlog_size repl_backlog_first_byte_offset repl_backlog_histlen")
}

func infoCPU(t *infoText) {
	write := func(who int, suffix string) {
		var u syscall.Rusage
		syscall.Getrusage(who, &u)
		t.line("used_cpu_sys"+suffix, fmt.Sprintf("%d.%06d", u.Stime.Sec, u.Stime.Usec))
		t.line("used_cpu_user"+suffix, fmt.Sprintf("%d.%06d", u.Utime.Sec, u.Utime.Usec))
	}
	write(syscall.RUSAGE_SELF, "")
	write(syscall.RUSAGE_CHILDREN, "_children")
}

// eachRun visits the rows that have run or been refused, by name.
func (t *infoText) eachRun(visit func(row *command)) {
	for _, name := range slices.Sorted(maps.Keys(t.s.table.byName)) {
		row := t.s.table.byName[name]
		if row.stat.calls()+row.stat.rejected.Load() > 0 {
			visit(row)
		}
	}
}

func infoCommands(t *infoText) {
	t.eachRun(func(row *command) {
		calls, us := row.stat.calls(), float64(row.stat.nanos.Load())/1000
		perCall := 0.0
		if calls > 0 {
			perCall = us / float64(calls)
		}
		fmt.Fprintf(t, "cmdstat_%s:calls=%d,usec=%.0f,usec_per_call=%.2f,rejected_calls=%d,failed_calls=%d\r\n",
			row.name, calls, us, perCall, row.stat.rejected.Load(), row.stat.failed.Load())
	})
}

func infoErrors(t *infoText) {
	st := &t.s.stats
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, code := range slices.Sorted(maps.Keys(st.errors)) {
		fmt.Fprintf(t, "errorstat_%s:count=%d\r\n", printableCode(code), st.errors[code])
	}
}

// printableCode keeps an error code that a script made up from breaking INFO's
// lines, as Redis does.
func printableCode(code string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '#', ':', '\n', '\r':
			return '_'
		}
		return r
	}, code)
}

func infoLatency(t *infoText) {
	if !t.s.settings().latencyTrack {
		return
	}
	t.eachRun(func(row *command) {
		if row.stat.calls() == 0 {
			return
		}
		fmt.Fprintf(t, "latency_percentiles_usec_%s:p50=%.3f,p99=%.3f,p99.9=%.3f\r\n", row.name,
			row.stat.percentile(0.5), row.stat.percentile(0.99), row.stat.percentile(0.999))
	})
}

// percentile is the microseconds within which this share of the calls was
// done: the upper end of a bucket, so up to twice the true figure.
func (st *commandStat) percentile(share float64) float64 {
	total := int64(0)
	for i := range st.buckets {
		total += st.buckets[i].Load()
	}
	below := int64(0)
	for i := range st.buckets {
		below += st.buckets[i].Load()
		if float64(below) >= share*float64(total) {
			return float64(int64(1)<<i-1) / 1000
		}
	}
	return 0
}

func infoKeyspace(t *infoText) {
	for db, st := range t.store.DBs {
		if st.Keys > 0 {
			fmt.Fprintf(t, "db%d:keys=%d,expires=%d,avg_ttl=%d\r\n", db, st.Keys, st.Expires, st.AvgTTL)
		}
	}
}

// infoCrema is what Redis has no fields for.
func infoCrema(t *infoText) {
	st, stats := t.store, &t.s.stats
	t.line("crema_version", Version)
	t.line("pinned_keys", st.PinnedEntries)
	t.line("pinned_bytes", st.PinnedBytes)
	t.line("cached_keys", st.CachedEntries)
	t.line("cached_bytes", st.CachedBytes)
	t.line("cache_window_keys", st.WindowEntries)
	t.line("cache_window_bytes", st.WindowBytes)
	t.line("cache_main_keys", st.MainEntries)
	t.line("cache_main_bytes", st.MainBytes)
	t.line("cache_promoted", st.Promoted)
	t.line("cache_unread", st.Unread)
	t.line("cache_displaced", st.Displaced)
	t.line("messages_published", stats.messages.Load())
	t.line("messages_delivered", stats.deliveries.Load())
	t.line("slow_subscribers_closed", stats.outboxClosed.Load())
	t.line("auth_failures", stats.authFails.Load())
	t.line("protocol_errors", stats.protocolFails.Load())
	t.line("scripts_stopped", stats.scriptsKilled.Load())
	t.line("command_panics", stats.panics.Load())
	t.s.pubsub.histories.info(t)
}
