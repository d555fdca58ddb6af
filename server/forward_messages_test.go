package server_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"crema/server"
)

// heard is a message of the channel ch as a RESP3 client hears it.
func heard(text string) string { return fmt.Sprintf("1> \"message\"\n2> \"ch\"\n3> %q", text) }

// evalPublish is a script that publishes.
func evalPublish(text string) string {
	return fmt.Sprintf(`EVAL "return redis.call('PUBLISH','ch','%s')" 0`, text)
}

// listening is a client that hears ch.
func listening(t *testing.T, m *member) *client {
	t.Helper()
	c := connect(t, addrOf(m))
	c.do("HELLO", "3")
	c.wants(t, "1> \"subscribe\"\n2> \"ch\"\n3> (integer) 1", "SUBSCRIBE", "ch")
	return c
}

// What one client publishes, by itself, in scripts and in transactions, is heard
// in that order on every node, and by the client where one server would say it.
func TestScriptsPublishInOrder(t *testing.T) {
	const rounds = 40
	g := startGroup(t, 3, server.Config{})
	subs := []*client{listening(t, g.members[0]), listening(t, g.members[1]), listening(t, g.members[2])}
	for who, m := range g.members {
		c := listening(t, m)
		said := func(i int, how string) string { return fmt.Sprint(who, " ", how, " ", i) }
		var lines, want, all []string
		for i := range rounds {
			lines = append(lines, "INCR n"+fmt.Sprint(who), evalPublish(said(i, "eval")), "PUBLISH ch '"+said(i, "plain")+"'",
				"MULTI", "PUBLISH ch '"+said(i, "first")+"'", evalPublish(said(i, "second")), "ECHO x", evalPublish(said(i, "third")), "PUBLISH ch '"+said(i, "fourth")+"'", "EXEC",
				evalPublish(said(i, "last")), "SET k v")
			want = append(want, fmt.Sprintf("(integer) %d", i+1), heard(said(i, "eval")), "(integer) 4", heard(said(i, "plain")), "(integer) 4",
				"OK", "QUEUED", "QUEUED", "QUEUED", "QUEUED", "QUEUED", "1) (integer) 4\n2) (integer) 4\n3) \"x\"\n4) (integer) 4\n5) (integer) 4",
				heard(said(i, "first")), heard(said(i, "second")), heard(said(i, "third")), heard(said(i, "fourth")),
				heard(said(i, "last")), "(integer) 4", "OK")
			for _, how := range []string{"eval", "plain", "first", "second", "third", "fourth", "last"} {
				all = append(all, heard(said(i, how)))
			}
		}
		c.pipeline(lines...)
		c.hears(t, want...)
		for _, sub := range subs {
			sub.hears(t, all...)
		}
		c.do("UNSUBSCRIBE")
	}
}

// Messages of scripts go out from the client's node, whatever the leader reaches.
func TestScriptsPublishWhereTheClientIs(t *testing.T) {
	g := startGroup(t, 3, server.Config{})
	leader, sub := g.members[0], listening(t, g.members[2])
	leader.mesh.cut(leader.meshNode, g.members[2].meshNode)
	c := connect(t, addrOf(g.members[1]))
	c.pipeline(evalPublish("one"), "MULTI", evalPublish("two"), "EXEC")
	c.hears(t, "(integer) 1", "OK", "QUEUED", "1) (integer) 1")
	sub.hears(t, heard("one"), heard("two"))
}

// An answer that is lost, or says that nobody knows, publishes nothing, then or
// later; what is subscribed to sees the error whole.
func TestMessagesOfScriptsInDoubt(t *testing.T) {
	const incr = `EVAL "redis.call('INCR','k') return redis.call('PUBLISH','ch','lost')" 0`
	g := startGroup(t, 3, server.Config{})
	m, sub := g.members[1], listening(t, g.members[2])
	c := listening(t, m)
	for range 5 {
		for _, lines := range [][]string{{incr}, {"MULTI", incr, "PUBLISH ch lost", "EXEC"}} {
			lost := 0
			g.set(func() { m.losing = func([]byte) bool { lost++; return lost == 1 } })
			queued := []string{"OK", "QUEUED", "QUEUED"}[:len(lines)-1]
			c.pipeline(lines...)
			c.hears(t, append(queued, inDoubt)...)
			g.set(func() { m.losing = nil; g.refusing = errors.New("nobody knows") })
			c.pipeline(lines...)
			c.hears(t, append(queued, inDoubt)...)
			g.set(func() { g.refusing = nil })
		}
		c.pipeline(evalPublish("told"), "PUBLISH ch last")
		c.hears(t, heard("told"), "(integer) 2", heard("last"), "(integer) 2")
		sub.hears(t, heard("told"), heard("last"))
	}
}

// A message behind a reply that was replaced by an error does not come within it.
func TestMessageBehindAnError(t *testing.T) {
	g := startGroup(t, 2, server.Config{})
	large := strings.Repeat("v", 1000)
	for _, m := range g.members {
		c := listening(t, m)
		c.wants(t, "OK", "SET", "old", large)
		g.set(func() { g.refusing = errors.New("nobody knows") })
		c.pipeline("SET k 1", evalPublish("a"), "SET old new GET", evalPublish("b"), "PING")
		c.hears(t, inDoubt, heard("a"), "(integer) 1", inDoubt, heard("b"), "(integer) 1", "PONG")
		g.set(func() { g.refusing = nil })
		c.do("UNSUBSCRIBE")
	}
}

// Messages that are more than the leader gives at once come in their order, once.
func TestScriptsWithLargeMessages(t *testing.T) {
	const messages, size = 24, 512 << 10
	g := startGroup(t, 2, server.Config{})
	m, sub := g.members[1], listening(t, g.members[1])
	c := connect(t, addrOf(m))
	asked := 0
	g.set(func() { m.losing = func([]byte) bool { asked++; return false } })
	var lines []string
	for i := range messages {
		lines = append(lines, fmt.Sprintf(`EVAL "return redis.call('PUBLISH','ch',string.rep('%c',%d))" 0`, 'a'+i, size))
	}
	c.pipeline(lines...)
	for range messages {
		c.hears(t, "(integer) 1")
	}
	for i := range messages {
		f := sub.read().frame
		if text := f.elems[2].text; len(text) != size || text[0] != byte('a'+i) {
			t.Fatalf("message %d: %d bytes of %c", i, len(text), text[0])
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if asked < 3 {
		t.Errorf("asked %d times", asked)
	}
}
