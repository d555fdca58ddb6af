package load

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"crema/bench/proof/check"
)

// gauge counts what became of a workload's requests and how long it was without.
type gauge struct {
	name    string
	outages *Outages // told of writes that must survive; nil for other workloads

	mu       sync.Mutex
	outcomes [3]int
	errors   map[string]int
	lastDone int64 // 0 while nobody works
	longest  int64
}

func (e *Env) newGauge(name string, outages *Outages) gauge {
	return gauge{name: name, outages: outages, errors: map[string]int{}}
}

// Name of the workload.
func (g *gauge) Name() string { return g.name }

// working begins and ends the time in which silence counts.
func (g *gauge) working(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := check.Now()
	if on {
		g.lastDone = now
		return
	}
	g.longest = max(g.longest, now-g.lastDone)
	g.lastDone = 0
}

// note counts one request and says what became of it.
func (g *gauge) note(call, back int64, err error) Outcome {
	outcome := Classify(err)
	g.mu.Lock()
	g.outcomes[outcome]++
	switch outcome {
	case Done:
		if g.lastDone != 0 {
			g.longest = max(g.longest, back-g.lastDone)
			g.lastDone = max(g.lastDone, back)
		}
	default:
		g.errors[kindOf(err)]++
	}
	g.mu.Unlock()
	if outcome == Done && g.outages != nil {
		g.outages.success(call, back)
	}
	return outcome
}

// line is the gauge's part of a summary.
func (g *gauge) line() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var kinds []string
	for kind, n := range g.errors {
		kinds = append(kinds, fmt.Sprintf("%s %d", kind, n))
	}
	sort.Strings(kinds)
	return fmt.Sprintf("%d done, %d not done, %d in doubt, longest gap %.2fs [%s]",
		g.outcomes[Done], g.outcomes[NotDone], g.outcomes[InDoubt], float64(g.longest)/1e9, strings.Join(kinds, "; "))
}

// Outages measures how long it takes from the death of a leader to the next
// acknowledged pinned write that was sent after it.
type Outages struct {
	mu      sync.Mutex
	pending map[string]int64
	lasted  []time.Duration
	say     func(format string, arguments ...any)
}

// NewOutages says each one.
func NewOutages(say func(string, ...any)) *Outages {
	return &Outages{pending: map[string]int64{}, say: say}
}

// LeaderDied starts a measurement.
func (o *Outages) LeaderDied(node string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pending[node] = check.Now()
}

func (o *Outages) success(call, back int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for node, died := range o.pending {
		if call >= died {
			lasted := time.Duration(back - died)
			o.lasted = append(o.lasted, lasted)
			delete(o.pending, node)
			o.say("leader %s died: next write acknowledged after %.2fs", node, lasted.Seconds())
		}
	}
}

// Summary over all leaders that died.
func (o *Outages) Summary() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.lasted) == 0 {
		return "no leader died"
	}
	all := slices.Sorted(slices.Values(o.lasted))
	return fmt.Sprintf("%d leaders died; next acknowledged write after %.2fs median, %.2fs longest",
		len(all), all[len(all)/2].Seconds(), all[len(all)-1].Seconds())
}
