package main

import (
	"context"
	"errors"
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

// suite is what all rows of the table share.
type suite struct {
	bin      string
	dir      string
	rivals   []string // host:port of servers that somebody else started
	only     []string // rows, or the part of their names before "*"; none is all
	rounds   int
	turn     time.Duration
	warm     time.Duration
	out      io.Writer
	progress load.Progress
	verdicts []verdict
}

// group is rows that are measured on the same servers.
type group struct {
	flags   []string                                            // of every server, in Redis's words
	crema   []string                                            // of crema only
	redis   []string                                            // of redis-server and valkey-server only
	own     bool                                                // rivals that somebody else started cannot have the flags
	prepare func(context.Context, *suite, []*load.Server) error // may be nil
	rows    []row
}

// row is one line of DESIGN's table, or one like it.
type row struct {
	name   string
	what   string
	target float64 // the ratio to redis-server that is to be reached, 0 when there is none
	by     measure
	run    func(context.Context, *suite, row, []*load.Server) ([]figures, error)
}

// measure is what a row is judged by.
type measure struct {
	name string
	of   func(figures) float64 // nil: figures.own
}

var (
	byCPU      = measure{"CPU/request", func(f figures) float64 { return float64(f.cpu) }}
	byDelivery = measure{"CPU/delivery", func(f figures) float64 { return float64(f.cpu) }}
	byP99      = measure{"p99", func(f figures) float64 { return float64(f.p99) }}
	byMemory   = measure{"RSS/key", func(f figures) float64 { return f.bytes }}
)

// figures are what one server came to in a row.
type figures struct {
	server         string
	perSecond      float64
	cpu            time.Duration
	p50, p99, p999 time.Duration
	bytes          float64 // of memory: what of, the row says
	own            float64 // what the row is judged by, when that is no ratio to redis-server
	note           string
}

// verdict is a row that was measured.
type verdict struct {
	row   row
	ratio float64
}

func (v verdict) met() bool { return v.row.target == 0 || v.ratio <= v.row.target }

func suiteCommand(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("load suite", flag.ExitOnError)
	s := suite{progress: load.ProgressOn(os.Stderr)}
	fs.StringVar(&s.bin, "crema", "bin/crema", "the program")
	rivals := fs.String("rival", "", "HOST:PORT of further servers, separated by commas; redis-server and valkey-server are started where they are installed")
	only := fs.String("only", "", "only these rows, separated by commas: get-p16, or get-* for all that begin so")
	fs.IntVar(&s.rounds, "rounds", 5, "turns of each server in each row; figures are medians")
	fs.DurationVar(&s.turn, "for", 1200*time.Millisecond, "of one turn")
	fs.DurationVar(&s.warm, "warmup", 200*time.Millisecond, "before each turn, not counted")
	out := fs.String("out", "", "also write the results to this file, and a chart beside it")
	list := fs.Bool("list", false, "list the rows and measure nothing")
	fs.Parse(args)
	if *list {
		for _, g := range groups() {
			for _, r := range g.rows {
				fmt.Printf("%-14s %s\n", r.name, r.what)
			}
		}
		return nil
	}
	s.only, s.rivals = split(*only), split(*rivals)
	return s.report(ctx, *out, func(ctx context.Context) error { return s.run(ctx, groups()) })
}

// report runs what measures, below a heading, and keeps what it prints in a file,
// with a chart beside it.
func (s *suite) report(ctx context.Context, file string, measure func(context.Context) error) (err error) {
	if s.dir, err = os.MkdirTemp("", "crema-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(s.dir)
	var text strings.Builder
	s.out = io.MultiWriter(os.Stdout, &text)
	heading(s.out, s.bin)
	failed := measure(ctx)
	if file == "" {
		return failed
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil || len(s.verdicts) == 0 {
		return errors.Join(failed, err)
	}
	chart := load.Bars("crema beside redis-server: what each row is judged by", s.bars())
	return errors.Join(failed, os.WriteFile(strings.TrimSuffix(file, filepath.Ext(file))+".svg", chart, 0o644))
}

// churnCommand is the row of memory that changes, for as long as is asked.
func churnCommand(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("load churn", flag.ExitOnError)
	s := suite{progress: load.ProgressOn(os.Stderr), rounds: 1}
	fs.StringVar(&s.bin, "crema", "bin/crema", "the program")
	fs.DurationVar(&s.turn, "for", 10*time.Minute, "")
	out := fs.String("out", "", "also write the results to this file")
	fs.Parse(args)
	return s.report(ctx, *out, func(ctx context.Context) error {
		all := groups()
		last := all[len(all)-1]
		last.rows = []row{churn("churn", "", s.turn)}
		return s.run(ctx, []group{last})
	})
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func (s *suite) wants(name string) bool {
	return len(s.only) == 0 || slices.ContainsFunc(s.only, func(o string) bool {
		prefix, open := strings.CutSuffix(o, "*")
		return o == name || open && strings.HasPrefix(name, prefix)
	})
}

func (s *suite) run(ctx context.Context, groups []group) error {
	measured := false
	var failures []error
	begin := time.Now()
	for _, g := range groups {
		g.rows = slices.DeleteFunc(g.rows, func(r row) bool { return !s.wants(r.name) })
		if len(g.rows) == 0 {
			continue
		}
		if !measured {
			s.head()
		}
		measured = true
		failures = append(failures, s.group(ctx, g))
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if !measured {
		return errors.New("there is no such row: load suite -list lists them")
	}
	s.progress.Show("")
	s.foot(time.Since(begin))
	return errors.Join(failures...)
}

func (s *suite) group(ctx context.Context, g group) error {
	fleets, err := s.fleets(g)
	if err != nil {
		return err
	}
	var servers []*load.Server
	for _, f := range fleets {
		defer f.kill()
		s.progress.Show("start %s", f.name)
		if err := f.start(ctx); err != nil {
			return err
		}
		servers = append(servers, f.contender())
	}
	if !g.own {
		for _, r := range s.rivals {
			to := load.Targets(r)
			servers = append(servers, &load.Server{Name: strings.TrimPrefix(r, "127.0.0.1"), Nodes: to, PIDs: load.Listeners(to)})
		}
	}
	if g.prepare != nil {
		if err := g.prepare(ctx, s, servers); err != nil {
			return err
		}
	}
	var failures []error
	for _, r := range g.rows {
		f, err := r.run(ctx, s, r, servers)
		s.progress.Show("")
		if err != nil { // the others may do better
			failures = append(failures, fmt.Errorf("%s: %w", r.name, err))
			s.failed(r, err)
			continue
		}
		s.line(r, f)
	}
	return errors.Join(failures...)
}

// bars are the rows that have a rival.
func (s *suite) bars() []load.Bar {
	var bars []load.Bar
	for _, v := range s.verdicts {
		bars = append(bars, load.Bar{Name: v.row.name + ", " + v.row.by.name, Ratio: v.ratio, Target: v.row.target, Met: v.met()})
	}
	return bars
}
