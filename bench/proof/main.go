//go:build linux

// Command proof breaks a cluster of real processes for as long as it is told,
// while real clients use it, and says whether every promise was kept.
//
// A run is rounds of faults. After each round everything is healed, what the
// clients saw is judged, and the state of all nodes must be byte-equal. With
// -plant a promise is switched off, and the run must find that out.
//
// **Caveats.** It needs Linux, root and /dev/net/tun, and for node-redlock the
// packages of bench/clients. Exit status: 0 when everything held (with -plant:
// when the plant was found), 1 when not, 2 when the run itself failed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"crema/bench/proof/faults"
)

const (
	statusHeld = iota
	statusBroken
	statusFailed
)

// options of one run.
type options struct {
	binary   string
	duration time.Duration
	round    time.Duration
	seed     uint64
	plant    string
	within   time.Duration
	only     string // faults
	load     string // workloads
	modules  string
	out      string
	diskMB   int
	keep     bool
	more     []string // flags of the nodes
}

func main() {
	o, err := parse(os.Args[1:])
	if err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "proof:", err)
		}
		os.Exit(statusFailed)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	status, err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "proof:", err)
	}
	os.Exit(status)
}

func parse(arguments []string) (options, error) {
	var o options
	set := flag.NewFlagSet("proof", flag.ContinueOnError)
	set.StringVar(&o.binary, "crema", os.Getenv("CREMA_BIN"), "the crema binary (CREMA_BIN)")
	set.DurationVar(&o.duration, "duration", 5*time.Minute, "time of faults in total")
	set.DurationVar(&o.round, "round", time.Minute, "time of faults before everything is healed and compared")
	set.Uint64Var(&o.seed, "seed", 0, "seed of all choices, 0 for a new one")
	set.StringVar(&o.plant, "plant", "", "switch a promise off and find it: "+strings.Join(plants(), ", "))
	set.DurationVar(&o.within, "within", 5*time.Minute, "with -plant: how long the search may take")
	set.StringVar(&o.only, "faults", "", "only these faults, separated by commas")
	set.StringVar(&o.load, "load", "", "only these workloads, separated by commas")
	set.StringVar(&o.modules, "node-modules", "clients/node", "directory of the Node packages, empty to go without node-redlock")
	set.StringVar(&o.out, "out", "", "directory for logs and evidence (default a new one, removed when all is well)")
	set.IntVar(&o.diskMB, "disk-mb", 512, "size of each node's disk")
	set.BoolVar(&o.keep, "keep", false, "keep logs even when all is well")
	short := set.Bool("short", false, "two minutes in rounds of half a minute")
	set.Usage = func() {
		fmt.Fprintln(set.Output(), "usage: proof [flags] [-- flags of the nodes]")
		set.PrintDefaults()
	}
	if err := set.Parse(arguments); err != nil {
		return o, err
	}
	o.more = set.Args()
	if *short {
		o.duration, o.round = 100*time.Second, 25*time.Second
	}
	if o.plant != "" {
		if !slices.Contains(plants(), o.plant) {
			return o, fmt.Errorf("-plant %s is none of %s", o.plant, strings.Join(plants(), ", "))
		}
		o.duration, o.round = o.within, 30*time.Second
	}
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano()) % 1e9
	}
	if o.binary == "" {
		return o, errors.New("which crema? Give -crema or CREMA_BIN")
	}
	binary, err := filepath.Abs(o.binary)
	if err != nil {
		return o, err
	}
	o.binary = binary
	if _, err := os.Stat(binary); err != nil {
		return o, err
	}
	if o.modules != "" {
		if o.modules, err = filepath.Abs(o.modules); err != nil {
			return o, err
		}
		if _, err := os.Stat(filepath.Join(o.modules, "node_modules", "redlock5")); err != nil {
			return o, fmt.Errorf("node-redlock is not there, run bench/clients/install.sh or give -node-modules '': %w", err)
		}
	}
	return o, nil
}

func plants() []string {
	var all []string
	for name := range faults.Plants() {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// plan of the faults that the options ask for.
func (o options) plan() (faults.Plan, error) {
	plan := faults.Everything()
	if o.plant != "" {
		plan = faults.Plants()[o.plant]
	}
	if o.only == "" {
		return plan, nil
	}
	chosen := map[string]int{}
	for _, name := range strings.Split(o.only, ",") {
		if !faults.Known(name) {
			return plan, fmt.Errorf("there is no fault %q", name)
		}
		chosen[name] = max(1, plan.Weights[name])
	}
	plan.Weights = chosen
	return plan, nil
}
