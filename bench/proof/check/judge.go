package check

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// maxEvidence bounds how many violations of one workload are written down; the
// rest are counted.
const maxEvidence = 10

// Judge collects violations and keeps the evidence of each in a file.
type Judge struct {
	dir     string
	started time.Time
	say     func(format string, arguments ...any)

	mu    sync.Mutex
	found map[string]int // by workload
	first chan struct{}  // closed at the first violation
	after time.Duration  // when that was
}

// NewJudge writes evidence into dir and a line for each violation through say.
func NewJudge(dir string, say func(format string, arguments ...any)) *Judge {
	return &Judge{dir: dir, started: time.Now(), say: say,
		found: map[string]int{}, first: make(chan struct{})}
}

// Report says that a promise was broken. History is kept as JSON, one element
// of a slice a line would be too long for a terminal.
func (j *Judge) Report(workload, what string, history any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.found[workload]++
	if j.found[workload] > maxEvidence {
		return
	}
	evidence := "no history"
	if history != nil {
		path := filepath.Join(j.dir, fmt.Sprintf("violation-%s-%02d.json", workload, j.found[workload]))
		text, err := json.MarshalIndent(map[string]any{"workload": workload, "what": what, "history": history}, "", " ")
		if err == nil {
			err = os.WriteFile(path, text, 0o644)
		}
		evidence = path
		if err != nil {
			evidence = err.Error()
		}
	}
	j.say("VIOLATION after %.1fs: %s: %s (%s)", time.Since(j.started).Seconds(), workload, what, evidence)
	select {
	case <-j.first:
	default:
		j.after = time.Since(j.started)
		close(j.first)
	}
}

// First is closed when the first violation is found.
func (j *Judge) First() <-chan struct{} { return j.first }

// FirstAfter is how long it took to find the first violation.
func (j *Judge) FirstAfter() time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.after
}

// Found is how many violations there were.
func (j *Judge) Found() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	total := 0
	for _, n := range j.found {
		total += n
	}
	return total
}

// Dir is where evidence goes.
func (j *Judge) Dir() string { return j.dir }
