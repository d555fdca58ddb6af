package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

const (
	transferRetry = 50 * time.Millisecond
	transferWait  = 2 * heartbeatTimeout // for one node to take over
)

// Resign shuts the gate and hands leadership over, if this node has it. It
// returns when another leader is known, or ctx ends. From then on this node does
// not want to lead. Alone there is nobody else, and nothing changes.
func (n *Node) Resign(ctx context.Context) {
	if n.cfg.alone() {
		return
	}
	r := n.raft.Load()
	if r == nil || len(n.lease.others()) == 0 {
		return
	}
	n.leave(true)
	if err := n.handOver(ctx, r, ""); err != nil {
		n.cfg.Log.Warn("leadership could not be handed over", "error", err)
	}
}

// Transfer has another node lead; to says which, "" the one that has most of the
// log. If none takes over, this node leads on.
func (n *Node) Transfer(ctx context.Context, to string) error {
	r, err := n.leading()
	if err != nil {
		return err
	}
	switch _, voter := slices.BinarySearch(n.lease.others(), to); {
	case to == n.dir.meta.node:
		return fmt.Errorf("cluster: node %s leads already", to)
	case to != "" && !voter:
		return fmt.Errorf("cluster: node %s cannot lead: it is no member with a vote", to)
	case len(n.lease.others()) == 0:
		return errors.New("cluster: there is no other node with a vote")
	}
	n.leave(true)
	defer n.leave(false)
	return n.handOver(ctx, r, to)
}

// paused keeps the gate shut while do is at work, as while all data is replaced.
func (n *Node) paused(do func() error) error {
	n.leave(true)
	defer n.leave(false)
	n.shutGate("paused")
	if _, landed := n.queue.flying(); landed != nil {
		<-landed
	}
	return do()
}

// leave says that this node does not want to lead, or takes that back.
func (n *Node) leave(away bool) {
	n.gate.mu.Lock()
	if away {
		n.gate.leaving++
	} else {
		n.gate.leaving--
	}
	n.gate.mu.Unlock()
	token(n.gate.wake)
}

func (n *Node) isLeaving() bool {
	n.gate.mu.Lock()
	defer n.gate.mu.Unlock()
	return n.gate.leaving > 0
}

// handOver returns nil when another node leads.
func (n *Node) handOver(ctx context.Context, r *raft.Raft, to string) error {
	self := n.dir.meta.node
	// The lease goes first, for the rest of the term: who is asked to take over
	// needs nobody's promise, and may come to it late.
	n.shutGate("handed over")
	n.lease.give(r.CurrentTerm())
	if _, landed := n.queue.flying(); landed != nil {
		select {
		case <-landed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for tried := 0; ; tried++ {
		changed := n.Changed()
		switch _, node := n.Lead(); {
		case node == "" || node == self:
		case to != "" && node != to:
			return fmt.Errorf("cluster: node %s leads now, not %s", node, to)
		default:
			return nil
		}
		var wait <-chan time.Time
		if r.State() == raft.Leader {
			others := n.lease.others()
			if to == "" {
				slices.SortStableFunc(others, func(a, b string) int { return n.lease.compare(b, a) })
			} else {
				others = []string{to}
			}
			if len(others) == 0 {
				return errors.New("cluster: there is no other node with a vote")
			}
			next := others[tried%len(others)]
			if err := r.LeadershipTransferToServer(raft.ServerID(next), raft.ServerAddress(next)).Error(); err != nil {
				n.cfg.Log.Debug("leadership not taken", "node", next, "error", err)
				wait = time.After(transferRetry)
			}
		}
		if wait == nil {
			wait = time.After(transferWait)
		}
		select {
		case <-changed:
		case <-wait:
		case <-n.done:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("cluster: nobody took over: %w", ctx.Err())
		}
	}
}
