package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
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
	heading(w, below)
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
	base := job{keys: 1_000_000, size: 64, during: during}
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
		j.name, j.make, j.clients, j.pipeline = row.work, works[row.work], row.clients, row.pipeline
		leader, err := leading(crema)
		if err != nil {
			return err
		}
		all := crema.contender()
		lead := contender{name: all.name + ", at the leader", nodes: []string{leader}, pids: all.pids}
		contenders := []contender{lead, all, redis.contender()}
		if row.work == "set" {
			if err := pairRow(ctx, w, j, pair, rounds); err != nil {
				return err
			}
		}
		results, err := takeTurns(ctx, j, contenders, rounds, os.Stderr)
		if err != nil {
			return err
		}
		printTable(w, j, contenders, results)
	}
	if !wanted("failover") {
		return nil
	}
	return failoverRow(ctx, w, crema, failovers)
}

// pairRow is the row of a replica and WAIT 1, which is other requests and so a
// table of its own.
func pairRow(ctx context.Context, w io.Writer, j job, pair *fleet, rounds int) error {
	j.name, j.make = "set-wait", works["set-wait"]
	c := pair.contender()
	c.nodes = c.nodes[:1]
	results, err := takeTurns(ctx, j, []contender{c}, rounds, os.Stderr)
	if err != nil {
		return err
	}
	printTable(w, j, []contender{c}, results)
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

// heading says what the figures were measured on.
func heading(w io.Writer, dir string) {
	run := func(name string, args ...string) string {
		b, err := exec.Command(name, args...).Output()
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(string(b))
	}
	fmt.Fprintf(w, "commit   %s\n", run("git", "describe", "--always", "--dirty"))
	fmt.Fprintf(w, "machine  %d cores, %s, %s, data on %s\n", runtime.NumCPU(), run("uname", "-sr"), runtime.Version(),
		run("stat", "-f", "-c", "%T", dir))
	fmt.Fprintf(w, "sync     %s for 4 KiB, median of %d\n", short(syncTime(dir)), syncs)
	fmt.Fprintf(w, "command  load %s\n\n", strings.Join(os.Args[1:], " "))
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
	turns := make([]turn, syncs)
	for i := range turns {
		begin := time.Now()
		f.WriteAt(make([]byte, 4<<10), int64(i)<<12)
		f.Sync()
		turns[i].took = time.Since(begin)
	}
	return median(turns, func(t turn) time.Duration { return t.took })
}
