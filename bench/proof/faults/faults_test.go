//go:build linux

package faults

import (
	"context"
	"math/rand/v2"
	"testing"

	"crema/bench/proof/world"
)

func TestNames(t *testing.T) {
	all := Plants()
	all[""] = Everything()
	for plant, plan := range all {
		for name := range plan.Weights {
			if !Known(name) {
				t.Errorf("plant %q asks for %q, which nobody does", plant, name)
			}
		}
	}
	if Known("nonsense") {
		t.Error("nonsense is known")
	}
}

// newLane has nodes that nobody started: whoever asks them gets no answer.
func newLane(seed uint64) *lane {
	w := &world.World{Nodes: []*world.Node{{ID: "n1"}, {ID: "n2"}, {ID: "n3"}}}
	n := &Nemesis{World: w, Weights: Everything().Weights, Leaders: 50, busy: map[*world.Node]bool{}}
	return &lane{n, rand.New(rand.NewPCG(seed, 0))}
}

func TestSameSeedSameChoices(t *testing.T) {
	a, b := newLane(7), newLane(7)
	for range 100 {
		if x, y := a.choose().name, b.choose().name; x != y {
			t.Fatalf("%s and %s", x, y)
		}
	}
}

func TestChoiceFollowsWeights(t *testing.T) {
	l := newLane(1)
	l.Weights = map[string]int{"kill": 3, "clock": 1}
	counts := map[string]int{}
	for range 4000 {
		counts[l.choose().name]++
	}
	if len(counts) != 2 || counts["kill"] < 2700 || counts["kill"] > 3300 {
		t.Errorf("%v", counts)
	}
}

func TestClaim(t *testing.T) {
	l := newLane(1)
	one := l.claim(false)
	if len(one) != 1 {
		t.Fatalf("claimed %v", one)
	}
	if l.claim(true) != nil {
		t.Error("all nodes are free although one is not")
	}
	l.release(one)
	all := l.claim(true)
	if len(all) != 3 || l.claim(false) != nil {
		t.Error("all are free, and then none is")
	}
	l.release(all)
}

func TestSleepEndsWithTheFaults(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if newLane(1).sleep(ctx, maxRest*1000, maxRest*1000) {
		t.Error("slept")
	}
}
