package load

import "fmt"

const (
	readBytes      = 64 << 10 // to read at once; grows for a longer answer
	maxOutstanding = 1 << 14  // requests of one client of an open loop: what is due beyond waits, and its wait counts
)

// Client is what one connection has asked and not had answered. It does no I/O:
// whoever does takes out and hands in what was read.
type Client struct {
	turn  *Turn
	tally *Tally // its thread's
	work  Work

	out     []byte
	in      []byte // what was read and is not taken in: in[from:to]
	from    int
	to      int
	asked   ring
	due     int64 // of what Next asks for
	unheard bool  // its first answer is still to come
}

func newClient(t *Turn, tally *Tally, number int) *Client {
	return &Client{turn: t, tally: tally, work: t.Job.Mix(t, number), in: make([]byte, readBytes), unheard: true}
}

// Ask says that a request was appended to the output, and how its answer will be
// known.
func (c *Client) Ask(kind uint8, key int64) {
	c.asked.push(Request{due: c.due, Key: key, Kind: kind})
}

// done says that an operation came to its end.
func (c *Client) done() { c.tally.Operations++ }

// wrong counts an answer that is not as it should be. The first answer of a client
// ends the turn: the figures would be those of something else.
func (c *Client) wrong(a Answer) {
	if c.tally.Wrong++; c.unheard {
		c.turn.fail(fmt.Errorf("it answered %c%s", a.Kind, clip(a.Text)))
	}
}

func clip(b []byte) []byte { return b[:min(len(b), 100)] }

// batch begins n operations that were due then. It is false when the turn has no
// more of them, or they have to wait.
func (c *Client) batch(due int64, n int) bool {
	if g, ok := c.work.(gated); ok && c.turn.Job.Rate == 0 && !g.Ready() {
		return false
	}
	may := c.turn.begins(int64(n))
	c.due = due
	for range may {
		c.work.Next(c)
	}
	return may > 0
}

// room is where to read to.
func (c *Client) room() []byte {
	if c.from == c.to {
		c.from, c.to = 0, 0
	}
	if len(c.in)-c.to < readBytes/4 {
		if c.from > 0 {
			c.to = copy(c.in, c.in[c.from:c.to])
			c.from = 0
		}
		if len(c.in)-c.to < readBytes/4 {
			c.in = append(c.in, make([]byte, len(c.in))...)
		}
	}
	return c.in[c.to:]
}

// took takes in n bytes that were read, at that time.
func (c *Client) took(n int, now int64) error {
	c.to += n
	heard := int64(0)
	due, same := int64(0), int64(0) // latencies that are alike are noted together
	for c.from < c.to {
		a, n, err := parseAnswer(c.in[c.from:c.to])
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		c.from += n
		if l, ok := c.work.(listener); ok && (a.Kind == '>' || a.Kind == '*') {
			c.due = now
			l.Message(c, a)
			continue
		}
		to, ok := c.asked.pop()
		if !ok {
			return fmt.Errorf("it answered %c%s and was not asked", a.Kind, clip(a.Text))
		}
		if to.due != due {
			c.answered(now-due, same)
			due, same = to.due, 0
		}
		same++
		heard++
		c.due = now // of what follows from the answer
		c.work.Answer(c, to, a)
		c.unheard = false
	}
	c.answered(now-due, same)
	if heard > 0 {
		c.tally.Requests += heard
		c.turn.seen.Add(heard)
	}
	return nil
}

// answered notes how long n requests took, where it is not messages that are
// looked at.
func (c *Client) answered(ns, n int64) {
	if n > 0 && c.turn.heard == nil {
		c.tally.took(ns, n)
	}
}

// ring holds requests in order.
type ring struct {
	slots      []Request // a power of two of them
	head, tail uint32    // tail-head are in use
}

func (r *ring) len() int { return int(r.tail - r.head) }

func (r *ring) push(q Request) {
	if r.len() == len(r.slots) {
		more := make([]Request, max(16, 2*len(r.slots)))
		for i := range r.len() {
			more[i] = r.slots[(r.head+uint32(i))&uint32(len(r.slots)-1)]
		}
		r.slots, r.head, r.tail = more, 0, uint32(r.len())
	}
	r.slots[r.tail&uint32(len(r.slots)-1)] = q
	r.tail++
}

func (r *ring) pop() (Request, bool) {
	if r.head == r.tail {
		return Request{}, false
	}
	q := r.slots[r.head&uint32(len(r.slots)-1)]
	r.head++
	return q, true
}
