package main

import (
	"context"
	"time"

	"crema/internal/load"
)

// fanout is a row of one client that publishes as fast as subscribers follow.
func fanout(name, what string, subscribers int, l load.Listening) row {
	return row{name: name, what: what, target: 1, by: byDelivery, run: func(ctx context.Context, s *suite, r row, servers []*load.Server) ([]figures, error) {
		return s.publish(ctx, r, servers, subscribers, l, 0)
	}}
}

func (s *suite) publish(ctx context.Context, r row, servers []*load.Server, subscribers int, l load.Listening, rate float64) ([]figures, error) {
	j := s.job(r, "", 16, valueSize)
	j.Mix, j.Clients, j.Rate = load.Fanout(subscribers, l), 1, rate
	if rate > 0 {
		j.Pipeline = 1
	}
	return s.takeTurnsBy(ctx, j, servers, (*load.Turn).EachDelivery, func(f *figures, turns []*load.Turn) {
		f.perSecond = load.Median(turns, func(t *load.Turn) float64 { return float64(t.Delivered) / t.Took.Seconds() })
	})
}

// stalled is a row of what subscribers that never read do to the others: the p99 of
// those, by what it is without. Redis's own such ratio is beside it.
func stalled(name, what string) row {
	const subscribers, more, rate = 100, 10, 1000
	return row{name: name, what: what, target: 1.25, by: measure{"p99 with/without", nil}, run: func(ctx context.Context, s *suite, r row, servers []*load.Server) ([]figures, error) {
		without, err := s.publish(ctx, r, servers, subscribers, load.Listening{}, rate)
		if err != nil {
			return nil, err
		}
		with, err := s.publish(ctx, r, servers, subscribers, load.Listening{Stalled: more}, rate)
		if err != nil {
			return nil, err
		}
		for i := range with {
			with[i].own = float64(with[i].p99) / float64(without[i].p99)
			with[i].note = "p99 without them " + load.Short(without[i].p99)
		}
		return with, nil
	}}
}

// aside is a row of a cache that is too small for what is asked of it.
func aside(name, what string) row {
	return row{name: name, what: what, by: byCPU, run: func(ctx context.Context, s *suite, r row, servers []*load.Server) ([]figures, error) {
		j := s.job(r, "cache-aside", 1, valueSize)
		var err error
		if j.Keys, err = load.ParseKeys("zipf:1.01", 2*keysHeld); err != nil {
			return nil, err
		}
		return s.takeTurnsBy(ctx, j, servers, (*load.Turn).EachRequest, func(f *figures, turns []*load.Turn) {
			f.note = percent(load.Median(turns, (*load.Turn).HitRatio)) + " hits"
		})
	}}
}

// fresh is a row of writing keys that were never there.
func fresh(name, what, mix string) row {
	return row{name: name, what: what, target: 1, by: byCPU, run: func(ctx context.Context, s *suite, r row, servers []*load.Server) ([]figures, error) {
		j := s.job(r, mix, 16, valueSize)
		var err error
		if j.Keys, err = load.ParseKeys("seq", 1); err != nil {
			return nil, err
		}
		j.Keys.From(firstFresh)
		return s.takeTurns(ctx, j, servers)
	}}
}

const firstFresh = 100_000_000 // beyond whatever keys are held

// overfill has servers full and evicting.
func overfill(ttl bool) func(context.Context, *suite, []*load.Server) error {
	if ttl {
		return hold(keysHeld, valueSize, time.Hour)
	}
	return hold(keysHeld, valueSize, 0)
}
