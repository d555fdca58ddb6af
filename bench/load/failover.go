package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"crema/internal/load"
)

// failoverRow kills the leader, again and again, and tells how long it takes
// until a client of a survivor has a write acknowledged that it sent after the
// kill, and which acknowledged writes are gone.
func failoverRow(ctx context.Context, w io.Writer, f *fleet, times int) error {
	var took []time.Duration
	lost := 0
	for i := range times {
		ds, l, err := failover(ctx, f, i)
		if err != nil {
			return fmt.Errorf("failover %d: %w", i+1, err)
		}
		took = append(took, ds...)
		lost += l
	}
	slices.Sort(took)
	fmt.Fprintf(w, "leader killed %d times: first acknowledged write through a survivor after %s median, %s at most; %d acknowledged writes lost\n\n",
		times, load.Short(took[len(took)/2]), load.Short(took[len(took)-1]), lost)
	return nil
}

// failover kills the leader once and starts it again.
func failover(ctx context.Context, f *fleet, number int) (took []time.Duration, lost int, err error) {
	address, err := leading(f)
	if err != nil {
		return nil, 0, err
	}
	var victim *server
	var survivors []*server
	for _, s := range f.servers {
		if s.address == address {
			victim = s
		} else {
			survivors = append(survivors, s)
		}
	}
	writers := make([]*writer, len(survivors))
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	var writing sync.WaitGroup
	for i, s := range survivors {
		writers[i] = &writer{address: s.address, prefix: fmt.Sprintf("failover:%d:%d:", number, i), first: make(chan time.Time, 1)}
		writing.Go(func() { writers[i].write(stop) })
	}
	for _, wr := range writers {
		if err := wr.await(ctx); err != nil {
			return nil, 0, err
		}
	}
	killed := time.Now()
	victim.kill()
	for _, wr := range writers {
		wr.killed(killed)
	}
	for _, wr := range writers {
		if err := wr.await(ctx); err != nil {
			return nil, 0, err
		}
		took = append(took, wr.at.Sub(killed))
	}
	if err := victim.start(); err != nil {
		return nil, 0, err
	}
	cancel()
	writing.Wait()
	for _, s := range f.servers { // all of them: the next leader needs the one that was killed
		if err := answers(ctx, s.address, "CREMA", "HEALTH"); err != nil {
			return nil, 0, err
		}
	}
	for _, wr := range writers {
		for i := range wr.acknowledged {
			if text, err := ask(victim.address, "GET", wr.prefix+strconv.Itoa(wr.acknowledged[i])); err != nil || text != "1" {
				lost++
			}
		}
	}
	return took, lost, nil
}

// writer writes one key after the other through one node.
type writer struct {
	address, prefix string
	acknowledged    []int // numbers of the keys

	mu    sync.Mutex // guards since
	since time.Time  // the first acknowledged write sent after this is told
	first chan time.Time
	at    time.Time
}

func (w *writer) killed(at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = at
}

// await returns when a write was acknowledged that was sent after since.
func (w *writer) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startFor)
	defer cancel()
	for {
		select {
		case w.at = <-w.first:
			w.mu.Lock()
			late := w.at.After(w.since) // one from before the kill may still have been here
			if late {
				w.since = time.Now().Add(time.Hour) // nothing more to tell
			}
			w.mu.Unlock()
			if late {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("no write through %s: %w", w.address, ctx.Err())
		}
	}
}

func (w *writer) write(ctx context.Context) {
	var c *load.Conn
	for i := 0; ctx.Err() == nil; i++ {
		if c == nil {
			var err error
			if c, err = (load.Target{Address: w.address}).Dial(); err != nil {
				continue
			}
		}
		sent := time.Now()
		_, err := c.Do("SET", w.prefix+strconv.Itoa(i), "1")
		switch {
		case errors.As(err, new(load.Refused)):
		case err != nil:
			c.Close()
			c = nil
		default:
			w.acknowledged = append(w.acknowledged, i)
			w.mu.Lock()
			tell := sent.After(w.since)
			w.mu.Unlock()
			if tell {
				select {
				case w.first <- time.Now():
				default:
				}
			}
		}
	}
	if c != nil {
		c.Close()
	}
}
