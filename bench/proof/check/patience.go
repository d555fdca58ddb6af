package check

import (
	"context"
	"time"
)

const tick = 50 * time.Millisecond

// Patience gives a context that ends when d has passed in which this machine
// ran: a machine that stands still, or is far too busy, breaks no promise.
func Patience(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		// A tick that took ten times as long counts as one.
		for range d / tick {
			select {
			case <-ctx.Done():
				return
			case <-time.After(tick):
			}
		}
	}()
	return ctx, cancel
}

// Stalls reports every time that this machine stood still for longer than a
// second, until ctx ends: gaps in what clients saw may be its doing.
func Stalls(ctx context.Context, report func(time.Duration)) {
	for last := time.Now(); ctx.Err() == nil; last = time.Now() {
		time.Sleep(tick)
		if stood := time.Since(last) - tick; stood > time.Second {
			report(stood)
		}
	}
}
