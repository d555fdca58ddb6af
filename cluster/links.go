package cluster

import (
	"context"
	"errors"
	"fmt"

	"crema/cluster/peer"
)

// openPort listens for the other nodes.
func (n *Node) openPort() (err error) {
	n.port, err = peer.Open(peer.Config{
		NodeID: n.dir.meta.node, Listen: n.cfg.Listen, Secret: n.cfg.Secret, TLS: n.cfg.TLS, Log: n.cfg.Log,
		ClusterID: n.dir.cluster,
		Self:      func() peer.Address { return n.book.of(n.dir.meta.node) },
		Address:   n.book.dial,
		Known:     n.book.heard,
		Handler:   n.cfg.Handler,
		Admin:     n.answerAdmin,
	})
	return err
}

func (n *Node) context() context.Context { return n.members.ctx }

// Call asks a peer's server and waits for its answer. The error wraps
// store.ErrNotLogged when the request was certainly not delivered; any other
// leaves open whether it was.
func (n *Node) Call(node string, request []byte) ([]byte, error) {
	if n.port == nil {
		return nil, fmt.Errorf("%w: there are no other nodes", ErrUnavailable)
	}
	answer, err := n.port.Call(n.context(), node, request)
	if errors.Is(err, peer.ErrNotSent) {
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return answer, err
}

// Post sends a peer's server one frame, in order and without an answer; false
// when there is no link or its outbox is full, and the frame is dropped.
func (n *Node) Post(node string, frame []byte) bool {
	return n.port != nil && n.port.Post(node, frame)
}

// Replicas is how many other nodes are known to hold the log up to index, synced.
// Only the leader knows.
func (n *Node) Replicas(index uint64) int {
	if term, _ := n.Lead(); term == 0 {
		return 0
	}
	return n.lease.holders(index)
}
