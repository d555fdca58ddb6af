package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"crema/store"

	"github.com/hashicorp/raft"
)

func (w *town) id(c *citizen) string { return c.dir.meta.node }

// successor waits for a leader other than before.
func (w *town) successor(before *citizen) (next *citizen) {
	w.t.Helper()
	await(w.t, "another node leads", func() bool {
		for _, c := range w.up {
			if term, _ := c.Lead(); term != 0 && c != before {
				next = c
			}
		}
		return next != nil
	})
	return next
}

// transfer has another node lead than the one that does.
func (w *town) transfer() {
	w.t.Helper()
	await(w.t, "leadership is handed over", func() bool {
		var elsewhere *NotLeader
		err := w.leader().Transfer(w.t.Context(), "")
		if err != nil && !errors.As(err, &elsewhere) { // there was an election just now
			w.t.Fatal(err)
		}
		return err == nil
	})
}

// knows waits until all who are up know who leads: leader, or who has come after it.
func (w *town) knows(leader *citizen) {
	w.t.Helper()
	await(w.t, "all know the leader", func() bool {
		if term, _ := leader.Lead(); term == 0 {
			leader = w.leader()
		}
		for _, c := range w.up {
			if _, node := c.Lead(); node != w.id(leader) {
				return false
			}
		}
		return true
	})
}

func TestFailover(t *testing.T) {
	t.Parallel()
	w := formed(t, "n1", "n2", "n3")
	for i := range 50 {
		w.set(fmt.Sprint("k", i), "v")
	}
	old := w.leader()
	w.knows(old)
	begin := time.Now()
	w.stop(w.id(old))
	next := w.successor(old)
	w.set("after", "it")
	t.Logf("first write %s after the end of the leader", time.Since(begin).Round(time.Millisecond))
	for i := range 50 {
		wants(t, next.st, fmt.Sprint("k", i), "v")
	}
	next.says(t, "node "+w.id(old)+" was silent", "leader changed")
	w.start(w.id(old))
	w.agree("after", "it")
	w.knows(next)
	w.digests()
}

// digests waits until all who are up say the same of the same index.
func (w *town) digests() {
	w.t.Helper()
	await(w.t, "all have one digest", func() bool {
		seen := map[string]bool{}
		for _, c := range w.up {
			index, sum, n, err := c.StateDigest()
			if err != nil || n == 0 {
				w.t.Fatalf("digest of %d bytes: %v", n, err)
			}
			seen[fmt.Sprint(index, sum)] = true
		}
		return len(seen) == 1
	})
}

// A leader that nobody answers knows it before anybody else leads.
func TestCutOff(t *testing.T) {
	t.Parallel()
	w := formed(t, "n1", "n2", "n3")
	old := w.leader()
	w.knows(old)
	term, _ := old.Lead()
	await(t, "it has a lease", func() bool { return old.Verify(term, true) == nil })
	if err := old.Verify(term, false); err != nil {
		t.Fatal(err)
	}
	if old.lease.rounds.Load() == 0 {
		t.Error("verified without asking anybody")
	}
	await(t, "a valid lease is enough", func() bool { // unless it has just run out
		rounds := old.lease.rounds.Load()
		return old.Verify(term, true) == nil && old.lease.rounds.Load() == rounds
	})
	changed := old.Changed()
	old.port.Isolate(true)
	if err := old.Verify(term, false); !errors.Is(err, store.ErrNotLogged) {
		t.Errorf("verified in solitude: %v", err)
	}
	<-changed
	if err := old.Verify(term, true); err == nil {
		t.Error("a lease without a leader")
	}
	if err := set(old.Node, old.st, "k", "refused"); !errors.Is(err, store.ErrNotLogged) {
		t.Errorf("a write in solitude: %v", err)
	}
	next := w.successor(old)
	mustSet(t, next.Node, next.st, "k", "new")
	old.port.Isolate(false)
	w.knows(next)
	w.agree("k", "new")
	old.says(t, "a majority does not answer")
}

// What is in flight when the leader is cut off is in doubt, and what waits
// behind it was not logged.
func TestCutOffInFlight(t *testing.T) {
	t.Parallel()
	lasting(t, cutOffInFlight)
}

func cutOffInFlight(t *testing.T) bool {
	w := formed(t, "n1", "n2", "n3")
	old := w.leader()
	w.knows(old)
	old.port.Isolate(true)
	results := make(chan error, 2)
	go func() { results <- set(old.Node, old.st, "a", "1") }()
	await(t, "it flies", func() bool { _, landed := old.queue.flying(); return landed != nil || len(results) > 0 })
	if len(results) > 0 { // it knew already that nobody answers
		if err := <-results; err == nil {
			t.Error("a write in solitude succeeded")
		}
		return false
	}
	go func() { results <- set(old.Node, old.st, "b", "2") }()
	await(t, "it waits", func() bool { return old.Stats().Waiting == 1 || len(results) > 0 })
	errs := []error{<-results, <-results}
	if errors.Is(errs[0], store.ErrNotLogged) {
		slices.Reverse(errs)
	}
	if !errors.Is(errs[0], ErrInDoubt) || !errors.Is(errs[1], store.ErrNotLogged) {
		t.Errorf("%v", errs)
	}
	next := w.successor(old)
	mustSet(t, next.Node, next.st, "b", "3")
	old.port.Isolate(false)
	w.agree("b", "3")
	w.digests()
	return true
}

// An entry that was evaluated in another term than it was appended in is applied
// nowhere.
func TestOvertaken(t *testing.T) {
	t.Parallel()
	w := formed(t, "n1", "n2", "n3")
	c := w.leader()
	term, _ := c.Lead()
	entry := store.AppendEffects(nil, []store.Effect{{Op: store.OpPut, Key: []byte("k"), Value: []byte("stale"), Pinned: true}})
	future := c.raft.Load().ApplyLog(raft.Log{Data: entry, Extensions: origin{1, 1, term - 1}.bytes()}, time.Second)
	if err := future.Error(); err != nil {
		t.Fatal(err)
	}
	if err, _ := future.Response().(error); !errors.Is(err, store.ErrNotLogged) {
		t.Errorf("it was applied: %v", err)
	}
	w.set("after", "it")
	w.agree("after", "it")
	w.agree("k", "v")
}

// A disk that hangs makes its node give leadership away, whether raft waits for it
// or not.
func TestHungDisk(t *testing.T) {
	for name, hangs := range map[string]func(*disk, func() error){
		"write": func(d *disk, hang func() error) { d.fault = hang },
		"sync":  func(d *disk, hang func() error) { d.unsync = hang },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := formed(t, "n1", "n2", "n3")
			old := w.leader()
			w.knows(old)
			release := make(chan struct{})
			var hang sync.Once
			hanging := make(chan struct{})
			old.disk.mu.Lock()
			hangs(old.disk, func() error {
				hang.Do(func() { close(hanging) })
				<-release
				return nil
			})
			old.disk.mu.Unlock()
			result := make(chan error, 1)
			go func() { result <- set(old.Node, old.st, "k", "doubtful") }()
			<-hanging
			begin := time.Now()
			if err := <-result; !errors.Is(err, ErrInDoubt) {
				t.Errorf("in flight: %v", err)
			}
			next := w.successor(old)
			took := time.Since(begin)
			t.Logf("another leads after %s", took.Round(time.Millisecond))
			if took > 10*time.Second {
				t.Error("it took too long")
			}
			mustSet(t, next.Node, next.st, "k", "new")
			close(release)
			old.setFault(nil)
			w.knows(next)
			w.agree("k", "new")
			old.says(t, "giving leadership away", "the disk answers again")
			w.digests()
		})
	}
}

func (c *citizen) setFault(err error) { c.disk.setFault(err) }

// A leader whose disk is full hands over and does not come back before there is
// room.
func TestFullDiskOfLeader(t *testing.T) {
	t.Parallel()
	faults := new(Faults)
	w := newTown(t, "n1", "n2", "n3")
	for _, id := range []string{"n1", "n2", "n3"} {
		w.start(id, func(c *Config) {
			if id == "n1" {
				c.Faults = faults
			}
		})
	}
	w.set("k", "v")
	w.voters("n1", "n2", "n3")
	full := w.up["n1"]
	if old := w.leader(); old != full {
		if err := old.Transfer(t.Context(), "n1"); err != nil {
			t.Fatal(err)
		}
		await(t, "n1 leads", func() bool { term, _ := full.Lead(); return term != 0 })
	}
	led := full.log.count("leadership won")
	faults.Set(0, 0, true, 0)
	begin := time.Now()
	if err := set(full.Node, full.st, "k", "refused"); err == nil {
		t.Error("a write to a full disk succeeded")
	}
	next := w.successor(full)
	t.Logf("another leads after %s", time.Since(begin).Round(time.Millisecond))
	mustSet(t, next.Node, next.st, "k", "new")
	w.knows(next)
	if err := full.Stats().DiskError; !errors.Is(err, ErrDiskFull) {
		t.Errorf("DiskError: %v", err)
	}
	for range 20 {
		w.set("k", "new")
	}
	if n := full.log.count("leadership won"); n > led {
		t.Errorf("it led %d times more", n-led)
	}
	faults.Set(0, 0, false, 0)
	w.agree("k", "new")
	w.stop(w.id(next))
	w.set("k", "newer")
	w.agree("k", "newer")
}

// A disk that is broken for good takes its node out, and nobody else.
func TestBrokenDiskOfLeader(t *testing.T) {
	t.Parallel()
	w := formed(t, "n1", "n2", "n3")
	old := w.leader()
	old.disk.setFault(syscall.EIO)
	if err := set(old.Node, old.st, "k", "doubtful"); !errors.Is(err, ErrInDoubt) {
		t.Errorf("set: %v", err)
	}
	next := w.successor(old)
	mustSet(t, next.Node, next.st, "k", "new")
	w.knows(next)
	w.stop(w.id(old))
	w.start(w.id(old))
	w.agree("k", "new")
}

func TestResign(t *testing.T) {
	t.Parallel()
	w := formed(t, "n1", "n2", "n3")
	old := w.leader()
	w.knows(old)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	begin := time.Now()
	old.Resign(ctx)
	t.Logf("resigned within %s", time.Since(begin).Round(time.Millisecond))
	if ctx.Err() != nil {
		t.Fatal("nobody took over")
	}
	if term, node := old.Lead(); term != 0 || node == "" || node == w.id(old) {
		t.Errorf("after: %d, %q", term, node)
	}
	next := w.successor(old)
	next.says(t, "node "+w.id(old)+" handed over")
	// Who has resigned does not come back, not even when it is asked to.
	brief, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if err := next.Transfer(brief, w.id(old)); err == nil {
		t.Error("who resigned leads again")
	}
	w.set("k", "after")
	w.agree("k", "after")
}

// A transfer that fails leaves the leader leading, and without a lease for the
// rest of its term: the message to take over may still be on its way.
func TestTransferFails(t *testing.T) {
	t.Parallel()
	w := formed(t, "n1", "n2", "n3")
	old := w.leader()
	term, _ := old.Lead()
	to := w.follower()
	w.up[to].leave(true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := old.Transfer(ctx, to); err == nil {
		t.Fatal("it was transferred")
	}
	w.set("k", "after")
	if again, _ := old.Lead(); again == term && old.lease.until.Load() != 0 {
		t.Error("there is a lease")
	}
	w.up[to].leave(false)
	w.transfer()
	w.set("k", "twice")
	w.agree("k", "twice")
}

// Nobody grants a vote right after a start, or after having heard a leader.
func TestPromise(t *testing.T) {
	p := newPromise(time.Now().Add(time.Hour))
	if _, err := p.vote(2, false); err == nil {
		t.Error("a vote within the promise of before the restart")
	}
	p = newPromise(time.Time{})
	decided, err := p.vote(3, false)
	if err != nil {
		t.Fatal(err)
	}
	if p.hear(2) == nil {
		t.Error("a leader of the old term was answered while its successor was voted for")
	}
	if err := p.hear(3); err != nil {
		t.Error(err)
	}
	decided()
	if err := p.hear(2); err != nil {
		t.Error(err)
	}
	if _, err := p.vote(4, false); err == nil || p.free() == nil {
		t.Error("a vote right after a leader was heard")
	}
	if _, err := p.vote(4, true); err != nil {
		t.Errorf("a vote that the leader asked for: %v", err)
	}
	ended := p.answer()
	if _, err := p.vote(5, true); err == nil {
		t.Error("a vote while raft answers a leader of the term before")
	}
	ended()
	if _, err := p.vote(5, true); err != nil {
		t.Error(err)
	}
}

// A lease counts from when the messages were sent that a majority has answered.
func TestLeaseIsCountedFromSending(t *testing.T) {
	l := newLease("a")
	l.voters = func() []raft.Server { return []raft.Server{{ID: "a"}, {ID: "b"}, {ID: "c"}, {ID: "d"}, {ID: "e"}} }
	l.begin(7)
	l.use(7)
	l.answered("b", 7, 100, 5)
	if l.until.Load() != 0 {
		t.Error("two of five are a majority")
	}
	l.answered("c", 7, 50, 9)
	if got := l.until.Load(); got != 50+int64(leaseTime) {
		t.Errorf("until %d", got)
	}
	l.answered("d", 6, 1000, 9)
	l.answered("b", 7, 60, 4)
	if got := l.until.Load(); got != 50+int64(leaseTime) {
		t.Errorf("until %d after an old answer", got)
	}
	if l.matched("b") != 5 || l.holders(5) != 2 || l.holders(6) != 1 {
		t.Error("holders")
	}
	l.give(7)
	l.use(7)
	l.answered("c", 7, 500, 9)
	if l.until.Load() != 0 {
		t.Error("a lease that was given up is back")
	}
	l.begin(8)
	l.use(8)
	if l.until.Load() != 0 || l.matched("b") != 0 {
		t.Error("answers of the last term count in this one")
	}
}

// Counters are increased through whoever leads while leaders come and go. What
// was acknowledged is there; what is there was acknowledged or is in doubt.
func TestCountersThroughChanges(t *testing.T) {
	t.Parallel()
	w := formed(t, "n1", "n2", "n3")
	citizens := []*citizen{w.up["n1"], w.up["n2"], w.up["n3"]}
	const counters = 4
	var acked, doubtful [counters]atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	for i := range counters * 2 {
		key := fmt.Sprint("count", i%counters)
		wg.Go(func() {
			for ; !stop.Load(); time.Sleep(100 * time.Microsecond) { // load, and room for an election
				for _, c := range citizens {
					changed := c.Changed()
					term, _ := c.Lead()
					if term == 0 {
						continue
					}
					err := change(c.Node, c.st, key, func(tx *store.Tx) {
						n := 0
						if e, ok := tx.Get([]byte(key)); ok {
							n, _ = strconv.Atoi(string(e.Value))
						}
						tx.Put([]byte(key), store.Put{Value: []byte(strconv.Itoa(n + 1))})
					})
					switch {
					case err == nil:
						acked[i%counters].Add(1)
					case errors.Is(err, store.ErrNotLogged):
						select {
						case <-changed:
						case <-time.After(time.Millisecond):
						}
					default:
						doubtful[i%counters].Add(1)
					}
				}
			}
		})
	}
	for round := range 6 {
		leader := w.leader()
		before := acked[0].Load()
		switch round % 3 {
		case 0:
			leader.port.Isolate(true)
			w.successor(leader)
			leader.port.Isolate(false)
		case 1:
			w.transfer()
		case 2: // for long enough to lose an election or two, or none
			for _, c := range citizens {
				if c != leader {
					c.port.Isolate(true)
				}
			}
			await(t, "it leads no more", func() bool { term, _ := leader.Lead(); return term == 0 })
			for _, c := range citizens {
				c.port.Isolate(false)
			}
		}
		await(t, "it goes on", func() bool { return acked[0].Load() > before+20 })
	}
	stop.Store(true)
	wg.Wait()
	w.set("last", "one")
	w.agree("last", "one")
	for i := range counters {
		got, _ := get(t, w.leader().st, fmt.Sprint("count", i))
		n, _ := strconv.ParseInt(got, 10, 64)
		if low, high := acked[i].Load(), acked[i].Load()+doubtful[i].Load(); n < low || n > high {
			t.Errorf("counter %d is %d: %d were acknowledged, %d in doubt", i, n, low, high-low)
		}
		t.Logf("counter %d: %d, in doubt %d", i, n, doubtful[i].Load())
	}
	w.digests()
}

// Clocks are a minute apart and jump. A pinned key with a TTL is there for as
// long as was said, and for no longer than that and the minutes that a later
// leader's clock was behind.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	lasting(t, clocksApart)
}

func clocksApart(t *testing.T) bool {
	w := newTown(t, "n1", "n2", "n3")
	offsets := map[string]*atomic.Int64{}
	for id, minutes := range map[string]int64{"n1": 0, "n2": 1, "n3": -1} {
		offset := new(atomic.Int64)
		offset.Store(minutes * int64(time.Minute))
		offsets[id] = offset
		clock := NewClock(func() time.Duration { return time.Duration(offset.Load()) })
		c := &citizen{st: store.New(store.Config{Now: clock.Now}), log: &diary{}}
		cfg := Config{Dir: w.dirOf(id), NodeID: id, Peers: w.list, Clock: clock, Log: logTo(c.log)}
		for _, m := range w.list {
			if m.ID == id {
				cfg.Listen = m.Peer
			}
		}
		var err error
		if c.Node, err = Open(cfg, c.st); err != nil {
			t.Fatal(err)
		}
		w.up[id] = c
	}
	const ttl = 30 * time.Second
	alive := func(c *citizen, key string) bool {
		var tx store.Tx
		if err := tx.Begin(c.st, c.cfg.Clock.Now().UnixMilli(), 0, store.Scope{Shards: c.st.ShardOf([]byte(key))}); err != nil {
			t.Fatal(err)
		}
		defer tx.End()
		_, ok := tx.Get([]byte(key))
		return ok
	}
	for round := range 4 {
		leader := w.leader()
		term, _ := leader.Lead()
		key := fmt.Sprint("lock", round)
		err := change(leader.Node, leader.st, key, func(tx *store.Tx) {
			deadline := leader.cfg.Clock.Now().Add(ttl).UnixMilli()
			tx.Put([]byte(key), store.Put{Value: []byte("held"), Deadline: deadline, Sure: true})
		})
		if errors.Is(err, store.ErrNotLogged) || errors.Is(err, ErrInDoubt) {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		// A jump of the leader's clock, then a leader with another one.
		offsets[w.id(leader)].Add(int64(time.Minute) * int64(1-round%2*2))
		held := alive(leader, key)
		if now, _ := leader.Lead(); now != term {
			return false
		}
		if !held {
			t.Errorf("round %d: a jump of the clock has ended a lock", round)
		}
		var elsewhere *NotLeader
		if err := leader.Transfer(t.Context(), ""); errors.As(err, &elsewhere) {
			return false
		} else if err != nil {
			t.Fatal(err)
		}
		next := w.successor(leader)
		term, _ = next.Lead()
		var early []int
		for i := range round + 1 {
			if !alive(next, fmt.Sprint("lock", i)) {
				early = append(early, i)
			}
		}
		if now, _ := next.Lead(); now != term {
			return false
		}
		if len(early) > 0 {
			t.Errorf("round %d: locks %v ended early", round, early)
		}
	}
	w.set("k", "v")
	w.agree("k", "v")
	w.digests()
	return true
}

// A leader's clock goes on from where its term began.
func TestClockHolds(t *testing.T) {
	var offset atomic.Int64
	c := NewClock(func() time.Duration { return time.Duration(offset.Load()) })
	before := c.Now()
	c.hold(reading{c.wall(), time.Now()})
	offset.Store(int64(time.Hour))
	if d := c.Now().Sub(before); d < 0 || d > time.Minute {
		t.Errorf("jumped by %s", d)
	}
	c.release()
	if d := c.Now().Sub(before); d < time.Hour {
		t.Errorf("the wall clock is %s later", d)
	}
}

// Each safeguard that is left out is missed.
func TestLeftOut(t *testing.T) {
	t.Parallel()
	lasting(t, leftOut)
}

func leftOut(t *testing.T) bool {
	faults := new(Faults)
	w := newTown(t, "n1", "n2", "n3")
	for _, id := range []string{"n1", "n2", "n3"} {
		w.start(id, func(c *Config) { c.Faults = faults })
	}
	w.set("k", "v")
	w.voters("n1", "n2", "n3")
	leader := w.leader()
	w.knows(leader)
	term, _ := leader.Lead()

	faults.Set(0, 0, false, BreakQuorum|BreakVerify)
	leader.port.Isolate(true)
	quorum, verify := set(leader.Node, leader.st, "k", "of a minority"), leader.Verify(term, false)
	if now, _ := leader.Lead(); now != term { // it knew already that nobody answers
		return false
	}
	if quorum != nil || verify != nil {
		t.Errorf("quorum: %v, verify: %v", quorum, verify)
	}
	next := w.successor(leader)
	faults.Set(0, 0, false, 0)
	wants(t, next.st, "k", "v")
	leader.port.Isolate(false)
	w.knows(next)

	cached := func(c *citizen) error {
		return change(c.Node, c.st, "cached", func(tx *store.Tx) {
			tx.Put([]byte("cached"), store.Put{Value: []byte("v"), Deadline: time.Now().Add(time.Hour).UnixMilli()})
		})
	}
	for _, broken := range []Break{0, BreakCache} {
		faults.Set(0, 0, false, broken)
		leader := w.leader()
		w.knows(leader)
		var elsewhere *NotLeader
		err := cached(leader)
		if err == nil {
			err = leader.Transfer(t.Context(), "")
		}
		if errors.Is(err, store.ErrNotLogged) || errors.As(err, &elsewhere) {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		await(t, "it follows", func() bool { term, _ := leader.Lead(); return term == 0 })
		if broken == 0 {
			await(t, "the cached side is empty", func() bool { _, there := get(t, leader.st, "cached"); return !there })
		} else if _, there := get(t, leader.st, "cached"); !there {
			t.Error("cache: it was emptied")
		}
	}
	return true
}

// A verification is shared, and costs a round of messages.
func BenchmarkVerify(b *testing.B) {
	for _, mode := range []string{"lease", "1 reader", "64 readers"} {
		b.Run(mode, func(b *testing.B) {
			w := benchTown(b)
			leader := w.leader()
			term, _ := leader.Lead()
			readers := 1
			if strings.HasPrefix(mode, "64") {
				readers = 64
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			writers(readers, func(int) {
				for left.Add(-1) >= 0 {
					if err := leader.Verify(term, mode == "lease"); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkSetThree is pinned writes to three nodes of one process, every one of
// them synced by a majority.
func BenchmarkSetThree(b *testing.B) {
	for _, clients := range []int{1, 64, 512} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			w := benchTown(b)
			leader := w.leader()
			value := strings.Repeat("v", 64)
			var next atomic.Int64
			var failed sync.Once
			b.ResetTimer()
			writers(clients, func(int) {
				for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
					if err := set(leader.Node, leader.st, fmt.Sprintf("key%013d", i%100_000), value); err != nil {
						failed.Do(func() { b.Error(err, leader.log.text.String()) })
						return
					}
				}
			})
			s := leader.Stats()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			b.ReportMetric(float64(s.Pendings)/float64(s.Entries), "writes/entry")
			b.ReportMetric(float64(s.LogTime.Microseconds())/float64(s.Entries), "µs/entry")
		})
	}
}

func benchTown(b *testing.B) *town {
	w := newTown(b, "n1", "n2", "n3")
	for _, id := range []string{"n1", "n2", "n3"} {
		w.start(id)
	}
	w.set("k", "v")
	w.voters("n1", "n2", "n3")
	return w
}
