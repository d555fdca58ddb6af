package server

import (
	"net"
	"sync/atomic"
	"testing"
)

// Nobody can have seen the OK of MONITOR before what others run is shown: feed finds
// somebody who watches.
func TestMonitorIsShownWhatFollowsItsOK(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	var m monitors
	watched := int32(-1)
	limit := func() outboxLimit { // asked for when something is put in
		watched = m.n.Load()
		return outboxLimit{}
	}
	c := &conn{proto: 2, outbox: newOutbox(ours, limit, func() {}, new(atomic.Int64))}
	m.join(c)
	if watched != 1 {
		t.Errorf("%d watched when the OK was on its way", watched)
	}
	m.leave(c)
	if n := m.n.Load(); n != 0 {
		t.Errorf("%d watch in the end", n)
	}
}
