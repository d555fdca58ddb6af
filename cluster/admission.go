package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"crema/cluster/peer"

	"github.com/hashicorp/raft"
)

// adminRequest is what a node asks another by Port.CallAdmin, in JSON. It comes
// from somebody who knows the secret, and may be in no cluster yet.
type adminRequest struct {
	Op      string
	Address peer.Address `json:",omitzero"` // opJoin: of who asks
	Applied uint64       `json:",omitzero"` // opPromote: how far who asks has come
}

const (
	opWho     = "who"     // who are you?
	opJoin    = "join"    // make me a member, from nothing
	opPromote = "promote" // I have caught up: give me a vote

	maxAdmin = 64 << 10 // bytes of a question, and of an answer

	// goneAfter is how long a member has not answered its leader when its place is
	// given to a node with its id and without data.
	goneAfter = time.Second
)

// adminAnswer says who answers, whatever was asked.
type adminAnswer struct {
	Node    string
	Cluster string `json:",omitzero"`
	Phase   phase
	Listed  []string // its --peers, in order, itself among them
	Leader  string   `json:",omitzero"` // who leads, as far as it knows
	Leads   bool     `json:",omitzero"` // it does itself
	Members []Member // everybody it knows of
	Without bool     `json:",omitzero"` // who asks is not in its configuration
	Added   uint64   `json:",omitzero"` // opJoin: the entry that says so
	Error   string   `json:",omitzero"` // why what was asked was not done
}

// ask puts a question to whoever is at an address.
func (n *Node) ask(ctx context.Context, at string, req adminRequest, within time.Duration) (a adminAnswer, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	question, err := json.Marshal(req)
	if err != nil {
		return a, err
	}
	b, err := n.port.CallAdmin(ctx, at, question)
	if err != nil {
		return a, err
	}
	if len(b) > maxAdmin {
		return a, fmt.Errorf("%s: an answer of %d bytes", at, len(b))
	}
	if err := json.Unmarshal(b, &a); err != nil || !a.Phase.known() || !plain(a.Node) || !plain(a.Cluster) || len(a.Cluster) > maxClusterID {
		return a, fmt.Errorf("%s: its answer is none of ours", at)
	}
	return a, nil
}

// answerAdmin answers ask, on a goroutine of the port's.
func (n *Node) answerAdmin(node string, question []byte) []byte {
	var req adminRequest
	var added uint64
	err := errors.New("the question is too long")
	if len(question) <= maxAdmin {
		err = json.Unmarshal(question, &req)
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(n.members.ctx, joinTimeout)
		defer cancel()
		switch req.Op {
		case opWho:
		case opJoin:
			added, err = n.admit(ctx, node, req.Address)
		case opPromote:
			err = n.promote(ctx, node, req.Applied)
		default:
			err = fmt.Errorf("%.20q is unknown to this version", req.Op)
		}
	}
	a := n.about(node)
	a.Added = added
	if err != nil {
		a.Error = err.Error()
	}
	b, err := json.Marshal(a)
	if err != nil {
		n.cfg.Log.Error("an answer to another node cannot be written", "error", err)
	}
	return b
}

// about is what this node says of itself.
func (n *Node) about(asker string) adminAnswer {
	n.dir.mu.Lock()
	a := adminAnswer{Node: n.dir.meta.node, Cluster: n.dir.meta.cluster, Phase: n.dir.meta.phase}
	n.dir.mu.Unlock()
	a.Listed, a.Members = n.listed(), n.book.all()
	r := n.raft.Load()
	if r == nil {
		return a
	}
	_, leader := r.LeaderWithID()
	a.Leader, a.Leads = string(leader), r.State() == raft.Leader
	config := configuration(r)
	_, member := serverOf(config, asker)
	a.Without = !member && len(config.Servers) > 0
	return a
}

// admit adds a node that has no data, at its own request. The leader does it.
//
// The node may have been a member before and have lost its disk. Then it is
// removed first: what its vote and its acknowledgements were counted for is not
// there any more (forming.go says why that is safe). It runs no raft until it has
// been told that it was added, and the change is committed before it is told.
func (n *Node) admit(ctx context.Context, node string, at peer.Address) (added uint64, err error) {
	r, err := n.leading()
	if err != nil {
		return 0, err
	}
	if node == n.dir.meta.node {
		return 0, fmt.Errorf("node %s is this one: no two nodes can have the same id", node)
	}
	if !plain(node) || !plain(at.Peer) || !plain(at.Client) || at.Peer == "" {
		return 0, errors.New("a node that joins has to say where it can be reached")
	}
	// An earlier request of the same node may still wait here, given up by who
	// sent it. Were it to come after this one, it would take away again what the
	// node has been given meanwhile.
	turn, release, err := n.members.begin(ctx, node)
	if err != nil {
		return 0, err
	}
	defer release()
	if !turn {
		return 0, errors.New("it has asked again meanwhile")
	}
	config := configuration(r)
	_, member := serverOf(config, node)
	switch {
	case !member && len(config.Servers) >= maxMembers:
		return 0, fmt.Errorf("the cluster has %d nodes, and cannot have more", len(config.Servers))
	case member && n.lease.silence(raft.ServerID(node)) < goneAfter:
		// Somebody else may have been started with its id.
		return 0, fmt.Errorf("node %s was there a moment ago, with its data: if it was this one, it is to try again", node)
	}
	n.book.heard(node, at)
	removed := uint64(0)
	if member {
		n.cfg.Log.Warn("node has lost its data: it is removed, and added again", "node", node, "address", at.Peer)
		f := r.RemoveServer(raft.ServerID(node), 0, enqueueTimeout)
		if err := f.Error(); err != nil {
			return 0, fmt.Errorf("remove node %s: %w", node, err)
		}
		removed = f.Index()
		n.lease.forget(raft.ServerID(node))
	}
	f := r.AddNonvoter(raft.ServerID(node), raft.ServerAddress(node), removed, enqueueTimeout)
	if err := f.Error(); err != nil {
		return 0, fmt.Errorf("add node %s: %w", node, err)
	}
	n.cfg.Log.Info("node added, without a vote until it has caught up", "node", node, "address", at.Peer)
	return f.Index(), nil
}

// promote gives a vote to a node that has caught up, at its own request. Before
// that, its vote would be needed for what it cannot acknowledge yet.
func (n *Node) promote(ctx context.Context, node string, applied uint64) error {
	r, err := n.leading()
	if err != nil {
		return err
	}
	_, release, err := n.members.begin(ctx, node)
	if err != nil {
		return err
	}
	defer release()
	config := configuration(r)
	server, member := serverOf(config, node)
	switch behind := r.CommitIndex(); {
	case !member:
		return fmt.Errorf("node %s is no member", node)
	case server.Suffrage == raft.Voter:
		return nil
	case applied+caughtUp < behind:
		return fmt.Errorf("node %s has applied %d entries of %d", node, applied, behind)
	}
	if err := r.AddVoter(raft.ServerID(node), raft.ServerAddress(node), 0, enqueueTimeout).Error(); err != nil {
		return fmt.Errorf("promote node %s: %w", node, err)
	}
	n.cfg.Log.Info("node has caught up and has a vote now", "node", node)
	return nil
}

// configuration is the latest that raft knows, committed or not.
func configuration(r *raft.Raft) raft.Configuration { return r.GetConfiguration().Configuration() }

func serverOf(config raft.Configuration, node string) (raft.Server, bool) {
	for _, s := range config.Servers {
		if string(s.ID) == node {
			return s, true
		}
	}
	return raft.Server{}, false
}

// voters is the ids of those who vote, in the order of the configuration.
func voters(config raft.Configuration) (ids []string) {
	for _, s := range config.Servers {
		if s.Suffrage == raft.Voter {
			ids = append(ids, string(s.ID))
		}
	}
	return ids
}

// silence is how long ago a node has answered us, who lead, for the last time; no
// longer than we lead.
func (l *lease) silence(id raft.ServerID) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.began
	if p := l.peers[id]; p != nil {
		last = max(last, p.sent)
	}
	return time.Duration(l.now() - last)
}

// forget drops what a node has answered that has lost its data since.
func (l *lease) forget(id raft.ServerID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.peers, id)
}

// NotLeader is the error of what only the leader can do.
type NotLeader struct{ Node, Client string } // who leads, and where its clients connect; "" when nobody does

func (e *NotLeader) Error() string {
	if e.Node == "" {
		return "cluster: there is no leader now"
	}
	var at string
	if e.Client != "" {
		at = " at " + e.Client
	}
	return "cluster: this node does not lead; node " + e.Node + at + " does"
}

// Leader lets who knows no more than errors.As ask for the node.
func (e *NotLeader) Leader() string { return e.Node }

func (e *NotLeader) Unwrap() error { return ErrUnavailable }

// leading is raft where it leads.
func (n *Node) leading() (*raft.Raft, error) {
	r := n.raft.Load()
	if r == nil {
		return nil, &NotLeader{}
	}
	if r.State() == raft.Leader {
		return r, nil
	}
	_, id := n.Lead()
	if id == "" || id == n.dir.meta.node {
		_, known := r.LeaderWithID()
		id = string(known)
	}
	return nil, &NotLeader{Node: id, Client: n.book.of(id).Client}
}
