package cluster

import (
	"sync/atomic"
	"time"
)

// Clock is the wall clock of a node that does not lead. While the node leads it
// shows the time at which its term began and what has passed since, by a clock
// that nobody sets: a wall clock that jumps ends no lock.
type Clock struct {
	offset func() time.Duration
	term   atomic.Pointer[reading]
}

// reading is what the wall clock showed at a moment.
type reading struct {
	wall time.Time
	at   time.Time // with its monotonic part
}

// NewClock is a Clock whose wall clock is ahead by offset, for tests; nil is not
// at all. The store, the commands and the Node are to have the same one.
func NewClock(offset func() time.Duration) *Clock { return &Clock{offset: offset} }

// Now is the time by which deadlines are set and judged.
func (c *Clock) Now() time.Time {
	if r := c.term.Load(); r != nil {
		return r.wall.Add(time.Since(r.at))
	}
	return c.wall()
}

func (c *Clock) wall() time.Time {
	now := time.Now()
	if c.offset != nil {
		now = now.Add(c.offset())
	}
	return now.Round(0) // two readings may be compared only as wall clocks
}

// hold makes Now go on from a reading of the wall clock.
func (c *Clock) hold(r reading) { c.term.Store(&r) }

// release makes Now the wall clock again.
func (c *Clock) release() { c.term.Store(nil) }
