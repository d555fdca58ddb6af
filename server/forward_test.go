package server_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"crema/server"
)

const clusterDown = "(error) CLUSTERDOWN The change did not reach the log, nothing has happened"
const inDoubt = "(error) INDOUBT The change may have happened or not"

// await polls for what nobody tells of.
func await(t testing.TB, is func() bool) {
	t.Helper()
	for begin := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(begin) > time.Minute {
			t.Fatal("it did not come")
		}
	}
}

func addrOf(m *member) string { return m.srv.Addr() }

// Whatever node a client asks, it is answered as by the leader.
func TestAnyNodeServes(t *testing.T) {
	g := startGroup(t, 3, server.Config{})
	for i, m := range g.members {
		c := connect(t, addrOf(m))
		key := fmt.Sprint("k", i)
		c.wants(t, "OK", "SET", key, "1")
		c.wants(t, "(integer) 2", "INCR", key)
		c.wants(t, "OK", "SET", "page"+key, "x", "EX", "100")
		c.pipeline("GET page"+key, "SELECT 3", "SET three x", "GET three", "NOSUCH", "GET a b", "INCR three", "PING", "SELECT 0", "GET three")
		c.hears(t, `"x"`, "OK", "OK", `"x"`, "(error) ERR unknown command 'NOSUCH', with args beginning with: ",
			"(error) ERR wrong number of arguments for 'get' command", "(error) ERR value is not an integer or out of range", "PONG", "OK", "(nil)")
		for _, o := range g.members {
			connect(t, addrOf(o)).wants(t, `"2"`, "GET", key)
		}
	}
}

// A pipeline as long as they come, in replies of every size, from every node.
func TestLongPipelines(t *testing.T) {
	g := startGroup(t, 3, server.Config{})
	for _, m := range g.members {
		c := connect(t, addrOf(m))
		var lines []string
		for i := range 3000 {
			lines = append(lines, fmt.Sprintf("SET key:%d %s", i, strings.Repeat("v", i%1000+1)), fmt.Sprintf("GET key:%d", i))
		}
		go c.pipeline(lines...)
		for i := range 3000 {
			if got := c.read().text(); got != "OK" {
				t.Fatalf("SET %d: %s", i, got)
			}
			if got := c.read().frame.text; len(got) != i%1000+1 {
				t.Fatalf("GET %d: %d bytes", i, len(got))
			}
		}
	}
}

// What a pipeline deletes makes room for what it writes behind that.
func TestRoomWithinAPipeline(t *testing.T) {
	g := startGroup(t, 3, server.Config{MaxMemory: 1})
	for _, m := range g.members {
		c := connect(t, addrOf(m))
		c.wants(t, "OK", "SET", "k", "1")
		c.pipeline("SET k 2", "GET k", "DEL k", "SET k 3")
		c.hears(t, oom, `"1"`, "(integer) 1", "OK")
		c.pipeline("INCR k", "FLUSHALL", `EVAL "return redis.call('incr', KEYS[1])" 1 k`)
		c.hears(t, oom, "OK", "(integer) 1")
		c.wants(t, "(integer) 1", "DEL", "k")
	}
}

const oom = "(error) OOM command not allowed when used memory > 'maxmemory'."

// While nobody leads, requests wait; they are answered by whoever leads then.
func TestRequestsWaitForALeader(t *testing.T) {
	g := startGroup(t, 3, server.Config{})
	var clients []*client
	for _, m := range g.members {
		c := connect(t, addrOf(m))
		c.wants(t, "OK", "SET", "k", "1")
		clients = append(clients, c)
	}
	g.lead(-1)
	for _, c := range clients {
		c.pipeline("INCR k", "GET other", "MULTI", "INCR k", "EXEC", `EVAL "return redis.call('INCR','k')" 0`)
	}
	g.lead(1)
	for _, c := range clients {
		for _, want := range []string{"(integer)", "(nil)", "OK", "QUEUED", "1) (integer)", "(integer)"} {
			if got := c.read().text(); !strings.HasPrefix(got, want) {
				t.Fatalf("heard %s, not %s", got, want)
			}
		}
	}
	clients[0].wants(t, `"10"`, "GET", "k")
}

// What is on its way when leadership moves is done once, by the new leader.
func TestProposalsOfALostTermAreDoneAgain(t *testing.T) {
	g := startGroup(t, 3, server.Config{})
	var clients []*client
	for _, m := range g.members {
		clients = append(clients, connect(t, addrOf(m)))
	}
	for round := range 6 {
		g.set(func() { g.held = true })
		for _, c := range clients {
			c.pipeline("INCR n", "INCR n", "GET n")
		}
		g.proposed(6)
		g.lead((round + 1) % 3)
		g.set(func() { g.held = false })
		for _, c := range clients {
			for range 3 {
				if got := c.read().text(); strings.HasPrefix(got, "(error)") {
					t.Fatal(got)
				}
			}
		}
		clients[0].wants(t, fmt.Sprintf(`"%d"`, 6*(round+1)), "GET", "n")
	}
}

// With nobody to lead, a client is told so before it gives up; nothing has happened.
func TestNobodyLeads(t *testing.T) {
	t.Parallel()
	g := startGroup(t, 2, server.Config{})
	g.lead(-1)
	var all sync.WaitGroup
	for _, m := range g.members {
		all.Go(func() {
			c := connect(t, addrOf(m))
			for _, words := range [][]string{{"SET", "k", "1"}, {"WATCH", "k"}} {
				begin := time.Now()
				if got := c.do(words...).text(); got != clusterDown {
					t.Errorf("%q: %s", words, got)
				}
				if took := time.Since(begin); took < 2*time.Second || took > 15*time.Second {
					t.Errorf("%q: told after %s", words, took)
				}
			}
			if got := c.do("PING").text(); got != "PONG" {
				t.Error(got)
			}
		})
	}
	all.Wait()
	g.lead(0)
	connect(t, addrOf(g.members[1])).wants(t, "(nil)", "GET", "k")
}

// A link that breaks before the answer leaves writes in doubt; reads are done again.
func TestLostAnswers(t *testing.T) {
	g := startGroup(t, 3, server.Config{})
	m := g.members[2]
	c := connect(t, addrOf(m))
	lose := func(n int) {
		g.set(func() {
			m.losing = func([]byte) bool { n--; return n >= 0 }
		})
	}
	c.wants(t, "OK", "SET", "k", "1")
	lose(2)
	c.wants(t, `"1"`, "GET", "k")
	lose(1)
	c.wants(t, inDoubt, "INCR", "k")
	c.wants(t, `"2"`, "GET", "k")
	lose(1)
	c.pipeline("GET k", "INCR k", "GET k", "MGET k none")
	c.hears(t, clusterDown, inDoubt, `"3"`, "1) \"3\"\n2) (nil)")
	lose(1)
	c.pipeline("MULTI", "INCR k", "EXEC")
	c.hears(t, "OK", "QUEUED", inDoubt)
	lose(1)
	c.pipeline("MULTI", "GET k", "PING", "EXEC")
	c.hears(t, "OK", "QUEUED", "QUEUED", "1) \"4\"\n2) PONG")
	lose(1)
	c.wants(t, "OK", "WATCH", "k")
	c.wants(t, "OK", "MULTI")
	c.wants(t, "QUEUED", "INCR", "k")
	c.wants(t, "1) (integer) 5", "EXEC")
}

// The log not knowing is passed on.
func TestInDoubtThroughAnotherNode(t *testing.T) {
	g := startGroup(t, 2, server.Config{})
	c := connect(t, addrOf(g.members[1]))
	g.set(func() { g.refusing = errors.New("nobody knows") })
	c.pipeline("GET k", "SET k 1", "GET other")
	c.hears(t, "(nil)", inDoubt, "(nil)")
	c.pipeline("MULTI", "SET k 1", "EXEC")
	c.hears(t, "OK", "QUEUED", inDoubt)
	c.wants(t, inDoubt, "EVAL", "return redis.call('SET','k','1')", "0")
	g.set(func() { g.refusing = nil })
	c.wants(t, "(nil)", "GET", "k")
}

// A leader that cannot make sure that it leads answers nothing.
func TestUnverifiedReads(t *testing.T) {
	g := startGroup(t, 2, server.Config{})
	var all sync.WaitGroup
	for _, m := range g.members {
		c := connect(t, addrOf(m))
		g.set(func() { g.deaf, g.unsure = true, 0 })
		c.pipeline("GET k", "MULTI", "GET k", "EXEC")
		all.Go(func() {
			for _, want := range []string{"(nil)", "OK", "QUEUED", "1) (nil)"} {
				if got := c.read().text(); got != want {
					t.Errorf("heard %s, not %s", got, want)
				}
			}
		})
		await(t, func() bool { g.mu.Lock(); defer g.mu.Unlock(); return g.unsure > 0 })
		g.set(func() { g.deaf = false })
		all.Wait()
	}
}

// What reads rest on is as configured.
func TestReadConsistency(t *testing.T) {
	for _, of := range []struct {
		level  string
		rounds int
	}{{"", 2}, {"linearizable", 2}, {"lease", 0}, {"local", 0}} {
		g := startGroup(t, 2, server.Config{ReadConsistency: of.level})
		c := connect(t, addrOf(g.members[1]))
		c.wants(t, "OK", "SET", "page", "x", "EX", "100")
		g.set(func() { g.verified = 0 })
		c.wants(t, `"x"`, "GET", "page") // cached: a lease
		c.wants(t, "(nil)", "GET", "k")  // could be pinned
		c.pipeline("GET k", "SET k 1")   // covered by the entry behind it, if it is one run
		c.hears(t, "(nil)", "OK")
		c.pipeline("SET k 2", "SET page y EX 100")
		c.hears(t, "OK", "OK")
		g.mu.Lock()
		if n := g.verified; n < of.rounds-1 || n > of.rounds {
			t.Errorf("%q: %d verifications", of.level, n)
		}
		g.mu.Unlock()
	}
}

func TestTransactionsThroughAnotherNode(t *testing.T) {
	g := startGroup(t, 3, server.Config{})
	c, sub, other := connect(t, addrOf(g.members[1])), connect(t, addrOf(g.members[1])), connect(t, addrOf(g.members[2]))
	sub.do("SUBSCRIBE", "ch")
	c.pipeline("MULTI", "SET a 1", "SELECT 2", "SET a 2", "PUBLISH ch x", "GET a", "INCR a", "SELECT 0", "GET a", "ECHO hi", "GET", "EXEC")
	c.hears(t, "OK", "QUEUED", "QUEUED", "QUEUED", "QUEUED", "QUEUED", "QUEUED", "QUEUED", "QUEUED", "QUEUED",
		"(error) ERR wrong number of arguments for 'get' command", "(error) EXECABORT Transaction discarded because of previous errors.")
	c.pipeline("MULTI", "SET a 1", "SELECT 2", "SET a 2", "PUBLISH ch x", "GET a", "INCR a", "SELECT 0", "GET a", "ECHO hi", "LPUSHX", "EXEC")
	for range 11 {
		c.read()
	}
	c.read()
	c.pipeline("MULTI", "SET a 1", "SELECT 2", "SET a 2", "PUBLISH ch x", "GET a", "INCR a", "SELECT 0", "GET a", "ECHO hi", "EXEC")
	for range 10 {
		c.read()
	}
	c.hears(t, "1) OK\n2) OK\n3) OK\n4) (integer) 1\n5) \"2\"\n6) (integer) 3\n7) OK\n8) \"1\"\n9) \"hi\"")
	sub.hears(t, "1) \"message\"\n2) \"ch\"\n3) \"x\"")

	c.wants(t, "OK", "WATCH", "a")
	other.wants(t, "OK", "SET", "a", "5")
	c.pipeline("MULTI", "SET a 6", "EXEC", "GET a")
	c.hears(t, "OK", "QUEUED", "(nil array)", `"5"`)
	c.wants(t, "OK", "WATCH", "a")
	c.pipeline("MULTI", "SET a 6", "EXEC", "GET a")
	c.hears(t, "OK", "QUEUED", "1) OK", `"6"`)
	c.wants(t, "OK", "WATCH", "a")
	c.wants(t, "OK", "UNWATCH")
	other.wants(t, "OK", "SET", "a", "7")
	c.pipeline("MULTI", "INCR a", "EXEC")
	c.hears(t, "OK", "QUEUED", "1) (integer) 8")
	// With another leader nobody knows whether the key has changed.
	for _, w := range []*client{c, connect(t, addrOf(g.members[0]))} {
		w.wants(t, "OK", "WATCH", "a")
		g.lead(2)
		w.pipeline("MULTI", "INCR a", "EXEC")
		w.hears(t, "OK", "QUEUED", "(nil array)")
		g.lead(0)
	}
}

// A session on the leader that was lost with its link does not begin anew.
func TestWatchAcrossALostLink(t *testing.T) {
	g := startGroup(t, 2, server.Config{})
	leader, m := g.members[0], g.members[1]
	c := connect(t, addrOf(m))
	for _, more := range []bool{true, false} {
		c.wants(t, "OK", "WATCH", "a")
		m.mesh.cut(m.meshNode, leader.meshNode)
		m.mesh.link(m.meshNode, leader.meshNode)
		connect(t, addrOf(leader)).do("INCR", "a")
		if more {
			c.wants(t, "OK", "WATCH", "b")
		}
		c.pipeline("MULTI", "SET b x", "EXEC", "GET b")
		c.hears(t, "OK", "QUEUED", "(nil array)", "(nil)")
	}
}

// Only the keys of sessions that are alive are watched.
func TestWatchSessionsEnd(t *testing.T) {
	g := startGroup(t, 2, server.Config{})
	for _, end := range []func(c *client){
		func(c *client) { c.do("UNWATCH") },
		func(c *client) { c.do("MULTI"); c.do("DISCARD") },
		func(c *client) { c.do("MULTI"); c.do("EXEC") },
		func(c *client) { c.do("RESET") },
		func(c *client) { c.conn.Close() },
	} {
		c := connect(t, addrOf(g.members[1]))
		c.wants(t, "OK", "WATCH", "a", "b")
		if n := g.members[0].srv.WatchSessions(); n != 1 {
			t.Fatalf("%d sessions", n)
		}
		end(c)
		await(t, func() bool { return g.members[0].srv.WatchSessions() == 0 })
	}
}

func TestScriptsThroughAnotherNode(t *testing.T) {
	g := startGroup(t, 3, server.Config{Users: []server.User{{Name: "reader", Password: "pw", ReadOnly: true}}})
	a, b, c := connect(t, addrOf(g.members[0])), connect(t, addrOf(g.members[1])), connect(t, addrOf(g.members[2]))
	const sha = "5df9be4bcd3e2cc2ac7c0c5d7e5d8d4b8a1b3c55"
	const none = "(error) NOSCRIPT No matching script. Please use EVAL."
	b.pipeline("SET k 1", "EVALSHA "+sha+" 0", "INCR k", "EVALSHA "+sha+" 0", "GET k")
	b.hears(t, "OK", none, "(integer) 2", none, `"2"`)
	loaded := strings.Trim(b.do("SCRIPT", "LOAD", "return redis.call('INCR', KEYS[1])").text(), `"`)
	b.wants(t, "(integer) 3", "EVALSHA", loaded, "1", "k")
	for _, o := range []*client{a, c} {
		await(t, func() bool { return o.do("SCRIPT", "EXISTS", loaded).text() == "1) (integer) 1" })
	}
	g.lead(2)
	a.wants(t, "(integer) 4", "EVALSHA", loaded, "1", "k")
	a.wants(t, "OK", "SCRIPT", "FLUSH")
	for _, o := range []*client{b, c} {
		await(t, func() bool { return o.do("SCRIPT", "EXISTS", loaded).text() == "1) (integer) 0" })
	}
	b.wants(t, none, "EVALSHA", loaded, "1", "k")
	b.wants(t, "OK", "AUTH", "reader", "pw")
	b.wants(t, `"4"`, "EVAL", "return redis.call('GET', 'k')", "0")
	if got := b.do("EVAL", "return redis.call('SET', 'k', '9')", "0").text(); !strings.Contains(got, "NOPERM") && !strings.Contains(got, "can't run") {
		t.Error(got)
	}
	if got := b.do("SET", "k", "9").text(); !strings.Contains(got, "NOPERM") {
		t.Error(got)
	}
}

// A script that publishes is heard once, whatever happens to its term.
func TestScriptThatPublishesInALostTerm(t *testing.T) {
	g := startGroup(t, 3, server.Config{})
	sub := connect(t, addrOf(g.members[2]))
	sub.do("SUBSCRIBE", "ch")
	for i, m := range g.members[:2] {
		c := connect(t, addrOf(m))
		g.set(func() { g.held = true })
		c.pipeline(fmt.Sprintf(`EVAL "redis.call('INCR','k') return redis.call('PUBLISH','ch','%d')" 0`, i))
		g.proposed(1)
		g.lead(i ^ 1)
		g.set(func() { g.held = false })
		if got := c.read().text(); !strings.HasPrefix(got, "(integer)") {
			t.Fatal(got)
		}
		sub.hears(t, fmt.Sprintf("1) \"message\"\n2) \"ch\"\n3) \"%d\"", i))
	}
	c := connect(t, addrOf(g.members[0]))
	c.wants(t, `"2"`, "GET", "k")
	c.do("PUBLISH", "ch", "last")
	sub.hears(t, "1) \"message\"\n2) \"ch\"\n3) \"last\"")
}

// READONLY reads what this node has.
func TestReadOnlyConnection(t *testing.T) {
	g := startGroup(t, 2, server.Config{})
	c := connect(t, addrOf(g.members[1]))
	c.wants(t, "OK", "SET", "page", "x", "EX", "100")
	c.wants(t, "OK", "SET", "k", "1")
	c.wants(t, "OK", "READONLY")
	c.wants(t, "(nil)", "GET", "page") // cached: the leader's alone
	await(t, func() bool { return c.do("GET", "k").text() == `"1"` })
	g.lead(-1)
	c.wants(t, `"1"`, "GET", "k")
	g.lead(0)
	c.wants(t, "OK", "SET", "page", "y", "EX", "100")
	c.wants(t, "OK", "READWRITE")
	c.wants(t, `"y"`, "GET", "page")
}

func TestWait(t *testing.T) {
	g := startGroup(t, 3, server.Config{})
	for _, m := range g.members[:2] {
		c := connect(t, addrOf(m))
		c.wants(t, "(integer) 0", "WAIT", "2", "1000")
		c.wants(t, "OK", "SET", "page", "x", "EX", "100")
		c.wants(t, "(integer) 0", "WAIT", "2", "1000")
		c.wants(t, "OK", "SET", "k", "1")
		c.wants(t, "(integer) 2", "WAIT", "2", "0")
		c.wants(t, "(integer) 2", "WAIT", "3", "20")
		c.pipeline("MULTI", "INCR k", "EXEC", "WAIT 1 0")
		c.hears(t, "OK", "QUEUED", "1) (integer) 2", "(integer) 2")
	}
}

// Settings that concern the keys are the same everywhere.
func TestConfigIsShared(t *testing.T) {
	g := startGroup(t, 3, server.Config{})
	c := connect(t, addrOf(g.members[2]))
	c.wants(t, "OK", "CONFIG", "SET", "notify-keyspace-events", "KEA", "maxmemory", "123mb", "maxclients", "77")
	for _, m := range g.members[:2] {
		o := connect(t, addrOf(m))
		await(t, func() bool {
			return o.do("CONFIG", "GET", "maxmemory").text() == "1) \"maxmemory\"\n2) \"128974848\""
		})
		o.wants(t, "1) \"notify-keyspace-events\"\n2) \"AKE\"", "CONFIG", "GET", "notify-keyspace-events")
		o.wants(t, "1) \"maxclients\"\n2) \"10000\"", "CONFIG", "GET", "maxclients")
	}
}

// A client that hangs up while its request waits for a leader is not served later.
func TestHeldRequestOfAClientThatLeft(t *testing.T) {
	g := startGroup(t, 2, server.Config{})
	g.lead(-1)
	for _, m := range g.members {
		c := connect(t, addrOf(m))
		c.pipeline("SET gone 1")
		awaitCommand(t, addrOf(m), "set", 1)
		c.conn.Close()
		other := connect(t, addrOf(m))
		await(t, func() bool { return !strings.Contains(string(other.do("CLIENT", "LIST").raw), "cmd=set ") })
	}
	other := connect(t, addrOf(g.members[0]))
	g.lead(0)
	other.wants(t, "(nil)", "GET", "gone")
}

// Clients of all nodes count together while leaders come and go: what was
// acknowledged is there, and nothing is there twice.
func TestCountingThroughChangesOfLeader(t *testing.T) {
	g := startGroup(t, 3, server.Config{})
	stop := make(chan struct{})
	var all sync.WaitGroup
	var mu sync.Mutex
	acked, doubted := 0, 0
	for _, m := range g.members {
		connect(t, addrOf(m)).wants(t, "OK", "CONFIG", "SET", "busy-reply-threshold", "0")
	}
	for i := range 12 {
		c := connect(t, addrOf(g.members[i%3]))
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c.pipeline("INCR total", "INCR page", "EVAL \"return redis.call('INCR','total')\" 0", "GET total")
				for j := range 4 {
					got := c.read().text()
					mu.Lock()
					switch {
					case j%2 == 1:
					case strings.HasPrefix(got, "(integer)"):
						acked++
					case got == inDoubt:
						doubted++
					case got != clusterDown:
						t.Errorf("answered %s", got)
					}
					mu.Unlock()
				}
			}
		})
	}
	for i := range 30 {
		before := 0
		await(t, func() bool {
			mu.Lock()
			defer mu.Unlock()
			if before == 0 {
				before = acked
			}
			return acked > before+20
		})
		if i%4 == 2 {
			g.lead(-1)
		}
		g.lead(i % 3)
	}
	close(stop)
	all.Wait()
	total := 0
	fmt.Sscanf(connect(t, addrOf(g.members[2])).do("GET", "total").text(), `"%d"`, &total)
	if total < acked || total > acked+doubted {
		t.Errorf("%d is counted, %d acknowledged, %d in doubt", total, acked, doubted)
	}
}

// What another node sends may be of another version, or wrong: it is refused, and
// harms nobody.
func TestMalformedRequests(t *testing.T) {
	g := startGroup(t, 2, server.Config{})
	m := g.members[1]
	var seen [][]byte
	g.set(func() {
		m.losing = func(request []byte) bool { seen = append(seen, request); return false }
	})
	c := connect(t, addrOf(m))
	c.pipeline("SET k 1", "GET k", "EVALSHA x 0", "PING", "WATCH k j", "MULTI", "GET k", "SELECT 2", "SET k 2", "EXEC", "WAIT 1 0",
		"SCRIPT LOAD return", "CONFIG SET maxmemory 0", "SCRIPT KILL")
	for range 14 {
		c.read()
	}
	g.mu.Lock()
	all := seen
	g.mu.Unlock()
	if len(all) < 7 {
		t.Fatalf("saw %d requests", len(all))
	}
	peer := g.members[0].peer
	r := rand.New(rand.NewPCG(1, 2))
	for _, request := range all {
		for n := range request {
			peer.Answer("n2", request[:n])
			for range 5 {
				wrong := slices.Clone(request)
				wrong[n] = byte(r.Uint32())
				peer.Answer("n2", wrong)
				peer.Hear("n2", wrong)
			}
		}
	}
	c.wants(t, "PONG", "PING")
	c.do("CONFIG", "SET", "maxmemory", "0") // one byte of that makes a limit
	c.wants(t, "OK", "SET", "alive", "1")
}
