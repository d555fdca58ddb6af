package server_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"crema/server"
)

// What stands before an HTTP request in a pipeline is done; nobody hears of it.
func TestRequestsBeforeHTTP(t *testing.T) {
	g := startGroup(t, 2, server.Config{})
	for i, m := range g.members {
		c := connect(t, addrOf(m))
		c.pipeline("PING", fmt.Sprint("INCR n", i), "GET n", "POST / HTTP/1.1", "SET n body")
		if got := c.rest(t); got != "" {
			t.Errorf("heard %q", got)
		}
		connect(t, addrOf(m)).wants(t, `"1"`, "GET", fmt.Sprint("n", i))
		connect(t, addrOf(m)).wants(t, "(nil)", "GET", "n")
	}
}

// What a transaction that came to nothing has published nobody hears, not even
// with the next request.
func TestMessagesOfAFailedTransaction(t *testing.T) {
	g := startGroup(t, 2, server.Config{})
	sub, c := connect(t, addrOf(g.members[0])), connect(t, addrOf(g.members[1]))
	sub.do("SUBSCRIBE", "ch")
	for range 20 {
		g.set(func() { g.refusing = errors.New("nobody knows") })
		c.pipeline("MULTI", `EVAL "redis.call('INCR','k') return redis.call('PUBLISH','ch','failed')" 0`, "EXEC")
		c.hears(t, "OK", "QUEUED", inDoubt)
		g.set(func() { g.refusing = nil })
		c.wants(t, "OK", "SET", "k", "1")
	}
	c.wants(t, "(integer) 1", "PUBLISH", "ch", "last")
	sub.hears(t, "1) \"message\"\n2) \"ch\"\n3) \"last\"")
}

// An error that a script answers, and that says what the server says of a script
// that it lacks, has the script done once.
func TestScriptThatSaysNoScript(t *testing.T) {
	g := startGroup(t, 2, server.Config{})
	for i, m := range g.members {
		c := connect(t, addrOf(m))
		sha := c.do("SCRIPT", "LOAD", fmt.Sprintf("redis.call('INCR','k%d') return redis.error_reply('NOSCRIPT No matching script. Please use EVAL.')", i)).frame.text
		c.pipeline("EVALSHA "+sha+" 0", fmt.Sprint("GET k", i))
		c.hears(t, "(error) NOSCRIPT No matching script. Please use EVAL.", `"1"`)
	}
}

// Replies that are more than the leader gives at once come in their order, and
// what they are replies to is done once.
func TestRunsWithLargeReplies(t *testing.T) {
	g := startGroup(t, 2, server.Config{})
	m := g.members[1]
	c := connect(t, addrOf(m))
	c.wants(t, "OK", "SET", "large", strings.Repeat("v", 1<<20))
	asked := 0
	g.set(func() { m.losing = func([]byte) bool { asked++; return false } })
	var lines []string
	for range 20 {
		lines = append(lines, "GET large", "INCR n", "NOSUCH")
	}
	c.pipeline(lines...)
	for i := range 20 {
		if got := len(c.read().frame.text); got != 1<<20 {
			t.Fatalf("GET %d: %d bytes", i, got)
		}
		c.hears(t, fmt.Sprintf("(integer) %d", i+1), "(error) ERR unknown command 'NOSUCH', with args beginning with: ")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if asked < 5 {
		t.Errorf("asked %d times", asked)
	}
}

// Nobody waits for a client that has left.
func TestWaitOfAClientThatLeft(t *testing.T) {
	g := startGroup(t, 2, server.Config{})
	for _, m := range g.members {
		c := connect(t, addrOf(m))
		c.wants(t, "OK", "SET", "k", "1")
		c.pipeline("WAIT 9 0")
		awaitCommand(t, addrOf(m), "wait", 1)
		c.conn.Close()
		other := connect(t, addrOf(m))
		await(t, func() bool { return !strings.Contains(string(other.do("CLIENT", "LIST").raw), "cmd=wait ") })
	}
}

// Behind a HELLO in a transaction, replies are in the protocol that it says.
func TestProtocolWithinATransaction(t *testing.T) {
	g := startGroup(t, 2, server.Config{})
	for _, m := range g.members {
		c := connect(t, addrOf(m))
		c.pipeline("MULTI", "GET none", "HELLO 3", "GET none", "HELLO 2", "GET none", "EXEC")
		for range 6 {
			c.read()
		}
		raw := string(c.read().raw)
		if !strings.HasPrefix(raw, "*5\r\n$-1\r\n%7") || strings.Count(raw, "\r\n_\r\n") != 1 || !strings.HasSuffix(raw, "$-1\r\n") {
			t.Errorf("answered %q", raw)
		}
	}
}
