package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"strconv"
	"time"

	"crema/internal/load"
)

// hitMixes are the distributions that hit ratios are compared over.
var hitMixes = [...]string{"zipf:0.9", "zipf:1.01", "zipf:1.2", "scan:1.01", "shift:1.01"}

// hits is a comparison of what caches of one size find.
type hits struct {
	suite
	memory     string
	keys       int64
	operations int64
	sizes      load.Sizes
}

// hitsCommand asks caches of the same maxmemory for the same keys, fills what they
// do not have with SET EX, and says how much they had. The first half of the
// requests only fills.
func hitsCommand(ctx context.Context, args []string) (err error) {
	fs := flag.NewFlagSet("load hits", flag.ExitOnError)
	h := hits{suite: suite{progress: load.ProgressOn(os.Stderr)}}
	fs.StringVar(&h.bin, "crema", "bin/crema", "the program")
	fs.StringVar(&h.memory, "maxmemory", "32mb", "of each server")
	fs.Int64Var(&h.keys, "keys", 1_000_000, "how many keys there are")
	fs.Int64Var(&h.operations, "operations", 1_000_000, "reads that count; as many before them do not")
	sizes := fs.String("size", "lognormal:200", "bytes of values: "+load.SizeForms)
	only := fs.String("only", "", "only these distributions, separated by commas")
	out := fs.String("out", "", "also write the results to this file")
	fs.Parse(args)
	if h.sizes, err = load.ParseSizes(*sizes); err != nil {
		return err
	}
	h.only = split(*only)
	return h.report(ctx, *out, h.compare)
}

const hitLayout = "%-10s %-18s %7s %9s %9s %9s %9s  %s\n"

func (h *hits) compare(ctx context.Context) error {
	fmt.Fprintf(h.out, "cache-aside, maxmemory %s, %d keys, values %s B, %d reads after as many to fill\n\n", h.memory, h.keys, h.sizes, h.operations)
	fmt.Fprintf(h.out, hitLayout, "keys", "", "hits", "held", "used", "RSS", "reads/s", "")
	for _, mix := range hitMixes {
		if !h.wants(mix) {
			continue
		}
		if err := h.mix(ctx, mix); err != nil {
			return fmt.Errorf("%s: %w", mix, err)
		}
	}
	return nil
}

// found is what one server came to.
type found struct {
	server    string
	ratio     float64
	held      string
	used, rss int64
	perSecond float64
}

func (h *hits) mix(ctx context.Context, mix string) error {
	rows := make([]found, 0, 3)
	for _, policy := range [...]string{"", "allkeys-lfu", "allkeys-lru"} {
		f, err := h.server(policy)
		if err != nil {
			return err
		}
		row, err := h.one(ctx, f, mix)
		f.kill()
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	best := max(rows[1].ratio, rows[2].ratio)
	h.progress.Show("")
	for i, r := range rows {
		name, end := "", ""
		if i == 0 {
			name, end = mix, verdictOfHits(r.ratio, best)
		}
		fmt.Fprintf(h.out, hitLayout, name, r.server, percent(r.ratio), r.held,
			strconv.FormatInt(r.used>>20, 10)+" MB", strconv.FormatInt(r.rss>>20, 10)+" MB", number(r.perSecond), end)
	}
	return nil
}

// verdictOfHits compares what is printed, tenths of a percent.
func verdictOfHits(ours, best float64) string {
	difference := math.Round(1000*ours) - math.Round(1000*best)
	word := "met"
	if difference < 0 {
		word = "MISSED"
	}
	return fmt.Sprintf("%+.1f points to the better of redis's ≥ 0 %s", difference/10, word)
}

// server is a new one: crema, or redis-server with a policy.
func (h *hits) server(policy string) (*fleet, error) {
	g := group{flags: []string{"--maxmemory", h.memory}}
	if policy != "" {
		g.redis = []string{"--maxmemory-policy", policy}
	}
	fleets, err := h.fleets(g)
	if err != nil || policy == "" {
		return fleets[0], err
	}
	fleets[1].name += " " + policy
	return fleets[1], nil
}

func (h *hits) one(ctx context.Context, f *fleet, mix string) (found, error) {
	if err := f.start(ctx); err != nil {
		return found{}, err
	}
	server := f.contender()
	j := &load.Job{Name: mix, Mix: load.Mixes["cache-aside"], Clients: clients, Pipeline: 4, Sizes: h.sizes, TTL: time.Hour, Count: h.operations, For: time.Hour}
	var err error
	if j.Keys, err = load.ParseKeys(mix, h.keys); err != nil {
		return found{}, err
	}
	var t *load.Turn
	for range 2 { // the first fills
		t, err = load.Run(ctx, j, server, func(t *load.Turn) {
			h.progress.Show("%s · %s · %d requests", mix, server.Name, t.Answered())
		})
		if err != nil {
			return found{}, err
		}
		j.Seed++
	}
	r := found{server: server.Name, ratio: t.HitRatio(), perSecond: t.PerSecond()}
	r.rss, _ = load.Resident(server.PIDs)
	c, err := server.Nodes[0].Dial()
	if err != nil {
		return r, err
	}
	defer c.Close()
	if r.used, _, err = memoryOf(c); err != nil {
		return r, err
	}
	r.held, err = c.Do("DBSIZE")
	return r, err
}
