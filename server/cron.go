package server

import (
	"context"
	"runtime/debug"
	"sync"
	"time"

	"crema/store"
)

const (
	cronEvery   = 100 * time.Millisecond
	rateSamples = 16 // INFO's instantaneous figures are the mean of this many
)

// cron does what happens by the clock and not by a command: it feeds the rates,
// closes subscribers that stay too slow and clients that say nothing, and sees
// to it that nobody keeps a poller. Serve starts it and ends it.
func (s *Server) cron(ctx context.Context) {
	ticker := time.NewTicker(cronEvery)
	defer ticker.Stop()
	var peak int64
	for {
		s.rates.sample(time.Now(), s.commandsRun(), s.stats.bytesIn.Load(), s.stats.bytesOut.Load())
		s.rates.keep(s.store.Stats())
		s.checkSlow()
		s.closeIdle()
		for _, p := range s.pollers {
			p.relieve()
		}
		s.giveBack(&peak)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// closeIdle applies the timeout to clients that neither ask nor listen.
func (s *Server) closeIdle() {
	timeout := s.settings().timeout
	if timeout <= 0 {
		return
	}
	since := time.Now().Add(-timeout).UnixMilli()
	s.clients.each(func(c *conn) {
		if c.sock != nil && c.lastUsed.Load() < since && !c.subscribed() && !c.monitor.Load() {
			c.close()
		}
	})
}

// giveBack returns memory to the system after much of what was kept has gone: the
// collector by itself comes round when as much has been allocated again. peak
// is the most there was since the last time.
func (s *Server) giveBack(peak *int64) {
	used := s.store.UsedBytes()
	*peak = max(*peak, used)
	if *peak-used > giveBackBytes && used < *peak/2 {
		*peak = used
		go debug.FreeOSMemory()
	}
}

// giveBackBytes is how much must have gone to be worth a collection.
const giveBackBytes = 64 << 20

// commandsRun counts every command since the last CONFIG RESETSTAT.
func (s *Server) commandsRun() (n int64) {
	for _, row := range s.table.byName {
		n += row.stat.calls()
	}
	return n
}

// rates turns counters into figures a second.
type rates struct {
	mu                     sync.Mutex // guards what follows; taken after no other lock
	at                     time.Time
	commands, in, out      int64 // as last seen
	ops, inBytes, outBytes [rateSamples]float64
	next                   int
	purged                 time.Time   // by MEMORY PURGE
	store                  store.Stats // as last seen, for those who hold shards
}

// sample takes the counters' state at a moment. One that went backwards was
// reset in between and counts from 0.
func (r *rates) sample(now time.Time, commands, in, out int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if elapsed := now.Sub(r.at).Seconds(); !r.at.IsZero() && elapsed > 0 {
		rate := func(now, before int64) float64 {
			if now < before {
				before = 0
			}
			return float64(now-before) / elapsed
		}
		r.ops[r.next], r.inBytes[r.next], r.outBytes[r.next] = rate(commands, r.commands), rate(in, r.in), rate(out, r.out)
		r.next = (r.next + 1) % rateSamples
	}
	r.at, r.commands, r.in, r.out = now, commands, in, out
}

// mean is commands and bytes a second, in and out.
func (r *rates) mean() (ops, in, out float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range rateSamples {
		ops, in, out = ops+r.ops[i], in+r.inBytes[i], out+r.outBytes[i]
	}
	return ops / rateSamples, in / rateSamples, out / rateSamples
}

// keep remembers the store's figures.
func (r *rates) keep(st store.Stats) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.store = st
}

func (r *rates) kept() store.Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.store
}

// storeStats is the store in numbers. A connection whose Tx is open holds
// shards that the store would count in, so it gets the figures of a moment ago.
func (c *conn) storeStats() store.Stats {
	if c.open {
		return c.srv.rates.kept()
	}
	return c.srv.store.Stats()
}
