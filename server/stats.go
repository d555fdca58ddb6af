package server

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// serverStats counts what INFO's stats section shows and CONFIG RESETSTAT clears.
type serverStats struct {
	connections   atomic.Int64 // accepted
	rejected      atomic.Int64 // over maxclients or refused by protected mode
	bytesIn       atomic.Int64
	bytesOut      atomic.Int64
	messages      atomic.Int64 // published
	deliveries    atomic.Int64
	outboxClosed  atomic.Int64 // slow subscribers disconnected
	protocolFails atomic.Int64
	panics        atomic.Int64
	errorReplies  atomic.Int64
	authFails     atomic.Int64
	scriptsKilled atomic.Int64
	inDoubt       atomic.Int64 // answers that say so
	held          atomic.Int64 // runs that have waited for somebody to lead

	holding atomic.Int64 // of these, how many wait now

	mu     sync.Mutex
	errors map[string]int64 // by code, for INFO errorstats; bounded by maxErrorCodes
}

// maxErrorCodes bounds errorstats: scripts can invent codes.
const maxErrorCodes = 128

const maxErrorCode = 32 // bytes of a code

const codeInDoubt = "INDOUBT"

// countError counts an error reply under its first word.
func (s *serverStats) countError(text []byte) {
	code := text
	for i, c := range text {
		if c == ' ' {
			code = text[:i]
			break
		}
	}
	code = code[:min(len(code), maxErrorCode)]
	if string(code) == codeInDoubt {
		s.inDoubt.Add(1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errorReplies.Add(1) // here, so that it is never seen to be less than its parts
	if n, ok := s.errors[string(code)]; ok || len(s.errors) < maxErrorCodes {
		s.errors[string(code)] = n + 1
	}
}

// latencyBuckets covers 1 ns to 18 minutes in powers of two, as LATENCY
// HISTOGRAM shows them in microseconds.
const latencyBuckets = 40

// commandStat counts one row of the table.
type commandStat struct {
	nanos    atomic.Int64
	rejected atomic.Int64 // refused before it ran
	failed   atomic.Int64 // ran and answered an error
	buckets  [latencyBuckets]atomic.Int64
}

func (st *commandStat) record(d time.Duration, failed bool) {
	st.nanos.Add(int64(d))
	st.buckets[min(bits.Len64(uint64(max(d, 0))), latencyBuckets-1)].Add(1)
	if failed {
		st.failed.Add(1)
	}
}

// calls is how often the row ran.
func (st *commandStat) calls() (n int64) {
	for i := range st.buckets {
		n += st.buckets[i].Load()
	}
	return n
}

func (st *commandStat) reset() {
	st.nanos.Store(0)
	st.rejected.Store(0)
	st.failed.Store(0)
	for i := range st.buckets {
		st.buckets[i].Store(0)
	}
}

// clock is one reading of the wall clock, moved on by the monotonic one: what
// a run of commands takes for "now".
type clock struct {
	base time.Time // with monotonic reading
	wall int64     // unix µs at base, as the store's clock tells it
	now  time.Duration
}

// readClock reads the wall clock, once for a run.
func (s *Server) readClock() clock {
	t := time.Now()
	if s.cfg.Now != nil {
		return clock{base: t, wall: s.cfg.Now().UnixMicro()}
	}
	return clock{base: t, wall: t.Add(s.cfg.ClockOffset).UnixMicro()}
}

// wallClock is the store's clock, the same as readClock's.
func (s *Server) wallClock() time.Time {
	if s.cfg.Now != nil {
		return s.cfg.Now()
	}
	return time.Now().Add(s.cfg.ClockOffset)
}

// tick advances the reading and tells how long it was since the last.
func (c *clock) tick() time.Duration {
	now := time.Since(c.base)
	d := now - c.now
	c.now = now
	return d
}

// ms is unix milliseconds.
func (c *clock) ms() int64 { return c.micros() / 1000 }

// micros is unix microseconds.
func (c *clock) micros() int64 { return c.wall + int64(c.now/time.Microsecond) }

// seldom lets something be logged once a second: what strangers cause must not
// fill a disk.
type seldom struct{ last atomic.Int64 } // unix s

func (s *seldom) allow() bool {
	now := time.Now().Unix()
	last := s.last.Load()
	return now != last && s.last.CompareAndSwap(last, now)
}
