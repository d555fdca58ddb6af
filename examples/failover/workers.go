package main

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

const workEvery = 5 * time.Millisecond // of each worker: this is no benchmark

// counter counts through one node, and counts what it was told.
type counter struct {
	address               string
	acknowledged, inDoubt atomic.Int64
	recent                atomic.Int64 // acknowledged since the last line
	pause                 atomic.Int64 // ns, the longest between two of them since the last line
}

func (c *counter) takeRate() int64          { return c.recent.Swap(0) }
func (c *counter) takePause() time.Duration { return time.Duration(c.pause.Swap(0)) }

func (c *counter) run(ctx context.Context) {
	var last time.Time
	var through *client
	each(ctx, c.address, func(conn *client) error {
		if conn != through { // what its own node was away for is no pause of the cluster
			through, last = conn, time.Now()
		}
		_, refused, err := conn.do("INCR", "counter")
		switch {
		case err == nil:
			c.acknowledged.Add(1)
			c.recent.Add(1)
			c.pause.Store(max(c.pause.Load(), int64(time.Since(last))))
			last = time.Now()
		case !refused || strings.HasPrefix(err.Error(), "INDOUBT"):
			c.inDoubt.Add(1) // it may have counted
		}
		if refused {
			return nil
		}
		return err
	})
}

// each calls work on a connection to address, now and then, until ctx ends. After
// an error the connection is made anew.
func each(ctx context.Context, address string, work func(*client) error) {
	var c *client
	tick := time.NewTicker(workEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if c != nil {
				c.sock.Close()
			}
			return
		case <-tick.C:
		}
		if c == nil {
			var err error
			if c, err = dial(address); err != nil {
				continue
			}
		}
		if work(c) != nil {
			c.sock.Close()
			c = nil
		}
	}
}

// holder is who holds the lock, as those who hold it know it.
type holder struct {
	until        atomic.Int64 // unix ns: nobody else may be granted the lock before
	taken, twice atomic.Int64
}

// locker wants the lock that all others want.
type locker struct {
	address, name string
	held          *holder
	turn          int
}

const (
	lockFor = 500 * time.Millisecond
	release = `if redis.call("get",KEYS[1]) == ARGV[1] then return redis.call("del",KEYS[1]) else return 0 end`
)

func (l *locker) run(ctx context.Context) {
	each(ctx, l.address, func(c *client) error {
		l.turn++
		token := fmt.Sprintf("%s:%d", l.name, l.turn)
		asked := time.Now()
		reply, refused, err := c.do("SET", "lock", token, "NX", "PX", fmt.Sprint(lockFor.Milliseconds()))
		if refused || err == nil && string(reply.Bytes) != "OK" {
			return nil // somebody else has it
		}
		if err != nil {
			return err
		}
		l.held.taken.Add(1)
		// It is ours for its time to live, counted from before we asked. When the answer
		// took longer, somebody else may have it by now.
		mine := asked.Add(lockFor).UnixNano()
		if other, now := l.held.until.Swap(mine), time.Now().UnixNano(); other > now && mine > now {
			l.held.twice.Add(1)
		}
		time.Sleep(workEvery)
		l.held.until.CompareAndSwap(mine, 0) // given up before it is given back
		_, refused, err = c.do("EVAL", release, "1", "lock", token)
		if refused {
			return nil
		}
		return err
	})
}
