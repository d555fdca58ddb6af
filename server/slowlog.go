package server

import (
	"fmt"
	"sync"
	"time"

	"crema/resp"
)

// What SLOWLOG keeps of one command, as Redis does.
const (
	slowlogMaxWords     = 32
	slowlogMaxWordBytes = 128
)

// slowlog is the latest commands that took long, the newest last.
type slowlog struct {
	mu      sync.Mutex // guards what follows; taken after no other lock
	entries []slowCommand
	nextID  int64
}

type slowCommand struct {
	id         int64
	at         int64 // unix seconds
	took       time.Duration
	words      [][]byte // copies, cut to size
	addr, name string
}

func slowlogRows() []command {
	const operator = admin | loading | stale
	return []command{{"slowlog", -2, 0, noKeys, container(
		command{"get", -2, operator, noKeys, session(cmdSlowlogGet)},
		command{"help", 2, loading | stale, noKeys, session(cmdSlowlogHelp)},
		command{"len", 2, operator, noKeys, session(cmdSlowlogLen)},
		command{"reset", 2, operator, noKeys, session(cmdSlowlogReset)},
	)}}
}

// note keeps a command that took d, if that is long enough.
func (l *slowlog) note(c *conn, words [][]byte, d time.Duration) {
	set := c.srv.settings()
	if set.slowlogAfter < 0 || d < set.slowlogAfter {
		return
	}
	c.mu.Lock()
	name := c.name
	c.mu.Unlock()
	e := slowCommand{at: c.clock.ms() / 1000, took: d, words: shorten(words), addr: c.addr, name: name}

	l.mu.Lock()
	defer l.mu.Unlock()
	e.id = l.nextID
	l.nextID++
	l.entries = append(l.entries, e)
	if over := len(l.entries) - set.slowlogMaxLen; over > 0 {
		clear(l.entries[:over])
		l.entries = l.entries[over:]
	}
}

// shorten copies words, few of many and the beginnings of long ones.
func shorten(words [][]byte) [][]byte {
	shown := words
	if len(words) > slowlogMaxWords {
		shown = words[:slowlogMaxWords-1]
	}
	kept := make([][]byte, 0, len(shown)+1)
	for _, w := range shown {
		short := append([]byte(nil), w[:min(len(w), slowlogMaxWordBytes)]...)
		if more := len(w) - slowlogMaxWordBytes; more > 0 {
			short = fmt.Appendf(short, "... (%d more bytes)", more)
		}
		kept = append(kept, short)
	}
	if more := len(words) - len(shown); more > 0 {
		kept = append(kept, fmt.Appendf(nil, "... (%d more arguments)", more))
	}
	return kept
}

// SLOWLOG GET [count]
func cmdSlowlogGet(c *conn, a *resp.Args) resp.Reply {
	if a.Left() > 1 {
		return resp.ErrSubcommandSyntax("slowlog", a.Words[1])
	}
	n := int64(10)
	if a.More() {
		n = a.IntOr(resp.ErrCountNegative)
		if n < -1 {
			a.Fail(resp.ErrCountNegative)
		}
		if a.Failed() {
			return a.Err()
		}
	}
	l := &c.srv.slowlog
	l.mu.Lock()
	defer l.mu.Unlock()
	have := int64(len(l.entries))
	if n < 0 || n > have {
		n = have
	}
	newest := make([]resp.Reply, 0, n)
	for i := have - 1; i >= have-n; i-- {
		e := &l.entries[i]
		words := make([]resp.Reply, len(e.words))
		for j, w := range e.words {
			words[j] = resp.Bulk(w)
		}
		newest = append(newest, resp.Array(resp.Int(e.id), resp.Int(e.at), resp.Int(e.took.Microseconds()),
			resp.Array(words...), resp.BulkString(e.addr), resp.BulkString(e.name)))
	}
	return resp.Array(newest...)
}

// SLOWLOG LEN
func cmdSlowlogLen(c *conn, _ *resp.Args) resp.Reply {
	l := &c.srv.slowlog
	l.mu.Lock()
	defer l.mu.Unlock()
	return resp.Int(int64(len(l.entries)))
}

// SLOWLOG RESET
func cmdSlowlogReset(c *conn, _ *resp.Args) resp.Reply {
	l := &c.srv.slowlog
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = nil
	return resp.OK
}

// SLOWLOG HELP
func cmdSlowlogHelp(*conn, *resp.Args) resp.Reply {
	return helpReply("SLOWLOG",
		"GET [<count>]",
		"    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
		"    Entries are made of:",
		"    id, timestamp, time in microseconds, arguments array, client IP and port,",
		"    client name",
		"LEN",
		"    Return the length of the slowlog.",
		"RESET",
		"    Reset the slowlog.")
}
