package load

import (
	"context"
	"sync/atomic"
	"time"
)

// Job is what a server is asked to do in one turn.
type Job struct {
	Name     string
	Mix      Mix
	Clients  int
	Pipeline int     // requests that a client sends at once
	Rate     float64 // operations a second of all clients, 0 = as many as go
	Keys     Keys
	Sizes    Sizes
	TTL      time.Duration // of what is written with one
	Writes   float64       // share of them, where a mix has both

	Warm    time.Duration // before anything counts
	For     time.Duration
	Count   int64  // operations of a turn; ends it before For does, and there is no warm-up
	Seed    uint64 // of every choice: the same one, the same requests
	Threads int    // 0 = half of the cores

	// Ready puts the server in the state that the turn starts from; it may be nil.
	Ready func(context.Context, *Server) error
}

// Mix makes what the client with that number does. It is called once for each
// client of a turn, before any of them begins.
type Mix func(t *Turn, number int) Work

// Work is what one client does. One goroutine at a time calls it.
type Work interface {
	// Next appends the commands of one operation to what c sends.
	Next(c *Client)
	// Answer takes the answer to a request, in the order of requests.
	Answer(c *Client, to Request, a Answer)
}

// listener is Work that receives without having asked.
type listener interface {
	Message(c *Client, a Answer)
}

// gated is Work that must wait for others before its next operation.
type gated interface {
	Ready() bool
}

// Request is what a client remembers of a request until it is answered.
type Request struct {
	due  int64 // ns of the turn's clock
	Key  int64
	Kind uint8 // whatever its Work needs to tell its requests apart
}

// Server is one server, or the nodes that are one together.
type Server struct {
	Name  string
	Nodes []Target // clients are spread over them
	PIDs  []int    // whose CPU time and memory count; none when it is not known

	portable bool // without epoll, wherever this runs: for tests
}

// Turn is what one turn came to.
type Turn struct {
	Job    *Job
	Server *Server
	Tally
	Took time.Duration
	CPU  time.Duration // of the server

	begin   time.Time
	phase   atomic.Int32
	left    atomic.Int64 // operations that may still begin, when there is a Count
	seen    atomic.Int64 // requests answered so far, for the progress line
	failure atomic.Pointer[error]
	script  string    // SHA-1 of the release script, where the server has it
	heard   *audience // who listens, if messages are what it is about
}

const (
	warming = iota
	measuring
	stopping
)

// now is the turn's clock.
func (t *Turn) now() int64 { return int64(time.Since(t.begin)) }

// fail ends the turn. The first failure is the one that is told.
func (t *Turn) fail(err error) {
	if t.failure.CompareAndSwap(nil, &err) {
		t.phase.Store(stopping)
	}
}

// begins says how many of n operations may begin: fewer when a Count is nearly
// reached.
func (t *Turn) begins(n int64) int64 {
	if t.Job.Count == 0 {
		return n
	}
	return max(0, n+min(0, t.left.Add(-n)))
}

// spent says that a turn with a Count has begun all it may.
func (t *Turn) spent() bool { return t.Job.Count > 0 && t.left.Load() <= 0 }

// Answered is how many requests have been, so far, those before it counts too.
func (t *Turn) Answered() int64 { return t.seen.Load() }

// PerSecond is how many operations were done.
func (t *Turn) PerSecond() float64 { return float64(t.Operations) / t.Took.Seconds() }

// Each is the server's CPU time for one operation.
func (t *Turn) Each() time.Duration { return per(t.CPU, t.Operations) }

// EachRequest is the server's CPU time for one command.
func (t *Turn) EachRequest() time.Duration { return per(t.CPU, t.Requests) }

// EachDelivery is the server's CPU time for one message to one subscriber.
func (t *Turn) EachDelivery() time.Duration { return per(t.CPU, t.Delivered) }

// HitRatio is the share of reads that found something.
func (t *Turn) HitRatio() float64 { return float64(t.Hits) / float64(max(t.Hits+t.Misses, 1)) }

func per(d time.Duration, n int64) time.Duration {
	return time.Duration(float64(d) / float64(max(n, 1)))
}
