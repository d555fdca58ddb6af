package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// longest is the latency beyond which it is not told apart any more.
const longest = time.Minute

// Tally is what is counted. Each thread has its own until the turn is over.
type Tally struct {
	Operations int64
	Requests   int64
	Wrong      int64 // answers that were not as they should be
	Hits       int64
	Misses     int64
	Delivered  int64                   // messages, to all subscribers together
	Latency    *hdrhistogram.Histogram // ns of a request, or of a message from PUBLISH to subscriber
}

func newTally() Tally {
	return Tally{Latency: hdrhistogram.New(1000, int64(longest), 3)}
}

func (t *Tally) reset() {
	h := t.Latency
	h.Reset()
	*t = Tally{Latency: h}
}

func (t *Tally) add(o Tally) {
	t.Operations += o.Operations
	t.Requests += o.Requests
	t.Wrong += o.Wrong
	t.Hits += o.Hits
	t.Misses += o.Misses
	t.Delivered += o.Delivered
	t.Latency.Merge(o.Latency)
}

// took notes n latencies.
func (t *Tally) took(ns, n int64) {
	t.Latency.RecordValues(min(max(ns, 0), int64(longest)), n)
}

// At is a quantile of the latency, 0 to 100.
func (t *Tally) At(quantile float64) time.Duration {
	return time.Duration(t.Latency.ValueAtQuantile(quantile))
}
