// Command load drives servers that speak Redis's protocol and says what a
// request costs: throughput, latency, and the servers' own CPU time.
//
//	load run -to HOST:PORT[,HOST:PORT…] [-rival HOST:PORT] -work set -clients 50 -pipeline 16
//	load cluster        three nodes beside redis-server: the rows that need a cluster
//
// A run is a number of rounds; in each the servers take turns, so that what the
// machine does meanwhile happens to all of them. Figures are medians of rounds.
//
// # Caveats
//
// The generator shares the machine's cores with the servers: throughput says as
// much about it as about them. CPU time per request is the servers' own.
//
// A closed loop (-clients) waits for each answer before it goes on, so a server
// that stops is asked less; -rate opens the loop, and latency then counts from
// when a request was due.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"
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
	default:
		usage()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "load: %v\n", err)
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: load run|cluster [flags]; load run -h lists them")
	os.Exit(2)
}

func runCommand(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("load run", flag.ExitOnError)
	to := fs.String("to", "127.0.0.1:6379", "the server, or several nodes of one")
	rival := fs.String("rival", "", "a server to take turns with")
	work := fs.String("work", "set", strings.Join(workNames(), ", "))
	clients := fs.Int("clients", 50, "connections")
	pipeline := fs.Int("pipeline", 1, "requests that a connection sends at once")
	rate := fs.Float64("rate", 0, "requests a second of all connections, 0 for as many as go")
	size := fs.Int("size", 64, "bytes of a value")
	keys := fs.Int("keys", 1_000_000, "keys to choose from")
	during := fs.Duration("for", 3*time.Second, "of one turn")
	rounds := fs.Int("rounds", 5, "turns of each server")
	fs.Parse(args)
	make, ok := works[*work]
	if !ok {
		return fmt.Errorf("no work named %q: there are %s", *work, strings.Join(workNames(), ", "))
	}
	job := job{name: *work, make: make, clients: *clients, pipeline: *pipeline, rate: *rate, keys: *keys, size: *size, during: *during}
	contenders := []contender{{name: "server", nodes: strings.Split(*to, ",")}}
	if *rival != "" {
		contenders = append(contenders, contender{name: "rival", nodes: []string{*rival}})
	}
	for i := range contenders {
		contenders[i].pids = pidsOf(contenders[i].nodes)
	}
	results, err := takeTurns(ctx, job, contenders, *rounds, os.Stderr)
	if err != nil {
		return err
	}
	printTable(os.Stdout, job, contenders, results)
	return nil
}
