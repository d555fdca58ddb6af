package cluster

import (
	"time"

	"github.com/hashicorp/raft"
)

// runWatchdog gives leadership away when the disk does not let this node lead.
// Close ends it.
//
// Raft notices neither a disk that hangs, nor a sync that fails beside its main loop:
// its heartbeats go on. So the gate is shut, what is in flight is in doubt, and no heartbeat
// leaves any more until raft has noticed that nobody answers it. Who leads
// instead is heard all the same: clients of this node are served by it. At an error
// that its main loop hears raft steps down by itself; here it is kept from trying
// again, and the disk is asked whether it has room again.
func (n *Node) runWatchdog() {
	defer n.running.Done()
	tick := time.NewTicker(hungAfter / 20)
	defer tick.Stop()
	var probed time.Time
	for {
		select {
		case <-tick.C:
		case <-n.done:
			return
		}
		r := n.raft.Load()
		if r == nil {
			continue
		}
		reason := ""
		switch {
		case n.disk.isBroken():
			reason = "the disk has failed"
		case n.disk.hangs(hungAfter):
			reason = "the disk does not answer"
		}
		switch leads := r.State() == raft.Leader; {
		case reason != "" && leads && !n.isolated.Load():
			n.cfg.Log.Error(reason + "; giving leadership away")
			n.shutGate(reason)
			n.isolated.Store(true)
			n.abandon()
		case reason == "" && n.isolated.Load() && (!leads || len(n.lease.others()) == 0): // alone raft goes on leading
			n.cfg.Log.Info("the disk answers again")
			n.isolated.Store(false)
		}
		if n.isolated.Load() {
			n.lookAround() // runGate may be waiting for the disk, to open the gate
		}
		if n.disk.failure() != nil && !n.disk.isBroken() && time.Since(probed) > retryDisk {
			probed = time.Now()
			n.disk.recheck()
		}
	}
}

// abandon says of what is in flight that it is in doubt, before raft says so.
func (n *Node) abandon() {
	if o, landed := n.queue.flying(); landed != nil {
		n.fail(n.queue.land(o), ErrInDoubt)
	}
}

// unfit is why this node should not lead now, nil if it may.
func (n *Node) unfit() error {
	if n.isLeaving() || n.fsm.err() != nil || n.isolated.Load() || n.disk.failure() != nil || n.disk.hangs(hungAfter) {
		return errUnfit
	}
	return nil
}
