package check

import (
	"fmt"
	"sync"
)

// Grant is one time that somebody held a lock, complete: it is over.
type Grant struct {
	Lock    string `json:"lock"`
	Holder  string `json:"holder"`
	Node    string `json:"node"`
	Sent    int64  `json:"sent"`    // before the request
	Granted int64  `json:"granted"` // after the reply
	// Until is Sent and the TTL, or that of the last acknowledged extension.
	Until int64 `json:"until"`
	// Released is before the release was sent, 0 if it was left to expire.
	Released int64 `json:"released"`
}

// end of the time in which nobody else may hold it.
func (g Grant) end() int64 {
	if g.Released != 0 && g.Released < g.Until {
		return g.Released
	}
	return g.Until
}

// Locks compares each grant with all others of its lock.
type Locks struct {
	judge *Judge

	mu   sync.Mutex
	held map[string][]Grant
}

// NewLocks reports to judge.
func NewLocks(judge *Judge) *Locks { return &Locks{judge: judge, held: map[string][]Grant{}} }

// Add judges a grant against those before it. Between Granted and its end a
// holder is certain; two certain holders at one moment are a violation, and so
// is a grant before the previous holder's TTL, as that holder saw it, was over.
func (l *Locks) Add(g Grant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, other := range l.held[g.Lock] {
		if g.Granted < other.end() && other.Granted < g.end() {
			l.judge.Report("locks", fmt.Sprintf("lock %s held by %s (%s) and %s (%s) at once", g.Lock, other.Holder, other.Node, g.Holder, g.Node),
				[]Grant{other, g})
			break
		}
	}
	l.held[g.Lock] = append(l.held[g.Lock], g)
}

// Forget drops grants that ended before t: nothing that is still to come can
// have been granted before.
func (l *Locks) Forget(t int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for lock, grants := range l.held {
		var kept []Grant
		for _, g := range grants {
			if g.end() >= t {
				kept = append(kept, g)
			}
		}
		l.held[lock] = kept
	}
}
