package server

import "time"

// hold is the time that a run spends waiting for somebody to lead.
type hold struct {
	until time.Time
	pause time.Duration
}

const (
	// holdFor is how long what has certainly not happened is tried again: less
	// than the 3 s after which clients commonly give up waiting for a reply.
	holdFor = 2500 * time.Millisecond

	firstPause = 2 * time.Millisecond // between two tries while the same node leads
	lastPause  = 50 * time.Millisecond
)

// holdOn waits until it makes sense to try again what was tried first at since,
// and last with this leader; false means that the time is up, or that nobody
// waits for the answer any more.
func (c *conn) holdOn(h *hold, since time.Time, term uint64, node string) bool {
	if c.proxy {
		return false // the node where the client is holds it
	}
	if h.until.IsZero() {
		h.until, h.pause = since.Add(holdFor), firstPause
		c.srv.stats.held.Add(1)
	}
	c.srv.stats.holding.Add(1)
	defer c.srv.stats.holding.Add(-1)
	paused := false
	for {
		changed := c.srv.cluster.Changed()
		nowTerm, nowNode := c.srv.cluster.Lead()
		known := nowTerm != 0 || nowNode != ""
		if known && (paused || nowTerm != term || nowNode != node) {
			return !c.killed.Load() && !c.gone()
		}
		left := time.Until(h.until)
		if left <= 0 || c.killed.Load() || c.gone() {
			return false
		}
		timer := time.NewTimer(min(h.pause, left))
		select {
		case <-changed:
		case <-c.done:
		case <-timer.C:
			paused = true
		}
		timer.Stop()
		h.pause = min(2*h.pause, lastPause)
	}
}

// gone tells whether the client has hung up.
func (c *conn) gone() bool { return c.sock != nil && hungUp(c.sock) }
