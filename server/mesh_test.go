package server_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"crema/server"
	"crema/store"
)

// mesh is servers of this process that reach each other over links which a test
// can cut. One of them leads; there is no log, and the others' stores stay empty.
type mesh struct {
	t     testing.TB
	nodes []*meshNode

	mu      sync.Mutex // guards what follows
	leader  string
	term    uint64
	changed chan struct{}
}

// meshNode is one of them as its server sees the cluster.
type meshNode struct {
	mesh *mesh
	name string
	srv  *server.Server
	st   *store.Store
	peer server.Peer

	mu      sync.Mutex // guards what follows
	links   map[string]*meshLink
	commits chan *store.Pending
	ended   bool
}

// meshLink is one direction between two nodes.
type meshLink struct {
	from, to *meshNode

	mu     sync.Mutex // guards what follows
	frames [][]byte
	closed bool
	full   bool // takes nothing more
	missed int  // refused while it was full
	wake   chan struct{}
	ended  chan struct{}
}

var errCut = errors.New("the link was cut")

func startMesh(t testing.TB, n int, cfg server.Config) *mesh {
	m := &mesh{t: t, changed: make(chan struct{}), term: 1}
	for i := range n {
		node := &meshNode{mesh: m, name: fmt.Sprint("n", i+1), links: map[string]*meshLink{}, commits: make(chan *store.Pending, 1<<16)}
		if i == 0 {
			m.leader = node.name
		}
		c := cfg
		c.OpenLog = func(st *store.Store, peer server.Peer, _ *slog.Logger) (server.Cluster, error) {
			node.st, node.peer = st, peer
			go func() {
				for p := range node.commits {
					st.Commit(p)
				}
			}()
			return node, nil
		}
		node.srv = serving(t, c)
		m.nodes = append(m.nodes, node)
	}
	m.nodes[0].st.Lead()
	for _, a := range m.nodes {
		for _, b := range m.nodes {
			if a != b {
				m.link(a, b)
			}
		}
	}
	// Everything is told when somebody's subscription is.
	for _, a := range m.nodes {
		c := connect(t, a.srv.Addr())
		c.do("SUBSCRIBE", "mesh")
		c.do("UNSUBSCRIBE")
		c.conn.Close()
	}
	return m
}

// addrs is where those nodes serve; 0 leads.
func (m *mesh) addrs(nodes ...int) (all []string) {
	for _, i := range nodes {
		all = append(all, m.nodes[i].srv.Addr())
	}
	return all
}

// link connects a to b, one way.
func (m *mesh) link(a, b *meshNode) {
	l := &meshLink{from: a, to: b, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	a.mu.Lock()
	a.links[b.name] = l
	a.mu.Unlock()
	a.peer.Linked(b.name)
	go l.run()
	m.t.Cleanup(func() { l.close() })
}

// cut ends the link from a to b. What is on its way is lost.
func (m *mesh) cut(a, b *meshNode) {
	a.mu.Lock()
	l := a.links[b.name]
	delete(a.links, b.name)
	a.mu.Unlock()
	l.close()
	<-l.ended
	a.peer.Unlinked(b.name)
	b.peer.Left(a.name)
}

// apart cuts both ways between two nodes, together links them again.
func (m *mesh) apart(a, b *meshNode) {
	m.cut(a, b)
	m.cut(b, a)
}

func (m *mesh) together(a, b *meshNode) {
	m.link(a, b)
	m.link(b, a)
}

func (l *meshLink) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		close(l.wake)
	}
}

func (l *meshLink) run() {
	defer close(l.ended)
	for range l.wake {
		for {
			l.mu.Lock()
			frames := l.frames
			l.frames = nil
			if l.closed {
				frames = nil
			}
			l.mu.Unlock()
			if len(frames) == 0 {
				break
			}
			for _, f := range frames {
				l.to.peer.Hear(l.from.name, f)
			}
		}
	}
}

// lead makes another node the leader, "" for none.
func (m *mesh) lead(node string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leader = node
	m.term++
	close(m.changed)
	m.changed = make(chan struct{})
}

func (n *meshNode) Post(node string, frame []byte) bool {
	n.mu.Lock()
	l := n.links[node]
	n.mu.Unlock()
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full {
		l.missed++
	}
	if l.closed || l.full {
		return false
	}
	l.frames = append(l.frames, frame)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return true
}

func (n *meshNode) Call(node string, request []byte) ([]byte, error) {
	n.mu.Lock()
	l := n.links[node]
	n.mu.Unlock()
	if l == nil {
		return nil, store.ErrNotLogged
	}
	answer := l.to.peer.Answer(n.name, request)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errCut
	}
	return answer, nil
}

func (n *meshNode) Lead() (uint64, string) {
	n.mesh.mu.Lock()
	defer n.mesh.mu.Unlock()
	if n.mesh.leader == n.name {
		return n.mesh.term, n.name
	}
	return 0, n.mesh.leader
}

func (n *meshNode) Changed() <-chan struct{} {
	n.mesh.mu.Lock()
	defer n.mesh.mu.Unlock()
	return n.mesh.changed
}

func (n *meshNode) Verify(uint64, bool) error { return nil }
func (n *meshNode) Replicas(uint64) int       { return len(n.mesh.nodes) - 1 }
func (n *meshNode) Propose(p *store.Pending)  { n.commits <- p }
func (n *meshNode) WaitRoom()                 {}
func (n *meshNode) Info() [][2]string         { return nil }
func (n *meshNode) Resign(context.Context)    {}

func (n *meshNode) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.ended {
		n.ended = true
		close(n.commits)
	}
	return nil
}
