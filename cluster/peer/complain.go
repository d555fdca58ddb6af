package peer

import (
	"sync"
	"time"
)

const (
	complainEvery = time.Minute
	maxComplaints = 256 // about so many different things; beyond, they count as a stranger's
	strangers     = ""
)

// complaints lets one log line about the same thing through per complainEvery.
type complaints struct {
	mu   sync.Mutex // guards last
	last map[string]time.Time
}

func (c *complaints) due(about string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.last[about]; !ok && len(c.last) >= maxComplaints {
		about = strangers
	}
	if last, ok := c.last[about]; ok && now.Sub(last) < complainEvery {
		return false
	}
	c.last[about] = now
	return true
}

// complain logs a warning about a peer or, under the key strangers, about
// whoever else connects.
func (p *Port) complain(about, msg string, args ...any) {
	if p.complaints.due(about, time.Now()) {
		p.log.Warn(msg, args...)
	}
}
