package server

import (
	"sync"

	"crema/store"
)

// touches are the keys that have changed on this node as the leader, for peers
// with clients that track. Those keep what they have read through their node,
// which cannot know otherwise.
//
// A peer is told behind the change, so who reads the key again, which is here,
// finds it. What is read between the change and the frame is told to be invalid
// though it is not: that costs a read.
type touches struct {
	mu   sync.Mutex // guards what follows; taken after shard locks, before no other
	keys []byte     // a frameTouched being written
	all  bool       // a flush, or more keys than a frame may hold
}

const touchedBytes = 256 << 10 // of keys that wait to be told; with more, all may have changed

// leads tells whether this node evaluates, and so is who tells of changes.
func (r *relay) leads() bool {
	term, _ := r.cluster.Lead()
	return term != 0
}

// touched collects what is applied; the shards are held.
func (r *relay) touched(effects []store.Effect) {
	t := &r.touches
	t.mu.Lock()
	for i := range effects {
		f := &effects[i]
		if f.Op == store.OpFlush || f.Op == store.OpSwap || len(t.keys)+len(f.Key) > touchedBytes {
			t.all, t.keys = true, nil
		}
		if t.all {
			break
		}
		if len(t.keys) == 0 {
			t.keys = append(t.keys, frameTouched)
		}
		t.keys = appendWord(t.keys, f.Key)
	}
	t.mu.Unlock()
	r.signal()
}

// touchedAll has every peer told that all keys may have changed.
func (r *relay) touchedAll() {
	r.mu.Lock()
	for _, p := range r.peers {
		p.owesAll = p.tracking
	}
	r.mu.Unlock()
	r.signal()
}

// tellTouched posts what was collected; false if a link had no room. Of what it
// could not post remains that it was something.
func (r *relay) tellTouched() (all bool) {
	r.touches.mu.Lock()
	keys, flushed := r.touches.keys, r.touches.all
	r.touches.keys, r.touches.all = nil, false
	r.touches.mu.Unlock()
	var tell, flush []string
	r.mu.Lock()
	for node, p := range r.peers {
		if !p.tracking || !p.up {
			continue
		}
		if p.owesAll || flushed {
			flush = append(flush, node)
		} else if len(keys) > 0 {
			tell = append(tell, node)
		}
		p.owesAll = false
	}
	r.mu.Unlock()
	var missed []string
	for _, node := range tell {
		if !r.cluster.Post(node, keys) {
			missed = append(missed, node)
		}
	}
	for _, node := range flush {
		if !r.cluster.Post(node, []byte{frameTouchedAll}) {
			missed = append(missed, node)
		}
	}
	if len(missed) == 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, node := range missed {
		r.peer(node).owesAll = true
	}
	return false
}

// hearTouched tells this node's clients which keys they have are invalid.
func (r *relay) hearTouched(f *wire) {
	var keys [][]byte
	for f.more() {
		keys = append(keys, f.word())
	}
	if f.bad {
		r.srv.tracking.lost()
		return
	}
	r.srv.tracking.heard(keys)
}

// tracked tells whether a peer has clients that track.
func (r *relay) tracked() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, p := range r.peers {
		if p.tracking {
			return true
		}
	}
	return false
}
