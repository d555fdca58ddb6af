package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// job is one row: what is done, by how many, how fast.
type job struct {
	name     string
	make     func(j job, number int) work
	clients  int
	pipeline int
	rate     float64 // operations a second of all clients, 0 = as many as go
	keys     int
	size     int // bytes
	during   time.Duration
}

// contender is one server, or the nodes that are one together.
type contender struct {
	name  string
	nodes []string // clients are spread over them
	pids  []int    // whose CPU time counts; none when it is not known
}

// turn is what one turn of a contender came to.
type turn struct {
	operations int64
	wrong      int64 // answers that were not as they should be
	took       time.Duration
	cpu        time.Duration
	latency    *hdrhistogram.Histogram // ns, of a batch
}

func (t turn) perSecond() float64 { return float64(t.operations) / t.took.Seconds() }

func (t turn) cpuEach() time.Duration {
	return time.Duration(float64(t.cpu) / float64(max(t.operations, 1)))
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1000, int64(answerFor), 3)
}

// takeTurns runs a job on each contender in turn, round by round.
func takeTurns(ctx context.Context, j job, contenders []contender, rounds int, progress io.Writer) ([][]turn, error) {
	results := make([][]turn, len(contenders))
	for round := range rounds {
		for i, c := range contenders {
			t, err := takeTurn(ctx, j, c)
			if err != nil {
				return nil, fmt.Errorf("%s on %s: %w", j.name, c.name, err)
			}
			fmt.Fprintf(progress, "%s, %d clients, pipeline %d, round %d of %d: %s %.0f/s\n",
				j.name, j.clients, j.pipeline, round+1, rounds, c.name, t.perSecond())
			results[i] = append(results[i], t)
		}
	}
	return results, nil
}

func takeTurn(ctx context.Context, j job, c contender) (turn, error) {
	ctx, cancel := context.WithTimeout(ctx, j.during)
	defer cancel()
	conns := make([]*conn, j.clients)
	for i := range conns {
		var err error
		if conns[i], err = dial(c.nodes[i%len(c.nodes)]); err != nil {
			return turn{}, err
		}
		defer conns[i].sock.Close()
	}
	var mu sync.Mutex // guards total and failed
	total := turn{latency: newHistogram()}
	var failed error
	var clients sync.WaitGroup
	cpu, begin := cpuTime(c.pids), time.Now()
	for i := range conns {
		clients.Go(func() {
			t, err := drive(ctx, j, conns[i], i)
			mu.Lock()
			defer mu.Unlock()
			total.operations += t.operations
			total.wrong += t.wrong
			total.latency.Merge(t.latency)
			if err != nil {
				failed = err
			}
		})
	}
	clients.Wait()
	total.took, total.cpu = time.Since(begin), cpuTime(c.pids)-cpu
	return total, failed
}

// drive is one client, until ctx ends.
func drive(ctx context.Context, j job, c *conn, number int) (turn, error) {
	t := turn{latency: newHistogram()}
	w := j.make(j, number)
	var every time.Duration // between two batches, in an open loop
	if j.rate > 0 {
		every = time.Duration(float64(time.Second) * float64(j.clients*j.pipeline) / j.rate)
	}
	due := time.Now().Add(every * time.Duration(number) / time.Duration(j.clients))
	for ctx.Err() == nil {
		sent := time.Now()
		if every > 0 {
			if wait := due.Sub(sent); wait > 0 {
				select {
				case <-time.After(wait):
				case <-ctx.Done():
					return t, nil
				}
			}
			sent, due = due, due.Add(every) // late or not: its wait began when it was due
		}
		answers := w.requests(c, j.pipeline)
		if err := c.flush(); err != nil {
			return t, err
		}
		for range answers {
			kind, text, err := c.answer()
			if err != nil {
				return t, err
			}
			if !w.wants(kind, text) {
				if t.wrong++; t.wrong == 1 && t.operations == 0 {
					return t, fmt.Errorf("answered %c%s", kind, text)
				}
			}
		}
		t.operations += int64(j.pipeline)
		t.latency.RecordValue(min(int64(time.Since(sent)), int64(answerFor)))
	}
	return t, nil
}

// median is of the rounds, by what of says.
func median[N int64 | float64 | time.Duration](turns []turn, of func(turn) N) N {
	values := make([]N, len(turns))
	for i, t := range turns {
		values[i] = of(t)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
