package load

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"

	"crema/bench/proof/check"
)

const (
	lockNames   = 3
	lockWorkers = 5
	lockRest    = 60 * time.Millisecond
	// How long a section lasts, the holders of three in four.
	sectionTime = 20 * time.Millisecond
	// A section that ended less than this before the TTL does not write.
	sectionMargin = 50 * time.Millisecond
)

// locks is redsync, and beside it node-redlock on the same keys, guarding one
// counter in a file per lock.
type locks struct {
	gauge
	env     *Env
	checker *check.Locks
	dir     string // the files with the counters
	redlock *redlock

	written  [lockNames]atomic.Int64 // sections that were counted
	overruns [lockNames]atomic.Int64 // sections that outlived their TTL
	grants   atomic.Int64
}

// NewLocks keeps the guarded files in dir. Node-redlock takes part when
// nodeModules, the directory of its node_modules, is given.
func NewLocks(e *Env, dir, nodeModules string) Workload {
	l := &locks{gauge: e.newGauge("locks", nil), env: e, checker: check.NewLocks(e.Judge), dir: dir}
	if nodeModules != "" {
		l.redlock = &redlock{locks: l, modules: nodeModules}
	}
	for i := range lockNames {
		writeCount(l.file(i), 0)
	}
	return l
}

func (l *locks) lock(i int) string { return fmt.Sprintf("%s:lock:%d", l.env.Prefix, i) }
func (l *locks) file(i int) string { return filepath.Join(l.dir, fmt.Sprintf("guarded-%d", i)) }

// Run implements Workload.
func (l *locks) Run(ctx context.Context) {
	l.checker.Forget(check.Now())
	l.working(true)
	defer l.working(false)
	var workers sync.WaitGroup
	for id := range lockWorkers {
		workers.Go(func() {
			w := l.env.newWorker(l.name, id)
			defer w.close()
			for w.rest(ctx, lockRest) {
				l.once(ctx, w)
			}
		})
	}
	if l.redlock != nil {
		workers.Go(func() { l.redlock.run(ctx) })
	}
	workers.Wait()
}

func (l *locks) once(ctx context.Context, w *worker) {
	i := w.rng.IntN(lockNames)
	ttl := time.Duration(1500+w.rng.IntN(3500)) * time.Millisecond
	node := w.node()
	mutex := redsync.New(goredis.NewPool(node)).NewMutex(l.lock(i),
		redsync.WithExpiry(ttl), redsync.WithTries(1))

	grant := check.Grant{Lock: mutex.Name(), Holder: fmt.Sprintf("redsync-%d", w.id), Node: w.name(), Sent: check.Now()}
	grant.Until = grant.Sent + int64(ttl)
	err := mutex.Lock()
	grant.Granted = check.Now()
	var taken *redsync.ErrTaken
	if errors.As(err, &taken) {
		l.note(grant.Sent, grant.Granted, nil)
		return
	}
	if err != nil {
		l.noteLock(grant, err)
		w.move()
		return
	}
	l.note(grant.Sent, grant.Granted, nil)
	l.grants.Add(1)

	dice := w.rng.IntN(100)
	work := time.Duration(w.rng.Int64N(int64(2 * sectionTime)))
	if dice >= 90 {
		work = ttl * 8 / 10 // a long section, in which leaders come and go
	}
	l.section(ctx, i, work, grant)
	switch {
	case dice < 10: // the holder forgets it
	case dice < 25:
		sent := check.Now()
		if ok, err := mutex.Extend(); ok && err == nil {
			grant.Until = max(grant.Until, sent+int64(ttl))
			l.section(ctx, i, work, grant)
		}
		fallthrough
	default:
		grant.Released = check.Now()
		mutex.Unlock() // an answer would tell the holder nothing that it needs
	}
	l.checker.Add(grant)
}

// noteLock counts a failed acquisition. redsync wraps what each node said.
func (l *locks) noteLock(g check.Grant, err error) {
	var one *redsync.RedisError
	if errors.As(err, &one) {
		err = one.Err
	}
	l.note(g.Sent, g.Granted, err)
}

// section adds one to the counter outside, without any other protection than
// the lock. It takes care to write only while the lock is certain.
func (l *locks) section(ctx context.Context, i int, work time.Duration, g check.Grant) {
	if check.Now() >= g.Until {
		return
	}
	n := readCount(l.file(i))
	pause(ctx, work)
	if check.Now() >= g.Until-int64(sectionMargin) {
		return
	}
	writeCount(l.file(i), n+1)
	l.written[i].Add(1)
	if check.Now() >= g.Until {
		l.overruns[i].Add(1)
	}
}

// Settle compares the counters with the sections that there were. A section of
// ours that outlived its TTL between two lines may have overwritten another.
func (l *locks) Settle(context.Context) {
	for i := range lockNames {
		holds, written := readCount(l.file(i)), l.written[i].Load()
		if l.overruns[i].Load() == 0 && holds != written {
			l.env.Judge.Report(l.name, fmt.Sprintf("the counter behind lock %d holds %d after %d sections", i, holds, written), nil)
		}
	}
}

// Summary implements Workload.
func (l *locks) Summary() string {
	text := fmt.Sprintf("%s; granted %d by redsync", l.line(), l.grants.Load())
	if l.redlock != nil {
		text += fmt.Sprintf(", %d by node-redlock", l.redlock.grants.Load())
	}
	return text
}

// An absent or unreadable file is a zero that the check at the end will find.
func readCount(path string) int64 {
	text, _ := os.ReadFile(path)
	n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n
}

// writeCount replaces the file in one step: a reader that holds no lock must see
// a number too, and its damage must be a lost count.
func writeCount(path string, n int64) {
	next := fmt.Sprintf("%s.%d", path, check.Now())
	if os.WriteFile(next, []byte(strconv.FormatInt(n, 10)), 0o644) == nil {
		os.Rename(next, path)
	}
}
