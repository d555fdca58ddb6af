package main

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"crema/internal/load"
)

func TestVerdicts(t *testing.T) {
	var out strings.Builder
	s := suite{out: &out, rounds: 5, turn: time.Second}
	redis := figures{server: "redis", perSecond: 100, cpu: 10 * time.Microsecond, p99: time.Millisecond, bytes: 200}
	for _, c := range []struct {
		row  row
		ours figures
		want string
	}{
		{row{name: "a", target: 0.55, by: byCPU}, figures{cpu: 5 * time.Microsecond}, "CPU/request 0.50 ≤ 0.55 met"},
		{row{name: "b", target: 0.4, by: byCPU}, figures{cpu: 5 * time.Microsecond}, "CPU/request 0.50 ≤ 0.40 MISSED"},
		{row{name: "c", target: 1.5, by: byP99}, figures{p99: time.Millisecond}, "p99 1.00 ≤ 1.50 met"},
		{row{name: "d", target: 1, by: byMemory}, figures{bytes: 300}, "RSS/key 1.50 ≤ 1.00 MISSED"},
		{row{name: "e", target: 1, by: measure{"RSS/used", nil}}, figures{own: 0.9, note: "at worst"}, "RSS/used 0.90 ≤ 1.00 met  at worst"},
		{row{name: "f", by: byCPU}, figures{cpu: 20 * time.Microsecond}, "CPU/request 2.00"},
	} {
		out.Reset()
		s.line(c.row, []figures{c.ours, redis})
		if line, _, _ := strings.Cut(out.String(), "\n"); !strings.HasSuffix(line, c.want) {
			t.Errorf("%q does not end with %q", line, c.want)
		}
	}
	out.Reset()
	s.foot(time.Minute)
	if !strings.Contains(out.String(), "3 of 5 targets met; medians of 5 rounds of 1s; 1m0s in all") {
		t.Error(out.String())
	}
	if len(s.bars()) != 6 || s.bars()[1].Met {
		t.Errorf("%+v", s.bars())
	}
}

func TestOnly(t *testing.T) {
	s := suite{only: []string{"get-*", "set-p1"}}
	for name, want := range map[string]bool{"get-p1": true, "get-p16": true, "set-p1": true, "set-p16": false, "idle": false} {
		if s.wants(name) != want {
			t.Errorf("%s: %t", name, !want)
		}
	}
	seen := map[string]bool{}
	for _, g := range groups() {
		for _, r := range g.rows {
			if seen[r.name] || len(r.name) > 13 || r.what == "" {
				t.Errorf("row %q", r.name)
			}
			seen[r.name] = true
		}
	}
}

func TestVerdictOfHits(t *testing.T) {
	for want, c := range map[string][2]float64{
		"+1.0 points to the better of redis's ≥ 0 met": {0.8, 0.79}, "+0.0 points to the better of redis's ≥ 0 met": {0.79998, 0.8}, "-0.1 points to the better of redis's ≥ 0 MISSED": {0.799, 0.8},
	} {
		if got := verdictOfHits(c[0], c[1]); got != want {
			t.Errorf("%v: %s", c, got)
		}
	}
}

// oracle is the program that stands in for both servers.
func oracle(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return path
}

// The rows run against servers as they will: redis-server stands in for crema, whose
// ratio to itself is about 1 in memory.
func TestRows(t *testing.T) {
	path := oracle(t)
	var out strings.Builder
	s := &suite{bin: path, dir: t.TempDir(), rounds: 1, turn: 50 * time.Millisecond, out: &out, only: []string{"get-p16", "open-20k", "evalsha-p16", "publish-glob", "publish-stall", "set-full", "flood", "cache-aside"}}
	all := groups()
	for i := range all {
		if i < len(all)-1 && len(all[i].flags) > 0 {
			all[i].flags = []string{"--maxmemory", "20mb", "--maxmemory-policy", "allkeys-lfu"}
		}
		if all[i].prepare != nil {
			all[i].prepare = hold(100_000, valueSize, 0)
		}
	}
	if err := s.run(context.Background(), all); err != nil {
		t.Fatal(err)
	}
	if len(s.verdicts) != len(s.only) || strings.Contains(out.String(), "NaN") || strings.Contains(out.String(), "Inf") {
		t.Errorf("%d rows of %d:\n%s", len(s.verdicts), len(s.only), &out)
	}
	for _, v := range s.verdicts {
		if v.row.name == "flood" && (v.ratio < 0.05 || v.ratio > 1) {
			t.Errorf("flood: %.2f", v.ratio)
		}
	}
}

func TestMemoryOf(t *testing.T) {
	path := oracle(t)
	s := &suite{bin: path, dir: t.TempDir()}
	fleets, err := s.fleets(group{flags: []string{"--maxmemory", "64mb"}})
	if err != nil {
		t.Fatal(err)
	}
	f := fleets[1]
	defer f.kill()
	if err := f.start(context.Background()); err != nil {
		t.Fatal(err)
	}
	server := f.contender()
	c, err := server.Nodes[0].Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	used, top, err := memoryOf(c)
	now, peak := load.Resident(server.PIDs)
	if err != nil || used < 100_000 || top != 64<<20 || now < 1<<20 || peak < now {
		t.Errorf("used %d of %d, RSS %d, peak %d, %v", used, top, now, peak, err)
	}
	if pids := load.Listeners(server.Nodes); len(pids) != 1 || pids[0] != server.PIDs[0] {
		t.Errorf("%v listen there, want %v", pids, server.PIDs)
	}
}
