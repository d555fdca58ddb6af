package load

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"crema/bench/proof/check"
)

const (
	claimWorkers = 5
	claimRest    = 30 * time.Millisecond
	// So many try each claim.
	claimTries = 4
	// One claim in three has a TTL, which must not run out early on any node.
	claimTTL = 30 * time.Second
	// At the end all are read, so many at a time.
	claimBatch = 200
)

// claims is a list that only grows: SET NX by several, and what was granted is
// read again during the run and at its end.
type claims struct {
	gauge
	env *Env

	mu    sync.Mutex
	list  []*check.Claim
	tries int
	reads int
}

// NewClaims claims.
func NewClaims(e *Env) Workload { return &claims{gauge: e.newGauge("claims", e.Outages), env: e} }

// Run implements Workload.
func (c *claims) Run(ctx context.Context) {
	c.working(true)
	var workers sync.WaitGroup
	for id := range claimWorkers {
		workers.Go(func() {
			w := c.env.newWorker(c.name, id)
			defer w.close()
			for w.rest(ctx, claimRest) {
				if w.rng.IntN(3) == 0 {
					c.read(w)
				} else {
					c.try(w)
				}
			}
		})
	}
	workers.Wait()
	c.working(false)
}

func (c *claims) try(w *worker) {
	c.mu.Lock()
	c.tries++
	if len(c.list) == 0 || c.tries%claimTries == 0 {
		c.list = append(c.list, &check.Claim{Key: fmt.Sprintf("%s:claim:%d", c.env.Prefix, len(c.list))})
		if len(c.list)%3 == 0 {
			c.list[len(c.list)-1].Expires = check.Now() + int64(claimTTL)
		}
	}
	claim := c.list[len(c.list)-1]
	ttl := time.Duration(0)
	if claim.Expires != 0 {
		ttl = claimTTL
	}
	me := fmt.Sprintf("w%d.%d", w.id, c.tries)
	claim.Tried = append(claim.Tried, me)
	c.mu.Unlock()

	node := w.node()
	call := check.Now()
	granted, err := node.SetNX(context.Background(), claim.Key, me, ttl).Result()
	back := check.Now()
	if c.note(call, back, err) != Done {
		w.move()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !claim.Binding(back) {
		return
	}
	wrong := ""
	if granted {
		wrong = claim.Granted(me)
	} else {
		claim.Refused = true
	}
	if wrong != "" {
		c.env.Judge.Report(c.name, wrong+" by "+w.name(), *claim)
	}
}

// read looks at one claim, mostly a young one.
func (c *claims) read(w *worker) {
	c.mu.Lock()
	if len(c.list) == 0 {
		c.mu.Unlock()
		return
	}
	at := w.rng.IntN(len(c.list))
	if w.rng.IntN(3) > 0 {
		at = max(0, len(c.list)-1-w.rng.IntN(5))
	}
	claim := c.list[at]
	before := *claim // what was known when the read began
	c.mu.Unlock()

	node := w.node()
	call := check.Now()
	value, err := node.Get(context.Background(), claim.Key).Result()
	back := check.Now()
	if c.note(call, back, err) != Done {
		w.move()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
	if !claim.Binding(back) {
		return
	}
	before.Tried = claim.Tried // somebody may have tried meanwhile
	wrong := before.Read(value)
	if wrong == "" && value != "" {
		wrong = claim.Granted(value)
	}
	if wrong != "" {
		c.env.Judge.Report(c.name, wrong+" at "+w.name(), *claim)
	}
}

// Settle reads every claim there ever was.
func (c *claims) Settle(ctx context.Context) {
	ctx, cancel := check.Patience(ctx, settleTimeout)
	defer cancel()
	w := c.env.newWorker(c.name, claimWorkers)
	defer w.close()
	for from := 0; from < len(c.list); from += claimBatch {
		batch := c.list[from:min(from+claimBatch, len(c.list))]
		var keys []string
		for _, claim := range batch {
			keys = append(keys, claim.Key)
		}
		var values []any
		answered := w.insist(ctx, func(ctx context.Context, node *redis.Client) (err error) {
			values, err = node.MGet(ctx, keys...).Result()
			return err
		})
		if !answered {
			c.env.Judge.Report(c.name, "no answer to MGET although everything is healed", nil)
			return
		}
		back := check.Now()
		for i, claim := range batch {
			if !claim.Binding(back) {
				continue
			}
			value, _ := values[i].(string)
			if wrong := claim.Read(value); wrong != "" {
				c.env.Judge.Report(c.name, wrong+" at the end", *claim)
			}
		}
	}
}

// Summary implements Workload.
func (c *claims) Summary() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	granted := 0
	for _, claim := range c.list {
		if claim.Owner != "" {
			granted++
		}
	}
	return fmt.Sprintf("%s; %d claims, %d granted, %d reads of them", c.line(), len(c.list), granted, c.reads)
}
