// Command failover starts three nodes that are one cluster, keeps them busy
// through each of them, kills the one that leads every few seconds, and shows
// what its users see.
//
//	failover -crema bin/crema [-for 30s] [-kill-every 10s]
//
// Through every node one worker counts (INCR) and one wants the same lock (SET
// NX PX, released by a script that compares). At the end the counter must hold
// what was acknowledged, and no two workers may ever have held the lock at once.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	crema := flag.String("crema", "bin/crema", "the program")
	during := flag.Duration("for", 0, "end after this long (default: when interrupted)")
	killEvery := flag.Duration("kill-every", 10*time.Second, "how often the leader is killed")
	port := flag.Int("port", 6379, "of the first node; the others have the next two, their peers' ports begin 1000 above")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *during > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *during)
		defer cancel()
	}
	if err := run(ctx, *crema, *port, *killEvery); err != nil {
		fmt.Fprintf(os.Stderr, "failover: %v\n", err)
		os.Exit(1)
	}
}

const (
	restartAfter = 2 * time.Second // how long a killed node stays away
	formFor      = 20 * time.Second
)

func run(ctx context.Context, crema string, port int, killEvery time.Duration) error {
	dir, err := os.MkdirTemp("", "crema-failover-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	nodes, err := startNodes(crema, dir, port)
	if err != nil {
		return err
	}
	defer func() {
		for _, n := range nodes {
			n.kill()
		}
	}()
	for _, n := range nodes {
		fmt.Printf("%s  redis://%s\n", n.id, n.address)
	}
	if err := formed(ctx, nodes); err != nil {
		return err
	}

	working, stop := context.WithCancel(context.Background())
	defer stop()
	var workers sync.WaitGroup
	var held holder
	counts := make([]*counter, len(nodes))
	for i, n := range nodes {
		counts[i] = &counter{address: n.address}
		workers.Go(func() { counts[i].run(working) })
		l := &locker{address: n.address, name: n.id, held: &held}
		workers.Go(func() { l.run(working) })
	}
	show(ctx, nodes, counts, &held, killEvery)
	stop()
	workers.Wait()
	return verdict(nodes, counts, &held)
}

// formed returns when every node takes writes.
func formed(ctx context.Context, nodes []*node) error {
	ctx, cancel := context.WithTimeout(ctx, formFor)
	defer cancel()
	for _, n := range nodes {
		for {
			_, err := ask(n.address, "SET", "counter", "0")
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s: %w", n.id, err)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

// show prints a line a second and kills the leader now and then, until ctx ends.
func show(ctx context.Context, nodes []*node, counts []*counter, held *holder, killEvery time.Duration) {
	fmt.Printf("\n%8s  %-8s %24s %12s %10s %14s\n", "", "leader", "acknowledged/s through", "locks taken", "in doubt", "longest pause")
	second := time.NewTicker(time.Second)
	defer second.Stop()
	kill := time.NewTicker(killEvery)
	defer kill.Stop()
	restart := make(chan *node, 1)
	begin := time.Now()
	for {
		select {
		case <-ctx.Done():
			select {
			case n := <-restart:
				n.start()
			default:
			}
			return
		case n := <-restart:
			fmt.Printf("%7.1fs  %s is started again\n", time.Since(begin).Seconds(), n.id)
			n.start()
		case <-kill.C:
			n := leader(nodes)
			if n == nil {
				continue
			}
			fmt.Printf("%7.1fs  %s leads: kill -9\n", time.Since(begin).Seconds(), n.id)
			n.kill()
			time.AfterFunc(restartAfter, func() { restart <- n })
		case <-second.C:
			id := "-"
			if n := leader(nodes); n != nil {
				id = n.id
			}
			through := make([]string, len(counts))
			doubt, pause := int64(0), time.Duration(0)
			for i, c := range counts {
				through[i] = fmt.Sprintf("%s %4d", nodes[i].id, c.takeRate())
				doubt += c.inDoubt.Load()
				pause = max(pause, c.takePause())
			}
			fmt.Printf("%7.1fs  %-8s %24s %12d %10d %11d ms\n", time.Since(begin).Seconds(), id, strings.Join(through, "  "),
				held.taken.Load(), doubt, pause.Milliseconds())
		}
	}
}

// verdict compares the counter with what was acknowledged.
func verdict(nodes []*node, counts []*counter, held *holder) error {
	acknowledged, doubt := int64(0), int64(0)
	for _, c := range counts {
		acknowledged += c.acknowledged.Load()
		doubt += c.inDoubt.Load()
	}
	ctx, cancel := context.WithTimeout(context.Background(), formFor)
	defer cancel()
	for {
		for _, n := range nodes {
			text, err := ask(n.address, "GET", "counter")
			if err != nil {
				continue
			}
			final, _ := strconv.ParseInt(text, 10, 64)
			fmt.Printf("\nthe counter is %d: %d acknowledged, %d in doubt; the lock was taken %d times, %d times by two at once\n",
				final, acknowledged, doubt, held.taken.Load(), held.twice.Load())
			if final < acknowledged || final > acknowledged+doubt || held.twice.Load() > 0 {
				return fmt.Errorf("a promise was broken")
			}
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("no node answers")
		}
	}
}
