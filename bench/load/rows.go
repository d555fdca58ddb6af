package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"crema/internal/load"
)

const (
	keysHeld  = 1_000_000
	keysMany  = 3_000_000
	clients   = 50
	valueSize = 64
)

// groups are all rows, in the order of the table.
func groups() []group {
	return []group{
		{prepare: hold(keysHeld, valueSize, 0), rows: []row{
			closed("get-p1", "GET, pipeline 1", 1.0, "get", 1, valueSize),
			closed("set-p1", "SET, pipeline 1", 1.0, "set", 1, valueSize),
			closed("get-p16", "GET, pipeline 16", 0.55, "get", 16, valueSize),
			closed("set-p16", "SET, pipeline 16", 0.55, "set", 16, valueSize),
			closed("get-p64", "GET, pipeline 64", 0.5, "get", 64, valueSize),
			closed("set-p64", "SET, pipeline 64", 0.5, "set", 64, valueSize),
			open("open-20k", "20 000/s, a tenth SET", 1.3, byCPU),
			closed("session", "GETEX, SETEX, DEL of sessions, pipeline 1", 0, "session", 1, 200),
			closed("lock", "SET NX PX, then EVALSHA of redlock's release", 0, "lock", 1, valueSize),
			releases("evalsha-p1", "EVALSHA of redlock's release, pipeline 1", 1, 100_000),
			releases("evalsha-p16", "EVALSHA of redlock's release, pipeline 16", 16, 300_000),
			large("set-1k-p16", "SET of 1 KiB, pipeline 16"),
		}},
		{rows: []row{
			fanout("publish-1", "PUBLISH to 1 subscriber", 1, load.Listening{}),
			fanout("publish-100", "PUBLISH to 100 subscribers", 100, load.Listening{}),
			fanout("publish-1000", "PUBLISH to 1000 subscribers", 1000, load.Listening{}),
			fanout("publish-glob", "PUBLISH to 100 subscribers, 10 of them by a pattern", 100, load.Listening{Patterns: 10}),
			fanout("publish-wide", "PUBLISH to 1000 channels with a subscriber each", 1000, load.Listening{Channels: true}),
			stalled("publish-stall", "p99 of 1000/s to 100 subscribers while 10 more never read"),
		}},
		{flags: []string{"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lfu"}, own: true, prepare: overfill(false), rows: []row{
			fresh("set-full", "SET of new keys, memory full and evicting, pipeline 16", "set"),
			flood("flood", "most memory ever, by what maxmemory allows: 1.1 × and 64 MB"),
		}},
		{flags: []string{"--maxmemory", "100mb"}, redis: []string{"--maxmemory-policy", "allkeys-lfu"}, own: true, prepare: overfill(true), rows: []row{
			fresh("set-full-ttl", "the same with a TTL, crema as it comes", "set-ttl"),
			aside("cache-aside", "GET, and SET EX of what is missing, zipf 1.01 over 2 M keys"),
		}},
		{own: true, prepare: hold(keysMany, valueSize, time.Hour), rows: []row{
			held("memory", "bytes of a key: 3 M keys of 16 B, values of 64 B, TTL"),
			tail("get-p99-3m", "p99 at 20 000/s of 3 M keys, a tenth SET; crema's collector runs each second"),
		}},
		{flags: []string{"--maxclients", "10100"}, own: true, rows: []row{
			idle("idle", "bytes of an idle connection, of 10 000", false),
		}},
		{flags: []string{"--maxclients", "10100"}, own: true, rows: []row{
			idle("idle-used", "the same, after each has sent 16 KiB at once", true),
		}},
		{flags: []string{"--maxmemory", "256mb"}, redis: []string{"--maxmemory-policy", "allkeys-lfu"}, own: true, rows: []row{
			churn("churn", "RSS by used_memory, values of 1 B to 1 MB that change, expire and are evicted", churnShort),
		}},
	}
}

// hold has every server hold that many keys.
func hold(keys int64, size int, ttl time.Duration) func(context.Context, *suite, []*load.Server) error {
	return func(ctx context.Context, s *suite, servers []*load.Server) error {
		for _, server := range servers {
			if err := load.Load(ctx, server, keys, load.FixedSize(size), ttl, s.progress); err != nil {
				return err
			}
		}
		return nil
	}
}

// job is a turn as this run has them, over keys that are held.
func (s *suite) job(r row, mix string, pipeline, size int) *load.Job {
	keys, err := load.ParseKeys("uniform", keysHeld)
	if err != nil {
		panic(err) // it is ours
	}
	return &load.Job{Name: r.name, Mix: load.Mixes[mix], Clients: clients, Pipeline: pipeline, Keys: keys, Sizes: load.FixedSize(size),
		TTL: time.Hour, Warm: s.warm, For: s.turn}
}

// closed is a row of a closed loop.
func closed(name, what string, target float64, mix string, pipeline, size int) row {
	return row{name: name, what: what, target: target, by: byCPU, run: func(ctx context.Context, s *suite, r row, servers []*load.Server) ([]figures, error) {
		return s.takeTurns(ctx, s.job(r, mix, pipeline, size), servers)
	}}
}

// large is a row of values of 1 KiB, of fewer keys: it is to measure writing, not how
// memory is asked for.
func large(name, what string) row {
	return row{name: name, what: what, target: 0.7, by: byCPU, run: func(ctx context.Context, s *suite, r row, servers []*load.Server) ([]figures, error) {
		j := s.job(r, "set", 16, 1024)
		var err error
		if j.Keys, err = load.ParseKeys("uniform", keysHeld/10); err != nil {
			return nil, err
		}
		return s.takeTurns(ctx, j, servers)
	}}
}

// open is a row at 20 000 requests a second, a tenth of them writes.
func open(name, what string, target float64, by measure) row {
	return row{name: name, what: what, target: target, by: by, run: func(ctx context.Context, s *suite, r row, servers []*load.Server) ([]figures, error) {
		j := s.job(r, "mixed", 1, valueSize)
		j.Rate, j.Writes, j.TTL = 20_000, 0.1, 0
		return s.takeTurns(ctx, j, servers)
	}}
}

// releases is a row of releases of locks that are held, and of nothing else: they
// are taken before each turn.
func releases(name, what string, pipeline int, count int64) row {
	return row{name: name, what: what, target: 2, by: byCPU, run: func(ctx context.Context, s *suite, r row, servers []*load.Server) ([]figures, error) {
		j := s.job(r, "release", pipeline, valueSize)
		j.Count, j.For = count, time.Minute
		j.Ready = func(ctx context.Context, server *load.Server) error { return load.TakeLocks(ctx, j, server) }
		return s.takeTurns(ctx, j, servers)
	}}
}

// takeTurns has the servers take turns.
func (s *suite) takeTurns(ctx context.Context, j *load.Job, servers []*load.Server) ([]figures, error) {
	return s.takeTurnsBy(ctx, j, servers, (*load.Turn).EachRequest, nil)
}

// takeTurnsBy counts CPU time for what each says, and has more add to what is said of
// a server's turns. A further rival that cannot do what is asked is left out.
func (s *suite) takeTurnsBy(ctx context.Context, j *load.Job, servers []*load.Server, each func(*load.Turn) time.Duration,
	more func(*figures, []*load.Turn)) ([]figures, error) {
	turns, err := load.Rounds(ctx, j, servers, s.rounds, s.progress)
	var failure *load.Failure
	if errors.As(err, &failure) {
		if i := slices.Index(servers, failure.Server); i > 1 {
			all, err := s.takeTurnsBy(ctx, j, slices.Delete(slices.Clone(servers), i, i+1), each, more)
			return append(all, figures{server: failure.Server.Name, note: fmt.Sprintf("not measured: %.60s", failure.Err)}), err
		}
	}
	if err != nil {
		return nil, err
	}
	all := figuresOf(servers, turns, each)
	for i := range all {
		if more != nil {
			more(&all[i], turns[i])
		}
	}
	return all, nil
}

// figuresOf are medians; each is what CPU time is counted for.
func figuresOf(servers []*load.Server, turns [][]*load.Turn, each func(*load.Turn) time.Duration) []figures {
	at := func(q float64) func(*load.Turn) time.Duration {
		return func(t *load.Turn) time.Duration { return t.At(q) }
	}
	all := make([]figures, len(servers))
	for i, s := range servers {
		ts := turns[i]
		all[i] = figures{
			server: s.Name, perSecond: load.Median(ts, (*load.Turn).PerSecond), cpu: load.Median(ts, each),
			p50: load.Median(ts, at(50)), p99: load.Median(ts, at(99)), p999: load.Median(ts, at(99.9)),
		}
	}
	return all
}
