//go:build linux

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"crema/bench/proof/world"
)

const (
	lanes = 2
	// Before the first fault of a round: there must be something to lose.
	calm = 3 * time.Second
	// Between two faults of a lane.
	minRest, maxRest = 300 * time.Millisecond, 3 * time.Second
)

// Nemesis is who breaks things.
type Nemesis struct {
	World *world.World
	Seed  uint64
	// Weights by the names in the list of faults; what is absent does not happen.
	Weights map[string]int
	// How often the leader is hit, in percent; a third of the rest hits it too.
	Leaders int
	Say     func(format string, arguments ...any)
	// LeaderDied is told when a leader was killed.
	LeaderDied func(node string)
	// Broken is told of what the faults themselves find wrong.
	Broken func(what string)

	mu      sync.Mutex
	busy    map[*world.Node]bool // a lane breaks it
	counts  map[string]int
	started time.Time
}

// lane is one sequence of faults. One goroutine uses it.
type lane struct {
	*Nemesis
	rng *rand.Rand
}

// Run breaks things until ctx ends, and returns when all is mended.
func (n *Nemesis) Run(ctx context.Context, round int) {
	n.mu.Lock()
	if n.busy == nil {
		n.busy, n.counts, n.started = map[*world.Node]bool{}, map[string]int{}, time.Now()
	}
	n.mu.Unlock()
	var all sync.WaitGroup
	for i := range lanes {
		l := &lane{n, rand.New(rand.NewPCG(n.Seed, uint64(round*lanes+i)))}
		all.Go(func() {
			l.sleep(ctx, calm, calm)
			for l.sleep(ctx, minRest, maxRest) {
				l.strike(ctx)
			}
		})
	}
	all.Wait()
}

// strike does one fault, or none when its nodes are broken already.
func (l *lane) strike(ctx context.Context) {
	f := l.choose()
	nodes := l.claim(f.all)
	if nodes == nil {
		return
	}
	defer l.release(nodes)
	l.mu.Lock()
	l.counts[f.name]++
	l.mu.Unlock()
	if err := f.do(ctx, l, nodes[0]); err != nil {
		l.Broken(fmt.Sprintf("%s on %s: %v", f.name, nodes[0].ID, err))
	}
}

func (l *lane) choose() fault {
	total := 0
	for _, f := range list {
		total += l.Weights[f.name]
	}
	at := l.rng.IntN(total)
	for _, f := range list {
		if at -= l.Weights[f.name]; at < 0 {
			return f
		}
	}
	panic("weights changed")
}

// claim takes one node, or all of them; nil when they are not free.
func (l *lane) claim(all bool) []*world.Node {
	wanted := l.World.Nodes
	if !all {
		node := wanted[l.rng.IntN(len(wanted))]
		if l.rng.IntN(100) < l.Leaders {
			if leader := Leader(l.World); leader != nil {
				node = leader
			}
		}
		wanted = []*world.Node{node}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, node := range wanted {
		if l.busy[node] {
			return nil
		}
	}
	for _, node := range wanted {
		l.busy[node] = true
	}
	return wanted
}

func (l *lane) release(nodes []*world.Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, node := range nodes {
		delete(l.busy, node)
	}
}

// say prints a fault with the role of its node, and whether it leads.
func (l *lane) say(node *world.Node, format string, arguments ...any) (leads bool) {
	role := ""
	if leads = Leader(l.World) == node; leads {
		role = " (leader)"
	}
	l.Say("fault: %s%s %s", node.ID, role, fmt.Sprintf(format, arguments...))
	return leads
}

// killing does what ends the node and starts the clock of an outage if it led.
func (l *lane) killing(node *world.Node, how string, end func()) {
	leads := l.say(node, "%s", how)
	end()
	if leads {
		l.LeaderDied(node.ID)
	}
}

// between is a random duration of a tenth of a second's precision.
func (l *lane) between(low, high time.Duration) time.Duration {
	return (low + time.Duration(l.rng.Int64N(int64(high-low+1)))).Round(10 * time.Millisecond)
}

// sleep is false when the time of faults is over.
func (l *lane) sleep(ctx context.Context, low, high time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(l.between(low, high)):
		return true
	}
}

// Summary counts the faults.
func (n *Nemesis) Summary() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	text, total := "", 0
	for _, f := range list {
		if c := n.counts[f.name]; c > 0 {
			text += fmt.Sprintf(" %s %d", f.name, c)
			total += c
		}
	}
	return fmt.Sprintf("%d faults:%s", total, text)
}

// Known says whether there is a fault of that name.
func Known(name string) bool {
	return slices.ContainsFunc(list, func(f fault) bool { return f.name == name })
}
