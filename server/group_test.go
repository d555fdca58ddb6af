package server_test

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"crema/server"
	"crema/store"
)

// group is servers of this process with one log among them, which a test can
// hold and refuse, and one leader, which it can change.
type group struct {
	t       testing.TB
	members []*member

	mu       sync.Mutex // guards what follows
	leader   *member    // nil: nobody
	term     uint64
	changed  chan struct{}
	line     []entry // proposed and not decided
	held     bool    // the log decides nothing
	refusing error   // what it says of all it is given
	deaf     bool    // nobody can be sure to lead
	verified int     // rounds asked for
	unsure   int     // of all verifications
	index    uint64
	more     *sync.Cond // line, held or ended have changed
	ended    bool

	applying sync.Mutex // one entry, or one change of leader, at a time; taken before mu
}

type entry struct {
	from *member
	term uint64
	p    *store.Pending
}

// member is one of them, as its server sees the cluster.
type member struct {
	*meshNode // its links
	g         *group

	losing func(request []byte) bool // of answers to what this node asks; under g.mu
}

func startGroup(t testing.TB, n int, cfg server.Config) *group {
	g := &group{t: t, changed: make(chan struct{})}
	g.more = sync.NewCond(&g.mu)
	m := &mesh{t: t, changed: make(chan struct{})}
	for i := range n {
		node := &meshNode{mesh: m, name: fmt.Sprint("n", i+1), links: map[string]*meshLink{}}
		mem := &member{meshNode: node, g: g}
		c := cfg
		c.OpenLog = func(st *store.Store, peer server.Peer, _ *slog.Logger) (server.Cluster, error) {
			st.Follow()
			node.st, node.peer = st, peer
			return mem, nil
		}
		node.srv = serving(t, c)
		m.nodes = append(m.nodes, node)
		g.members = append(g.members, mem)
	}
	go g.run()
	t.Cleanup(func() { // before the servers end, which wait for the log
		g.mu.Lock()
		g.ended = true
		g.mu.Unlock()
		g.more.Broadcast()
	})
	for _, a := range m.nodes {
		for _, b := range m.nodes {
			if a != b {
				m.link(a, b)
			}
		}
	}
	g.lead(0)
	return g
}

// run is the log: it decides on what is proposed, in order.
func (g *group) run() {
	for {
		g.mu.Lock()
		for !g.ended && (g.held || len(g.line) == 0) {
			g.more.Wait()
		}
		ended := g.ended && len(g.line) == 0
		g.mu.Unlock()
		if ended {
			return
		}
		g.applying.Lock()
		g.next()
		g.applying.Unlock()
	}
}

// next decides on one entry; applying is held.
func (g *group) next() {
	g.mu.Lock()
	if len(g.line) == 0 {
		g.mu.Unlock()
		return
	}
	e := g.line[0]
	g.line = g.line[1:]
	err := g.refusing
	if g.leader != e.from || g.term != e.term {
		err = store.ErrNotLogged
	}
	if err == nil {
		g.index++
		e.p.Index = g.index
	}
	g.mu.Unlock()
	if err == nil {
		g.apply(e.from, e.p)
	} else {
		e.from.st.Fail(e.p, err)
	}
}

func (g *group) apply(from *member, p *store.Pending) {
	if store.Replicated(p.Effects) {
		data := store.AppendEffects(nil, p.Effects)
		for _, m := range g.members {
			if m != from {
				if err := m.st.ApplyEntry(data); err != nil {
					g.t.Errorf("%s: %v", m.name, err)
				}
			}
		}
	}
	from.st.Commit(p)
}

// lead makes another member the leader; -1 is nobody.
func (g *group) lead(i int) {
	g.applying.Lock()
	defer g.applying.Unlock()
	g.mu.Lock()
	was := g.leader
	g.say(nil, 0)
	line := g.line
	g.line = nil
	g.mu.Unlock()
	for _, e := range line {
		e.from.st.Fail(e.p, store.ErrNotLogged)
	}
	if was != nil {
		was.st.Follow()
	}
	if i < 0 {
		return
	}
	m := g.members[i]
	m.st.Follow()
	clock := store.AppendClock(nil, m.st.TakeOver(time.Now()))
	for _, o := range g.members {
		if err := o.st.ApplyEntry(clock); err != nil {
			g.t.Error(err)
		}
	}
	m.st.Lead()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.say(m, 1)
}

// say changes who leads; mu is held.
func (g *group) say(m *member, terms uint64) {
	g.leader = m
	g.term += terms
	close(g.changed)
	g.changed = make(chan struct{})
}

// set changes how the log behaves.
func (g *group) set(change func()) {
	g.mu.Lock()
	change()
	g.mu.Unlock()
	g.more.Broadcast()
}

// proposed waits until that many entries wait for the log, which is held.
func (g *group) proposed(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.line) < n {
		g.more.Wait()
	}
}

func (m *member) Propose(p *store.Pending) {
	m.g.mu.Lock()
	m.g.line = append(m.g.line, entry{m, m.g.term, p})
	m.g.mu.Unlock()
	m.g.more.Broadcast()
}

func (m *member) Lead() (uint64, string) {
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	switch m.g.leader {
	case nil:
		return 0, ""
	case m:
		return m.g.term, m.name
	}
	return 0, m.g.leader.name
}

func (m *member) Changed() <-chan struct{} {
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	return m.g.changed
}

func (m *member) Verify(term uint64, lease bool) error {
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	if !lease {
		m.g.verified++
	}
	if m.g.leader != m || m.g.term != term || m.g.deaf {
		m.g.unsure++
		return fmt.Errorf("%w: not the leader", store.ErrNotLogged)
	}
	return nil
}

func (m *member) Replicas(index uint64) int {
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	if index > m.g.index {
		return 0
	}
	return len(m.g.members) - 1
}

func (m *member) Call(node string, request []byte) ([]byte, error) {
	answer, err := m.meshNode.Call(node, request)
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	if err == nil && m.losing != nil && m.losing(request) {
		return nil, errors.New("the link broke")
	}
	return answer, err
}

func (m *member) Close() error { return nil }
