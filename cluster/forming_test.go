package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crema/store"

	"github.com/hashicorp/raft"
)

// town is some nodes on loopback, each with a directory that stays when the
// node goes.
type town struct {
	t    testing.TB
	dir  string
	list []Member // --peers of everybody
	up   map[string]*citizen
}

type citizen struct {
	*Node
	st  *store.Store
	log *diary
}

// diary is a log to look into.
type diary struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *diary) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *diary) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

func (l *diary) has(what string) bool { return l.count(what) > 0 }

// says waits until all of these are in the log: a line comes after what it tells of.
func (c *citizen) says(t testing.TB, lines ...string) {
	t.Helper()
	for _, line := range lines {
		await(t, fmt.Sprintf("%s says %q", c.dir.meta.node, line), func() bool { return c.log.has(line) })
	}
}

func newTown(t testing.TB, ids ...string) *town {
	w := &town{t: t, dir: t.TempDir(), up: map[string]*citizen{}}
	for _, id := range ids {
		w.list = append(w.list, Member{ID: id, Peer: freeAddress(t), Client: id + ".clients:6379"})
	}
	t.Cleanup(func() {
		for id := range w.up {
			w.stop(id)
		}
	})
	return w
}

var freePort atomic.Int64 // how many freeAddress has tried

// freeAddress is an address that nobody listens on. Nobody else is given it, here or
// by the system, which begins at 32768.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 2700 {
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 30_000+(int64(os.Getpid())*97+freePort.Add(1))%2700))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("there is no free port")
	return ""
}

func (w *town) dirOf(id string) string { return filepath.Join(w.dir, id) }

// start starts a node; change may alter what it is told.
func (w *town) start(id string, change ...func(*Config)) *citizen {
	w.t.Helper()
	c := &citizen{st: store.New(store.Config{}), log: &diary{}}
	cfg := Config{Dir: w.dirOf(id), NodeID: id, Peers: slices.Clone(w.list), Log: logTo(c.log), TrailingBytes: 1}
	for _, f := range change {
		f(&cfg)
	}
	for _, m := range cfg.Peers {
		if m.ID == id {
			cfg.Listen = m.Peer
		}
	}
	var err error
	if c.Node, err = Open(cfg, c.st); err != nil {
		c.st.Close()
		w.t.Fatalf("start %s: %v", id, err)
	}
	w.up[id] = c
	return c
}

// joins makes a node that is in nobody's list come through another.
func (w *town) joins(id, through string) *citizen {
	w.t.Helper()
	at := ""
	for _, m := range w.list {
		if m.ID == through {
			at = m.Peer
		}
	}
	self := Member{ID: id, Peer: freeAddress(w.t), Client: id + ".clients:6379"}
	return w.start(id, func(c *Config) { c.Peers, c.Join = []Member{self}, at })
}

func (w *town) stop(id string) {
	w.t.Helper()
	c := w.up[id]
	delete(w.up, id)
	if err := c.Close(); err != nil {
		w.t.Errorf("stop %s: %v", id, err)
	}
	c.st.Close()
	if w.t.Failed() && os.Getenv("CREMA_TEST_LOGS") != "" {
		w.t.Logf("%s:\n%s", id, c.log.text.String())
	}
}

func (w *town) lose(id string) {
	w.t.Helper()
	if err := os.RemoveAll(w.dirOf(id)); err != nil {
		w.t.Fatal(err)
	}
}

// await waits for what is bound to happen.
func await(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to pass: %s", what)
		}
	}
}

// term is the latest that any node has heard of.
func (w *town) term() (term uint64) {
	for _, c := range w.up {
		term = max(term, c.currentTerm())
	}
	return term
}

// lasting repeats a scenario that takes for granted who leads: do says whether that
// held to its end.
func lasting(t *testing.T, do func(t *testing.T) bool) {
	for range 5 {
		if do(t) || t.Failed() {
			return
		}
		t.Log("another election: once more")
	}
	t.Error("no leader lasts")
}

// leader is who evaluates now.
func (w *town) leader() *citizen {
	w.t.Helper()
	var leader *citizen
	await(w.t, "somebody leads", func() bool {
		for _, c := range w.up {
			if term, _ := c.Lead(); term != 0 {
				leader = c
				return true
			}
		}
		return false
	})
	return leader
}

func (w *town) follower() string {
	w.t.Helper()
	leader := w.leader().dir.meta.node
	for id := range w.up {
		if id != leader {
			return id
		}
	}
	w.t.Fatal("nobody follows")
	return ""
}

// set writes through whoever leads.
func (w *town) set(key, value string) {
	w.t.Helper()
	await(w.t, "a write succeeds", func() bool {
		c := w.leader()
		err := set(c.Node, c.st, key, value)
		if err != nil && !errors.Is(err, store.ErrNotLogged) && !errors.Is(err, ErrInDoubt) {
			w.t.Fatal(err)
		}
		return err == nil
	})
}

// agree waits until all who are up have what was written.
func (w *town) agree(key, value string) {
	w.t.Helper()
	for id, c := range w.up {
		await(w.t, fmt.Sprintf("%s has %s", id, key), func() bool {
			got, _ := get(w.t, c.st, key)
			return got == value
		})
	}
}

// voters waits until these nodes, and no others, are members who vote.
func (w *town) voters(ids ...string) {
	w.t.Helper()
	for id, c := range w.up {
		await(w.t, fmt.Sprintf("%s knows the voters %v", id, ids), func() bool {
			var got []string
			for _, m := range c.Members() {
				if !m.Voter {
					return false
				}
				got = append(got, m.ID)
			}
			slices.Sort(got)
			return slices.Equal(got, ids) && c.dir.phase() == phaseFormed
		})
	}
}

func TestFormsInAnyOrder(t *testing.T) {
	for _, order := range [][]string{{"n1", "n2", "n3"}, {"n3", "n2", "n1"}, {"n2", "n1", "n3"}} {
		t.Run(strings.Join(order, ","), func(t *testing.T) {
			t.Parallel()
			w := newTown(t, "n1", "n2", "n3")
			for _, id := range order[:2] {
				w.start(id)
			}
			for _, id := range order[:2] {
				await(t, id+" says whom it waits for", func() bool {
					return w.up[id].log.has("all of --peers have to be there once") && w.up[id].log.has("node "+order[2])
				})
				if term, leader := w.up[id].Lead(); term != 0 || leader != "" {
					t.Errorf("%s knows the leader %q of term %d", id, leader, term)
				}
			}
			w.start(order[2])
			w.set("k", "v")
			w.agree("k", "v")
			w.voters("n1", "n2", "n3")
			for id, c := range w.up {
				if c.dir.cluster() == "" || c.dir.cluster() != w.up["n1"].dir.cluster() {
					t.Errorf("%s is of cluster %q", id, c.dir.cluster())
				}
			}
		})
	}
}

// leave writes a directory as a node leaves it that was killed in some phase.
func (w *town) leave(id string, p phase, cluster string) {
	w.t.Helper()
	d, err := openDir(w.dirOf(id), id)
	if err != nil {
		w.t.Fatal(err)
	}
	defer d.close()
	if p.formed() {
		w.bootstrap(id)
	}
	if err := d.become(p, cluster); err != nil {
		w.t.Fatal(err)
	}
}

// bootstrap writes the first entry of the log, as start does.
func (w *town) bootstrap(id string) {
	w.t.Helper()
	dir := w.dirOf(id)
	log, err := openLog(&dataDir{path: dir}, &disk{log: slog.New(slog.DiscardHandler)}, nil, func(int, int64) {}, func() uint64 { return 0 })
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { log.stop(); log.close() }()
	snaps, err := openSnapshots(dir, filepath.Join(dir, snapshotDir), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	var ids []string
	for _, m := range w.list {
		ids = append(ids, m.ID)
	}
	conf := raftConfig(id, false, nil, slog.New(slog.DiscardHandler))
	_, transport := raft.NewInmemTransport(raft.ServerAddress(id))
	if err := raft.BootstrapCluster(conf, log, log, snaps, transport, raft.Configuration{Servers: servers(ids)}); err != nil {
		w.t.Fatal(err)
	}
}

// Each node is killed at each step, that is between writing it down and the
// next; and what it had begun to write of its log does not matter.
func TestFormingGoesOn(t *testing.T) {
	const id = "0123456789abcdef"
	for _, c := range []struct {
		phases [3]phase // of n1, the founder, n2 and n3
		half   string   // has begun its log without being formed
		want   string   // the cluster's id, where it is known
	}{
		{[3]phase{phaseFounding, phaseNew, phaseNew}, "", id},
		{[3]phase{phaseFounding, phaseFounding, phaseNew}, "", id},
		{[3]phase{phaseFounding, phaseFounding, phaseFounding}, "n1", id},
		{[3]phase{phaseFormed, phaseFounding, phaseFounding}, "n3", id},
		{[3]phase{phaseFormed, phaseFormed, phaseFounding}, "n3", id},
		{[3]phase{phaseFormed, phaseFormed, phaseFormed}, "", id},
		// The founder has lost its disk, when nobody was formed yet.
		{[3]phase{phaseNew, phaseFounding, phaseNew}, "", id},
		{[3]phase{phaseNew, phaseFounding, phaseFounding}, "n2", id},
		// Somebody has lost it, when others were formed.
		{[3]phase{phaseNew, phaseFormed, phaseFormed}, "", id},
		{[3]phase{phaseNew, phaseFormed, phaseFounding}, "", id},
		{[3]phase{phaseFormed, phaseNew, phaseFounding}, "", id},
		{[3]phase{phaseFormed, phaseJoining, phaseFormed}, "n2", id},
	} {
		t.Run(fmt.Sprint(c.phases), func(t *testing.T) {
			t.Parallel()
			w := newTown(t, "n1", "n2", "n3")
			for i, m := range w.list {
				cluster := id
				if c.phases[i] == phaseNew {
					cluster = ""
				}
				w.leave(m.ID, c.phases[i], cluster)
				if c.half == m.ID {
					w.bootstrap(m.ID)
				}
			}
			for _, m := range w.list {
				w.start(m.ID)
			}
			w.set("k", "v")
			w.agree("k", "v")
			w.voters("n1", "n2", "n3")
			for node, c := range w.up {
				if got := c.dir.cluster(); got != id {
					t.Errorf("%s is of cluster %s", node, got)
				}
			}
		})
	}
}

func TestFormsOnlyWhenAllAgree(t *testing.T) {
	t.Parallel()
	w := newTown(t, "n1", "n2", "n3")
	fewer := func(c *Config) { c.Peers = c.Peers[:2] }
	w.start("n1")
	w.start("n2", fewer)
	c := w.start("n3")
	await(t, "n3 complains of the lists", func() bool {
		return c.log.has("--peers must be the same everywhere: here it names n1,n2,n3, at node n2 it names n1,n2")
	})
	w.stop("n2")
	w.start("n2")
	w.set("k", "v")
	w.agree("k", "v")
}

func TestAddressOfSomebodyElse(t *testing.T) {
	t.Parallel()
	w := newTown(t, "n1", "n2", "n3")
	w.start("n2")
	c := w.start("n1", func(c *Config) { c.Peers[2].Peer = c.Peers[1].Peer })
	await(t, "n1 says who is there instead", func() bool { return c.log.has("it is node n2") })
}

// All lose their disks but one, and that one is away: nobody may begin anew.
func TestNobodyBeginsAnewBesideAnother(t *testing.T) {
	t.Parallel()
	w := newTown(t, "n1", "n2", "n3")
	for _, m := range w.list {
		w.start(m.ID)
	}
	w.set("k", "v")
	w.agree("k", "v")
	cluster := w.up["n1"].dir.cluster()
	for _, id := range []string{"n1", "n2", "n3"} {
		w.stop(id)
	}
	w.lose("n1")
	w.lose("n2")
	n1, n2 := w.start("n1"), w.start("n2")
	await(t, "they wait for n3", func() bool { return n1.log.has("node n3") && n2.log.has("node n3") })
	w.start("n3")
	await(t, "they ask to be added", func() bool {
		return n1.dir.phase() == phaseJoining && n2.dir.phase() == phaseJoining &&
			n1.log.has("there is no leader now") && n2.log.has("there is no leader now")
	})
	if n1.dir.cluster() != cluster || n1.mayVote() {
		t.Errorf("n1 of cluster %s votes: %v", n1.dir.cluster(), n1.mayVote())
	}
}
