package cluster

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
)

// WriteState writes this node's pinned state, as a snapshot, and returns the
// index of the last entry in it.
func (n *Node) WriteState(w io.Writer) (index uint64, err error) {
	index, state, err := n.fsm.state()
	if err != nil {
		return 0, err
	}
	defer state.Release()
	if _, err := state.WriteTo(w); err != nil {
		return 0, fmt.Errorf("write state: %w", err)
	}
	return index, nil
}

// StateDigest is what WriteState would write: nodes that have the same index have
// the same digest.
func (n *Node) StateDigest() (index uint64, sum [sha256.Size]byte, bytes int64, err error) {
	h := &countingHash{Hash: sha256.New()}
	index, err = n.WriteState(h)
	if err == nil {
		h.Sum(sum[:0])
	}
	return index, sum, h.bytes, err
}

type countingHash struct {
	hash.Hash
	bytes int64
}

func (h *countingHash) Write(b []byte) (int, error) {
	h.bytes += int64(len(b))
	return h.Hash.Write(b)
}
