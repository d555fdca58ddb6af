package server

import (
	"context"
	"sync/atomic"
	"time"
)

// asked counts what other nodes ask of this one.
type asked struct {
	ever, now atomic.Int64 // begun; begun and not answered yet
}

func (a *asked) begin() { a.ever.Add(1); a.now.Add(1) }
func (a *asked) end()   { a.now.Add(-1) }

const (
	// quietFor is longer than another node waits before it asks again (lastPause):
	// one that still asks has not heard who leads now.
	quietFor   = 2 * lastPause
	quietTick  = quietFor / 5
	quietGrace = time.Second
)

// awaitQuiet returns when nobody asks this node for anything any more, which does
// not lead now, or when ctx ends. Without it
//
//	another node   sends a run to us, who led a moment ago
//	we             end, and the link with us
//	its client     is told INDOUBT, of a command that was never begun
func (p *peers) awaitQuiet(ctx context.Context) {
	if len(p.all()) == 0 {
		return
	}
	ctx, done := context.WithTimeout(ctx, quietGrace)
	defer done()
	tick := time.NewTicker(quietTick)
	defer tick.Stop()
	seen, since := p.asked.ever.Load(), time.Now()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if ever := p.asked.ever.Load(); ever != seen || p.asked.now.Load() > 0 {
			seen, since = ever, time.Now()
		}
		if time.Since(since) >= quietFor {
			return
		}
	}
}
