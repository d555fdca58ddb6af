package server

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// clients is every connection there is, in-process doors included.
type clients struct {
	mu   sync.RWMutex // guards what follows; taken after no other lock
	byID map[int64]*conn
	last int64 // the newest id; none is used twice
}

func newClients() *clients { return &clients{byID: map[int64]*conn{}} }

// add numbers a connection and registers it, unless there are limit already;
// 0 is no limit.
func (cs *clients) add(c *conn, limit int) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if limit > 0 && len(cs.byID) >= limit {
		return false
	}
	cs.last++
	c.id = cs.last
	cs.byID[c.id] = c
	return true
}

// remove forgets a connection; one that is not there is ignored.
func (cs *clients) remove(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.byID, c.id)
}

func (cs *clients) count() int {
	cs.mu.RLock()
	defer cs.mu.RUnlock()
	return len(cs.byID)
}

// id finds a connection by its number, nil if it is gone.
func (cs *clients) id(id int64) *conn {
	cs.mu.RLock()
	defer cs.mu.RUnlock()
	return cs.byID[id]
}

// all is every connection, in no order.
func (cs *clients) all() []*conn {
	cs.mu.RLock()
	defer cs.mu.RUnlock()
	return slices.AppendSeq(make([]*conn, 0, len(cs.byID)), maps.Values(cs.byID))
}

// list is every connection, the oldest first.
func (cs *clients) list() []*conn {
	return slices.SortedFunc(slices.Values(cs.all()), func(a, b *conn) int { return cmp.Compare(a.id, b.id) })
}

// each visits every connection with no lock held, so a visit may close it.
func (cs *clients) each(visit func(c *conn)) {
	for _, c := range cs.all() {
		visit(c)
	}
}

// pause is CLIENT PAUSE: until when commands are held back, and which.
type pause struct {
	on atomic.Bool // read on the hot path; set if anything may be held back

	mu         sync.Mutex // guards what follows; taken after no other lock
	until      time.Time
	writesOnly bool
	changed    chan struct{} // closed and replaced when the pause changes
}

// begin holds commands back for d. Of two pauses at once the later end and the
// stricter kind count, as in Redis.
func (p *pause) begin(d time.Duration, writesOnly bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Before(p.until) {
		writesOnly = writesOnly && p.writesOnly
	}
	if until := now.Add(d); until.After(p.until) {
		p.until = until
	}
	p.writesOnly = writesOnly
	p.on.Store(true)
	p.wake()
}

// end lets everything go on.
func (p *pause) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = time.Time{}
	p.on.Store(false)
	p.wake()
}

// wake makes those who wait look again; the caller holds mu.
func (p *pause) wake() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// holds tells for how long a command of this kind is held back, and what to
// wait on meanwhile.
func (p *pause) holds(writes bool) (time.Duration, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := time.Until(p.until)
	if left <= 0 {
		p.on.Store(false)
		return 0, nil
	}
	if p.writesOnly && !writes {
		return 0, nil
	}
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return left, p.changed
}

// wait returns when the pause no longer holds the command back; false means that
// the connection was closed meanwhile. CLIENT UNPAUSE passes, so that a pause of everything
// can be taken back.
func (p *pause) wait(c *conn, row *command) bool {
	if row.name == "client|unpause" {
		return true
	}
	writes := row.mayChange() || row.name == "exec" && c.multi != nil && c.multi.writes()
	for {
		left, changed := p.holds(writes)
		if left <= 0 {
			return true
		}
		c.detach()
		timer := time.NewTimer(left)
		select {
		case <-changed:
		case <-timer.C:
		case <-c.done:
			timer.Stop()
			return false
		}
		timer.Stop()
		c.clock = c.srv.readClock() // the time spent here is not the command's
	}
}

// writes tells whether a queued command would change anything.
func (m *multi) writes() bool {
	return slices.ContainsFunc(m.queue, func(q queued) bool { return q.row.mayChange() })
}
