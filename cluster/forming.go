package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// A node whose directory is empty asks the nodes of --peers who they are until
// it knows which of two things is so.
//
// There is no cluster yet. Then all of --peers have to be there, once, and to
// name the same nodes. Each goes its way by what it is told, and writes down each
// step before it says that it took it:
//
//	new ──► founding ──► formed
//
//	founder (the smallest id)   all others are new      → founding, with a new cluster id
//	others                      the founder is founding → founding, with its id
//	founder                     all others are founding → formed
//	others                      anybody is formed       → formed
//
// Formed comes with the first entry of the log, which is the same on all: the
// nodes of the list, all voters. Whoever is killed goes on where it was. A founder
// that loses its disk on the way takes the id that the others already have.
// Nobody runs raft before it is formed, and the founder is formed first, so that
// a node which is told "founding" by its founder has not been in use before.
//
// There is a cluster: somebody is formed. Then the node is new to it, or has lost
// its disk, and with that its vote and what it acknowledged. It may not simply go
// on: a majority could then be made of nodes that do not have what a majority had.
// So it has itself removed and added again by the leader (see admit), and grants
// no vote until its log has come to where it was added. It votes for good only
// when it has caught up and has asked the leader for that:
//
//	new ──► joining ──► joined ──► formed
//	                added      promoted
//
// On its way through the log it meets configurations from before it lost its
// disk, as well as such without it. They say nothing about it.
//
// Why this is safe. Of v voters let f have lost their disks, and q = v/2+1 be a
// majority. An acknowledged entry was on q of them, so that at least q-f still
// have it. As the f do not vote, a leader needs q votes of the other v-f, and
// (q-f) + q > v-f: one of those votes comes from a node that has the entry, and it
// votes for nobody who lacks it. So every leader has it. The removal of a lost
// node needs a majority of the v-1 that are left, counted without what the lost
// ones say: they run no raft. With that majority the removal and all before it are
// on enough nodes that every later leader has them; only then is the node added
// again, without a vote, and promoted when it has caught up.
//
//	v  majority  may lose   after the removal of one
//	3      2         1      2 nodes, both have everything
//	4      3         1      3 nodes, 2 have everything
//	5      3         2      4 nodes, 3 have everything; then the second
//
// More than that and there is no leader any more: the node waits in joining, and
// the way out is peers.json (recover.go).

const (
	formRound   = 100 * time.Millisecond // between two rounds of questions
	formTimeout = time.Second            // for one answer
	joinTimeout = 10 * time.Second       // adding waits for two entries to be committed
	complainGap = 10 * time.Second       // between two lines about the same

	maxMembers = 15
)

// form brings an empty directory to where raft may start: with servers as the
// first configuration, or with none, to be told by the leader. It ends early,
// with false, when the node closes.
func (n *Node) form(ctx context.Context) (servers []raft.Server, ok bool) {
	f := former{n: n}
	for ctx.Err() == nil {
		phase := n.dir.phase()
		var done bool
		var err error
		switch phase {
		case phaseJoining:
			done, err = f.join(ctx)
		default:
			if n.cfg.Join != "" {
				err = f.enter(ctx)
			} else {
				servers, err = f.found(ctx)
			}
			done = servers != nil
		}
		switch {
		case done:
			return servers, true
		case err != nil && ctx.Err() == nil:
			f.complain(err)
		}
		if n.dir.phase() != phase { // there is more to do at once
			continue
		}
		select {
		case <-time.After(formRound):
		case <-ctx.Done():
		}
	}
	return nil, false
}

// former is one node's way into a cluster. One goroutine owns it.
type former struct {
	n        *Node
	said     string // what complain said last
	saidAt   time.Time
	leaderAt string // where the leader was said to be
}

// complain says what the node waits for, when that changes and now and then.
func (f *former) complain(err error) {
	if err.Error() == f.said && time.Since(f.saidAt) < complainGap {
		return
	}
	f.said, f.saidAt = err.Error(), time.Now()
	f.n.cfg.Log.Warn("this node is not in a cluster yet", "node", f.n.dir.meta.node, "waits", f.said)
}

// found takes one step towards a cluster that all of --peers begin together.
// The servers are not nil when it was the last one.
func (f *former) found(ctx context.Context) ([]raft.Server, error) {
	n := f.n
	self := n.dir.meta.node
	ids := n.listed()
	founder := ids[0]
	answers, missing := f.askAll(ctx, ids)
	mine, phase := n.dir.cluster(), n.dir.phase()

	clusters := map[string][]string{} // id → who is in it, or is to be
	var formed, joining []string
	for id, a := range answers {
		if a.Cluster != "" {
			clusters[a.Cluster] = append(clusters[a.Cluster], id)
		}
		switch {
		case a.Phase.formed():
			formed = append(formed, id)
		case a.Phase == phaseJoining:
			joining = append(joining, id)
		}
	}
	slices.Sort(formed)
	switch {
	case len(clusters) > 1:
		return nil, fmt.Errorf("the nodes of --peers belong to different clusters: %s", describe(clusters))
	case len(formed) > 0:
		cluster := answers[formed[0]].Cluster
		if cluster == "" {
			return nil, fmt.Errorf("node %s keeps its data alone: start it with --peers or --cluster-announce as well", formed[0])
		}
		if phase == phaseFounding && cluster == mine {
			return servers(ids), nil
		}
		n.cfg.Log.Info("there is a cluster already; this node will join it", "node", self, "cluster", cluster, "members", strings.Join(formed, ","))
		return nil, n.dir.become(phaseJoining, cluster)
	case len(missing) > 0:
		return nil, fmt.Errorf("all of --peers have to be there once, to begin together: %s", strings.Join(missing, "; "))
	case len(joining) > 0:
		return nil, fmt.Errorf("%s lost their data, and nobody in --peers has any: clear their data directories to begin anew", strings.Join(joining, ", "))
	}
	for _, id := range ids {
		if a := answers[id]; id != self && !slices.Equal(a.Listed, ids) {
			return nil, fmt.Errorf("--peers must be the same everywhere: here it names %s, at node %s it names %s",
				strings.Join(ids, ","), id, strings.Join(a.Listed, ","))
		}
	}
	id := "" // of the cluster that is being founded
	for c := range clusters {
		id = c
	}
	switch {
	case phase == phaseFounding && founder == self:
		for _, other := range ids {
			if other != self && answers[other].Phase != phaseFounding {
				return nil, nil // it has seen by now, or soon will, that we are
			}
		}
		if id != "" && id != mine {
			return nil, fmt.Errorf("the others are about to begin another cluster (%s): clear the data directory", id)
		}
		return servers(ids), nil
	case phase == phaseFounding:
		return nil, nil // the founder is formed next
	case founder == self:
		if id == "" {
			id = newClusterID()
		}
		n.cfg.Log.Info("everybody is there; beginning a cluster", "node", self, "cluster", id, "members", strings.Join(ids, ","))
		return nil, n.dir.become(phaseFounding, id)
	case answers[founder].Phase == phaseFounding:
		return nil, n.dir.become(phaseFounding, answers[founder].Cluster)
	}
	return nil, nil
}

// enter looks for the cluster that --join speaks of.
func (f *former) enter(ctx context.Context) error {
	a, err := f.n.ask(ctx, f.n.cfg.Join, adminRequest{Op: opWho}, formTimeout)
	switch {
	case err != nil:
		return fmt.Errorf("%s of --join does not answer: %w", f.n.cfg.Join, err)
	case a.Node == f.n.dir.meta.node:
		return fmt.Errorf("%s of --join is called %s, as this node is: give it another --node-id", f.n.cfg.Join, a.Node)
	case !a.Phase.formed():
		return fmt.Errorf("node %s at %s of --join is in no cluster yet", a.Node, f.n.cfg.Join)
	case a.Cluster == "":
		return fmt.Errorf("node %s at %s keeps its data alone: start it with --cluster-announce as well", a.Node, f.n.cfg.Join)
	}
	f.n.book.learn(a.Members)
	f.n.cfg.Log.Info("joining a cluster", "node", f.n.dir.meta.node, "cluster", a.Cluster, "through", a.Node)
	return f.n.dir.become(phaseJoining, a.Cluster)
}

// join asks for the leader, and the leader to be added. It is done when the
// leader has committed that.
func (f *former) join(ctx context.Context) (bool, error) {
	n := f.n
	why := fmt.Errorf("none of the nodes it knows answers")
	asked := map[string]bool{}
	next := append([]string{f.leaderAt, n.cfg.Join}, n.elsewhere()...)
	for len(next) > 0 {
		at := next[0]
		next = next[1:]
		if at == "" || asked[at] {
			continue
		}
		asked[at] = true
		a, err := n.ask(ctx, at, adminRequest{Op: opJoin, Address: n.book.of(n.dir.meta.node)}, joinTimeout)
		switch {
		case err != nil:
			if len(asked) == 1 {
				why = err
			}
			continue
		case !a.Phase.formed() || a.Cluster == "":
			continue
		case a.Cluster != n.dir.cluster():
			// What we have of the old one counts for nothing, so we may change
			// over. The others did, by peers.json, or --peers was changed.
			n.cfg.Log.Info("the nodes are in another cluster now; joining that", "cluster", a.Cluster, "node", a.Node)
			return false, n.dir.become(phaseJoining, a.Cluster)
		}
		n.book.learn(a.Members)
		if a.Error == "" {
			n.members.added = a.Added
			n.cfg.Log.Info("added to the cluster, without a vote yet", "node", n.dir.meta.node, "cluster", a.Cluster, "by", a.Node)
			return true, nil
		}
		why = fmt.Errorf("node %s answers: %s", a.Node, a.Error)
		if a.Leads {
			f.leaderAt = at
			return false, why
		}
		if f.leaderAt = n.book.of(a.Leader).Peer; a.Leader != "" {
			next = append([]string{f.leaderAt}, next...)
		}
	}
	return false, why
}

// askAll asks all of the others who they are, at once. What is missing is
// sentences.
func (f *former) askAll(ctx context.Context, ids []string) (answers map[string]adminAnswer, missing []string) {
	n := f.n
	self := n.dir.meta.node
	answers = map[string]adminAnswer{}
	var mu sync.Mutex // guards both results
	var wg sync.WaitGroup
	for _, id := range ids {
		if id == self {
			continue
		}
		at := n.book.dial(id)
		wg.Go(func() {
			a, err := n.ask(ctx, at, adminRequest{Op: opWho}, formTimeout)
			if err == nil && a.Node != id {
				err = fmt.Errorf("it is node %s", a.Node)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				missing = append(missing, fmt.Sprintf("node %s at %s: %s", id, at, err))
				return
			}
			answers[id] = a
			n.book.learn(a.Members)
		})
	}
	wg.Wait()
	slices.Sort(missing)
	return answers, missing
}

// nameCluster gives an id to the cluster of a node that has been alone until now.
func (n *Node) nameCluster() error {
	if phase := n.dir.phase(); phase.formed() && n.dir.cluster() == "" {
		return n.dir.become(phase, newClusterID())
	}
	return nil
}

// mayVote is false for a node that may have voted before it lost its disk, until
// raft runs with what the leader says.
func (n *Node) mayVote() bool { return n.dir.phase().formed() }

// listed is the ids of --peers in order, ours among them.
func (n *Node) listed() []string {
	ids := []string{n.dir.meta.node}
	for _, m := range n.cfg.Peers {
		ids = append(ids, m.ID)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// elsewhere is where the other nodes are that we have heard of.
func (n *Node) elsewhere() (at []string) {
	for _, m := range n.book.all() {
		if m.ID != n.dir.meta.node {
			at = append(at, n.book.dial(m.ID))
		}
	}
	return at
}

// servers is the first configuration of a cluster. A server's address is its id,
// so that it can move.
func servers(ids []string) (all []raft.Server) {
	for _, id := range ids {
		all = append(all, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(id)})
	}
	return all
}

func newClusterID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

func describe(clusters map[string][]string) string {
	var all []string
	for id, nodes := range clusters {
		slices.Sort(nodes)
		all = append(all, fmt.Sprintf("%s of %s", id, strings.Join(nodes, ",")))
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}
