package load

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"crema/bench/proof/check"
)

const (
	counterWorkers = 5
	counterRest    = 40 * time.Millisecond
	// Each counter is used for so long; then it is read and judged.
	counterLife = 8 * time.Second
)

// counters is INCR by many on one key at a time, by single requests and in
// pipelines.
type counters struct {
	gauge
	env *Env

	mu         sync.Mutex
	born       int
	increments []check.Increment // of the current key
	judged     int
}

// NewCounters counts.
func NewCounters(e *Env) Workload {
	return &counters{gauge: e.newGauge("counters", e.Outages), env: e}
}

// Run implements Workload.
func (c *counters) Run(ctx context.Context) {
	for ctx.Err() == nil {
		c.born++
		c.increments = nil
		key := fmt.Sprintf("%s:counter:%d", c.env.Prefix, c.born)
		c.working(true)
		life, over := context.WithTimeout(ctx, counterLife)
		var workers sync.WaitGroup
		for id := range counterWorkers {
			workers.Go(func() {
				w := c.env.newWorker(key, id)
				defer w.close()
				for w.rest(life, counterRest) {
					c.once(w, key)
				}
			})
		}
		workers.Wait()
		over()
		c.working(false)
		c.judge(key)
	}
}

func (c *counters) once(w *worker, key string) {
	node, ctx := w.node(), context.Background()
	many := 1
	if w.rng.IntN(4) == 0 {
		many = 5
	}
	call := check.Now()
	var replies []*redis.IntCmd
	if many == 1 {
		replies = append(replies, node.Incr(ctx, key))
	} else {
		pipe := node.Pipeline()
		for range many {
			replies = append(replies, pipe.Incr(ctx, key))
		}
		pipe.Exec(ctx) // every reply has its own error
	}
	back := check.Now()
	for _, reply := range replies {
		outcome := c.note(call, back, reply.Err())
		if outcome != Done {
			w.move()
		}
		if outcome != NotDone {
			c.mu.Lock()
			c.increments = append(c.increments, check.Increment{
				Value: reply.Val(), InDoubt: outcome == InDoubt, Node: w.name(), Call: call, Return: back,
			})
			c.mu.Unlock()
		}
	}
}

// judge reads the counter; everybody has finished with it. While the cluster is
// being broken an answer may take long: as long as Settle would give it.
func (c *counters) judge(key string) {
	ctx, cancel := check.Patience(context.Background(), settleTimeout)
	defer cancel()
	go func() { // a run that has found something ends soon
		select {
		case <-c.env.Judge.First():
			cancel()
		case <-ctx.Done():
		}
	}()
	w := c.env.newWorker(key, counterWorkers)
	defer w.close()
	var final int64
	answered := w.insist(ctx, func(ctx context.Context, node *redis.Client) error {
		text, err := node.Get(ctx, key).Result()
		if err == redis.Nil {
			text = "0"
		}
		if text != "" {
			final, _ = strconv.ParseInt(text, 10, 64)
		}
		return err
	})
	if !answered {
		if c.env.Judge.Found() > 0 {
			return
		}
		c.env.Judge.Report(c.name, fmt.Sprintf("no answer to GET within %s", settleTimeout), nil)
		return
	}
	c.judged++
	if wrong := check.Counter(c.increments, final); wrong != "" {
		c.env.Judge.Report(c.name, key+" "+wrong, c.increments)
	}
}

// Settle implements Workload: every counter was judged when Run returned.
func (c *counters) Settle(context.Context) {}

// Summary implements Workload.
func (c *counters) Summary() string { return fmt.Sprintf("%s; %d counters judged", c.line(), c.judged) }
