package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"crema/cluster/peer"
	"crema/store"
)

func peerAddress(at, client string) peer.Address { return peer.Address{Peer: at, Client: client} }

func logTo(d *diary) *slog.Logger { return slog.New(slog.NewTextHandler(d, nil)) }

// formed is a town whose nodes have formed a cluster that holds k=v.
func formed(t *testing.T, ids ...string) *town {
	t.Helper()
	w := newTown(t, ids...)
	for _, id := range ids {
		w.start(id)
	}
	w.set("k", "v")
	w.voters(ids...)
	return w
}

// same waits until all who are up hold the same.
func (w *town) same() {
	w.t.Helper()
	leader := w.leader()
	for id, c := range w.up {
		await(w.t, id+" holds what the leader holds", func() bool {
			return bytes.Equal(state(w.t, leader.st), state(w.t, c.st))
		})
	}
}

func TestLostDisk(t *testing.T) {
	t.Parallel()
	w := formed(t, "n1", "n2", "n3")
	for i := range 20 {
		w.set(fmt.Sprint("k", i), "v")
	}
	lost := w.follower()
	w.stop(lost)
	w.set("k", "without")
	w.lose(lost)
	c := w.start(lost)
	w.voters("n1", "n2", "n3")
	w.agree("k", "without")
	w.same()
	c.says(t, "there is a cluster already", "added to the cluster", "is a member now", "has caught up")
	// Its vote counts again: with it another may go.
	other := w.leader().dir.meta.node
	if other == lost {
		other = w.follower()
	}
	w.stop(other)
	w.set("k", "with its vote")
	w.agree("k", "with its vote")
}

// A node is killed while it joins, with a part of the log.
func TestJoiningBeginsAgain(t *testing.T) {
	t.Parallel()
	w := formed(t, "n1", "n2", "n3")
	lost := w.follower()
	cluster := w.up[lost].dir.cluster()
	w.stop(lost)
	d, err := openDir(w.dirOf(lost), lost)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.become(phaseJoining, cluster); err != nil {
		t.Fatal(err)
	}
	d.close()
	w.start(lost)
	w.voters("n1", "n2", "n3")
	w.agree("k", "v")
}

// A node was away for so long that the log does not reach back to where it was.
func TestOldDisk(t *testing.T) {
	t.Parallel()
	w := formed(t, "n1", "n2", "n3")
	old := w.follower()
	w.stop(old)
	for i := range 200 {
		w.set("k", fmt.Sprint(i))
	}
	w.agree("k", "199")
	for id, c := range w.up { // whoever leads then
		if err := c.Snapshot(); err != nil {
			t.Fatal(err)
		}
		first, err := c.Node.log.FirstIndex()
		if err != nil || first < 20 {
			t.Fatalf("the log of %s begins at %d (%v)", id, first, err)
		}
	}
	c := w.start(old)
	w.agree("k", "199")
	w.same()
	if c.snaps.size.Load() == 0 {
		t.Error("it got no snapshot")
	}
	w.set("k", "after")
	w.agree("k", "after")
	w.stop(old) // what it has now is whole
	w.start(old)
	w.set("k", "again")
	w.agree("k", "again")
}

// A node comes back elsewhere. Nobody's flags say so.
func TestNewAddress(t *testing.T) {
	t.Parallel()
	w := formed(t, "n1", "n2", "n3")
	moved := w.follower()
	i := slices.IndexFunc(w.list, func(m Member) bool { return m.ID == moved })
	w.stop(moved)
	at := freeAddress(t)
	there := func(c *Config) { c.Peers[i].Peer, c.Peers[i].Client = at, "elsewhere:6379" }
	w.start(moved, there)
	w.set("k", "moved")
	w.agree("k", "moved")
	for id, c := range w.up {
		await(t, id+" is linked with the new address", func() bool {
			for _, m := range c.Members() {
				if !m.Linked || m.ID == moved && (m.Peer != at || m.Client != "elsewhere:6379") {
					return false
				}
			}
			return true
		})
	}
	// One that starts with old flags remembers.
	other := w.follower()
	for other == moved {
		other = slices.DeleteFunc([]string{"n1", "n2", "n3"}, func(id string) bool {
			return id == moved || id == w.leader().dir.meta.node
		})[0]
	}
	w.stop(other)
	c := w.start(other)
	await(t, other+" finds it", func() bool { return c.linked(moved) })
	// All move at once, and only the flags are right.
	for _, m := range w.list {
		w.stop(m.ID)
	}
	for i := range w.list {
		w.list[i].Peer = freeAddress(t)
	}
	for _, m := range w.list {
		w.start(m.ID)
	}
	w.set("k", "all moved")
	w.agree("k", "all moved")
}

func TestGrowsFromOneAndShrinks(t *testing.T) {
	t.Parallel()
	w := newTown(t, "n1")
	st := store.New(store.Config{})
	alone, err := Open(Config{Dir: w.dirOf("n1"), NodeID: "n1"}, st)
	if err != nil {
		t.Fatal(err)
	}
	mustSet(t, alone, st, "k", "alone")
	alone.Close()
	st.Close()
	w.start("n1")
	w.joins("n2", "n1")
	w.voters("n1", "n2")
	w.joins("n3", "n1")
	w.voters("n1", "n2", "n3")
	w.set("more", "of it")
	w.agree("k", "alone")
	w.agree("more", "of it")
	ctx := context.Background()

	// What a follower is asked to change it leaves to the leader.
	var elsewhere *NotLeader
	if err := w.up[w.follower()].Remove(ctx, "n1"); !errors.As(err, &elsewhere) || elsewhere.Leader() != w.leader().dir.meta.node || elsewhere.Client == "" {
		t.Errorf("a follower answers %v", err)
	}
	// One that is not there may go, others may not then.
	gone := w.follower()
	w.stop(gone)
	leader := w.leader()
	await(t, "the link is down", func() bool { return !leader.linked(gone) })
	for id := range w.up {
		if err := leader.Remove(ctx, id); err == nil || !strings.Contains(err.Error(), "no majority") {
			t.Errorf("remove %s: %v", id, err)
		}
	}
	if err := leader.Remove(ctx, gone); err != nil {
		t.Fatal(err)
	}
	if err := leader.Remove(ctx, gone); err == nil || !strings.Contains(err.Error(), "not a member") {
		t.Errorf("removed twice: %v", err)
	}
	// The leader goes: it hands over first.
	id := leader.dir.meta.node
	err = leader.Remove(ctx, id)
	if !errors.As(err, &elsewhere) || elsewhere.Node == id || elsewhere.Node == "" {
		t.Fatalf("the leader removes itself: %v", err)
	}
	last := w.leader()
	if err := last.Remove(ctx, id); err != nil {
		t.Fatal(err)
	}
	await(t, "it says that it was removed", func() bool { return leader.log.has("was removed from the cluster") })
	if err := last.Remove(ctx, last.dir.meta.node); err == nil || !strings.Contains(err.Error(), "the last one") {
		t.Errorf("the last one goes: %v", err)
	}
	w.stop(id)
	w.set("k", "alone again")
	// Who was away when it was removed is told when it asks.
	c := w.joins(gone, last.dir.meta.node)
	await(t, "it learns that it was removed", func() bool { return c.log.has("was removed from the cluster") })
	if n := c.log.count("was removed from the cluster"); n != 1 {
		t.Errorf("said %d times", n)
	}
	if term, leader := c.Lead(); term != 0 || leader != "" {
		t.Errorf("a removed node knows the leader %q", leader)
	}
	// It may be added again with what it has.
	if err := last.Add(ctx, gone, "nowhere:1@nowhere:2"); err != nil {
		t.Fatal(err)
	}
	if err := last.Add(ctx, gone, "nowhere:1"); err == nil {
		t.Error("added twice")
	}
	await(t, "it can be promoted", func() bool { return last.Promote(ctx, gone) == nil })
	w.voters(slices.Sorted(slices.Values([]string{gone, last.dir.meta.node}))...)
	w.agree("k", "alone again")
}

func TestPromoteWantsTheNodeThere(t *testing.T) {
	t.Parallel()
	w := newTown(t, "n1")
	w.start("n1")
	ctx := context.Background()
	leader := w.leader()
	for _, c := range []struct{ id, at, want string }{
		{"", "h:1", "needs an id"}, {"n2", "", "needs an id"}, {"a b", "h:1", "needs an id"},
	} {
		if err := leader.Add(ctx, c.id, c.at); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("add %q: %v", c.id, err)
		}
	}
	if err := leader.Promote(ctx, "n2"); err == nil || !strings.Contains(err.Error(), "not a member") {
		t.Errorf("promote a stranger: %v", err)
	}
	if err := leader.Add(ctx, "n2", freeAddress(t)); err != nil {
		t.Fatal(err)
	}
	if err := leader.Promote(ctx, "n2"); err == nil || !strings.Contains(err.Error(), "is not there") {
		t.Errorf("promote a node that is away: %v", err)
	}
	if err := leader.Remove(ctx, "n2"); err != nil {
		t.Error(err)
	}
}

// Somebody is started with the id of a node that is in the cluster.
func TestSameIDTwice(t *testing.T) {
	t.Parallel()
	w := formed(t, "n1", "n2", "n3")
	id := w.follower()
	st := store.New(store.Config{})
	defer st.Close()
	log := &diary{}
	list := slices.Clone(w.list)
	i := slices.IndexFunc(list, func(m Member) bool { return m.ID == id })
	list[i].Peer = freeAddress(t)
	n, err := Open(Config{Dir: t.TempDir(), NodeID: id, Peers: list, Listen: list[i].Peer, Log: logTo(log)}, st)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	await(t, "it is refused", func() bool { return log.has("was there a moment ago") })
	if n.mayVote() {
		t.Error("it may vote")
	}
	w.voters("n1", "n2", "n3")
}

func TestOtherCluster(t *testing.T) {
	t.Parallel()
	w := formed(t, "n1", "n2", "n3")
	other := newTown(t, "x1")
	x := other.start("x1")
	other.set("k", "x")
	// It takes the place of a node, with that node's address and name.
	id := w.follower()
	w.stop(id)
	w.lose(id)
	w.leave(id, phaseFormed, x.dir.cluster())
	c := w.start(id)
	refusal := fmt.Sprintf("belongs to cluster %s, not to %s", w.leader().dir.cluster(), x.dir.cluster())
	await(t, "it is refused", func() bool { return c.log.has(refusal) })
	w.set("k", "still")
	if got, ok := get(t, c.st, "k"); ok {
		t.Errorf("a node of another cluster was told %q", got)
	}
	if c.linked(w.leader().dir.meta.node) {
		t.Error("a node of another cluster has a link")
	}
}

func TestTransfer(t *testing.T) {
	t.Parallel()
	lasting(t, func(t *testing.T) bool {
		w := formed(t, "n1", "n2", "n3")
		leader := w.leader()
		w.knows(leader)
		before, to := w.term(), w.follower()
		err := leader.Transfer(context.Background(), to)
		got := w.leader().dir.meta.node
		if w.term() > before+1 {
			return false
		}
		if err != nil || got != to {
			t.Errorf("%s leads, not %s: %v", got, to, err)
		}
		w.set("k", "there")
		w.agree("k", "there")
		return true
	})
}

// Two of three are gone for good. The third goes on by itself, and two new ones join.
func TestRecover(t *testing.T) {
	t.Parallel()
	w := formed(t, "n1", "n2", "n3")
	for i := range 50 {
		w.set(fmt.Sprint("k", i), fmt.Sprint(i))
	}
	w.agree("k49", "49")
	left := w.follower()
	cluster := w.up[left].dir.cluster()
	lost := slices.DeleteFunc([]string{"n1", "n2", "n3"}, func(id string) bool { return id == left })
	for _, id := range []string{"n1", "n2", "n3"} {
		w.stop(id)
	}
	i := slices.IndexFunc(w.list, func(m Member) bool { return m.ID == left })
	file := filepath.Join(w.dirOf(left), recoverFile)
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"", "[]", `[{"id":"n9","address":"h:1"}]`, fmt.Sprintf(`[{"id":%q,"non_voter":true}]`, left),
		fmt.Sprintf(`[{"id":%q},{"id":%q}]`, left, left)} {
		write(text)
		st := store.New(store.Config{})
		n, err := Open(Config{Dir: w.dirOf(left), NodeID: left, Peers: w.list, Listen: w.list[i].Peer}, st)
		if err == nil {
			n.Close()
			t.Fatalf("started with %s", text)
		}
		st.Close()
		if !strings.Contains(err.Error(), recoverFile) {
			t.Errorf("%s: %v", text, err)
		}
	}
	empty := t.TempDir()
	if err := os.WriteFile(filepath.Join(empty, recoverFile), []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	st := store.New(store.Config{})
	defer st.Close()
	if _, err := Open(Config{Dir: empty}, st); err == nil || !strings.Contains(err.Error(), "no data") {
		t.Errorf("nothing to recover: %v", err)
	}
	write(fmt.Sprintf(`[{"id":%q,"address":%q,"non_voter":false}]`, left, w.list[i].Peer))
	c := w.start(left)
	w.set("k", "on")
	for i := range 50 {
		wants(t, c.st, fmt.Sprint("k", i), fmt.Sprint(i))
	}
	if _, err := os.Stat(file + recoverDone); err != nil {
		t.Error(err)
	}
	if c.dir.cluster() == cluster || c.dir.phase() != phaseFormed {
		t.Errorf("it is %s of cluster %s", c.dir.phase(), c.dir.cluster())
	}
	// The lost ones come back, and are a majority of the cluster they know.
	for _, id := range lost {
		w.start(id)
	}
	await(t, "they are refused", func() bool { return !c.linked(lost[0]) && !c.linked(lost[1]) })
	w.set("k", "on and on")
	for _, id := range lost {
		if id != left {
			w.stop(id)
			w.lose(id)
		}
	}
	w.joins(lost[0], left)
	w.voters(slices.Sorted(slices.Values([]string{left, lost[0]}))...)
	w.joins(lost[1], left)
	w.voters("n1", "n2", "n3")
	w.set("k", "three again")
	w.agree("k", "three again")
	w.same()
	w.stop(left)
	w.set("k", "without the first")
}

// A node is killed at each step of a recovery.
func TestRecoverGoesOn(t *testing.T) {
	t.Parallel()
	w := newTown(t, "n1")
	w.start("n1")
	w.set("k", "v")
	w.stop("n1")
	const cluster = "fedcba9876543210"
	file := filepath.Join(w.dirOf("n1"), recoverFile)
	for _, text := range []string{`[{"id":"n1"}]`, ""} {
		d, err := openDir(w.dirOf("n1"), "n1")
		if err != nil {
			t.Fatal(err)
		}
		if err := d.become(phaseRecovering, cluster); err != nil {
			t.Fatal(err)
		}
		d.close()
		if text != "" {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c := w.start("n1")
		w.set("more", "v")
		wants(t, c.st, "k", "v")
		if c.dir.cluster() != cluster || c.dir.phase() != phaseFormed {
			t.Errorf("it is %s of cluster %s", c.dir.phase(), c.dir.cluster())
		}
		w.stop("n1")
	}
}

func TestRestoreSnapshot(t *testing.T) {
	t.Parallel()
	w := formed(t, "n1", "n2", "n3")
	w.set("old", "1")
	leader := w.leader()
	saved := state(t, leader.st)
	w.set("old", "2")
	w.set("new", "1")
	ctx := context.Background()
	for _, c := range []struct {
		bytes []byte
		size  int64
	}{
		{saved[:len(saved)-1], -1}, {saved, 3}, {append(bytes.Clone(saved), 'x'), -1}, {nil, -1}, {bytes.Repeat([]byte("rubbish"), 100), -1},
	} {
		if err := leader.Restore(ctx, bytes.NewReader(c.bytes), c.size); err == nil {
			t.Errorf("%d bytes were restored", len(c.bytes))
		}
	}
	w.agree("new", "1")
	var elsewhere *NotLeader
	if err := w.up[w.follower()].Restore(ctx, bytes.NewReader(saved), -1); !errors.As(err, &elsewhere) {
		t.Errorf("a follower restores: %v", err)
	}
	await(t, "the snapshot is restored", func() bool {
		return w.leader().Restore(ctx, bytes.NewReader(saved), int64(len(saved))) == nil
	})
	w.set("after", "it")
	w.agree("old", "1")
	w.agree("new", "")
	w.agree("after", "it")
	w.same()
	for _, id := range []string{"n1", "n2", "n3"} {
		w.stop(id)
	}
	for _, id := range []string{"n1", "n2", "n3"} {
		w.start(id)
	}
	w.set("after", "a restart")
	w.agree("old", "1")
	w.same()
}

func TestRestoreUnderWrites(t *testing.T) {
	t.Parallel()
	w := formed(t, "n1", "n2", "n3")
	leader := w.leader()
	saved := state(t, leader.st)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		writers(8, func(i int) {
			for {
				select {
				case <-stop:
					return
				default:
				}
				err := set(leader.Node, leader.st, fmt.Sprint("w", i), "x")
				if err != nil && !errors.Is(err, store.ErrNotLogged) && !errors.Is(err, ErrInDoubt) {
					t.Error(err)
				}
			}
		})
	}()
	for range 3 {
		await(t, "a snapshot is restored", func() bool { // a leader may lose its leadership
			err := w.leader().Restore(context.Background(), bytes.NewReader(saved), -1)
			if err != nil {
				t.Log(err)
			}
			return err == nil
		})
	}
	close(stop)
	<-done
	w.set("k", "after")
	w.agree("k", "after")
	w.same()
}

func TestMeta(t *testing.T) {
	for _, older := range []string{"crema data 1\nnode n7\nstate new\n", "crema data 2\nnode n7\ncluster none\nstate formed\n"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, metaFile), []byte(older+sumLine(older)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := refused(t, dir, errOlder); errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "restore it into an empty --data-dir") {
			t.Error(err)
		}
	}
	dir := t.TempDir()
	n, st := open(t, Config{Dir: dir, NodeID: "n7"})
	mustSet(t, n, st, "k", "v")
	n.Close()
	b, err := os.ReadFile(filepath.Join(dir, metaFile))
	if want := "crema data 3\nnode n7\ncluster none\nstate formed\n"; err != nil || string(b) != want+sumLine(want) {
		t.Errorf("%q, %v", b, err)
	}
	for _, m := range []meta{
		{node: "n1", phase: phaseNew}, {node: "n2", cluster: "ab", phase: phaseJoined}, {node: "n3", cluster: "cd", phase: phaseRecovering},
	} {
		got, err := parseMeta(m.text())
		m.formed = m.phase.formed()
		if err != nil || got != m {
			t.Errorf("%+v, %v, want %+v", got, err, m)
		}
	}
	for _, bad := range []string{"", "crema data 3\nnode n1\n", "crema data 3\nnode n1\ncluster none\nstate other\n", "rubbish\nnode n1\ncluster none\nstate new\n"} {
		if m, err := parseMeta([]byte(bad + sumLine(bad))); err == nil {
			t.Errorf("%q is %+v", bad, m)
		}
	}
}

func TestAddressBook(t *testing.T) {
	path := filepath.Join(t.TempDir(), addressFile)
	log := &diary{}
	book := func() *addresses {
		cfg := withDefaults(Config{Log: logTo(log), Peers: []Member{{"n1", "a:1", "a:2"}, {"n2", "b:1", "b:2"}, {"n3", "c:1", "c:2"}}})
		return openAddresses(path, &cfg, "n1")
	}
	a := book()
	twice := func(want string) bool {
		first, second := a.dial("n2"), a.dial("n2")
		return first == want && second == want
	}
	if !twice("b:1") || a.of("n1").Client != "a:2" || a.dial("n9") != "" {
		t.Error("the flags do not count")
	}
	a.heard("n2", peerAddress("bb:1", "bb:2"))
	if !twice("bb:1") {
		t.Error("what a node says of itself does not come first")
	}
	a.learn([]Member{{"n2", "wrong:1", ""}, {"n4", "d:1", "d:2"}, {"n1", "wrong:1", ""}})
	a.heard("n5", peerAddress("has space:1", ""))
	a.heard("n1", peerAddress("wrong:1", ""))
	if a.dial("n2") != "bb:1" || a.dial("n4") != "d:1" || a.dial("n5") != "" || a.of("n1").Peer != "a:1" {
		t.Error("hearsay, rubbish or a stranger changed the book")
	}
	// After a restart nobody knows which is right.
	a = book()
	if first, second := a.dial("n2"), a.dial("n2"); first != "bb:1" || second != "b:1" || a.dial("n2") != "bb:1" || a.of("n4").Client != "d:2" {
		t.Errorf("%s, then %s", first, second)
	}
	a.heard("n2", peerAddress("bb:1", "bb:2"))
	if !twice("bb:1") {
		t.Error("what a node says again does not settle it")
	}
	a.forget("n4")
	a.forget("n2")
	a = book()
	if a.dial("n4") != "" || a.dial("n2") != "b:1" {
		t.Error("the file does not forget")
	}
	for range 2 * maxAddresses {
		a.heard(fmt.Sprint("x", time.Now().UnixNano()), peerAddress("x:1", ""))
	}
	if n := len(a.all()); n > maxAddresses {
		t.Errorf("%d nodes", n)
	}
	if err := os.WriteFile(path, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if a = book(); a.dial("n2") != "b:1" || !log.has("is not used") {
		t.Error("a damaged file does harm")
	}
}

// A node that catches up passes configurations of which it was a part before it
// lost its disk, and such without it. They say nothing.
func TestCatchesUpSlowly(t *testing.T) {
	t.Parallel()
	w := formed(t, "n1", "n2", "n3")
	for i := range 300 {
		w.set("k", fmt.Sprint(i))
	}
	lost := w.follower()
	w.stop(lost)
	w.lose(lost)
	slow := &Faults{}
	slow.Set(0, 120*time.Millisecond, false, 0)
	c := w.start(lost, func(c *Config) { c.Faults = slow })
	w.agree("k", "299")
	w.voters("n1", "n2", "n3")
	c.says(t, "has caught up")
	for line, want := range map[string]int{"is a member now": 1, "has caught up": 1, "was removed": 0} {
		if got := c.log.count(line); got != want {
			t.Errorf("it says %d times that it %q", got, line)
		}
	}
}

func TestNotAlone(t *testing.T) {
	t.Parallel()
	w := formed(t, "n1", "n2", "n3")
	w.stop("n1")
	st := store.New(store.Config{})
	defer st.Close()
	n, err := Open(Config{Dir: w.dirOf("n1")}, st)
	if err == nil {
		n.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "start it with --peers") {
		t.Errorf("a node of three is alone: %v", err)
	}
}
