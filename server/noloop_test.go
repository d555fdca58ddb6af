package server

import (
	"strings"
	"testing"

	"crema/store"
)

// A NOLOOP connection hears nothing of the keys that it writes, but of one that
// is forgotten for want of room in the same moment.
func TestNoLoopHearsOfForgottenKeys(t *testing.T) {
	s, err := New(Config{Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.store.Close()
	c := s.newConn(nil)
	c.setProto(3)
	tr := &tracker{c: c, busy: true, mode: trackingMode{noloop: true}, keys: map[trackedKey]ownership{}}
	for _, key := range []string{"written", "forgotten"} {
		tr.adopt(0, []byte(key), notOwn)
		s.tracking.items.Add(1)
	}
	// As while a script of c's is applied, whose latch is on every shard.
	effects := []store.Effect{{Op: store.OpPut, Key: []byte("written")}}
	tr.writes(store.AllShards, effects, own)
	tr.Touched(0, []byte("written"))
	if len(tr.pending) > 0 {
		t.Errorf("told of its own write: %q", tr.pending)
	}
	tr.Touched(0, []byte("forgotten"))
	if !strings.Contains(string(tr.pending), "forgotten") {
		t.Errorf("not told of the forgotten key: %q", tr.pending)
	}
	tr.adopt(0, []byte("written"), notOwn)
	tr.writes(0, effects, notOwn)
	tr.pending = nil
	tr.Touched(0, []byte("written"))
	if !strings.Contains(string(tr.pending), "written") {
		t.Errorf("not told of somebody else's write: %q", tr.pending)
	}
}
