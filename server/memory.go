package server

import (
	"fmt"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"crema/resp"
)

func memoryRows() []command {
	return []command{{"memory", -2, 0, noKeys, container(
		command{"doctor", 2, 0, noKeys, session(cmdMemoryDoctor)},
		command{"help", 2, loading | stale, noKeys, session(cmdMemoryHelp)},
		command{"malloc-stats", 2, 0, noKeys, session(cmdMemoryMallocStats)},
		command{"purge", 2, 0, noKeys, session(cmdMemoryPurge)},
		command{"stats", 2, 0, noKeys, session(cmdMemoryStats)},
		command{"usage", -3, readonly, key(2), data(cmdMemoryUsage)},
	)}}
}

// heap is the process's memory as the runtime and the system see it, in bytes.
type heap struct {
	objects  int64 // in objects, dead ones included until they are collected
	unused   int64 // in spans that hold objects, but not in objects
	resident int64 // got from the system and not given back
	rss      int64 // what the system counts
}

func readHeap() heap {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(samples)
	at := func(i int) int64 { return int64(samples[i].Value.Uint64()) }
	h := heap{objects: at(0), unused: at(1), resident: at(2) - at(3)}
	if h.rss = residentBytes(); h.rss == 0 {
		h.rss = h.resident
	}
	return h
}

// residentBytes is the resident set from /proc, 0 where there is none.
func residentBytes() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// ratio is a/b, 0 where b is.
func ratio(a, b int64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// MEMORY STATS
//
// "allocated" is what maxmemory is compared with: keys, values and what the
// store adds to them.
func cmdMemoryStats(c *conn, _ *resp.Args) resp.Reply {
	st, h := c.storeStats(), readHeap()
	keys := int64(st.PinnedEntries + st.CachedEntries)
	var pairs []resp.Reply
	number := func(name string, n int64) { pairs = append(pairs, resp.BulkString(name), resp.Int(n)) }
	fraction := func(name string, f float64) { pairs = append(pairs, resp.BulkString(name), resp.Double(f)) }
	perKey := int64(0)
	if keys > 0 {
		perKey = st.UsedBytes / keys
	}
	number("peak.allocated", st.PeakBytes)
	number("total.allocated", st.UsedBytes)
	number("startup.allocated", 0)
	number("replication.backlog", 0)
	number("clients.slaves", 0)
	number("clients.normal", c.srv.clientBytes())
	number("cluster.links", 0)
	number("aof.buffer", 0)
	number("lua.caches", c.srv.scripts.engine.MemoryUsage())
	number("functions.caches", 0)
	number("overhead.total", max(h.objects-st.UsedBytes, 0))
	number("keys.count", keys)
	number("keys.bytes-per-key", perKey)
	number("dataset.bytes", st.UsedBytes)
	fraction("dataset.percentage", 100*ratio(st.UsedBytes, max(st.UsedBytes, h.objects)))
	fraction("peak.percentage", 100*ratio(st.UsedBytes, st.PeakBytes))
	number("allocator.allocated", h.objects)
	number("allocator.active", h.objects+h.unused)
	number("allocator.resident", h.resident)
	fraction("allocator-fragmentation.ratio", ratio(h.objects+h.unused, h.objects))
	number("allocator-fragmentation.bytes", h.unused)
	fraction("allocator-rss.ratio", ratio(h.resident, h.objects+h.unused))
	number("allocator-rss.bytes", h.resident-h.objects-h.unused)
	fraction("rss-overhead.ratio", ratio(h.rss, h.resident))
	number("rss-overhead.bytes", h.rss-h.resident)
	fraction("fragmentation", ratio(h.rss, st.UsedBytes))
	number("fragmentation.bytes", h.rss-st.UsedBytes)
	number("pinned.count", int64(st.PinnedEntries))
	number("pinned.bytes", st.PinnedBytes)
	number("cached.count", int64(st.CachedEntries))
	number("cached.bytes", st.CachedBytes)
	return resp.Map(pairs...)
}

// clientBytes is what waits for clients or came from them and is not read.
func (s *Server) clientBytes() (n int64) {
	s.clients.each(func(c *conn) {
		_, waiting := c.waiting()
		n += waiting + c.inBytes.Load() + c.multiBytes.Load() + c.outBytes.Load()
	})
	return n
}

// MEMORY DOCTOR
func cmdMemoryDoctor(c *conn, _ *resp.Args) resp.Reply {
	st, h := c.storeStats(), readHeap()
	var found []string
	tell := func(format string, args ...any) { found = append(found, fmt.Sprintf("* "+format+"\n", args...)) }
	const worthALook = 64 << 20
	if st.MaxBytes == 0 {
		tell("There is no maxmemory: nothing is ever evicted, and the machine's memory is the limit.")
	} else if st.PinnedBytes > st.MaxBytes/10*9 {
		tell("Pinned keys fill %.0f %% of maxmemory: writes will soon answer OOM. Give keys a TTL, or raise maxmemory.", 100*ratio(st.PinnedBytes, st.MaxBytes))
	}
	if st.Evicted > 0 && st.CachedBytes < st.MaxBytes/10 {
		tell("Keys are being evicted while cached keys have only %s: pinned keys leave them too little room.", humanBytes(st.CachedBytes))
	}
	if h.rss > worthALook && h.rss > 3*st.UsedBytes {
		tell("The process holds %s for %s of data. MEMORY PURGE gives unused memory back.", humanBytes(h.rss), humanBytes(st.UsedBytes))
	}
	if n := c.srv.clientBytes(); n > worthALook && n > st.UsedBytes/2 {
		tell("Clients' buffers hold %s. CLIENT LIST shows whose (omem, qbuf).", humanBytes(n))
	}
	if found == nil {
		return resp.Verbatim("txt", "Nothing about the use of memory looks wrong.\n")
	}
	return resp.Verbatim("txt", strings.Join(found, ""))
}

// MEMORY MALLOC-STATS shows every figure the runtime keeps of its memory.
func cmdMemoryMallocStats(*conn, *resp.Args) resp.Reply {
	var samples []metrics.Sample
	for _, d := range metrics.All() {
		if (strings.HasPrefix(d.Name, "/memory/") || strings.HasPrefix(d.Name, "/gc/")) && d.Kind == metrics.KindUint64 {
			samples = append(samples, metrics.Sample{Name: d.Name})
		}
	}
	metrics.Read(samples)
	var text strings.Builder
	for _, s := range samples {
		fmt.Fprintf(&text, "%s %d\n", s.Name, s.Value.Uint64())
	}
	return resp.Verbatim("txt", text.String())
}

// purgeEvery bounds how often anybody may make the collector run.
const purgeEvery = time.Second

// MEMORY PURGE
func cmdMemoryPurge(c *conn, _ *resp.Args) resp.Reply {
	if c.srv.rates.mayPurge(time.Now()) {
		c.detach() // it takes a collection
		debug.FreeOSMemory()
	}
	return resp.OK
}

// mayPurge is true once in purgeEvery.
func (r *rates) mayPurge(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.purged) < purgeEvery {
		return false
	}
	r.purged = now
	return true
}

// MEMORY HELP
func cmdMemoryHelp(*conn, *resp.Args) resp.Reply {
	return helpReply("MEMORY",
		"DOCTOR",
		"    Return memory problems reports.",
		"MALLOC-STATS",
		"    Return internal statistics report from the memory allocator.",
		"PURGE",
		"    Attempt to purge dirty pages for reclamation by the allocator.",
		"STATS",
		"    Return information about the memory usage of the server.",
		"USAGE <key> [SAMPLES <count>]",
		"    Return memory in bytes used by <key> and its value. Nested values are",
		"    sampled up to <count> times (default: 5, 0 means sample all).")
}
