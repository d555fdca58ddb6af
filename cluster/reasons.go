package cluster

// whyWon is for the log: raft says only that it won.
func (n *Node) whyWon() string {
	if n.cfg.alone() {
		return "alone"
	}
	n.gate.mu.Lock()
	before := n.gate.leader
	n.gate.mu.Unlock()
	n.transport.mu.Lock()
	woken := n.transport.woken
	n.transport.woken = ""
	n.transport.mu.Unlock()
	switch {
	case woken != "":
		return "node " + woken + " handed over"
	case before == "":
		return "there was no leader"
	case before == n.dir.meta.node:
		return "nobody else took over"
	default:
		return "node " + before + " was silent"
	}
}

// whyLost is why raft leads no more.
func (n *Node) whyLost() string {
	term, _ := n.Lead()
	if err := n.disk.cause(); err != nil {
		return "the disk: " + err.Error()
	}
	if n.transport != nil {
		if h := n.transport.heard.Load(); h.term > term {
			return "node " + h.leader + " leads"
		}
	}
	if n.raft.Load().CurrentTerm() > term {
		return "there was an election"
	}
	return "a majority does not answer"
}
