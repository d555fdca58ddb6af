package server

import (
	"errors"

	"crema/resp"
	"crema/store"
)

// verdict is what became of a command.
type verdict byte

const (
	undecided verdict = iota
	done
	nothing    // it has certainly not happened
	doubt      // nobody knows
	unscripted // nothing, because the leader lacks the script; those behind it were not done
)

// What read-consistency may be.
const (
	readLinearizable = "linearizable"
	readLease        = "lease"
	readLocal        = "local"
)

// await waits for what the log has of the steps from there on, and makes sure of
// the others: an entry committed after an answer was evaluated says that nobody
// else led by then; what comes after the last such entry is verified.
func (c *conn) await(from int) {
	steps := c.run.steps
	sure := from // before it, answers are covered by a commit
	for i := from; i < len(steps); i++ {
		st := &steps[i]
		switch {
		case st.lost:
			st.verdict = nothing
		case st.pending == nil:
			st.verdict, st.idle = done, !st.changed
		default:
			st.verdict = verdictOf(st.pending.Wait())
			if n := st.pending.Index; st.verdict == done && n != 0 {
				sure = i
				c.lastIndex = max(c.lastIndex, n)
			}
		}
	}
	need, lease := false, true
	for i := sure; i < len(steps); i++ {
		if n, l := c.rests(&steps[i]); n {
			need, lease = true, lease && l
		}
	}
	if !need {
		return
	}
	term := c.run.term
	if err := c.srv.cluster.Verify(term, lease); err == nil {
		return
	}
	for i := sure; i < len(steps); i++ {
		st := &steps[i]
		if n, _ := c.rests(st); !n {
			continue
		}
		st.verdict = nothing
		if st.changed || st.pending != nil && len(st.pending.Effects) > 0 {
			// It was to be seen at once, and somebody else's answer may rest on it
			// under a lease that was still valid.
			st.verdict = doubt
		}
	}
}

// rests tells whether an answer that is in no entry has to be verified, and
// whether a lease is enough.
func (c *conn) rests(st *step) (need, lease bool) {
	if st.verdict != done || st.pending != nil && st.pending.Index != 0 {
		return false, true
	}
	if c.strict {
		return true, st.cached
	}
	switch c.srv.cfg.ReadConsistency {
	case readLease:
		return true, true
	case readLocal:
		return st.cached || st.changed, true
	}
	return true, st.cached
}

// verdictOf reads the outcome of a Pending or a Call.
func verdictOf(err error) verdict {
	switch {
	case err == nil:
		return done
	case errors.Is(err, store.ErrNotLogged):
		return nothing
	}
	return doubt
}

// refusal is what a client is told of what did not come through.
func refusal(v verdict) resp.Reply {
	if v == doubt {
		return resp.ErrInDoubt
	}
	return resp.ErrClusterDown
}
