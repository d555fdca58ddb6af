package server

import (
	"bytes"
	"slices"
	"sync"

	"crema/resp"
)

// far is who listens to which keys that another node has read for them. The
// store of this node does not know when these change: the leader tells.
//
// A connection listens before it asks the leader, who therefore tells of any
// change behind what it answers. What of that comes before the answer waits for
// it (see tracker): even if it was about an older value, the client hears that
// what it just got is invalid, and asks again.
//
// Keys are names alone, as they are to the client: from which database a
// transaction or a script reads one its own SELECTs say, which are done where it
// is evaluated.
type far struct {
	mu    sync.Mutex // guards what follows; before no other
	keys  map[string][]*tracker
	of    map[*tracker]map[string]struct{} // the same the other way round
	items int64                            // pairs of the two
}

func (f *far) listen(t *tracker, key []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	own := f.of[t]
	if _, there := own[string(key)]; there {
		return
	}
	if own == nil {
		if f.of == nil {
			f.keys, f.of = map[string][]*tracker{}, map[*tracker]map[string]struct{}{}
		}
		own = map[string]struct{}{}
		f.of[t] = own
	}
	k := string(key)
	own[k] = struct{}{}
	f.keys[k] = append(f.keys[k], t)
	f.items++
}

// forget says who listens to a key, and forgets it.
func (f *far) forget(key []byte) []*tracker {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.drop(string(key))
}

// drop is forget; the caller holds mu.
func (f *far) drop(k string) []*tracker {
	all := f.keys[k]
	delete(f.keys, k)
	for _, t := range all {
		delete(f.of[t], k)
	}
	f.items -= int64(len(all))
	return all
}

// forgetSome is forget for a key, whichever, when there are more than that many
// keys or items.
func (f *far) forgetSome(keys, items int64) (k string, all []*tracker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if int64(len(f.keys)) > keys || f.items > items {
		for k = range f.keys { // begins anywhere
			return k, f.drop(k)
		}
	}
	return k, nil
}

func (f *far) forgetAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys, f.of, f.items = nil, nil, 0
}

// leave forgets the keys of one that tracks no more.
func (f *far) leave(t *tracker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k := range f.of[t] {
		rest := slices.DeleteFunc(f.keys[k], func(o *tracker) bool { return o == t })
		if len(rest) > 0 {
			f.keys[k] = rest
		} else {
			delete(f.keys, k)
		}
		f.items--
	}
	delete(f.of, t)
}

func (f *far) counts() (keys, items int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(len(f.keys)), f.items
}

// forwards is called before a data command is sent to node, which evaluates it:
// t listens to the keys that it reads. It may wait until node knows that there
// is somebody to tell, with nothing held. The replies come when the batch ends;
// until then invalidations wait.
//
// That a NOLOOP connection changed a key itself is not known here, so it is told
// like the others.
func (t *tracker) forwards(node string, row *command, words [][]byte) {
	t.forwarding = true
	if row.flags&(readonly|runsScript) == 0 {
		return
	}
	tr := t.c.srv.tracking
	tr.relay.agreeWith(node, t.c.done)
	if !t.remembers() {
		return
	}
	row.keys.each(words, func(key []byte) { tr.far.listen(t, key) })
}

// heard tells of keys that have changed on the leader.
func (tr *tracking) heard(keys [][]byte) {
	for _, key := range keys {
		tr.tellFar(key, tr.far.forget(key))
	}
	tr.mu.RLock()
	defer tr.mu.RUnlock()
	if len(tr.prefixes) == 0 {
		return
	}
	tr.tellPrefixes(keys, func(*tracker) bool { return true })
}

func (tr *tracking) tellFar(key []byte, to []*tracker) {
	if len(to) == 0 {
		return
	}
	inv := &invalidation{what: resp.Array(resp.Bulk(bytes.Clone(key)))}
	for _, t := range to {
		t.mu.Lock()
		if !t.off && !t.mode.bcast {
			t.tell(inv)
		}
		t.mu.Unlock()
	}
}

// lost tells every client that tracks that whatever it has read may be invalid:
// changes may have happened of which this node was not told.
func (tr *tracking) lost() {
	tr.far.forgetAll()
	inv := &invalidation{what: resp.Nil}
	tr.mu.RLock()
	defer tr.mu.RUnlock()
	for t := range tr.all {
		t.mu.Lock()
		t.tell(inv)
		t.mu.Unlock()
	}
}

// limitFar is limit for the keys that other nodes have read.
func (tr *tracking) limitFar(keys int64) {
	for {
		k, all := tr.far.forgetSome(keys, keys*itemsPerKey)
		if all == nil {
			return
		}
		tr.tellFar([]byte(k), all)
	}
}
