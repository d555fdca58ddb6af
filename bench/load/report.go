package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"crema/internal/load"
)

const layout = "%-13s %-8s %9s %5s %9s %5s %8s %8s %8s %5s  %s\n"

// head begins the table. Its lines are written as they are measured.
func (s *suite) head() {
	fmt.Fprintf(s.out, layout, "row", "", "ops/s", "ratio", "CPU each", "ratio", "p50", "p99", "p99.9", "ratio", "")
}

// line writes a row: a line for each server, ratios to redis-server, and what is
// said about the first of them.
func (s *suite) line(r row, all []figures) {
	redis := all[1]
	for i, f := range all {
		name, end := "", f.note
		if f.own > 0 {
			end = fmt.Sprintf("%s %.2f  %s", r.by.name, f.own, f.note)
		}
		if i == 0 {
			v := verdict{r, f.own}
			if r.by.of != nil {
				v.ratio = r.by.of(f) / r.by.of(redis)
			}
			s.verdicts = append(s.verdicts, v)
			name, end = r.name, strings.TrimSpace(v.String()+"  "+f.note)
		}
		fmt.Fprintf(s.out, layout, name, f.server, number(f.perSecond), load.Ratio(f.perSecond, redis.perSecond),
			load.Short(f.cpu), load.Ratio(float64(f.cpu), float64(redis.cpu)),
			load.Short(f.p50), load.Short(f.p99), load.Short(f.p999), load.Ratio(float64(f.p99), float64(redis.p99)), end)
	}
}

func (v verdict) String() string {
	s := fmt.Sprintf("%s %.2f", v.row.by.name, v.ratio)
	switch {
	case v.row.target == 0:
		return s
	case v.met():
		return fmt.Sprintf("%s ≤ %.2f met", s, v.row.target)
	}
	return fmt.Sprintf("%s ≤ %.2f MISSED", s, v.row.target)
}

func number(f float64) string {
	if f == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", f)
}

// failed writes a row that could not be measured.
func (s *suite) failed(r row, err error) {
	fmt.Fprintf(s.out, "%-13s not measured: %v\n", r.name, err)
}

// foot says how many rows reached what they had to.
func (s *suite) foot(took time.Duration) {
	targets, met := 0, 0
	for _, v := range s.verdicts {
		if v.row.target == 0 {
			continue
		}
		targets++
		if v.met() {
			met++
		}
	}
	fmt.Fprintf(s.out, "\n%d of %d targets met; medians of %d rounds of %s; %s in all\n", met, targets, s.rounds, s.turn, took.Round(time.Second))
}

// heading says what was measured, on what, and how.
func heading(w io.Writer, bin string) {
	fmt.Fprintf(w, "commit   %s\n", output("git", "describe", "--always", "--dirty"))
	fmt.Fprintf(w, "machine  %d cores, %s, %s\n", runtime.NumCPU(), output("uname", "-sr"), runtime.Version())
	redis, _, _ := strings.Cut(output("redis-server", "--version"), " sha=")
	fmt.Fprintf(w, "servers  %s; %s\n", output(bin, "version"), redis)
	fmt.Fprintf(w, "command  load %s\n\n", strings.Join(os.Args[1:], " "))
}

// output is the first line that a program prints.
func output(name string, args ...string) string {
	b, err := exec.Command(name, args...).Output()
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}
