package peer

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// nothing is a state machine without state.
type nothing struct{}

func (nothing) Apply(l *raft.Log) any               { return len(l.Data) }
func (nothing) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("no state") }
func (nothing) Restore(io.ReadCloser) error         { return nil }

// vote starts raft on a node.
func (n *node) vote(t *testing.T, servers ...string) *raft.Raft {
	t.Helper()
	cfg := raft.DefaultConfig()
	cfg.LocalID = raft.ServerID(n.id)
	cfg.LogOutput = io.Discard
	cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaderLeaseTimeout = 300*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond
	store := raft.NewInmemStore()
	transport := raft.NewNetworkTransport(n.RaftStream(), 3, time.Second, io.Discard)
	r, err := raft.NewRaft(cfg, nothing{}, store, store, raft.NewDiscardSnapshotStore(), transport)
	if err != nil {
		t.Fatal(err)
	}
	var c raft.Configuration
	for _, s := range servers {
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(s), Address: raft.ServerAddress(s)})
	}
	if err := r.BootstrapCluster(c).Error(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Shutdown().Error(); transport.Close() })
	return r
}

func TestRaftElectsOverStreams(t *testing.T) {
	tn := newTown()
	names := []string{"n1", "n2", "n3"}
	var nodes []*node
	var rafts []*raft.Raft
	for _, id := range names {
		nodes = append(nodes, tn.open(t, id))
	}
	for _, n := range nodes {
		rafts = append(rafts, n.vote(t, names...))
	}
	lead := func() int {
		for i, r := range rafts {
			if r.State() == raft.Leader {
				return i
			}
		}
		return -1
	}
	first := -1
	awaitThat(t, "an entry", func() bool {
		first = lead()
		return first >= 0 && rafts[first].Apply([]byte("entry"), time.Second).Error() == nil
	})

	nodes[first].Isolate(true)
	awaitThat(t, "another leader, which knows itself", func() bool {
		l := lead()
		if l < 0 || l == first || rafts[first].State() == raft.Leader {
			return false
		}
		address, id := rafts[l].LeaderWithID()
		return string(address) == nodes[l].id && string(id) == nodes[l].id
	})
	awaitThat(t, "no stream of an isolated node is open", func() bool {
		s := nodes[first].raft
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.open) == 0
	})
	nodes[first].Isolate(false)
	awaitThat(t, "the first is back", func() bool { id, _ := rafts[first].LeaderWithID(); return id != "" })
}

func TestStreamsEndWithThePort(t *testing.T) {
	tn := newTown()
	n1, n2 := tn.open(t, "n1"), tn.open(t, "n2")
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, _ := n2.RaftStream().Accept()
		accepted <- conn
	}()
	near, err := n1.RaftStream().Dial("n2", patience)
	if err != nil {
		t.Fatal(err)
	}
	far := <-accepted
	io.WriteString(near, "hello")
	got := make([]byte, 5)
	if _, err := io.ReadFull(far, got); err != nil || string(got) != "hello" {
		t.Fatal(err, string(got))
	}
	n2.Isolate(true)
	if _, err := near.Read(got); !errors.Is(err, io.EOF) {
		t.Errorf("a stream to an isolated node: %v", err)
	}
	if _, err := n1.RaftStream().Dial("n2", patience); err == nil || !strings.Contains(err.Error(), "isolated") {
		t.Errorf("dial of an isolated node: %v", err)
	}
	if _, err := n2.RaftStream().Dial("n1", patience); !errors.Is(err, errIsolated) {
		t.Errorf("dial by an isolated node: %v", err)
	}
	if _, err := n1.RaftStream().Dial("nobody", patience); err == nil {
		t.Error("dialled nobody")
	}
	n2.Isolate(false)
	n2.Close()
	if _, err := n2.RaftStream().Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after close: %v", err)
	}
}
