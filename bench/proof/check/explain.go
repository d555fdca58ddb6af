package check

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
)

const (
	explainStep  = 2 * time.Second // of each search
	explainTotal = 30 * time.Second
)

// Explain says what a reader of a wrong history wants to know first: with which
// answer it became wrong, and which single untruth would account for it: an
// operation that was done although its reply said not, or one done twice.
func Explain(history []Op, cached bool) string {
	h := slices.Clone(history)
	sort.Slice(h, func(a, b int) bool { return h[a].Return < h[b].Return })
	var found []string
	at := sort.Search(len(h), func(n int) bool {
		return Register(until(h, n+1), cached, explainStep) == Wrong
	})
	if at < len(h) {
		found = append(found, "wrong with the answer of "+h[at].line(h))
	}
	started := time.Now()
	for i := range h {
		if h[i].InDoubt || h[i].Kind == Get || time.Since(started) > explainTotal {
			continue
		}
		other, what := slices.Clone(h), "done twice"
		if h[i].NotDone != "" {
			other[i].NotDone, other[i].InDoubt, what = "", true, "done, unlike it was said"
		} else {
			again := h[i]
			again.InDoubt = true
			other = append(other, again)
		}
		if Register(other, cached, explainStep) == Right {
			found = append(found, fmt.Sprintf("explained if this was %s: %s", what, h[i].line(h)))
		}
	}
	return strings.Join(found, "; ")
}

// until is what was known when the first n had returned; h is in the order of
// Return.
func until(h []Op, n int) []Op {
	known := slices.Clone(h[:n])
	for _, op := range h[n:] {
		if op.Call < h[n-1].Return && op.NotDone == "" {
			op.InDoubt = true
			known = append(known, op)
		}
	}
	return known
}

// line is an operation with its times since the history began.
func (op Op) line(h []Op) string {
	began := op.Call
	for _, other := range h {
		began = min(began, other.Call)
	}
	since := func(t int64) float64 { return float64(t-began) / 1e6 }
	return fmt.Sprintf("[%.1f–%.1f ms at %s: %s %s]", since(op.Call), since(op.Return), op.Node, op, op.NotDone)
}
