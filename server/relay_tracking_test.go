package server_test

import (
	"fmt"
	"strings"
	"testing"

	"crema/server"
)

// tracker is a client that tracks on a node.
func trackingOn(t *testing.T, n *meshNode, options ...string) *client {
	c := connect(t, n.srv.Addr())
	c.do("HELLO", "3")
	c.asks(t, "OK", append([]string{"CLIENT", "TRACKING", "ON"}, options...)...)
	return c
}

// told reads the next invalidation, for which nothing is asked.
func (c *client) told(t *testing.T) string {
	t.Helper()
	return c.invalid(t, c.read())
}

// toldOf is told for keys. That everything is invalid may be told more often than
// needed, but nothing else.
func (c *client) toldOf(t *testing.T, want string) {
	t.Helper()
	got := c.told(t)
	for got == "" {
		got = c.told(t)
	}
	if got != want {
		t.Fatalf("told of %q, not of %q", got, want)
	}
}

func (c *client) invalid(t *testing.T, o outcome) string {
	t.Helper()
	f := o.frame
	if o.failure != "" || f.kind != '>' || len(f.elems) != 2 || f.elems[0].text != "invalidate" {
		t.Fatalf("told %s %s", o.failure, f.render())
	}
	var keys []string
	for _, e := range f.elems[1].elems {
		keys = append(keys, e.text)
	}
	return strings.Join(keys, " ")
}

// asks wants a reply before which no key is told.
func (c *client) asks(t *testing.T, want string, words ...string) {
	t.Helper()
	o := c.do(words...)
	for o.frame.kind == '>' {
		if got := c.invalid(t, o); got != "" {
			t.Fatalf("told of %q", got)
		}
		o = c.read()
	}
	if got := o.text(); got != want {
		t.Fatalf("%q answered %s, not %s", words, got, want)
	}
}

// A client that tracks on one node hears of changes made on any.
func TestTrackingHearsOfEveryNode(t *testing.T) {
	m := startMesh(t, 3, server.Config{})
	for i, n := range m.nodes {
		reads, hears, optin := trackingOn(t, n), trackingOn(t, n, "BCAST", "PREFIX", "k"), trackingOn(t, n, "OPTIN")
		other := connect(t, n.srv.Addr())
		other.do("HELLO", "3")
		id := other.do("CLIENT", "ID").frame.text
		redirects := connect(t, n.srv.Addr())
		redirects.wants(t, "OK", "CLIENT", "TRACKING", "ON", "REDIRECT", id)
		for j, from := range m.nodes {
			key := fmt.Sprint("k", i, j)
			w := connect(t, from.srv.Addr())
			w.wants(t, "OK", "MSET", key, "1", "other", "1")
			hears.toldOf(t, key)
			for _, c := range []*client{reads, redirects, optin} {
				c.asks(t, `"1"`, "GET", key)
			}
			optin.asks(t, "OK", "CLIENT", "CACHING", "YES")
			optin.asks(t, "(integer) 2", "EXISTS", key, "other")
			reads.do("MULTI")
			reads.do("GET", key+"x")
			reads.do("EXEC")
			reads.asks(t, `"1"`, "EVAL_RO", "return redis.call('get', KEYS[1])", "1", "other")
			for _, change := range [][]string{{"APPEND", key, "2"}, {"SET", key + "x", "1"}, {"DEL", "other"}} {
				w.do(change...)
				reads.toldOf(t, change[1])
				if strings.HasPrefix(change[1], "k") {
					hears.toldOf(t, change[1])
				}
			}
			optin.toldOf(t, key)
			optin.toldOf(t, "other")
			other.toldOf(t, key)
			w.wants(t, "(integer) 2", "EXISTS", key, key+"x")
			for _, c := range []*client{reads, hears, optin, other} {
				c.asks(t, "PONG", "PING")
			}
		}
		w := connect(t, m.nodes[0].srv.Addr())
		w.do("FLUSHALL")
		for _, c := range []*client{reads, hears, optin, other} {
			if got := c.told(t); got != "" {
				t.Fatalf("told %q of a flush", got)
			}
			c.conn.Close()
		}
	}
}

// With another leader, or after a link has ended, changes may have been missed:
// every client is told that everything is invalid.
func TestTrackingIsLostWithTheLeader(t *testing.T) {
	m := startMesh(t, 3, server.Config{})
	leader, n := m.nodes[0], m.nodes[1]
	c, b := trackingOn(t, n), trackingOn(t, n, "BCAST")
	lost := func(what string) {
		t.Helper()
		for _, c := range []*client{c, b} {
			if got := c.told(t); got != "" {
				t.Fatalf("%s: told %q", what, got)
			}
		}
	}
	w := connect(t, leader.srv.Addr())
	changes := 0
	// A change is heard of again, and what was told before has been read.
	heard := func() {
		t.Helper()
		key := fmt.Sprint("k", changes)
		changes++
		for told := false; !told; told = c.told(t) == key { // everything may be told to be invalid once more
			c.asks(t, "(integer) 0", "EXISTS", key)
			w.do("SETNX", key, "v")
			w.do("DEL", key)
		}
		w.do("SET", key+"last", "v")
		for got := ""; !strings.Contains(got, key+"last"); got = b.told(t) { // several may come together
		}
		c.asks(t, "PONG", "PING")
	}
	heard()
	m.lead("n3")
	lost("another leader")
	m.lead("n1")
	lost("the old one again")
	heard()
	m.cut(leader, n)
	lost("its link to us is gone")
	m.link(leader, n)
	lost("it may have dropped something before it knew")
	heard()
	m.cut(n, leader)
	lost("our link to it is gone")
	m.link(n, leader)
	heard()

	m.cut(m.nodes[2], n) // which does not lead
	for _, c := range []*client{c, b} {
		if got := c.do("PING").text(); got != "PONG" {
			t.Errorf("told %s", got)
		}
	}
}

// More keys at once than a frame holds, or no room for it, is everything.
func TestTrackingLosesNoKey(t *testing.T) {
	m := startMesh(t, 2, server.Config{})
	c, w := trackingOn(t, m.nodes[1]), connect(t, m.nodes[0].srv.Addr())
	many := []string{"MSET"}
	for i := range 400 {
		many = append(many, fmt.Sprint(i, strings.Repeat("k", 1000)), "v")
	}
	c.asks(t, "(null)", "GET", many[1])
	w.wants(t, "OK", many...)
	if got := c.told(t); got != "" {
		t.Errorf("told %q", got)
	}

	c.asks(t, "(null)", "GET", "k")
	l := m.nodes[0].links["n2"]
	l.fill(true)
	w.wants(t, "OK", "SET", "k", "v")
	w.wants(t, "OK", "SET", "other", "v")
	eventually(t, func() bool { // it is tried a few times
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.missed > 2
	})
	l.fill(false)
	if got := c.told(t); got != "" {
		t.Errorf("told %q", got)
	}
	c.asks(t, "PONG", "PING")
}

// A transaction reads in the databases that it SELECTs.
func TestTrackingInOtherDatabases(t *testing.T) {
	m := startMesh(t, 2, server.Config{})
	c, w := trackingOn(t, m.nodes[1]), connect(t, m.nodes[0].srv.Addr())
	for _, commands := range [][]string{
		{"MULTI", "SELECT 1", "GET k", "SELECT 0", "EXEC"},
		{`EVAL_RO "redis.call('select',1) return redis.call('get',KEYS[1])" 1 k`},
	} {
		c.pipeline(commands...)
		for range commands {
			for c.read().frame.kind == '>' {
			}
		}
		w.pipeline("SELECT 1", "SET k v")
		w.hears(t, "OK", "OK")
		c.toldOf(t, "k")
	}
}

// What is read from a leader that does not know, and so does not tell, is invalid
// when it does.
func TestTrackingUnknownToTheLeader(t *testing.T) {
	m := startMesh(t, 2, server.Config{})
	l := m.nodes[1].links["n1"]
	l.fill(true)
	c, w := trackingOn(t, m.nodes[1]), connect(t, m.nodes[0].srv.Addr())
	c.asks(t, "(null)", "GET", "k")
	w.wants(t, "OK", "SET", "k", "v")
	c.asks(t, "PONG", "PING")
	l.fill(false)
	if got := c.told(t); got != "" {
		t.Errorf("told %q", got)
	}
	c.asks(t, `"v"`, "GET", "k")
	w.wants(t, "OK", "SET", "k", "w")
	c.toldOf(t, "k")
}
