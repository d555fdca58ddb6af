package server

import (
	"bytes"
	"time"

	"crema/resp"
	"crema/store"
)

// Where there is a Cluster, the data commands of a pipeline become a run: each
// is evaluated here, if this node leads, or kept to be sent to the node that
// does. Nothing of a run is told to the client before settle has a verdict on
// each of its commands: the log has the effects, or it is certain that what was
// read is not the past, or the leader says so of what it was sent.
//
// What certainly has not happened is done again, on whoever leads by then, for
// as long as holdFor. Only the end of a run is: a command is never done after
// one that the client sent behind it.
type run struct {
	steps []step
	words [][]byte       // of all steps, beside each other
	term  uint64         // in which this node evaluates; 0: node does
	node  string         // "" when nobody leads
	bytes int            // of the words, and of what steps write and publish
	last  *store.Pending // the newest that was proposed, nil if none was
	since time.Time      // when its first step was taken
	busy  bool           // a step is being evaluated
}

// step is one command of a run.
type step struct {
	row        *command
	named      int
	words      [][]byte // they point into the read buffer, until the next Fill
	silent     bool     // CLIENT REPLY OFF
	idle       bool     // if it was done, it has changed nothing
	observed   bool
	caching    bool // CLIENT CACHING was said of it
	unscripted bool // of another node's client: answered that the script is not known
	from, to   int  // of its reply in the connection's output
	evaluation
	verdict verdict
}

// evaluation is what there is to know of a Tx beside its reply.
type evaluation struct {
	pending  *store.Pending // its effects on their way through the log
	changed  bool           // its effects, which concern this node alone, were applied
	cached   bool           // its answer rests on cached entries alone
	lost     bool           // there was none: this node leads no more
	messages []message      // to be published once it is certain
}

const (
	maxSteps    = 512     // of one run
	maxRunBytes = 1 << 20 // after which a run is settled
)

// shared tells whether a command looks at what the nodes share.
func (row *command) shared() bool { return row.run != nil || row.flags&runsScript != 0 }

// take makes a command part of the run.
func (c *conn) take(row *command, named int, words [][]byte) {
	r := &c.run
	term, node := c.srv.cluster.Lead()
	if len(r.steps) > 0 && (term != r.term || term == 0 && node != r.node || r.full()) {
		c.settle()
		term, node = c.srv.cluster.Lead()
	}
	if term == 0 && c.ownReads && row.run != nil && row.flags&readonly != 0 {
		c.settle() // READONLY: from what this node has, but in its turn
		c.call(row, named, words)
		return
	}
	r.term, r.node = term, node
	if term != 0 && row.mayChange() {
		c.srv.cluster.WaitRoom()
	}
	i := c.keep(row, named, words)
	if term != 0 {
		c.step(i)
		return
	}
	c.sends(&r.steps[i])
	if row.flags&runsScript != 0 {
		c.srv.monitors.feed(c, words) // as runScript does
	}
}

// sends is called for a step that another node will evaluate, before it does.
func (c *conn) sends(st *step) {
	c.lastRow.Store(st.row)
	if t := c.tracker.Load(); t != nil {
		t.forwards(c.run.node, st.row, st.words)
	}
}

func (r *run) full() bool { return len(r.steps) >= maxSteps || r.bytes >= maxRunBytes }

// keep adds a command to the run and returns its place.
func (c *conn) keep(row *command, named int, words [][]byte) int {
	r := &c.run
	if len(r.steps) == 0 {
		r.since = c.clock.base.Add(c.clock.now)
	}
	at := len(r.words)
	r.words = append(r.words, words...)
	for _, w := range words {
		r.bytes += len(w)
	}
	r.steps = append(r.steps, step{
		row: row, named: named, words: r.words[at:len(r.words):len(r.words)],
		silent: c.replyMode != replyOn, from: len(c.out), to: len(c.out),
	})
	if t := c.tracker.Load(); t != nil {
		r.steps[len(r.steps)-1].caching = t.caching
	}
	return len(r.steps) - 1
}

// step evaluates one command of the run here.
func (c *conn) step(i int) {
	r := &c.run
	st := &r.steps[i]
	st.from = len(c.out)
	r.busy = true
	c.evaluation = evaluation{}
	defer func() {
		if p := recover(); p != nil {
			c.panicked(p, st.words)
			c.out = resp.Append(c.out[:min(st.from, len(c.out))], resp.ErrInternal, c.proto)
			c.evaluation = evaluation{cached: true}
		}
		st.evaluation, c.evaluation = c.evaluation, evaluation{}
		if len(c.deferred) > 0 {
			st.messages, c.deferred = c.deferred, nil
			r.bytes += int(c.deferredBytes)
			c.deferredBytes = 0
		}
		if st.lost {
			c.out = c.out[:st.from]
		}
		st.to = len(c.out)
		r.busy = false
	}()
	began := c.clock.now
	failed := c.perform(st.row, st.named, st.words)
	c.clock.tick()
	if !c.evaluation.lost && !st.observed {
		st.observed = true
		c.srv.observe(c, st.row, st.words, c.clock.now-began, failed)
	}
}

// settle brings the run to its end: when it returns, every reply of it is in the
// output and true.
func (c *conn) settle() {
	r := &c.run
	if len(r.steps) == 0 || r.busy {
		return
	}
	var held hold
	for from := 0; ; {
		again := c.judge(from)
		next := r.undone(from)
		if next == len(r.steps) || c.dropped {
			break
		}
		if !again && !c.holdOn(&held, r.since, r.term, r.node) {
			break
		}
		c.redo(next)
		from = next
	}
	c.mend()
	said := r.said()
	r.clear()
	c.tell(said)
}

// judge gives the steps from there on their verdicts. It returns true when what
// has not happened may be tried again at once.
func (c *conn) judge(from int) (again bool) {
	if c.run.term == 0 {
		return c.forward(from)
	}
	c.await(from)
	return false
}

// undone is the first of those steps that is to be done again: nothing has
// happened of it, nor of any behind it. Some of these may have been answered,
// which nobody has been told of.
func (r *run) undone(from int) int {
	next := len(r.steps)
	for i := next - 1; i >= from; i-- {
		st := &r.steps[i]
		if st.verdict == nothing {
			next = i
		} else if st.verdict != done || !st.idle {
			break
		}
	}
	return next
}

// redo evaluates the steps from there on once more, or makes them ready to be
// sent. What lies in the output between their replies stays where it is.
func (c *conn) redo(from int) {
	r := &c.run
	r.term, r.node = c.srv.cluster.Lead()
	r.last = nil
	c.clock = c.srv.readClock()
	base := r.steps[from].from
	was := bytes.Clone(c.out[base:])
	c.out = c.out[:base]
	lost := false
	for i := from; i < len(r.steps); i++ {
		st := &r.steps[i]
		end := len(was)
		if i+1 < len(r.steps) {
			end = r.steps[i+1].from - base
		}
		between := was[st.to-base : end]
		st.evaluation, st.verdict, st.idle = evaluation{lost: lost}, undecided, false
		st.from, st.to = len(c.out), len(c.out)
		back := c.asWhen(st)
		if r.term == 0 {
			c.sends(st)
		} else if !lost {
			c.step(i)
			lost = st.lost || c.dropped
		}
		back()
		c.out = append(c.out, between...)
	}
}

// asWhen puts the connection into the state in which a step was taken, as far as
// commands of one run can differ in it, until back is called.
func (c *conn) asWhen(st *step) (back func()) {
	mode, t := c.replyMode, c.tracker.Load()
	if c.replyMode = replyOn; st.silent {
		c.replyMode = replyOff
	}
	if t == nil {
		return func() { c.replyMode = mode }
	}
	caching := t.caching
	t.caching = st.caching
	return func() { c.replyMode, t.caching = mode, caching }
}

// mend puts an error in the place of every reply that is not true.
func (c *conn) mend() {
	steps := c.run.steps
	first := 0
	for first < len(steps) && steps[first].verdict == done {
		first++
	}
	if first == len(steps) || c.dropped {
		return
	}
	base := steps[first].from
	was := bytes.Clone(c.out[base:])
	c.out = c.out[:base]
	for i := first; i < len(steps); i++ {
		st := &steps[i]
		end := len(was)
		if i+1 < len(steps) {
			end = steps[i+1].from - base
		}
		reply, between := was[st.from-base:st.to-base], was[st.to-base:end]
		st.from = len(c.out)
		switch {
		case st.verdict == done:
			c.out = append(c.out, reply...)
		case !st.silent:
			r := refusal(st.verdict)
			c.srv.stats.countError(r.Bytes)
			c.out = resp.Append(c.out, r, c.proto)
		}
		st.to = len(c.out)
		c.out = append(c.out, between...)
	}
}

// said is what a step has published.
type said struct {
	at       int // where the step's reply begins
	messages []message
}

// said is what scripts of the run have published.
func (r *run) said() (all []said) {
	for i := range r.steps {
		if st := &r.steps[i]; st.verdict == done && len(st.messages) > 0 {
			all = append(all, said{st.from, st.messages})
		}
	}
	return all
}

// saying is about what the messages of the run cost.
func (r *run) saying() (n int64) {
	for i := range r.steps {
		for _, m := range r.steps[i].messages {
			n += m.cost()
		}
	}
	return n
}

// tell publishes what waited for a verdict, with no run under way. One that
// listens hears itself where the script said it: behind the replies before the
// script's.
func (c *conn) tell(all []said) {
	told := 0 // of the output
	for _, s := range all {
		if c.subs.count() > 0 && !c.dropped {
			behind := bytes.Clone(c.out[s.at-told:])
			c.out = c.out[:s.at-told]
			c.flush()
			c.out = append(c.out, behind...)
			told = s.at
		}
		for _, m := range s.messages {
			c.srv.pubsub.publish(m)
		}
	}
}

// clear makes ready for the next run.
func (r *run) clear() {
	clear(r.steps)
	clear(r.words)
	*r = run{steps: r.steps[:0], words: r.words[:0]}
}

// What a connection that waits for its client keeps for its next run.
const (
	keepSteps = 64
	keepWords = 4 * keepSteps
)

func (r *run) release() {
	if cap(r.steps) > keepSteps || cap(r.words) > keepWords {
		*r = run{}
	}
}
