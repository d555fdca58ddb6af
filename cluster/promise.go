package cluster

import (
	"errors"
	"sync"
	"time"
)

// promise is what this node has promised to leaders: whoever hears a leader votes
// for nobody else for heartbeatTimeout. Leases rest on it (lease.go).
//
// Raft refuses votes while it knows a leader, but it forgets at a moment that it
// chooses, answers heartbeats beside its main loop, and at a restart knows
// nothing. The schedule that would break a lease:
//
//	main loop: no leader is known any more, so this vote may be granted
//	           ... writes the new term to disk, which takes a while
//	heartbeat: the old term is still ours; success     → the leader has a lease
//	main loop: the vote is granted                     → another leader
//
// So votes and messages of leaders pass here first. A vote that a leader has asked
// for, by a transfer, is granted: it has given its lease up.
type promise struct {
	mu     sync.Mutex
	until  time.Time
	voting map[uint64]int // terms in which a vote is being decided

	answering int // heartbeats that raft is answering
}

func newPromise(until time.Time) *promise {
	return &promise{until: until, voting: map[uint64]int{}}
}

var (
	errPromised = errors.New("a leader was heard a moment ago")
	errVoting   = errors.New("a vote in a later term is being decided")
)

// hear is called before a leader's message is answered. It is refused while we
// may be voting for its successor.
func (p *promise) hear(term uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for t := range p.voting {
		if t > term {
			return errVoting
		}
	}
	p.until = time.Now().Add(heartbeatTimeout)
	return nil
}

// answer comes before hear where raft answers beside its main loop. No vote begins
// before it has ended: raft may be about to set the term of the heartbeat, and
// would take back that of the vote.
func (p *promise) answer() (ended func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answering++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.answering--
	}
}

// free returns nil when nobody was promised anything.
func (p *promise) free() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Now().Before(p.until) {
		return errPromised
	}
	return nil
}

// vote begins a vote in term, if it may be granted; decided ends it.
func (p *promise) vote(term uint64, transfer bool) (decided func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answering > 0 || !transfer && time.Now().Before(p.until) {
		return nil, errPromised
	}
	p.voting[term]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.voting[term]--; p.voting[term] == 0 {
			delete(p.voting, term)
		}
	}, nil
}
