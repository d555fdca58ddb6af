package load

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"crema/bench/proof/check"
)

const (
	registerSlots   = 5
	registerWorkers = 6
	registerRest    = 30 * time.Millisecond
	// Lives are short, and end early when much is in doubt: both keep the search
	// for an order cheap. Cached keys live through several changes of leader.
	pinnedLife, cachedLife     = 60, 300
	pinnedDoubts, cachedDoubts = 5, 7
	checkTimeout               = 10 * time.Second
)

// swapScript is how applications compare and set.
var swapScript = redis.NewScript(`if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) return 1 end return 0`)

// registers is a few keys at a time, each judged when its life is over.
type registers struct {
	gauge
	env    *Env
	cached bool

	mu        sync.Mutex
	lives     []*life // the key of each slot
	born      int
	judged    int
	undecided int
	checks    sync.WaitGroup
	searching chan struct{} // one search at a time: the nodes need the processors
}

// life is one key from its first operation to its judgement.
type life struct {
	key     string
	history []check.Op
	begun   int
	open    int // operations under way
	doubts  int
	over    bool
	seen    []string // values that were seen lately, to compare with
}

// NewRegisters works on pinned keys.
func NewRegisters(e *Env) Workload { return newRegisters(e, "registers", false, e.Outages) }

// NewCached works on keys that may be forgotten.
func NewCached(e *Env) Workload { return newRegisters(e, "cached", true, nil) }

func newRegisters(e *Env, name string, cached bool, outages *Outages) *registers {
	r := &registers{gauge: e.newGauge(name, outages), env: e, cached: cached, searching: make(chan struct{}, 1)}
	for range registerSlots {
		r.lives = append(r.lives, r.bear())
	}
	return r
}

func (r *registers) bear() *life {
	r.born++
	return &life{key: fmt.Sprintf("%s:%s:%d", r.env.Prefix, r.name, r.born)}
}

// Run implements Workload.
func (r *registers) Run(ctx context.Context) {
	r.working(true)
	var workers sync.WaitGroup
	for id := range registerWorkers {
		workers.Go(func() {
			w := r.env.newWorker(r.name, id)
			defer w.close()
			for w.rest(ctx, registerRest) {
				r.once(w)
			}
		})
	}
	workers.Wait()
	r.working(false)
}

func (r *registers) once(w *worker) {
	slot := w.rng.IntN(registerSlots)
	r.mu.Lock()
	l := r.lives[slot]
	l.open++
	l.begun++
	op := check.Op{Client: w.id, Value: fmt.Sprintf("%d.%d", w.id, l.begun)}
	old := op.Value // never there
	if len(l.seen) > 0 {
		old = l.seen[w.rng.IntN(len(l.seen))]
	}
	r.mu.Unlock()

	node := w.node()
	op.Node = w.name()
	var err error
	if r.cached {
		err = cachedRequest(w, node, l.key, &op)
	} else {
		err = pinnedRequest(w, node, l.key, old, &op)
	}
	op.Return = check.Now()
	outcome := r.note(op.Call, op.Return, err)
	if outcome != Done {
		w.move()
	}
	op.InDoubt = outcome == InDoubt

	r.mu.Lock()
	defer r.mu.Unlock()
	l.open--
	if outcome == NotDone {
		op.NotDone = err.Error()
	}
	l.history = append(l.history, op)
	if op.InDoubt && op.Kind != check.Get {
		l.doubts++
	}
	if value := op.Value; outcome == Done {
		if op.Kind == check.Get {
			value = op.Got
		}
		if value != "" { // nobody can compare with what is absent
			l.seen = append(l.seen, value)
			l.seen = l.seen[max(0, len(l.seen)-3):]
		}
	}
	most, doubts := pinnedLife, pinnedDoubts
	if r.cached {
		most, doubts = cachedLife, cachedDoubts
	}
	if !l.over && (l.begun >= most || l.doubts >= doubts) {
		l.over = true
		r.lives[slot] = r.bear()
	}
	if l.over && l.open == 0 {
		r.judge(l)
	}
}

// pinnedRequest sends one request and fills in op: its kind, its call and what
// was answered.
func pinnedRequest(w *worker, node *redis.Client, key, old string, op *check.Op) error {
	ctx := context.Background()
	op.Old = old
	op.Call = check.Now()
	switch dice := w.rng.IntN(100); {
	case dice < 35:
		op.Kind = check.Get
		got, err := node.Get(ctx, key).Result()
		op.Got = got
		return err
	case dice < 50:
		op.Kind = check.Set
		return node.Set(ctx, key, op.Value, 0).Err()
	case dice < 60:
		op.Kind = check.SetNX
		did, err := node.SetNX(ctx, key, op.Value, 0).Result()
		op.Did = did
		return err
	case dice < 68:
		op.Kind = check.Delete
		n, err := node.Del(ctx, key).Result()
		op.Did = n == 1
		return err
	case dice < 76:
		op.Kind = check.Swap
		n, err := swapScript.Run(ctx, node, []string{key}, old, op.Value).Int()
		op.Did = n == 1
		return err
	case dice < 84:
		op.Kind = check.Swap
		err := node.Do(ctx, "SET", key, op.Value, "IFEQ", old).Err()
		op.Did = err == nil
		return err
	case dice < 92:
		op.Kind = check.Exchange
		pipe := node.TxPipeline()
		before := pipe.Get(ctx, key)
		pipe.Set(ctx, key, op.Value, 0)
		_, err := pipe.Exec(ctx)
		op.Got = before.Val()
		return err
	default:
		return watchRequest(ctx, node, key, op)
	}
}

// watchRequest changes the key under WATCH: a swap from what was read, or only
// the read when EXEC was refused.
func watchRequest(ctx context.Context, node *redis.Client, key string, op *check.Op) error {
	op.Kind = check.Get
	err := node.Watch(ctx, func(tx *redis.Tx) error {
		got, err := tx.Get(ctx, key).Result()
		if Classify(err) != Done {
			return err
		}
		op.Got = got
		op.Kind, op.Old, op.Did = check.Swap, got, true
		_, err = tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Set(ctx, key, op.Value, 0)
			return nil
		})
		if err == redis.TxFailedErr {
			op.Kind, op.Did = check.Get, false
		}
		return err
	}, key)
	return err
}

// cachedRequest is plain writes with a TTL, which the server may forget.
func cachedRequest(w *worker, node *redis.Client, key string, op *check.Op) error {
	ctx := context.Background()
	op.Call = check.Now()
	switch dice := w.rng.IntN(100); {
	case dice < 60:
		op.Kind = check.Get
		got, err := node.Get(ctx, key).Result()
		op.Got = got
		return err
	case dice < 85:
		op.Kind = check.Set
		return node.Set(ctx, key, op.Value, 10*time.Minute).Err()
	default:
		op.Kind = check.Delete
		n, err := node.Del(ctx, key).Result()
		op.Did = n == 1
		return err
	}
}

// judge runs the search on a goroutine of its own; r.mu is held.
func (r *registers) judge(l *life) {
	if len(l.history) == 0 {
		return
	}
	r.checks.Go(func() {
		r.searching <- struct{}{}
		verdict := check.Register(l.history, r.cached, checkTimeout)
		<-r.searching
		r.mu.Lock()
		r.judged++
		if verdict == check.Undecided {
			r.undecided++
		}
		r.mu.Unlock()
		if verdict == check.Wrong {
			r.env.Judge.Report(r.name, "no order explains what was seen of "+l.key+": "+check.Explain(l.history, r.cached), l.history)
			picture := filepath.Join(r.env.Judge.Dir(), l.key+".html")
			check.Draw(l.history, r.cached, picture) // a convenience; the history itself is kept
		}
	})
}

// Settle ends every life with a read that must be answered.
func (r *registers) Settle(ctx context.Context) {
	ctx, cancel := check.Patience(ctx, settleTimeout)
	defer cancel()
	w := r.env.newWorker(r.name, registerWorkers)
	defer w.close()
	r.mu.Lock()
	ending := r.lives
	r.lives = nil
	for range registerSlots {
		r.lives = append(r.lives, r.bear())
	}
	r.mu.Unlock()
	for _, l := range ending {
		op := check.Op{Client: w.id, Kind: check.Get, Node: w.name()}
		answered := w.insist(ctx, func(ctx context.Context, node *redis.Client) (err error) {
			op.Call = check.Now()
			op.Node = w.name()
			op.Got, err = node.Get(ctx, l.key).Result()
			op.Return = check.Now()
			return err
		})
		if !answered {
			r.env.Judge.Report(r.name, "no answer to GET although everything is healed", nil)
			return
		}
		l.history = append(l.history, op)
		r.mu.Lock()
		r.judge(l)
		r.mu.Unlock()
	}
	r.checks.Wait()
}

// Summary implements Workload.
func (r *registers) Summary() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprintf("%s; %d keys judged, %d undecided", r.line(), r.judged, r.undecided)
}
