// Command load measures crema beside its rivals.
//
//	load suite          every row of the table: throughput, CPU time, latency, memory
//	load hits           hit ratios of a cache that is full
//	load churn          memory, while sizes change and keys come and go
//	load cluster        three nodes beside redis-server
//	load run            one measurement of servers that run already
//
// The generator is package crema/internal/load, which is also what 'crema bench'
// runs. Here are the servers (servers.go), what is asked of them, and what the
// figures have to be.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"crema/internal/load"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) < 2 {
		usage()
	}
	var err error
	switch os.Args[1] {
	case "run":
		err = runCommand(ctx, os.Args[2:])
	case "cluster":
		err = clusterCommand(ctx, os.Args[2:])
	case "suite":
		err = suiteCommand(ctx, os.Args[2:])
	case "hits":
		err = hitsCommand(ctx, os.Args[2:])
	case "churn":
		err = churnCommand(ctx, os.Args[2:])
	default:
		usage()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "load: %v\n", err)
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: load suite|hits|churn|cluster|run [flags]; each lists its own with -h")
	os.Exit(2)
}

// runCommand measures servers that somebody else started.
func runCommand(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("load run", flag.ExitOnError)
	var m load.Command
	m.Flags(fs, "127.0.0.1:6379")
	fs.Parse(args)
	if err := m.Check(nil); err != nil {
		return err
	}
	return m.Run(ctx, os.Stdout, load.ProgressOn(os.Stderr))
}
