package server_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"crema/server"
)

// A client that keeps what it reads and drops what it is told to drop holds
// the newest value of everything once the writers are done, whatever overtook
// what on the way. The counters only grow, so a cached one that is older than
// another read is caught at once too.
func TestTrackingLeavesNothingStale(t *testing.T) {
	for _, at := range places {
		for _, mode := range []string{"", "BCAST", "NOLOOP"} {
			t.Run(at.name+" "+mode, func(t *testing.T) { leavesNothingStale(t, at.start(t), mode) })
		}
	}
}

// places are where a client may be that tracks: the addresses are its own node's
// and those of writers.
var places = []struct {
	name  string
	start func(t *testing.T) []string
}{
	{"alone", func(t *testing.T) []string { return []string{serving(t, server.Config{}).Addr()} }},
	{"leader", func(t *testing.T) []string { return startMesh(t, 3, server.Config{}).addrs(0, 1, 2) }},
	{"follower", func(t *testing.T) []string { return startMesh(t, 3, server.Config{}).addrs(1, 0, 2) }},
}

func leavesNothingStale(t *testing.T, addrs []string, mode string) {
	const keys, writers, writes = 8, 4, 3000
	addr := addrs[0]
	reader := connect(t, addr)
	reader.do("HELLO", "3")
	reader.wants(t, "OK", strings.Fields("CLIENT TRACKING ON "+mode)...)
	for _, addr := range addrs { // BUSY is no value
		connect(t, addr).wants(t, "OK", "CONFIG", "SET", "busy-reply-threshold", "0")
	}

	var writing sync.WaitGroup
	for w := range writers {
		c := connect(t, addrs[w%len(addrs)])
		writing.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(w)))
			for range writes {
				key := "k" + strconv.Itoa(rng.IntN(keys))
				switch rng.IntN(3) {
				case 0:
					c.do("INCR", key)
				case 1:
					c.do("EVAL", "return redis.call('incr', KEYS[1])", "1", key)
				default:
					c.send(encodeCommand([]string{"MULTI"}))
					c.send(encodeCommand([]string{"INCR", key}))
					c.do("EXEC")
					c.read()
					c.read()
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		writing.Wait()
		close(done)
	}()

	cached := map[string]int{}
	// reply reads up to the next reply, obeying what comes before it.
	reply := func() frame {
		for {
			o := reader.read()
			if o.failure != "" {
				t.Fatal(o.failure)
			}
			if o.frame.kind != '>' {
				return o.frame
			}
			for _, key := range o.frame.elems[1].elems {
				delete(cached, key.text)
			}
		}
	}
	keep := func(key string, f frame) {
		n, _ := strconv.Atoi(f.text)
		if was, ok := cached[key]; ok && was > n {
			t.Fatalf("%s: read %d with %d in the cache", key, n, was)
		}
		cached[key] = n
	}
	rng := rand.New(rand.NewPCG(2, 0))
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		var batch []string
		for range 1 + rng.IntN(20) {
			key := "k" + strconv.Itoa(rng.IntN(keys))
			batch = append(batch, key)
		}
		exec := rng.IntN(3) == 0
		var b []byte
		if exec {
			b = encodeCommand([]string{"MULTI"})
		}
		for _, key := range batch {
			if rng.IntN(8) == 0 && !exec {
				b = append(b, encodeCommand([]string{"EVAL", "return redis.call('get', KEYS[1])", "1", key})...)
			} else {
				b = append(b, encodeCommand([]string{"GET", key})...)
			}
		}
		if exec {
			b = append(b, encodeCommand([]string{"EXEC"})...)
		}
		reader.send(b)
		if exec {
			for range len(batch) + 1 {
				reply()
			}
			for i, f := range reply().elems {
				keep(batch[i], f)
			}
			continue
		}
		for _, key := range batch {
			keep(key, reply())
		}
	}
	control := connect(t, addr)
	current := func() bool {
		reader.send(encodeCommand([]string{"PING"}))
		reply()
		for key, n := range cached {
			if control.do("GET", key).text() != strconv.Quote(strconv.Itoa(n)) {
				return false
			}
		}
		return true
	}
	if len(addrs) == 1 {
		if !current() {
			t.Errorf("an invalidation is missing: %v", cached)
		}
		return
	}
	eventually(t, current) // another node tells behind its answers
}

// A value is on its way to the client, behind a slow command of the same
// pipeline, when somebody changes it: the invalidation comes behind the value.
func TestInvalidationDoesNotOvertakeTheReply(t *testing.T) {
	for _, at := range places {
		t.Run(at.name, func(t *testing.T) { doesNotOvertake(t, at.start(t)) })
	}
}

func doesNotOvertake(t *testing.T, addrs []string) {
	for _, mode := range []string{"", "BCAST"} {
		reader, writer := connect(t, addrs[0]), connect(t, addrs[0])
		reader.do("HELLO", "3")
		reader.wants(t, "OK", strings.Fields("CLIENT TRACKING ON "+mode)...)
		writer.wants(t, "OK", "CONFIG", "RESETSTAT")
		reader.send(append(encodeCommand([]string{"GET", "k" + mode}), encodeCommand([]string{"DEBUG", "SLEEP", "0.3"})...))
		for { // until the value has been read
			if strings.Contains(writer.do("INFO", "commandstats").frame.text, "cmdstat_get:calls=1,") {
				break
			}
		}
		writer.wants(t, "OK", "SET", "k"+mode, "new")
		for _, want := range []string{"(null)", "OK", "1> \"invalidate\"\n2> 1) \"k" + mode + "\""} {
			if got := reader.read().text(); got != want {
				t.Fatalf("%s came, not %s", got, want)
			}
		}
	}
}

// What a connection listened to goes with it.
func TestTrackingEndsWithTheConnection(t *testing.T) {
	for _, at := range places {
		t.Run(at.name, func(t *testing.T) { endsWithTheConnection(t, at.start(t)[0]) })
	}
}

func endsWithTheConnection(t *testing.T, addr string) {
	control := connect(t, addr)
	awaitInfo := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(patience); ; {
			got := control.do("INFO", "stats", "clients").frame.text
			if strings.Contains(got, want) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("no %s in\n%s", want, got)
			}
		}
	}
	for _, end := range []func(c *client){
		func(c *client) { c.conn.Close() },
		func(c *client) { c.do("RESET") },
		func(c *client) { c.do("CLIENT", "TRACKING", "OFF") },
		func(c *client) {
			c.do("MULTI")
			c.do("CLIENT", "TRACKING", "OFF")
			c.do("EXEC")
		},
		func(*client) { control.do("FLUSHALL") },
	} {
		c := connect(t, addr)
		c.do("HELLO", "3")
		c.wants(t, "OK", "CLIENT", "TRACKING", "ON")
		for i := range 100 {
			c.do("GET", fmt.Sprint("k", i))
		}
		awaitInfo("tracking_total_keys:100\r\ntracking_total_items:100")
		end(c)
		awaitInfo("tracking_total_keys:0\r\ntracking_total_items:0")
		c.conn.Close()
		awaitInfo("tracking_clients:0")
	}
}

// Replies are no messages: a tracking client may read more at once than its
// outbox may hold, and one that reads nothing makes the server wait.
func TestTrackingClientMayReadMuch(t *testing.T) {
	addr := serving(t, server.Config{OutputBufferLimit: "pubsub 1mb 512kb 1"}).Addr()
	others := bystander(t, addr)
	c := connect(t, addr)
	c.do("HELLO", "3")
	c.wants(t, "OK", "CLIENT", "TRACKING", "ON")
	big := strings.Repeat("x", 4<<20)
	c.wants(t, "OK", "SET", "big", big)
	one := encodeCommand([]string{"GET", "big"})
	for range 8 {
		c.send(one)
	}
	others()
	for range 8 {
		if o := c.read(); o.failure != "" || len(o.frame.text) != len(big) {
			t.Fatalf("%s, %d bytes", o.failure, len(o.frame.text))
		}
	}
	c.send(encodeCommand([]string{"MULTI"}))
	c.send(one)
	c.send(encodeCommand([]string{"EXEC"}))
	c.read()
	c.read()
	if o := c.read(); o.failure != "" || len(o.frame.elems[0].text) != len(big) {
		t.Fatalf("EXEC: %s", o.failure)
	}
}

// A client that does not read its invalidations is closed, and delays nobody.
func TestTrackingClientThatDoesNotRead(t *testing.T) {
	addr := serving(t, server.Config{OutputBufferLimit: "pubsub 256kb 128kb 60"}).Addr()
	others := bystander(t, addr)
	slow := connect(t, addr)
	slow.conn.(*net.TCPConn).SetReadBuffer(4096)
	slow.do("HELLO", "3")
	slow.wants(t, "OK", "CLIENT", "TRACKING", "ON", "BCAST")
	w := connect(t, addr)
	key := strings.Repeat("k", 16<<10)
	for i := 0; ; i++ {
		w.wants(t, "OK", "SET", key, "")
		if i%100 == 0 {
			others()
			if strings.Contains(w.do("INFO", "clients").frame.text, "tracking_clients:0") {
				break
			}
		}
		if i > 20_000 {
			t.Fatal("the slow client is still there")
		}
	}
}

// A table at its limit stays there, however many read.
func TestTrackingTableIsBounded(t *testing.T) {
	for _, at := range places {
		t.Run(at.name, func(t *testing.T) { tableIsBounded(t, at.start(t)[0]) })
	}
}

func tableIsBounded(t *testing.T, addr string) {
	control := connect(t, addr)
	control.wants(t, "OK", "CONFIG", "SET", "tracking-table-max-keys", "10")
	for range 20 { // eight clients a key at most, on the average
		c := connect(t, addr)
		c.wants(t, "OK", "CLIENT", "TRACKING", "ON")
		for i := range 30 {
			c.do("GET", fmt.Sprint("k", i))
			eventually(t, func() bool { // the reader trims behind its reply
				var keys, items int
				for line := range strings.Lines(control.do("INFO", "stats").frame.text) {
					fmt.Sscanf(line, "tracking_total_keys:%d", &keys)
					fmt.Sscanf(line, "tracking_total_items:%d", &items)
				}
				if keys > 12 || items > 82 {
					t.Fatalf("%d keys, %d items", keys, items)
				}
				return keys > 0 && keys <= 10 && items <= 80
			})
		}
	}
}

// Reading, which listens to keys, and forgetting keys for want of room go on at
// the same time, inside latched scopes too.
func TestTrackingWhileKeysAreForgotten(t *testing.T) {
	addr := serving(t, server.Config{}).Addr()
	others := bystander(t, addr)
	connect(t, addr).wants(t, "OK", "CONFIG", "SET", "tracking-table-max-keys", "1")
	script := encodeCommand([]string{"EVAL", "for i=1,200 do redis.call('GET', 'k'..i) end", "0"})
	var readers sync.WaitGroup
	for i := range 3 {
		c := connect(t, addr)
		c.wants(t, "OK", "CLIENT", "TRACKING", "ON")
		readers.Go(func() {
			for n := range 300 {
				if i == 0 {
					c.send(script)
				} else {
					c.send(encodeCommand([]string{"GET", fmt.Sprint("k", n%300)}))
				}
				if o := c.read(); o.failure != "" {
					t.Error(o.failure)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		readers.Wait()
		close(done)
	}()
	for {
		select {
		case <-done:
			return
		default:
			others()
		}
	}
}

// The largest limit that may be configured is one.
func TestTrackingTableWithoutEnd(t *testing.T) {
	addr := serving(t, server.Config{}).Addr()
	c := connect(t, addr)
	c.wants(t, "(error) ERR CONFIG SET failed (possibly related to argument 'tracking-table-max-keys') - argument must be between 0 and 1152921504606846975 inclusive",
		"CONFIG", "SET", "tracking-table-max-keys", "1152921504606846976")
	c.wants(t, "OK", "CONFIG", "SET", "tracking-table-max-keys", "1152921504606846975")
	c.wants(t, "OK", "CLIENT", "TRACKING", "ON")
	c.wants(t, "(nil)", "GET", "k")
	c.wants(t, "PONG", "PING")
}

// A NOLOOP client that reads what it has just written, before the log has it or
// in the same transaction, hears of the next change.
func TestNoLoopReadsItsOwnWrites(t *testing.T) {
	g := startGroup(t, 1, server.Config{})
	for _, node := range []string{addrOf(g.members[0]), serving(t, server.Config{}).Addr()} {
		for _, commands := range [][]string{
			{"SET k 1", "GET k"},
			{"GET k", "SET k 1", "GET k"},
			{"MULTI", "SET k 1", "GET k", "EXEC"},
			{`EVAL "redis.call('SET',KEYS[1],1) return redis.call('GET',KEYS[1])" 1 k`},
		} {
			c, w := connect(t, node), connect(t, node)
			c.do("HELLO", "3")
			c.wants(t, "OK", "CLIENT", "TRACKING", "ON", "NOLOOP")
			if node == addrOf(g.members[0]) {
				g.set(func() { g.held = true })
			}
			c.pipeline(commands...)
			if node == addrOf(g.members[0]) {
				g.proposed(1)
				g.set(func() { g.held = false })
			}
			told := false
			for n := 0; n < len(commands); {
				if c.read().frame.kind == '>' {
					told = true
				} else {
					n++
				}
			}
			w.wants(t, "OK", "SET", "k", "2")
			for !told {
				if o := c.read(); o.frame.kind != '>' || o.failure != "" {
					t.Fatalf("%q: not told of a change, but %s %s", commands, o.failure, o.frame.render())
				}
				told = true
			}
		}
	}
}
