package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"crema/cluster/peer"

	"github.com/hashicorp/raft"
)

const (
	membersTick = 100 * time.Millisecond // between two looks at the configuration
	caughtUp    = 256                    // entries a node may lack when it gets its vote
	lonelyAfter = 2 * time.Second        // without a leader a node asks whether it is still a member
)

// members is who belongs to the cluster, as far as the raft log leaves it open.
type members struct {
	ctx     context.Context // ends when the node closes
	changes chan struct{}   // holds a token while somebody changes the configuration
	added   uint64          // the entry that made this node a member; runMembers' own

	mu    sync.Mutex
	asked map[string]uint64 // node → how many of its requests have come
}

// newMembers needs done to be closed one day.
func newMembers(done <-chan struct{}) *members {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-done
		cancel()
	}()
	return &members{ctx: ctx, changes: make(chan struct{}, 1), asked: map[string]uint64{}}
}

// begin waits until nobody else changes the members. latest is false when the
// node concerned has sent another request since.
func (m *members) begin(ctx context.Context, node string) (latest bool, release func(), err error) {
	m.mu.Lock()
	if len(m.asked) > 16*maxAddresses { // ids are a stranger's to choose
		clear(m.asked)
	}
	m.asked[node]++
	mine := m.asked[node]
	m.mu.Unlock()
	select {
	case m.changes <- struct{}{}:
	case <-ctx.Done():
		return false, nil, fmt.Errorf("cluster: another change of the members is under way: %w", ctx.Err())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked[node] == mine, func() { <-m.changes }, nil
}

// MemberInfo is one node of the cluster. It has no name of its own, so that
// whoever does not know this package can name the same type.
type MemberInfo = struct {
	ID           string
	Peer, Client string // host:port, "" when not known
	Voter        bool
	Leader       bool
	Linked       bool   // this node has a link to it, or is it
	Match        uint64 // the last entry it is known to have; 0 where only the leader knows
	Lag          uint64 // entries between that and the last one committed
}

// Members is everybody in the configuration, nobody while there is none yet.
func (n *Node) Members() []MemberInfo {
	r := n.raft.Load()
	if r == nil {
		return nil
	}
	config := configuration(r)
	_, leader := r.LeaderWithID()
	leads, commit := r.State() == raft.Leader, n.log.flusher.onDisk(r.CommitIndex())
	var all []MemberInfo
	for _, s := range config.Servers {
		id := string(s.ID)
		at := n.book.of(id)
		m := MemberInfo{ID: id, Peer: at.Peer, Client: at.Client, Voter: s.Suffrage == raft.Voter, Leader: s.ID == leader, Linked: n.linked(id)}
		switch {
		case id == n.dir.meta.node:
			m.Match = r.LastIndex()
		case leads:
			m.Match = n.transport.matched(id)
		}
		if m.Match != 0 && m.Match < commit {
			m.Lag = commit - m.Match
		}
		all = append(all, m)
	}
	return all
}

func (n *Node) linked(id string) bool {
	return id == n.dir.meta.node || n.port != nil && n.port.Linked(id)
}

// change begins a change of the members, which is one at a time and on the leader.
// release ends it.
func (n *Node) change(ctx context.Context, id string) (r *raft.Raft, config raft.Configuration, release func(), err error) {
	if r, err = n.leading(); err != nil {
		return nil, config, nil, err
	}
	if _, release, err = n.members.begin(ctx, id); err != nil {
		return nil, config, nil, err
	}
	return r, configuration(r), release, nil
}

// Add makes a node a member without a vote. at is HOST:PORT or
// HOST:PORT@HOST:PORT, the second for clients.
func (n *Node) Add(ctx context.Context, id, at string) error {
	where, client, _ := strings.Cut(at, "@")
	if !plain(id) || !plain(where) || !plain(client) || id == "" || where == "" {
		return fmt.Errorf("cluster: a member needs an id and an address: not %.80q at %.80q", id, at)
	}
	if n.port == nil {
		return errors.New("cluster: this node has no port for others: start it with --peers or --cluster-announce")
	}
	r, config, release, err := n.change(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	switch _, member := serverOf(config, id); {
	case member:
		return fmt.Errorf("cluster: node %s is a member already", id)
	case len(config.Servers) >= maxMembers:
		return fmt.Errorf("cluster: there are %d nodes, and there cannot be more", len(config.Servers))
	}
	n.book.appoint(id, peer.Address{Peer: where, Client: client})
	if err := r.AddNonvoter(raft.ServerID(id), raft.ServerAddress(id), 0, enqueueTimeout).Error(); err != nil {
		return fmt.Errorf("cluster: add node %s: %w", id, err)
	}
	n.cfg.Log.Info("node added, without a vote", "node", id, "address", where)
	return nil
}

// Promote gives a member a vote.
func (n *Node) Promote(ctx context.Context, id string) error {
	r, config, release, err := n.change(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	server, member := serverOf(config, id)
	switch matched := n.transport.matched(id); {
	case !member:
		return fmt.Errorf("cluster: node %s is not a member: add it first", id)
	case server.Suffrage == raft.Voter:
		return fmt.Errorf("cluster: node %s has a vote already", id)
	case !n.linked(id):
		return fmt.Errorf("cluster: node %s is not there: with a vote it would be missed", id)
	case matched+caughtUp < r.CommitIndex():
		return fmt.Errorf("cluster: node %s has %d entries of %d: with a vote it would hold the others up", id, matched, r.CommitIndex())
	}
	if err := r.AddVoter(raft.ServerID(id), raft.ServerAddress(id), 0, enqueueTimeout).Error(); err != nil {
		return fmt.Errorf("cluster: promote node %s: %w", id, err)
	}
	n.cfg.Log.Info("node has a vote now", "node", id)
	return nil
}

// Remove takes a node out of the cluster, if those who are left can go on. A
// leader that is to go hands leadership over first: the error names the new one,
// which is to be asked again.
func (n *Node) Remove(ctx context.Context, id string) error {
	r, config, release, err := n.change(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	server, member := serverOf(config, id)
	if !member {
		return fmt.Errorf("cluster: node %s is not a member", id)
	}
	if server.Suffrage == raft.Voter {
		if err := n.canSpare(config, id); err != nil {
			return err
		}
	}
	if id == n.dir.meta.node {
		if err := n.Transfer(ctx, ""); err != nil {
			return err
		}
		_, err := n.leading()
		return err
	}
	if err := r.RemoveServer(raft.ServerID(id), 0, enqueueTimeout).Error(); err != nil {
		return fmt.Errorf("cluster: remove node %s: %w", id, err)
	}
	n.book.forget(id)
	n.cfg.Log.Info("node removed", "node", id)
	return nil
}

// canSpare counts who is there of the voters that would be left.
func (n *Node) canSpare(config raft.Configuration, id string) error {
	left := slices.DeleteFunc(voters(config), func(v string) bool { return v == id })
	if len(left) == 0 {
		return fmt.Errorf("cluster: node %s is the last one with a vote", id)
	}
	var away []string
	for _, v := range left {
		if !n.linked(v) {
			away = append(away, v)
		}
	}
	if there := len(left) - len(away); there <= len(left)/2 {
		return fmt.Errorf("cluster: without node %s there would be %d votes, of which only %d are there (not %s): no majority",
			id, len(left), there, strings.Join(away, ", "))
	}
	return nil
}

// runMembers follows who belongs to the cluster; before that it makes this node
// one of them, if it is none, and calls start, with the servers of the first
// configuration or with none. Open starts it where there is a port, Close ends it.
func (n *Node) runMembers(start func(first []raft.Server) error) {
	defer n.running.Done()
	if !n.dir.phase().formed() {
		first, ok := n.form(n.members.ctx)
		if !ok {
			return
		}
		if err := start(first); err != nil {
			n.cfg.Log.Error("this node cannot be started in its cluster", "error", err)
			return
		}
	}
	w := memberWatch{n: n, withLeader: time.Now()}
	tick := time.NewTicker(membersTick)
	defer tick.Stop()
	for {
		w.look(n.raft.Load())
		select {
		case <-tick.C:
		case <-n.done:
			return
		}
	}
}

// memberWatch is what runMembers remembers.
type memberWatch struct {
	n          *Node
	peers      []string  // as told to the port
	withLeader time.Time // when a leader was last known
	askedAt    time.Time // when others were last asked about it
	removed    bool      // and it was said
	stuck      bool      // the directory takes no notes
}

func (w *memberWatch) look(r *raft.Raft) {
	n := w.n
	self := n.dir.meta.node
	applied := r.AppliedIndex() // first: the configuration is not older
	config := configuration(r)
	var ids []string
	for _, s := range config.Servers {
		ids = append(ids, string(s.ID))
	}
	if !slices.Equal(ids, w.peers) {
		w.peers = ids
		n.port.SetPeers(ids)
	}
	server, member := serverOf(config, self)
	voter := member && server.Suffrage == raft.Voter
	_, leader := r.LeaderWithID()
	if leader != "" {
		w.withLeader = time.Now()
	}
	switch phase := n.dir.phase(); {
	case len(ids) == 0:
		// Added, and nothing has come from the leader yet.
	case phase == phaseJoining && applied < n.members.added:
		// It may name us, as we were before we lost our disk.
	case phase == phaseJoining && member:
		// Raft has what the leader sent on disk. From here on we may vote, and what
		// is in the directory counts.
		if w.become(phaseJoined) {
			n.cfg.Log.Info("this node is a member now, and catches up", "node", self)
		}
	case phase == phaseJoined && voter:
		if w.become(phaseFormed) {
			n.cfg.Log.Info("this node has caught up, and has a vote", "node", self)
		}
	case phase == phaseJoined && member && leader != "":
		w.every(2*membersTick, func(ctx context.Context) {
			n.ask(ctx, n.book.dial(string(leader)), adminRequest{Op: opPromote, Applied: applied}, formTimeout)
		})
	case !member && leader == "": // else there is more to come
		w.wasRemoved()
	case leader == "" && time.Since(w.withLeader) > lonelyAfter:
		w.every(time.Second, w.askAround)
	default:
		w.removed = false
	}
}

func (w *memberWatch) every(gap time.Duration, do func(context.Context)) {
	if time.Since(w.askedAt) >= gap {
		w.askedAt = time.Now()
		do(w.n.members.ctx)
	}
}

func (w *memberWatch) become(to phase) bool {
	err := w.n.dir.become(to, w.n.dir.cluster())
	if err != nil && !w.stuck {
		w.n.cfg.Log.Error("this node cannot go on as a member until its directory can be written", "error", err)
	}
	w.stuck = err != nil
	return err == nil
}

// askAround finds out whether the others have gone on without us: who is removed
// while it is away is told by nobody.
func (w *memberWatch) askAround(ctx context.Context) {
	for _, at := range w.n.elsewhere() {
		a, err := w.n.ask(ctx, at, adminRequest{Op: opWho}, formTimeout)
		if err == nil && a.Leads && a.Without && a.Cluster == w.n.dir.cluster() {
			w.wasRemoved()
			return
		}
	}
}

// wasRemoved says so, once. Without a leader this node answers nothing, and raft
// disturbs nobody: the others grant no vote to who is not in their configuration.
func (w *memberWatch) wasRemoved() {
	if !w.removed {
		w.removed = true
		w.n.cfg.Log.Error("this node was removed from the cluster and serves nothing; start it with an empty data directory to join anew",
			"node", w.n.dir.meta.node)
	}
}

// checkAlone refuses to start a node without a port where the log says that there
// are others: it would wait for them for ever.
func (n *Node) checkAlone(r *raft.Raft) error {
	if config := configuration(r); len(config.Servers) > 1 {
		return fmt.Errorf("cluster: data directory %s is that of node %s of a cluster of %d: start it with --peers",
			n.dir.path, n.dir.meta.node, len(config.Servers))
	}
	return nil
}
