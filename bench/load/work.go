package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// work is what one connection does, over and over. A connection has its own.
type work struct {
	// requests appends one batch of n counted operations to c and returns how
	// many answers will come.
	requests func(c *conn, n int) (answers int)
	// wants says whether an answer is as it should be.
	wants func(kind byte, text []byte) bool
}

// works are made for the connection with that number.
var works = map[string]func(j job, number int) work{
	"set":      setWork,
	"set-ttl":  setTTLWork,
	"set-wait": setWaitWork,
	"get":      getWork,
	"incr-hot": incrHotWork,
	"acquire":  acquireWork,
	"lock":     lockWork,
	"publish":  publishWork,
}

func workNames() []string {
	names := make([]string, 0, len(works))
	for name := range works {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (j job) key() string { return "key:" + strconv.Itoa(rand.IntN(j.keys)) }

func (j job) value() string { return strings.Repeat("x", j.size) }

func isOK(kind byte, _ []byte) bool     { return kind == '+' }
func isNumber(kind byte, _ []byte) bool { return kind == ':' }
func noError(kind byte, _ []byte) bool  { return kind != '-' }

// setWork writes without a TTL: pinned.
func setWork(j job, _ int) work {
	value := j.value()
	return work{func(c *conn, n int) int {
		for range n {
			c.request("SET", j.key(), value)
		}
		return n
	}, isOK}
}

// setTTLWork writes with a TTL: cached.
func setTTLWork(j job, _ int) work {
	value := j.value()
	return work{func(c *conn, n int) int {
		for range n {
			c.request("SET", j.key(), value, "EX", "600")
		}
		return n
	}, isOK}
}

// setWaitWork has each batch of writes on one replica before it goes on.
func setWaitWork(j job, _ int) work {
	value := j.value()
	return work{func(c *conn, n int) int {
		for range n {
			c.request("SET", j.key(), value)
		}
		c.request("WAIT", "1", "0")
		return n + 1
	}, func(kind byte, text []byte) bool { return kind == '+' || kind == ':' && string(text) == "1" }}
}

func getWork(j job, _ int) work {
	return work{func(c *conn, n int) int {
		for range n {
			c.request("GET", j.key())
		}
		return n
	}, noError}
}

func incrHotWork(job, int) work {
	return work{func(c *conn, n int) int {
		for range n {
			c.request("INCR", "hot")
		}
		return n
	}, isNumber}
}

func publishWork(j job, _ int) work {
	value := j.value()
	return work{func(c *conn, n int) int {
		for range n {
			c.request("PUBLISH", "news", value)
		}
		return n
	}, isNumber}
}

// acquireWork takes a lock that nobody holds.
func acquireWork(_ job, number int) work {
	run, turn := rand.Uint64(), 0
	return work{func(c *conn, n int) int {
		for range n {
			c.request("SET", fmt.Sprintf("lock:%x:%d:%d", run, number, turn), "token", "NX", "PX", "30000")
			turn++
		}
		return n
	}, isOK}
}

// lockWork takes a lock and gives it back as lock libraries do: one operation is
// one acquire and one release.
func lockWork(_ job, number int) work {
	const release = `if redis.call("get",KEYS[1]) == ARGV[1] then return redis.call("del",KEYS[1]) else return 0 end`
	run, turn := rand.Uint64(), 0
	return work{func(c *conn, n int) int {
		for range n {
			key, token := fmt.Sprintf("lock:%x:%d:%d", run, number, turn), strconv.Itoa(turn)
			c.request("SET", key, token, "NX", "PX", "30000")
			c.request("EVAL", release, "1", key, token)
			turn++
		}
		return 2 * n
	}, func(kind byte, text []byte) bool { return kind == '+' || kind == ':' && string(text) == "1" }}
}
