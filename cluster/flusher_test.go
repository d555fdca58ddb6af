package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"crema/store"

	"github.com/hashicorp/raft"
)

// holdSyncs has a leader's syncs wait until release is called. held is closed when
// the first does.
func (c *citizen) holdSyncs(t *testing.T) (held <-chan struct{}, release func()) {
	first, let := make(chan struct{}), make(chan struct{})
	hold, release := sync.OnceFunc(func() { close(first) }), sync.OnceFunc(func() { close(let) })
	t.Cleanup(release)
	c.disk.mu.Lock()
	defer c.disk.mu.Unlock()
	c.disk.unsync = func() error {
		hold()
		<-let
		return nil
	}
	return first, release
}

// committed waits until raft takes for committed what is not on disk.
func (c *citizen) committed(t *testing.T) {
	t.Helper()
	await(t, "raft takes it for committed", func() bool {
		from := c.Node.log.flusher.from.Load()
		return from != 0 && c.raft.Load().CommitIndex() >= from
	})
}

// What is not on the leader's disk is true nowhere, though all others have it.
func TestLeaderSyncsLate(t *testing.T) {
	t.Parallel()
	lasting(t, leaderSyncsLate)
}

func leaderSyncsLate(t *testing.T) bool {
	w := formed(t, "n1", "n2", "n3")
	w.set("k", "old")
	w.agree("k", "old")
	leader := w.leader()
	term, _ := leader.Lead()
	held, release := leader.holdSyncs(t)
	defer release()
	// The watchdog gives leadership away when this takes long.
	lasts := func() bool { now, _ := leader.Lead(); return now == term && w.term() == term }
	result := make(chan error, 1)
	go func() { result <- set(leader.Node, leader.st, "k", "new") }()
	<-held
	leader.committed(t)
	for until := time.Now().Add(5 * commitTimeout); time.Now().Before(until); time.Sleep(commitTimeout / 10) {
		wrong := ""
		for id, c := range w.up {
			if c == leader {
				continue
			}
			if got, _ := get(t, c.st, "k"); got != "old" {
				wrong = fmt.Sprintf("%s has %q, and the leader has it not on disk", id, got)
			}
		}
		if len(result) > 0 {
			wrong = "answered before it was on disk"
		}
		if s, from := leader.Stats(), leader.Node.log.flusher.from.Load(); s.CommitIndex >= from || s.AppliedIndex >= from {
			wrong = fmt.Sprintf("committed %d and applied %d are shown, %d is not on disk", s.CommitIndex, s.AppliedIndex, from)
		}
		if !lasts() {
			return false
		}
		if wrong != "" {
			t.Fatal(wrong)
		}
	}
	release()
	if err := <-result; err != nil {
		if !lasts() {
			return false
		}
		t.Fatal(err)
	}
	w.agree("k", "new")
	w.digests()
	return true
}

// fragile is a town of three, formed, which faults may befall.
func fragile(t *testing.T) *town {
	t.Helper()
	w := newTown(t, "n1", "n2", "n3")
	for _, m := range w.list {
		w.start(m.ID, func(c *Config) { c.Faults = &Faults{PowerLoss: true} })
	}
	w.set("k", "v")
	w.voters("n1", "n2", "n3")
	return w
}

// A loss of power takes from the leader what was not synced, and those who have it
// not elect another: who has it has not believed it.
func TestLeaderLosesPowerBeforeItsSync(t *testing.T) {
	t.Parallel()
	lasting(t, leaderLosesPowerBeforeItsSync)
}

func leaderLosesPowerBeforeItsSync(t *testing.T) bool {
	w := fragile(t)
	w.set("k", "old")
	w.agree("k", "old")
	leader := w.leader()
	w.knows(leader)
	term := leader.currentTerm()
	var has, lacks *citizen
	for _, c := range w.up {
		switch {
		case c == leader:
		case has == nil:
			has = c
		default:
			lacks = c
		}
	}
	held, release := leader.holdSyncs(t)
	defer release()
	lacks.port.Isolate(true)
	go set(leader.Node, leader.st, "k", "lost")
	<-held
	leader.committed(t)
	time.Sleep(2 * commitTimeout) // for the follower to hear of it, if it did
	var last uint64
	await(t, "the follower has all that the leader has", func() bool { // the clock may be on its way
		mine, _ := leader.Node.log.LastIndex()
		last, _ = has.Node.log.LastIndex()
		return last == mine || has.currentTerm() != term
	})
	dir := w.dirOf(w.id(leader))
	after := copyDir(t, dir)
	mirrors, err := filepath.Glob(filepath.Join(after, logFile, "*"+syncedSuffix))
	if err != nil || len(mirrors) == 0 {
		t.Fatal(mirrors, err)
	}
	for _, path := range mirrors {
		if err := os.Rename(path, strings.TrimSuffix(path, syncedSuffix)); err != nil {
			t.Fatal(err)
		}
	}
	has.port.Isolate(true)
	leader.port.Isolate(true)
	if has.currentTerm() != term { // the watchdog gives leadership away when this takes long
		return false
	}
	release()
	w.stop(w.id(leader))
	w.lose(w.id(leader))
	if err := os.CopyFS(dir, os.DirFS(after)); err != nil {
		t.Fatal(err)
	}
	lacks.port.Isolate(false)
	back := w.start(w.id(leader))
	if end, _ := back.Node.log.LastIndex(); end >= last {
		t.Errorf("nothing is gone: the log ends at %d", end)
	}
	await(t, "those two go on", func() bool { term, _ := back.Lead(); other, _ := lacks.Lead(); return term+other != 0 })
	w.set("k", "new")
	wants(t, has.st, "k", "old")
	has.port.Isolate(false)
	w.agree("k", "new")
	w.digests()
	return true
}

// failSyncs has a leader's syncs fail.
func (c *citizen) failSyncs(err error) {
	c.disk.mu.Lock()
	defer c.disk.mu.Unlock()
	c.disk.unsync = func() error { return err }
}

// A sync that fails behind raft's back ends the leadership, in doubt. It has written
// something: even one that tells of no space is no write that was refused.
func TestLeaderFailsToSync(t *testing.T) {
	for name, cause := range map[string]error{"error": syscall.EIO, "no space": noSpace} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			leaderFailsToSync(t, cause)
		})
	}
}

func leaderFailsToSync(t *testing.T, cause error) {
	w := formed(t, "n1", "n2", "n3")
	w.set("before", "v")
	old := w.leader()
	w.knows(old)
	old.failSyncs(cause)
	if err := set(old.Node, old.st, "k", "doubtful"); !errors.Is(err, ErrInDoubt) {
		t.Errorf("set: %v", err)
	}
	next := w.successor(old)
	w.knows(next)
	mustSet(t, next.Node, next.st, "k", "new")
	if err := old.Stats().DiskError; err == nil || !strings.Contains(err.Error(), "must be restarted") {
		t.Errorf("DiskError: %v", err)
	}
	old.says(t, "leadership lost")
	if !old.log.has("the disk has failed") && !old.log.has("the disk: ") { // raft may have heard of it first
		t.Error("it does not say why")
	}
	w.stop(w.id(old))
	w.start(w.id(old))
	w.agree("k", "new")
	w.digests()
}

// Who cannot put on disk what begins its term does not serve in it.
func TestFirstSyncFails(t *testing.T) {
	t.Parallel()
	w := formed(t, "n1", "n2", "n3")
	old := w.leader()
	w.knows(old)
	won := map[*citizen]int{} // before
	for _, c := range w.up {
		if c != old {
			won[c] = c.log.count("leadership won")
			c.failSyncs(syscall.EIO)
		}
	}
	old.port.Isolate(true)
	await(t, "another has tried to lead", func() bool {
		for _, c := range w.up {
			if c != old && c.disk.isBroken() && c.raft.Load().State() != raft.Leader {
				return true
			}
		}
		return false
	})
	for _, c := range w.up {
		if c != old && c.log.count("leadership won") > won[c] {
			t.Error("it served")
		}
	}
	old.port.Isolate(false)
}

// That something older is on disk now does not mean that there is room.
func TestFullBesideASync(t *testing.T) {
	t.Parallel()
	lasting(t, fullBesideASync)
}

func fullBesideASync(t *testing.T) bool {
	w := fragile(t)
	leader := w.leader()
	w.knows(leader)
	held, release := leader.holdSyncs(t)
	result := make(chan error, 1)
	go func() { result <- set(leader.Node, leader.st, "k", "v") }()
	<-held
	leader.committed(t)
	leader.cfg.Faults.Set(0, 0, true, 0)
	if err := leader.tell(leader.currentTerm(), store.Clock{Now: time.Now().UnixMilli()}); !errors.Is(err, ErrDiskFull) {
		if leader.log.has("leadership lost") { // the watchdog gives it away when this takes long
			release()
			<-result
			return false
		}
		t.Error(err)
	}
	release()
	if err := <-result; err != nil && !errors.Is(err, ErrInDoubt) {
		t.Error(err)
	}
	await(t, "it is on disk", leader.Node.log.flusher.idle)
	if err := leader.disk.failure(); !errors.Is(err, ErrDiskFull) {
		t.Errorf("the disk is full, and says %v", err)
	}
	leader.cfg.Faults.Set(0, 0, false, 0)
	return true
}

// A cluster that has shrunk to one node leads again when its disk answers again.
func TestHungDiskOfTheOnlyVoter(t *testing.T) {
	t.Parallel()
	w := formed(t, "n1")
	only := w.leader()
	held, release := only.holdSyncs(t)
	result := make(chan error, 1)
	go func() { result <- set(only.Node, only.st, "k", "doubtful") }()
	<-held
	if err := <-result; !errors.Is(err, ErrInDoubt) {
		t.Errorf("in flight: %v", err)
	}
	release()
	w.set("k", "new")
	w.agree("k", "new")
}

// A sync that hangs does not keep the process from ending.
func TestCloseWhileASyncHangs(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes closeWithin")
	}
	t.Parallel()
	lasting(t, closeWhileASyncHangs)
}

func closeWhileASyncHangs(t *testing.T) bool {
	w := formed(t, "n1", "n2", "n3")
	leader := w.leader()
	w.knows(leader)
	held, release := leader.holdSyncs(t)
	leader.port.Isolate(true)
	result := make(chan error, 1)
	go func() { result <- set(leader.Node, leader.st, "k", "v") }()
	select {
	case <-held:
	case err := <-result: // it knew already that nobody answers
		release()
		if !errors.Is(err, store.ErrNotLogged) {
			t.Error(err)
		}
		return false
	}
	delete(w.up, w.id(leader))
	if err := leader.Close(); err == nil {
		t.Error("Close has nothing to say about a disk that hangs")
	}
	if err := <-result; !errors.Is(err, ErrInDoubt) {
		t.Errorf("set: %v", err)
	}
	release()
	leader.Node.log.flushes.Wait()
	return true
}

// What follows in the log, whoever sends it, is not stored before what the leader
// of before has not on disk.
func TestFollowsBehindItsOwnSync(t *testing.T) {
	t.Parallel()
	w := formed(t, "n1", "n2", "n3")
	old := w.leader()
	w.knows(old)
	held, release := old.holdSyncs(t)
	go set(old.Node, old.st, "k", "in flight")
	<-held
	old.committed(t)
	index := old.raft.Load().CommitIndex()
	old.port.Isolate(true)
	next := w.successor(old)
	old.port.Isolate(false)
	mustSet(t, next.Node, next.st, "k", "new")
	for until := time.Now().Add(5 * commitTimeout); time.Now().Before(until); time.Sleep(commitTimeout / 10) {
		if matched := next.lease.matched(raft.ServerID(w.id(old))); matched >= index {
			t.Fatalf("the old leader says that it has %d entries, with %d on disk", matched, index-1)
		}
	}
	release()
	w.agree("k", "new")
	w.digests()
}
