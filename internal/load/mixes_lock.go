package load

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

// unlock is what node-redlock 4.2 sends to give a lock back.
const unlock = `
	local count = 0
	for i, key in ipairs(KEYS) do
		-- Only remove entries for *this* lock value.
		if redis.call("get", key) == ARGV[1] then
			redis.pcall("del", key)
			count = count + 1
		end
	end

	-- Return the number of entries removed.
	return count
`

const (
	token  = "f3a1c0de9b7e5d24f3a1c0de9b7e5d24f3a1c0de" // as long as redlock's
	lockMS = 30_000
)

// locks is the last lock that anybody here took. It starts where another run would
// not have been.
var locks atomic.Int64

func init() { locks.Store(time.Now().UnixMilli() % 1_000_000_000 * 1000) }

// fresh is a lock that nobody holds or held.
func fresh() int64 { return locks.Add(1) }

// acquire takes a lock that nobody holds.
func acquire(*Turn, int) Work {
	return &plain{fresh, acquireCommand.put, isOK}
}

// release gives back locks that are held: lock 0, lock 1 and so on.
func release(t *Turn, number int) Work {
	command := releaseCommand(t)
	return &plain{t.Job.Keys.chooser(t.Job.Seed, number), command.put, isOne}
}

var acquireCommand = templateOf("SET", "lck:#", token, "NX", "PX", strconv.Itoa(lockMS))

// releaseCommand calls the script, which every node has afterwards.
func releaseCommand(t *Turn) template {
	if t.script == "" {
		sum := sha1.Sum([]byte(unlock))
		t.script = hex.EncodeToString(sum[:])
		for _, node := range t.Server.Nodes {
			if _, err := node.Ask("SCRIPT", "LOAD", unlock); err != nil {
				t.fail(fmt.Errorf("SCRIPT LOAD: %w", err))
			}
		}
	}
	return templateOf("EVALSHA", t.script, "1", "lck:#", token)
}

// lock takes a lock and gives it back as lock libraries do: one operation is one
// acquire and, when that is answered, one release.
func lock(t *Turn, _ int) Work {
	return &locking{releaseCommand(t)}
}

type locking struct{ release template }

func (w *locking) Next(c *Client) {
	key := fresh()
	c.out = acquireCommand.put(c.out, key)
	c.Ask(asAcquire, key)
}

func (w *locking) Answer(c *Client, to Request, a Answer) {
	if to.Kind == asAcquire {
		if !isOK(a) {
			c.wrong(a)
		}
		c.out = w.release.put(c.out, to.Key)
		c.Ask(asRelease, to.Key)
		return
	}
	if !isOne(a) {
		c.wrong(a)
	}
	c.done()
}

// TakeLocks has the locks held that a turn of release will give back.
func TakeLocks(ctx context.Context, release *Job, s *Server) error {
	keys, err := ParseKeys("seq", release.Count)
	if err != nil {
		return err
	}
	release.Keys, _ = ParseKeys("seq", release.Count)
	take := templateOf("SET", "lck:#", token, "PX", strconv.Itoa(holdMS))
	hold := func(*Turn, int) Work { return &plain{keys.chooser(0, 0), take.put, isOK} }
	j := &Job{Name: "take locks", Mix: hold, Clients: 8, Pipeline: 128, Count: release.Count, For: time.Hour}
	_, err = Run(ctx, j, s, nil)
	return err
}

const holdMS = 600_000 // longer than any turn of release
