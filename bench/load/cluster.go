package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"crema/internal/load"
)

// clusterCommand measures the rows that need a cluster: three nodes with fsync
// on, beside redis-server with a synced log, and one with a replica and WAIT 1.
func clusterCommand(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("load cluster", flag.ExitOnError)
	bin := fs.String("crema", "bin/crema", "the program")
	dir := fs.String("dir", "", "where the data directories go, on a real disk (default: the temporary directory)")
	rounds := fs.Int("rounds", 3, "turns of each server in each row")
	during := fs.Duration("for", 3*time.Second, "of one turn")
	failovers := fs.Int("failovers", 5, "how often the leader is killed")
	only := fs.String("work", "", "only these rows, separated by commas; failover is one")
	out := fs.String("out", "", "also write the results to this file")
	fs.Parse(args)
	wanted := func(work string) bool { return *only == "" || slices.Contains(strings.Split(*only, ","), work) }
	below, err := os.MkdirTemp(*dir, "crema-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(below)
	if below, err = filepath.Abs(below); err != nil { // redis-server goes there before it opens its log
		return err
	}
	var report strings.Builder
	w := io.MultiWriter(os.Stdout, &report)
	heading(w, *bin)
	fmt.Fprintf(w, "data on %s, where a synced write of 4 KiB takes %s, median of %d\n\n", output("stat", "-f", "-c", "%T", below), load.Short(syncTime(below)), syncs)
	if err := rowsOfCluster(ctx, w, *bin, below, wanted, *rounds, *during, *failovers); err != nil {
		return err
	}
	if *out == "" {
		return nil
	}
	return os.WriteFile(*out, []byte(report.String()), 0o644)
}

func rowsOfCluster(ctx context.Context, w io.Writer, bin, dir string, wanted func(string) bool, rounds int, during time.Duration, failovers int) error {
	crema, err := newCrema(bin, dir, 3)
	if err != nil {
		return err
	}
	redis, err := newRedis(dir)
	if err != nil {
		return err
	}
	pair, err := newRedisPair(dir)
	if err != nil {
		return err
	}
	for _, f := range [...]*fleet{crema, redis, pair} {
		defer f.kill()
		if err := f.start(ctx); err != nil {
			return err
		}
	}
	if err := answers(ctx, pair.servers[0].address, "WAIT", "1", "0"); err != nil {
		return fmt.Errorf("%s: %w", pair.name, err)
	}
	keys, err := load.ParseKeys("uniform", 1_000_000)
	if err != nil {
		return err
	}
	base := load.Job{Keys: keys, Sizes: load.FixedSize(64), For: during}
	for _, row := range [...]struct {
		work              string
		clients, pipeline int
	}{
		{"set", 512, 1}, {"set", 512, 16}, {"acquire", 1, 1}, {"lock", 16, 1}, {"get", 64, 1}, {"incr-hot", 64, 1}, {"incr-hot", 1, 64},
	} {
		if !wanted(row.work) {
			continue
		}
		j := base
		j.Name, j.Mix, j.Clients, j.Pipeline = row.work, load.Mixes[row.work], row.clients, row.pipeline
		leader, err := leading(crema)
		if err != nil {
			return err
		}
		all := crema.contender()
		lead := &load.Server{Name: all.Name + ", at the leader", Nodes: load.Targets(leader), PIDs: all.PIDs}
		contenders := []*load.Server{lead, all, redis.contender()}
		if row.work == "set" {
			if err := pairRow(ctx, w, j, pair, rounds); err != nil {
				return err
			}
		}
		turns, err := load.Rounds(ctx, &j, contenders, rounds, load.ProgressOn(os.Stderr))
		if err != nil {
			return err
		}
		load.Table(w, &j, contenders, turns)
	}
	if !wanted("failover") {
		return nil
	}
	return failoverRow(ctx, w, crema, failovers)
}

// pairRow is the row of a replica and WAIT 1, which is other requests and so a
// table of its own.
func pairRow(ctx context.Context, w io.Writer, j load.Job, pair *fleet, rounds int) error {
	j.Name, j.Mix = "set-wait", load.Mixes["set-wait"]
	c := pair.contender()
	c.Nodes = c.Nodes[:1]
	turns, err := load.Rounds(ctx, &j, []*load.Server{c}, rounds, load.ProgressOn(os.Stderr))
	if err != nil {
		return err
	}
	load.Table(w, &j, []*load.Server{c}, turns)
	return nil
}

// leading is the client address of the node that leads.
func leading(f *fleet) (string, error) {
	for _, s := range f.servers {
		info, err := ask(s.address, "INFO", "raft")
		if err != nil {
			return "", err
		}
		if strings.Contains(info, "raft_state:leader") {
			return s.address, nil
		}
	}
	return "", fmt.Errorf("%s: nobody leads", f.name)
}

const syncs = 101

// syncTime is what a small synced write costs below dir.
func syncTime(dir string) time.Duration {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return 0
	}
	defer os.Remove(f.Name())
	defer f.Close()
	took := make([]time.Duration, syncs)
	for i := range took {
		begin := time.Now()
		f.WriteAt(make([]byte, 4<<10), int64(i)<<12)
		f.Sync()
		took[i] = time.Since(begin)
	}
	slices.Sort(took)
	return took[syncs/2]
}
