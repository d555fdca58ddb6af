package load

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"crema/bench/proof/check"
)

const (
	publishers  = 3
	publishRest = 25 * time.Millisecond
)

// messages is PUBLISH through any node, and on every node a subscriber to the
// channel and one to a pattern.
type messages struct {
	gauge
	env   *Env
	heard atomic.Int64
}

// NewMessages publishes.
func NewMessages(e *Env) Workload { return &messages{gauge: e.newGauge("messages", nil), env: e} }

func (m *messages) channel() string { return m.env.Prefix + ":channel" }

// Run implements Workload.
func (m *messages) Run(ctx context.Context) {
	m.working(true)
	var all sync.WaitGroup
	for _, address := range m.env.Addresses {
		all.Go(func() { m.listen(ctx, address, false) })
		all.Go(func() { m.listen(ctx, address, true) })
	}
	for id := range publishers {
		all.Go(func() { m.publish(ctx, id) })
	}
	all.Wait()
	m.working(false)
}

// publish numbers what it sends over one connection; after an error it goes on
// over another one, under another name: order is promised per connection.
func (m *messages) publish(ctx context.Context, id int) {
	w := m.env.newWorker(m.name, id)
	defer w.close()
	for life := 0; ctx.Err() == nil; life++ {
		w.move()
		conn := w.nodes[w.at].Conn()
		name := fmt.Sprintf("p%d.%d@%s", id, check.Now(), w.name())
		for number := 1; w.rest(ctx, publishRest); number++ {
			call := check.Now()
			err := conn.Publish(ctx, m.channel(), fmt.Sprintf("%s:%d", name, number)).Err()
			if ctx.Err() != nil {
				break
			}
			if m.note(call, check.Now(), err) != Done || w.rng.IntN(50*stay) == 0 {
				break
			}
		}
		conn.Close()
	}
}

func (m *messages) listen(ctx context.Context, address string, pattern bool) {
	client := connect(address)
	defer client.Close()
	sub := m.subscribe(client, pattern)
	defer sub.Close()
	// Closing is what wakes a subscriber that hears nothing. A time limit would
	// not do: it could strike in the middle of a message.
	defer context.AfterFunc(ctx, func() { sub.Close() })()
	heard := check.NewMessages()
	for ctx.Err() == nil {
		got, err := sub.Receive(context.Background())
		if err != nil {
			pause(ctx, 100*time.Millisecond) // the next Receive connects again
			continue
		}
		message, ok := got.(*redis.Message)
		if !ok {
			continue
		}
		m.heard.Add(1)
		name, digits, _ := strings.Cut(message.Payload, ":")
		number, err := strconv.Atoi(digits)
		wrong := ""
		if err != nil {
			wrong = fmt.Sprintf("nobody said %q", message.Payload)
		} else {
			wrong = heard.Hear(name, number)
		}
		if wrong != "" {
			m.env.Judge.Report(m.name, fmt.Sprintf("subscriber at %s (pattern: %v): %s", address, pattern, wrong), nil)
		}
	}
}

func (m *messages) subscribe(client *redis.Client, pattern bool) *redis.PubSub {
	if pattern {
		return client.PSubscribe(context.Background(), m.channel()+"*")
	}
	return client.Subscribe(context.Background(), m.channel())
}

// Settle waits until a message through each node reaches a subscriber on every
// node again.
func (m *messages) Settle(ctx context.Context) {
	ctx, cancel := check.Patience(ctx, settleTimeout)
	defer cancel()
	want := int64(2 * len(m.env.Addresses))
	for _, address := range m.env.Addresses {
		client := connect(address)
		defer client.Close()
		for _, pattern := range []bool{false, true} {
			sub := m.subscribe(client, pattern)
			defer sub.Close()
			sub.Channel() // reads it, and connects again when it must
		}
	}
	for i, address := range m.env.Addresses {
		client := connect(address)
		defer client.Close()
		reached := int64(-1)
		for number := 1; reached != want; number++ {
			n, err := client.Publish(ctx, m.channel(), fmt.Sprintf("settle:%d", number)).Result()
			if err == nil {
				reached = n
			}
			if reached != want && !pause(ctx, 50*time.Millisecond) {
				m.env.Judge.Report(m.name, fmt.Sprintf("healed, but PUBLISH at %s reaches %d of %d subscribers", m.env.Names[i], reached, want), nil)
				return
			}
		}
	}
}

// Summary implements Workload.
func (m *messages) Summary() string { return fmt.Sprintf("%s; heard %d", m.line(), m.heard.Load()) }
