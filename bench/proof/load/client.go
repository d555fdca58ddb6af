package load

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"crema/bench/proof/check"
)

const (
	// A node holds a request for up to 2.5 s before it says -CLUSTERDOWN.
	replyTimeout = 4 * time.Second
	dialTimeout  = 500 * time.Millisecond
	// A worker stays with a node for so many requests on average.
	stay = 10
)

// Env is what all workloads share.
type Env struct {
	Addresses []string // of the nodes
	Names     []string // of the nodes, for the evidence
	Judge     *check.Judge
	Outages   *Outages
	Seed      uint64
	// Keys of one run of the program never meet those of another.
	Prefix string
}

// Workload is one kind of use.
type Workload interface {
	Name() string
	Run(ctx context.Context)
	Settle(ctx context.Context)
	Summary() string
}

// Outcome of one request.
type Outcome int

const (
	Done    Outcome = iota
	NotDone         // certainly nothing has happened
	InDoubt
)

// These replies promise that nothing has happened.
var nothingHappened = []string{"CLUSTERDOWN", "OOM ", "LOADING", "NOSCRIPT", "READONLY", "MISCONF", "TRYAGAIN", "ERR max number of clients"}

// Classify reads the error of a request that was sent once.
func Classify(err error) Outcome {
	if err == nil || errors.Is(err, redis.Nil) || errors.Is(err, redis.TxFailedErr) {
		return Done
	}
	var refused *net.OpError
	if errors.As(err, &refused) && refused.Op == "dial" {
		return NotDone
	}
	var reply redis.Error
	if errors.As(err, &reply) {
		for _, prefix := range nothingHappened {
			if strings.HasPrefix(reply.Error(), prefix) {
				return NotDone
			}
		}
	}
	return InDoubt
}

// kindOf names an error in a summary.
func kindOf(err error) string {
	var reply redis.Error
	if errors.As(err, &reply) {
		word, _, _ := strings.Cut(reply.Error(), " ")
		if word == "INDOUBT" || word == "CLUSTERDOWN" {
			return word
		}
		return reply.Error()
	}
	var network *net.OpError
	if errors.As(err, &network) && network.Op == "dial" {
		return "no connection"
	}
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		return "timeout"
	}
	return "connection lost"
}

// silent keeps the terminal for faults: go-redis writes a line for every
// connection that it does not get, and here that is most of a run.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func init() { redis.SetLogger(silent{}) }

// connect gives a client of the node at address with one connection.
func connect(address string) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr:          address,
		PoolSize:      1,
		MaxRetries:    -1,
		DialTimeout:   dialTimeout,
		ReadTimeout:   replyTimeout,
		WriteTimeout:  time.Second,
		PoolTimeout:   replyTimeout,
		DialerRetries: 1,
	})
}

// worker is one client of the cluster; one goroutine uses it.
type worker struct {
	env   *Env
	id    int
	rng   *rand.Rand
	nodes []*redis.Client
	at    int
}

func (e *Env) newWorker(workload string, id int) *worker {
	salt := uint64(id)
	for _, c := range workload {
		salt = salt*31 + uint64(c)
	}
	w := &worker{env: e, id: id, rng: rand.New(rand.NewPCG(e.Seed, salt))}
	for _, address := range e.Addresses {
		w.nodes = append(w.nodes, connect(address))
	}
	w.move()
	return w
}

func (w *worker) close() {
	for _, n := range w.nodes {
		n.Close()
	}
}

// node is where the next request goes.
func (w *worker) node() *redis.Client {
	if w.rng.IntN(stay) == 0 {
		w.move()
	}
	return w.nodes[w.at]
}

func (w *worker) move()        { w.at = w.rng.IntN(len(w.nodes)) }
func (w *worker) name() string { return w.env.Names[w.at] }

// rest waits between requests; false when the work is over.
func (w *worker) rest(ctx context.Context, mean time.Duration) bool {
	return pause(ctx, time.Duration(min(w.rng.ExpFloat64(), 5)*float64(mean)))
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// insist repeats a harmless request at one node after the other until it is
// answered; false when the context ended first, after one try at least.
func (w *worker) insist(ctx context.Context, ask func(context.Context, *redis.Client) error) bool {
	for {
		if Classify(ask(context.Background(), w.nodes[w.at])) == Done {
			return true
		}
		w.move()
		if !pause(ctx, 50*time.Millisecond) {
			return false
		}
	}
}
