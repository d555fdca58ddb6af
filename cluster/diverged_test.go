package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"syscall"
	"testing"

	"crema/store"

	"github.com/hashicorp/raft"
)

var noSpace = &fs.PathError{Op: "write", Path: "log", Err: syscall.ENOSPC}

// diverged is a leader that was cut off with an entry that nobody else has, and
// its successor, who has others in its place.
func diverged(t *testing.T) (w *town, old, next *citizen) {
	w = formed(t, "n1", "n2", "n3")
	for i := range 2 * maxAppendEntries { // a message has room before the place
		w.set("k", fmt.Sprint(i))
	}
	await(t, "a leader is cut off before it knows", func() bool {
		old = w.leader()
		w.knows(old)
		old.port.Isolate(true)
		err := set(old.Node, old.st, "lone", "1")
		if errors.Is(err, store.ErrNotLogged) {
			old.port.Isolate(false)
			return false
		}
		if !errors.Is(err, ErrInDoubt) {
			t.Fatal(err)
		}
		return true
	})
	next = w.successor(old)
	mustSet(t, next.Node, next.st, "k", "new")
	return w, old, next
}

// refuses makes a disk full for those writes, counted from 1, that come when the
// node has taken the successor's term over. It returns the count.
func (c *citizen) refuses(next *citizen, full func(write int64) bool) *atomic.Int64 {
	writes, r := new(atomic.Int64), c.raft.Load()
	term := next.raft.Load().CurrentTerm()
	c.disk.mu.Lock()
	defer c.disk.mu.Unlock()
	c.disk.fault = func() error {
		if r.CurrentTerm() >= term && full(writes.Add(1)) {
			return noSpace
		}
		return nil
	}
	return writes
}

// A node whose full disk does not let it drop what nobody else has never takes
// that for committed.
func TestDivergedOnAFullDisk(t *testing.T) {
	t.Parallel()
	w, old, next := diverged(t)
	room := new(atomic.Bool)
	refused := old.refuses(next, func(int64) bool { return !room.Load() })
	old.port.Isolate(false)
	await(t, "the new leader has stepped back by more than a message", func() bool { return refused.Load() > 2*maxAppendEntries })
	if v, ok := get(t, old.st, "lone"); ok {
		t.Errorf("what was never committed is there: %q", v)
	}
	room.Store(true)
	w.agree("k", "new")
	w.digests()
}

// A disk that is full between the dropping of such entries and the writing of
// others keeps the node behind, and no longer than it is full.
func TestFullBetweenCutAndAppend(t *testing.T) {
	t.Parallel()
	w, old, next := diverged(t)
	old.refuses(next, func(write int64) bool { return write > 1 && write < 4 })
	old.port.Isolate(false)
	w.agree("k", "new")
	w.digests()
	if _, ok := get(t, old.st, "lone"); ok {
		t.Error("what was never committed is there")
	}
}

// Who was asked to take over by the leader of an earlier term does not: the one of
// now may have a lease.
func TestLateTakeOver(t *testing.T) {
	t.Parallel()
	w := formed(t, "n1", "n2", "n3")
	w.knows(w.leader())
	c := w.up[w.follower()]
	term := c.raft.Load().CurrentTerm()
	ask := func(term uint64) error {
		header := raft.RPCHeader{ID: []byte("n9"), Addr: []byte(termName(term))}
		_, err := c.transport.admit(raft.RPC{Command: &raft.TimeoutNowRequest{RPCHeader: header}})
		return err
	}
	if err := ask(term - 1); err == nil {
		t.Error("it would take over for a leader of the term before")
	}
	vote := raft.RequestVoteRequest{Term: term + 1, LeadershipTransfer: true}
	if err := c.transport.RequestVote("n9", "n9", &vote, new(raft.RequestVoteResponse)); !errors.Is(err, errStale) {
		t.Errorf("it asks for votes as if it had been asked: %v", err)
	}
	if err := ask(term); err != nil {
		t.Error(err)
	}
}

// What was taken from the queue before it was shut does not go to the log when the
// queue is open again, were it in the same term.
func TestTakenBeforeShut(t *testing.T) {
	q := newQueue()
	q.term = 1
	q.add(&store.Pending{})
	batch, _, term := q.take()
	q.shut()
	q.mu.Lock()
	q.term = 1
	q.mu.Unlock()
	if _, ok := q.fly(batch, term); ok {
		t.Error("it flies")
	}
	q.add(&store.Pending{})
	batch, _, term = q.take()
	if _, ok := q.fly(batch, term); !ok || len(batch) != 1 {
		t.Error("what came after does not fly")
	}
}

// A message carries no more than it should, and one entry at least.
func TestFirstOf(t *testing.T) {
	large := &raft.Log{Data: make([]byte, maxMessageBytes)}
	small := &raft.Log{Data: make([]byte, 1)}
	for i, all := range [][]*raft.Log{{}, {large}, {small, small}, {large, small}, {small, large, small}} {
		if got, want := len(firstOf(all)), []int{0, 1, 2, 1, 1}[i]; got != want {
			t.Errorf("%d: %d entries, want %d", i, got, want)
		}
	}
}
