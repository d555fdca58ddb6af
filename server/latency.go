package server

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"crema/resp"
)

// latencySamples is how many samples an event keeps, as in Redis.
const latencySamples = 160

// latencyEvents is what took longer than latency-monitor-threshold, by event.
type latencyEvents struct {
	after atomic.Int64 // the threshold as a time.Duration, 0 = off; CONFIG SET stores it

	mu     sync.Mutex // guards events; taken after no other lock
	events map[string]*latencySeries
}

// latencySeries is one event's samples, the newest last: one a second at most,
// the longest of it.
type latencySeries struct {
	samples []latencySample
	longest int64 // ms, of all there ever were
}

type latencySample struct{ at, ms int64 } // unix seconds, milliseconds

func latencyRows() []command {
	const operator = admin | noScript | loading | stale
	return []command{{"latency", -2, 0, noKeys, container(
		command{"doctor", 2, operator, noKeys, session(cmdLatencyDoctor)},
		command{"help", 2, loading | stale, noKeys, session(cmdLatencyHelp)},
		command{"histogram", -2, operator, noKeys, session(cmdLatencyHistogram)},
		command{"history", 3, operator, noKeys, session(cmdLatencyHistory)},
		command{"latest", 2, operator, noKeys, session(cmdLatencyLatest)},
		command{"reset", -2, operator, noKeys, session(cmdLatencyReset)},
	)}}
}

// noteCommand keeps the time a command took, if that is long enough.
func (l *latencyEvents) noteCommand(row *command, d time.Duration) {
	after := l.after.Load()
	if after == 0 || int64(d) < after {
		return
	}
	event := "command"
	if row.flags&fast != 0 {
		event = "fast-command"
	}
	l.note(event, d, time.Now())
}

// note adds a sample to an event.
func (l *latencyEvents) note(event string, d time.Duration, now time.Time) {
	sample := latencySample{now.Unix(), d.Milliseconds()}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.events == nil {
		l.events = map[string]*latencySeries{}
	}
	series := l.events[event]
	if series == nil {
		series = &latencySeries{}
		l.events[event] = series
	}
	series.longest = max(series.longest, sample.ms)
	if n := len(series.samples); n > 0 && series.samples[n-1].at == sample.at {
		series.samples[n-1].ms = max(series.samples[n-1].ms, sample.ms)
		return
	}
	if len(series.samples) == latencySamples {
		series.samples = append(series.samples[:0], series.samples[1:]...)
	}
	series.samples = append(series.samples, sample)
}

// LATENCY LATEST
func cmdLatencyLatest(c *conn, _ *resp.Args) resp.Reply {
	l := &c.srv.latency
	l.mu.Lock()
	defer l.mu.Unlock()
	latest := []resp.Reply{}
	for _, event := range slices.Sorted(maps.Keys(l.events)) {
		series := l.events[event]
		last := series.samples[len(series.samples)-1]
		latest = append(latest, resp.Array(resp.BulkString(event), resp.Int(last.at), resp.Int(last.ms), resp.Int(series.longest)))
	}
	return resp.Array(latest...)
}

// LATENCY HISTORY event
func cmdLatencyHistory(c *conn, a *resp.Args) resp.Reply {
	l := &c.srv.latency
	l.mu.Lock()
	defer l.mu.Unlock()
	history := []resp.Reply{}
	if series := l.events[a.Text()]; series != nil {
		for _, s := range series.samples {
			history = append(history, resp.Array(resp.Int(s.at), resp.Int(s.ms)))
		}
	}
	return resp.Array(history...)
}

// LATENCY RESET [event ...]
func cmdLatencyReset(c *conn, a *resp.Args) resp.Reply {
	l := &c.srv.latency
	l.mu.Lock()
	defer l.mu.Unlock()
	before := len(l.events)
	if !a.More() {
		clear(l.events)
	}
	for _, event := range a.Rest() {
		delete(l.events, string(event))
	}
	return resp.Int(int64(before - len(l.events)))
}

// LATENCY HISTOGRAM [command ...]
func cmdLatencyHistogram(c *conn, a *resp.Args) resp.Reply {
	t := c.srv.table
	rows := t.all
	if a.More() {
		rows = nil
		for _, name := range a.Rest() {
			if row := t.named(name); row != nil {
				rows = append(rows, row)
			}
		}
	}
	var pairs []resp.Reply
	if !c.srv.settings().latencyTrack {
		rows = nil
	}
	for _, row := range rows {
		pairs = appendHistogram(pairs, row)
		for i := range row.subs {
			pairs = appendHistogram(pairs, &row.subs[i])
		}
	}
	return resp.Map(pairs...)
}

// appendHistogram adds a row that has run: how often, and how many of its runs
// took at most so many microseconds. Bounds are powers of two nanoseconds,
// from 1024 on, printed as Redis's histogram rounds them.
func appendHistogram(pairs []resp.Reply, row *command) []resp.Reply {
	var bounds []resp.Reply
	calls, below := int64(0), int64(0)
	for i := range row.stat.buckets {
		n := row.stat.buckets[i].Load()
		calls += n
		below += n
		if i >= 10 && below > 0 {
			ns := int64(1)<<i + int64(1)<<(i-7) - 1
			bounds = append(bounds, resp.Int(ns/1000), resp.Int(calls))
			below = 0
		}
	}
	if calls == 0 {
		return pairs
	}
	return append(pairs, resp.BulkString(row.name), resp.Map(
		resp.BulkString("calls"), resp.Int(calls),
		resp.BulkString("histogram_usec"), resp.Map(bounds...)))
}

// LATENCY DOCTOR
func cmdLatencyDoctor(c *conn, _ *resp.Args) resp.Reply {
	l := &c.srv.latency
	l.mu.Lock()
	defer l.mu.Unlock()
	var text strings.Builder
	if l.after.Load() == 0 {
		text.WriteString("Nothing is watched: latency-monitor-threshold is 0. CONFIG SET latency-monitor-threshold <milliseconds> begins.\n")
	} else if len(l.events) == 0 {
		fmt.Fprintf(&text, "Nothing has taken %d ms or longer.\n", time.Duration(l.after.Load()).Milliseconds())
	}
	for _, event := range slices.Sorted(maps.Keys(l.events)) {
		series := l.events[event]
		sum := int64(0)
		for _, s := range series.samples {
			sum += s.ms
		}
		n := int64(len(series.samples))
		span := series.samples[n-1].at - series.samples[0].at
		fmt.Fprintf(&text, "%s: in %d of the last %d seconds, %d ms on average, %d ms at worst. SLOWLOG GET names the commands.\n",
			event, n, span+1, sum/n, series.longest)
	}
	return resp.Verbatim("txt", text.String())
}

// LATENCY HELP
func cmdLatencyHelp(*conn, *resp.Args) resp.Reply {
	return helpReply("LATENCY",
		"DOCTOR",
		"    Return a human readable latency analysis report.",
		"HISTORY <event>",
		"    Return time-latency samples for the <event> class.",
		"LATEST",
		"    Return the latest latency samples for all events.",
		"RESET [<event> ...]",
		"    Reset latency data of one or more <event> classes.",
		"    (default: reset all data for all event classes)",
		"HISTOGRAM [COMMAND ...]",
		"    Return a cumulative distribution of latencies in the format of a histogram for the specified command names.",
		"    If no commands are specified then all histograms are replied.")
}
