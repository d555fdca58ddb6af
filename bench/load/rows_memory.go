package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"crema/internal/load"
)

const (
	settleFor   = 5 * time.Second // until memory that is given back when idle is
	idleConns   = 10_000
	idleBytes   = 8 << 10 // of one, at most
	limit       = 100 << 20
	peakAllowed = limit + limit/10 + 64<<20
	keyAim      = 130 // bytes of a key that pogocache needs
)

// held is a row of what a key costs in memory: all of the process, by its keys.
func held(name, what string) row {
	return row{name: name, what: what, target: 1, by: byMemory, run: func(ctx context.Context, s *suite, r row, servers []*load.Server) ([]figures, error) {
		return s.memory(ctx, servers, func(server *load.Server) (float64, string, error) {
			now, _ := load.Resident(server.PIDs)
			each := float64(now) / keysMany
			return each, fmt.Sprintf("%.0f B of a key (aim %d)", each, keyAim), nil
		})
	}}
}

// memory asks each server once it has settled.
func (s *suite) memory(ctx context.Context, servers []*load.Server, of func(*load.Server) (float64, string, error)) ([]figures, error) {
	s.progress.Show("wait until memory settles")
	if err := pause(ctx, settleFor); err != nil {
		return nil, err
	}
	all := make([]figures, len(servers))
	for i, server := range servers {
		bytes, note, err := of(server)
		if err != nil {
			return nil, err
		}
		all[i] = figures{server: server.Name, bytes: bytes, note: note}
	}
	return all, nil
}

// pause is time that a server is given.
func pause(ctx context.Context, d time.Duration) error {
	end := time.NewTimer(d)
	defer end.Stop()
	select {
	case <-end.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flood is a row of the most memory a server has had while new keys came in.
func flood(name, what string) row {
	return row{name: name, what: what, target: 1, by: measure{"RSS/allowed", nil}, run: func(ctx context.Context, s *suite, r row, servers []*load.Server) ([]figures, error) {
		all := make([]figures, len(servers))
		for i, server := range servers {
			_, peak := load.Resident(server.PIDs)
			all[i] = figures{server: server.Name, own: float64(peak) / peakAllowed, note: fmt.Sprintf("%d MB of %d", peak>>20, peakAllowed>>20)}
		}
		return all, nil
	}}
}

// tail is a row of latency with many keys. MEMORY PURGE has crema's collector run once
// a second, which it would not do by itself in so short a time. Others have none.
func tail(name, what string) row {
	return row{name: name, what: what, target: 1.5, by: byP99, run: func(ctx context.Context, s *suite, r row, servers []*load.Server) ([]figures, error) {
		j := s.job(r, "mixed", 1, valueSize)
		var err error
		if j.Keys, err = load.ParseKeys("uniform", keysMany); err != nil {
			return nil, err
		}
		j.Rate, j.Writes, j.For = 20_000, 0.1, 3*s.turn
		j.Ready = func(turn context.Context, server *load.Server) error {
			if server != servers[0] {
				return nil
			}
			c, err := server.Nodes[0].Dial()
			if err != nil {
				return err
			}
			go func() { // ends with the turn, and some of the next second
				defer c.Close()
				for until := time.Now().Add(j.Warm + j.For - time.Second/2); time.Now().Before(until); {
					if _, err := c.Do("MEMORY", "PURGE"); err != nil || pause(turn, time.Second) != nil {
						return
					}
				}
			}()
			return nil
		}
		return s.takeTurns(ctx, j, servers)
	}}
}

// idle is a row of what connections cost that do nothing, or nothing any more.
func idle(name, what string, used bool) row {
	return row{name: name, what: what, target: 1, by: measure{"RSS/8 KiB", nil}, run: func(ctx context.Context, s *suite, r row, servers []*load.Server) ([]figures, error) {
		before := make([]int64, len(servers))
		var conns []*load.Conn
		defer func() {
			for _, c := range conns {
				c.Close()
			}
		}()
		all := make([]figures, len(servers))
		for i, server := range servers {
			before[i], _ = load.Resident(server.PIDs)
			for n := range idleConns {
				if n%100 == 0 {
					s.progress.Show("%s · %s · %d connections", r.name, server.Name, n)
				}
				c, err := server.Nodes[0].Dial()
				if err != nil {
					return nil, fmt.Errorf("connection %d of %s: %w", n, server.Name, err)
				}
				conns = append(conns, c)
				if err := greet(c, used); err != nil {
					return nil, err
				}
			}
			s.progress.Show("wait until memory settles")
			if err := pause(ctx, settleFor); err != nil {
				return nil, err
			}
			now, _ := load.Resident(server.PIDs)
			each := float64(now-before[i]) / idleConns
			all[i] = figures{server: server.Name, bytes: each, own: each / idleBytes, note: fmt.Sprintf("%.1f KiB each", each/1024)}
			for _, c := range conns {
				c.Close()
			}
			conns = conns[:0]
		}
		return all, nil
	}}
}

// greet has a connection do something before it is idle: one command, or a pipeline
// of 16 KiB.
func greet(c *load.Conn, much bool) error {
	if !much {
		_, err := c.Do("PING")
		return err
	}
	const commands = 16
	value := strings.Repeat("x", 1024)
	var b []byte
	for range commands {
		b = load.AppendCommand(b, "SET", "idle", value)
	}
	_, err := c.Send(b, commands)
	return err
}

const churnShort = 15 * time.Second

// churn is a row of memory while keys of all sizes are written, written over, expire
// and are evicted: the most that RSS is of what INFO says is used, after the memory
// was full for the first time.
func churn(name, what string, during time.Duration) row {
	return row{name: name, what: what, target: 1.25, by: measure{"RSS/used", nil}, run: func(ctx context.Context, s *suite, r row, servers []*load.Server) ([]figures, error) {
		all, failed := make([]figures, len(servers)), make([]error, len(servers))
		var turns sync.WaitGroup
		for i, server := range servers { // at once: it is memory that is looked at
			turns.Go(func() { all[i], failed[i] = s.churn(ctx, r, server, during) })
		}
		turns.Wait()
		return all, errors.Join(failed...)
	}}
}

func (s *suite) churn(ctx context.Context, r row, server *load.Server, during time.Duration) (figures, error) {
	j := s.job(r, "churn", 4, valueSize)
	var err error
	if j.Keys, err = load.ParseKeys("uniform", 20_000); err != nil {
		return figures{}, err
	}
	if j.Sizes, err = load.ParseSizes("log:1-1048576"); err != nil {
		return figures{}, err
	}
	j.Clients, j.For, j.TTL = 8, during, time.Minute
	side, err := server.Nodes[0].Dial()
	if err != nil {
		return figures{}, err
	}
	defer side.Close()
	var worst, last float64
	var note string
	full, begin, looked := false, time.Now(), time.Time{}
	_, err = load.Run(ctx, j, server, func(t *load.Turn) {
		if time.Since(looked) < time.Second/2 {
			return
		}
		looked = time.Now()
		used, top, err := memoryOf(side)
		if err != nil {
			return // the turn will end with the same
		}
		rss, _ := load.Resident(server.PIDs)
		last = float64(rss) / float64(used)
		full = full || used > top*9/10
		s.progress.Show("%s · %s · %s · used %d MB, RSS %d MB", r.name, server.Name, time.Since(begin).Round(time.Second), used>>20, rss>>20)
		if full && last > worst {
			worst, note = last, fmt.Sprintf("used %d MB, RSS %d MB", used>>20, rss>>20)
		}
	})
	if err != nil {
		return figures{}, err
	}
	if !full {
		return figures{}, fmt.Errorf("%s was never full", server.Name)
	}
	return figures{server: server.Name, own: worst, note: fmt.Sprintf("at worst %s; %.2f in the end", note, last)}, nil
}

// memoryOf is what a server says it uses, and may use.
func memoryOf(c *load.Conn) (used, top int64, err error) {
	info, err := c.Do("INFO", "memory")
	if err != nil {
		return 0, 0, err
	}
	for _, line := range strings.Split(info, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		n, _ := strconv.ParseInt(value, 10, 64)
		switch name {
		case "used_memory":
			used = n
		case "maxmemory":
			top = n
		}
	}
	if used == 0 || top == 0 {
		return 0, 0, fmt.Errorf("INFO memory says nothing of used_memory and maxmemory")
	}
	return used, top, nil
}

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }
