//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"crema/bench/proof/check"
	"crema/bench/proof/faults"
	"crema/bench/proof/load"
	"crema/bench/proof/world"
)

const (
	// All nodes must be there, and alike, so long after everything is healed.
	formTimeout  = 30 * time.Second
	equalTimeout = 60 * time.Second
)

// proof is one run.
type proof struct {
	options
	started   time.Time
	dir       string
	judge     *check.Judge
	outages   *load.Outages
	world     *world.World
	nemesis   *faults.Nemesis
	workloads []load.Workload
	digests   map[int64]string // what any node said of its state at an index

	mu sync.Mutex // guards the terminal
}

func run(ctx context.Context, o options) (status int, err error) {
	p := &proof{options: o, started: time.Now(), digests: map[int64]string{}}
	plan, err := o.plan()
	if err != nil {
		return statusFailed, err
	}
	parent := o.out
	if parent == "" {
		parent = os.TempDir()
	}
	p.dir = filepath.Join(parent, world.DirName())
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return statusFailed, err
	}
	p.judge = check.NewJudge(p.dir, p.say)
	p.outages = load.NewOutages(p.say)
	// Evidence stays; so does what explains a run that failed.
	defer func() {
		if (status == statusHeld || o.plant != "" && status == statusBroken && p.judge.Found() == 0) && !o.keep {
			os.RemoveAll(p.dir)
			return
		}
		p.say("logs and evidence are in %s", p.dir)
	}()

	config := world.Config{
		Binary: o.binary, Nodes: 3, Dir: p.dir, Seed: o.seed, DiskMB: o.diskMB, Arguments: o.more,
		OnExit: p.died,
	}
	if o.plant != "" {
		config.Break = []string{o.plant}
	}
	if p.world, err = world.New(config); err != nil {
		return statusFailed, err
	}
	defer func() {
		if o.plant == "" && p.judge.Found() > 0 {
			p.keepDisks()
		}
		p.world.Close()
	}()
	p.nemesis = &faults.Nemesis{
		World: p.world, Seed: o.seed, Weights: plan.Weights, Leaders: plan.Leaders, Say: p.say, LeaderDied: p.outages.LeaderDied,
		Broken: func(what string) { p.judge.Report("faults", what, nil) },
	}
	if err := p.addWorkloads(); err != nil {
		return statusFailed, err
	}

	p.say("seed %d, plant %q, %s of faults in rounds of %s, %s", o.seed, o.plant, o.duration, o.round, o.binary)
	for _, n := range p.world.Nodes {
		if err := n.Start(); err != nil {
			return statusFailed, err
		}
	}
	if err := p.alike(ctx, formTimeout, true); err != nil {
		return statusFailed, fmt.Errorf("the cluster did not form: %w", err)
	}
	p.say("the cluster has formed")
	return p.rounds(ctx)
}

func (p *proof) rounds(ctx context.Context) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go check.Stalls(ctx, func(d time.Duration) { p.say("this machine stood still for %.1fs", d.Seconds()) })
	var broken time.Duration
	for round := 1; broken < p.duration && ctx.Err() == nil; round++ {
		length := min(p.round, p.duration-broken)
		p.oneRound(ctx, round, length)
		broken += length
		if p.judge.Found() > 0 {
			break
		}
	}
	for _, w := range p.workloads {
		p.say("%-10s %s", w.Name(), w.Summary())
	}
	p.say("%s", p.outages.Summary())
	p.say("%s", p.nemesis.Summary())
	found := p.judge.Found()
	switch {
	case ctx.Err() != nil:
		return statusFailed, fmt.Errorf("interrupted after %s, %d violations", time.Since(p.started).Round(time.Second), found)
	case p.plant != "" && found > 0:
		p.say("plant %s: found after %.1fs (seed %d)", p.plant, p.judge.FirstAfter().Seconds(), p.seed)
		return statusHeld, nil
	case p.plant != "":
		p.say("plant %s: NOT found in %s (seed %d)", p.plant, p.within, p.seed)
		return statusBroken, nil
	case found > 0:
		p.say("%d VIOLATIONS (seed %d)", found, p.seed)
		return statusBroken, nil
	}
	p.say("every promise was kept (seed %d)", p.seed)
	return statusHeld, nil
}

// oneRound breaks things for so long while all workloads work, heals, lets them
// verify and compares the nodes.
func (p *proof) oneRound(ctx context.Context, round int, length time.Duration) {
	p.say("round %d", round)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	breaking, over := context.WithTimeout(ctx, length)
	defer over()
	watch := make(chan struct{})
	go func() {
		defer close(watch)
		select {
		case <-p.judge.First():
			over() // what comes after it may only be its consequence
		case <-breaking.Done():
		}
	}()

	working, done := context.WithCancel(ctx)
	var workers sync.WaitGroup
	for _, w := range p.workloads {
		workers.Go(func() { w.Run(working) })
	}
	p.nemesis.Run(breaking, round)
	over()
	<-watch
	p.say("healed")
	done()
	workers.Wait()
	if ctx.Err() != nil || p.judge.Found() > 0 {
		return
	}
	var settling sync.WaitGroup
	for _, w := range p.workloads {
		settling.Go(func() { w.Settle(ctx) })
	}
	settling.Wait()
	if err := p.alike(ctx, equalTimeout, false); err != nil && ctx.Err() == nil {
		p.judge.Report("nodes", err.Error(), nil)
	}
}

// alike waits until all nodes have applied the same index and compares their
// states; two states at one index that differ are a violation at once.
func (p *proof) alike(ctx context.Context, timeout time.Duration, fresh bool) error {
	patience, cancel := check.Patience(ctx, timeout)
	defer cancel()
	for {
		indexes, lines := map[int64]bool{}, []string{}
		for _, n := range p.world.Nodes {
			index, hash, err := faults.Digest(n)
			if err != nil {
				indexes[-1] = true
				lines = append(lines, fmt.Sprintf("%s: %v", n.ID, err))
				continue
			}
			indexes[index] = true
			lines = append(lines, fmt.Sprintf("%s: %d %.16s", n.ID, index, hash))
			if before, known := p.digests[index]; known && before != hash {
				return fmt.Errorf("the state at index %d is %.16s and %.16s on %s", index, before, hash, n.ID)
			}
			p.digests[index] = hash
		}
		if len(indexes) == 1 && !indexes[-1] && (!fresh || faults.Leader(p.world) != nil) {
			if !fresh {
				p.say("all nodes alike: %s", lines[0][4:])
			}
			return nil
		}
		if patience.Err() != nil {
			return fmt.Errorf("not alike after %s: %s", timeout, strings.Join(lines, ", "))
		}
		select {
		case <-patience.Done(): // one last look
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// keepDisks copies the data directories, which vanish with the world, to where
// the evidence is.
func (p *proof) keepDisks() {
	for _, n := range p.world.Nodes {
		n.Kill()
		if err := os.CopyFS(filepath.Join(p.dir, n.ID+"-data"), os.DirFS(n.Dir)); err != nil {
			p.say("keep the disk of %s: %v", n.ID, err)
		}
	}
}

// died is told of a node that ended by itself. That ends the run: nobody starts
// it again.
func (p *proof) died(n *world.Node, state string) {
	text, _ := os.ReadFile(n.LogFile) // its absence shows in the message
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	p.judge.Report("nodes", fmt.Sprintf("%s ended by itself: %s: %s", n.ID, state, lines[len(lines)-1]), lines[max(0, len(lines)-100):])
}

func (p *proof) addWorkloads() error {
	env := &load.Env{
		Addresses: p.world.Addresses(), Judge: p.judge, Outages: p.outages, Seed: p.seed,
		Prefix: fmt.Sprintf("proof%d", p.seed),
	}
	for _, n := range p.world.Nodes {
		env.Names = append(env.Names, n.ID)
	}
	all := []load.Workload{
		load.NewRegisters(env), load.NewCached(env), load.NewCounters(env), load.NewClaims(env),
		load.NewLocks(env, p.dir, p.modules), load.NewMessages(env),
	}
	if p.load == "" {
		p.workloads = all
		return nil
	}
	for _, name := range strings.Split(p.load, ",") {
		at := slices.IndexFunc(all, func(w load.Workload) bool { return w.Name() == name })
		if at < 0 {
			return fmt.Errorf("there is no workload %q", name)
		}
		p.workloads = append(p.workloads, all[at])
	}
	return nil
}

// say prints one line with the seconds since the start.
func (p *proof) say(format string, arguments ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Printf("%7.2fs  %s\n", time.Since(p.started).Seconds(), fmt.Sprintf(format, arguments...))
}
