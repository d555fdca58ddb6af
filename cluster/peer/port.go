package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

const clusterCheckEvery = 100 * time.Millisecond

// Config says who this node is and whom its port serves. Every function may be
// called at any time until Close has returned, from several goroutines.
type Config struct {
	NodeID string
	Listen string      // host:port to bind
	Secret string      // shared by all nodes; "" for none
	TLS    *tls.Config // for both directions; nil for none
	Log    *slog.Logger

	ClusterID func() string            // hex, at most 64 bytes; "" while the node belongs to none
	Self      func() Address           // what we announce
	Address   func(node string) string // host:port to dial, looked up at each dial; "" if unknown
	Known     func(node string, a Address)
	Handler   Handler
	Admin     func(node string, request []byte) []byte
}

// Handler is the server behind the port.
type Handler interface {
	// Answer is called on a goroutine of its own and may take as long as it likes.
	Answer(node string, request []byte) (answer []byte)
	// Hear gets the frames of a node one at a time in the order in which they were posted. It delays
	// everything else that comes from the node.
	Hear(node string, frame []byte)
	// Linked is called when our link to node is up, Unlinked when that same link is down.
	Linked(node string)
	Unlinked(node string)
	// Left is called when node's link to us is down, before its next one is listened to.
	Left(node string)
}

// Port is one node's end of all connections between nodes.
type Port struct {
	cfg      Config
	log      *slog.Logger
	handler  Handler
	listener net.Listener
	raft     *streams
	workers  *workers

	ctx        context.Context // ends with Close
	cancel     context.CancelFunc
	running    sync.WaitGroup // every goroutine but those that answer
	complaints complaints
	dropped    atomic.Uint64
	admins     atomic.Int32 // admin calls being answered

	links atomic.Pointer[map[string]*link] // never changed, only replaced, under mu

	mu       sync.Mutex // guards what follows
	closed   bool
	knocking []net.Conn        // connections whose handshake is not complete, the oldest first
	guests   map[string]*guest // the latest of each node
}

// Open listens and begins to accept connections.
func Open(cfg Config) (*Port, error) {
	if !validID(cfg.NodeID) {
		return nil, fmt.Errorf("node id %q: must be 1 to %d visible ASCII characters", cfg.NodeID, maxIDBytes)
	}
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for peers: %w", err)
	}
	p := &Port{
		cfg: cfg, log: cfg.Log, handler: cfg.Handler, listener: listener,
		complaints: complaints{last: map[string]time.Time{}},
		guests:     map[string]*guest{},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.workers = newWorkers(p.ctx.Done())
	p.raft = newStreams(p)
	p.links.Store(&map[string]*link{})
	p.running.Go(p.accept)
	p.running.Go(p.watchCluster)
	return p, nil
}

// Addr is where the port listens.
func (p *Port) Addr() net.Addr { return p.listener.Addr() }

// SetPeers says to which nodes links are kept. It returns at once.
func (p *Port) SetPeers(nodes []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	old := *p.links.Load()
	links := map[string]*link{}
	for node, l := range old {
		if !slices.Contains(nodes, node) {
			l.stop()
			select {
			case <-l.finished:
				continue
			default: // remembered, in case the node comes back before the link has ended
			}
		}
		links[node] = l
	}
	for _, node := range nodes {
		before := links[node]
		if node == p.cfg.NodeID || before != nil && before.ctx.Err() == nil {
			continue
		}
		l := newLink(p, node, before)
		links[node] = l
		p.running.Go(l.run)
	}
	p.links.Store(&links)
}

// line returns the connection to node, or nil.
func (p *Port) line(node string) *line {
	l := (*p.links.Load())[node]
	if l == nil {
		return nil
	}
	return l.line.Load()
}

// Linked tells whether our link to node is up.
func (p *Port) Linked(node string) bool { return p.line(node) != nil }

// Call asks a node and waits for its answer. The error wraps ErrNotSent when the
// request was certainly not delivered. The request must not be changed before
// it was answered; after an error, never.
func (p *Port) Call(ctx context.Context, node string, request []byte) ([]byte, error) {
	n := p.line(node)
	if n == nil {
		return nil, fmt.Errorf("%w: no link to %s", ErrNotSent, node)
	}
	answer, err := n.call(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", node, err)
	}
	return answer, nil
}

// Post sends a frame, which must never be changed, and waits for nothing. False
// means that it was dropped: there is no link, or too much waits.
func (p *Port) Post(node string, frame []byte) bool {
	if n := p.line(node); n != nil && n.out.post(frame) {
		return true
	}
	p.dropped.Add(1)
	return false
}

// Dropped is how many posts were dropped.
func (p *Port) Dropped() uint64 { return p.dropped.Load() }

// RaftStream is what carries Raft. The addresses it dials are node ids. It is
// the same at each call.
func (p *Port) RaftStream() raft.StreamLayer { return p.raft }

// Isolate refuses and closes Raft's streams, both ways, while on. Links stay.
func (p *Port) Isolate(on bool) { p.raft.isolate(on) }

// Close ends every connection. When it returns, Linked, Hear and the others
// are not called any more; Answers and Admin calls may still be running.
func (p *Port) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	err := p.listener.Close()
	for _, conn := range p.knocking {
		conn.Close()
	}
	for _, g := range p.guests {
		g.out.close()
	}
	p.mu.Unlock()
	p.cancel() // links end themselves
	p.raft.closeAll()
	p.running.Wait()
	return err
}

// watchCluster ends connections that began before this node belonged to its
// cluster, unless the other side did already: the next handshake compares again.
func (p *Port) watchCluster() {
	tick := time.NewTicker(clusterCheckEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-p.ctx.Done():
			return
		}
		id := p.cfg.ClusterID()
		stale := func(far remote) bool { return far.told != id && far.cluster != id }
		for _, l := range *p.links.Load() {
			if n := l.line.Load(); n != nil && stale(n.far) {
				n.out.close()
			}
		}
		p.mu.Lock()
		for _, g := range p.guests {
			if stale(g.far) {
				g.out.close()
			}
		}
		p.mu.Unlock()
		p.raft.closeIf(stale)
	}
}

func (p *Port) known(far remote) { p.cfg.Known(far.node, far.address) }

// errClosed ends what waits for a port that is closed.
var errClosed = errors.New("the port for peers is closed")
