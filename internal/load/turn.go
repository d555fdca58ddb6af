package load

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"time"
)

// Run has a server take one turn. watch is told every so often how far it is, and
// may be nil.
func Run(ctx context.Context, j *Job, s *Server, watch func(*Turn)) (*Turn, error) {
	if j.Ready != nil {
		if err := j.Ready(ctx, s); err != nil {
			return nil, &Failure{j.Name, s, err}
		}
	}
	t := &Turn{Job: j, Server: s, Tally: newTally(), begin: time.Now()}
	t.left.Store(j.Count)
	if err := t.run(ctx, watch); err != nil {
		return nil, &Failure{j.Name, s, err}
	}
	return t, nil
}

// Failure is why a server did not take its turn.
type Failure struct {
	Job    string
	Server *Server
	Err    error
}

func (f *Failure) Error() string { return fmt.Sprintf("%s on %s: %v", f.Job, f.Server.Name, f.Err) }

func (f *Failure) Unwrap() error { return f.Err }

func (t *Turn) run(ctx context.Context, watch func(*Turn)) error {
	conns, err := t.connect(t.Job.Clients)
	if err != nil {
		return err
	}
	defer closeAll(conns)
	threads := t.Job.Threads
	if threads == 0 {
		threads = max(1, runtime.NumCPU()/2)
	}
	threads = min(threads, len(conns))
	var running sync.WaitGroup
	tallies := make([]Tally, threads)
	parts := make([][]*Conn, threads)
	numbers := make([][]int, threads)
	for i, c := range conns {
		parts[i%threads] = append(parts[i%threads], c)
		numbers[i%threads] = append(numbers[i%threads], i)
	}
	t.begin = time.Now()
	loops := make([]loop, threads)
	for i := range loops {
		tallies[i] = newTally()
		if loops[i], err = newLoop(t, parts[i], numbers[i], &tallies[i]); err != nil {
			return err
		}
		defer loops[i].close()
	}
	listeners, err := t.listen(loops)
	if err != nil {
		return err
	}
	defer closeAll(listeners)
	used := cpuTime(t.Server.PIDs)
	for _, l := range loops {
		running.Go(func() {
			if err := l.run(); err != nil {
				t.fail(err)
			}
		})
	}
	over := make(chan struct{})
	go func() { running.Wait(); close(over) }() // ends with the last of them, which ends with the phase
	t.conduct(ctx, used, over, watch)
	<-over
	for i := range tallies {
		t.add(tallies[i])
	}
	if failure := t.failure.Load(); failure != nil {
		return *failure
	}
	return nil
}

// conduct takes the turn from phase to phase. used is the server's CPU time at its
// begin.
func (t *Turn) conduct(ctx context.Context, used time.Duration, over <-chan struct{}, watch func(*Turn)) {
	defer t.phase.Store(stopping)
	j := t.Job
	if watch == nil {
		watch = func(*Turn) {}
	}
	await := func(d time.Duration) bool {
		end := time.NewTimer(d)
		defer end.Stop()
		look := time.NewTicker(watchEvery)
		defer look.Stop()
		for {
			select {
			case <-end.C:
				return true
			case <-look.C:
				watch(t)
			case <-over:
				return false
			case <-ctx.Done():
				t.fail(ctx.Err())
				return false
			}
		}
	}
	begin := t.begin
	if j.Count == 0 {
		if !await(j.Warm) {
			return
		}
		used, begin = cpuTime(t.Server.PIDs), time.Now()
		t.phase.Store(measuring)
	}
	await(j.For)
	t.Took, t.CPU = time.Since(begin), cpuTime(t.Server.PIDs)-used
}

const watchEvery = 200 * time.Millisecond

// connect opens n connections, spread over the nodes.
func (t *Turn) connect(n int) (conns []*Conn, err error) {
	for i := range n {
		c, err := t.Server.Nodes[i%len(t.Server.Nodes)].Dial()
		if err != nil {
			closeAll(conns)
			return nil, err
		}
		conns = append(conns, c)
	}
	return conns, nil
}

// listen has the subscribers subscribe and gives them to the loops.
func (t *Turn) listen(loops []loop) (conns []*Conn, err error) {
	if t.heard == nil {
		return nil, nil
	}
	l := t.heard.listening
	if conns, err = t.connect(t.heard.subscribers + l.Stalled); err != nil {
		return nil, err
	}
	for i, c := range conns {
		if _, err := c.Do(t.heard.subscription(min(i, t.heard.subscribers-1))...); err != nil {
			closeAll(conns)
			return nil, err
		}
		if i >= t.heard.subscribers { // it never reads again
			// What is sent to it waits with the server, not in queues of megabytes that
			// the kernel has to go through.
			if b, ok := c.Conn.(interface{ SetReadBuffer(int) error }); ok {
				b.SetReadBuffer(4 << 10)
			}
			if _, err := c.Do("SUBSCRIBE", deaf); err != nil {
				closeAll(conns)
				return nil, err
			}
			continue
		}
		if err := loops[i%len(loops)].add(c, &subscriber{t.heard}); err != nil {
			closeAll(conns)
			return nil, err
		}
	}
	if l.Stalled > 0 {
		err = t.fill()
	}
	return conns, err
}

// fill publishes to those who never read until their sockets hold no more, and the
// server has to keep what comes.
func (t *Turn) fill() error {
	const messages, bytes = 64, 128 << 10 // together less than what a server may keep for long
	c, err := t.Server.Nodes[0].Dial()
	if err != nil {
		return err
	}
	defer c.Close()
	value := strings.Repeat("x", bytes)
	for range messages {
		if _, err := c.Do("PUBLISH", deaf, value); err != nil {
			return err
		}
	}
	return nil
}

const deaf = "news-for-nobody" // a channel

func closeAll[C io.Closer](conns []C) {
	for _, c := range conns {
		c.Close()
	}
}
