package server_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"crema/server"
)

// Attacks: what a stranger may send. Each test shows that the attacker is
// answered as Redis would or disconnected, that memory stays bounded, and that
// somebody else is served meanwhile.

// serving starts a server for one test.
func serving(t testing.TB, cfg server.Config) *server.Server {
	t.Helper()
	srv, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		srv.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return srv
}

func connect(t testing.TB, addr string) *client {
	t.Helper()
	c, err := dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.conn.Close() })
	return c
}

// wants demands a reply as the conversations show it.
func (c *client) wants(t testing.TB, want string, words ...string) {
	t.Helper()
	if got := c.do(words...).text(); got != want {
		t.Fatalf("%q answered %s, not %s", words, got, want)
	}
}

// bystander is served throughout an attack: each turn must be quick.
func bystander(t testing.TB, addr string) (check func()) {
	t.Helper()
	c := connect(t, addr)
	n := 0
	return func() {
		t.Helper()
		n++
		began := time.Now()
		c.wants(t, "OK", "SET", "bystander", strconv.Itoa(n))
		c.wants(t, strconv.Quote(strconv.Itoa(n)), "GET", "bystander")
		if took := time.Since(began); took > patience/2 {
			t.Fatalf("a bystander waited %s", took)
		}
	}
}

// heap is what the process holds after a collection, in bytes.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func bounded(t testing.TB, before, limit int64) {
	t.Helper()
	if grown := heap() - before; grown > limit {
		t.Fatalf("memory grew by %d KiB, more than %d KiB", grown>>10, limit>>10)
	}
}

// rest is everything the server still sends before it closes.
func (c *client) rest(t testing.TB) string {
	t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(c.br)
	if err != nil && !isReset(err) {
		t.Fatalf("the connection stays open: %v after %q", err, b)
	}
	return string(b)
}

func TestAttackMalformed(t *testing.T) {
	addr, oracle := serving(t, server.Config{}).Addr(), startOracle(t)
	others := bystander(t, addr)
	for name, bytes := range map[string]string{
		"count beyond int32":      "*2147483648\r\n",
		"count not a number":      "*x\r\n",
		"length negative":         "*1\r\n$-5\r\n",
		"length near 2^63":        "*1\r\n$9223372036854775806\r\n",
		"length overflowing":      "*1\r\n$99999999999999999999\r\n",
		"length not a number":     "*1\r\n$abc\r\n",
		"length over 512 MB":      "*2\r\n$3\r\nGET\r\n$536870913\r\n",
		"no dollar":               "*1\r\nPING\r\n",
		"unbalanced quotes":       "SET a \"b\r\n",
		"closing quote not alone": "SET a \"b\"c\r\n",
		"inline of 1 MB":          strings.Repeat("a", 1<<20),
		"count line without end":  "*" + strings.Repeat("1", 1<<17),
	} {
		t.Run(name, func(t *testing.T) {
			var replies [2]string
			for i, addr := range []string{addr, oracle} {
				c := connect(t, addr)
				c.send([]byte(bytes))
				replies[i] = c.rest(t)
			}
			// A close with unread input may overtake the reply: what arrives
			// is then nothing, on either side.
			if replies[0] != replies[1] && replies[0] != "" && replies[1] != "" {
				t.Errorf("crema answers %q, redis %q", replies[0], replies[1])
			}
			others()
		})
	}
}

// Redis 7.0 waits for two billion words; crema keeps to the million that Redis
// documents.
func TestAttackCount(t *testing.T) {
	c := connect(t, serving(t, server.Config{}).Addr())
	c.send([]byte("*2147483647\r\n"))
	if got := c.rest(t); got != "-ERR Protocol error: invalid multibulk length\r\n" {
		t.Errorf("answered %q", got)
	}
}

func TestAttackInlineNUL(t *testing.T) {
	addr, oracle := serving(t, server.Config{}).Addr(), startOracle(t)
	for _, line := range []string{"PING \x00\r\n", "\x00\x00\r\n", "ECHO \"a\\x00b\"\r\n"} {
		var replies [2]string
		for i, addr := range []string{addr, oracle} {
			c := connect(t, addr)
			c.send([]byte(line))
			replies[i] = c.read().text()
		}
		if replies[0] != replies[1] {
			t.Errorf("%q: crema answers %s, redis %s", line, replies[0], replies[1])
		}
	}
}

func TestAttackMillionArguments(t *testing.T) {
	addr := serving(t, server.Config{}).Addr()
	others := bystander(t, addr)
	c := connect(t, addr)
	c.send([]byte("*1000001\r\n$4\r\nPING\r\n"))
	go io.WriteString(c.conn, strings.Repeat("$1\r\na\r\n", 1000000))
	others()
	if got := c.read().text(); !strings.HasPrefix(got, "(error) ERR") {
		t.Fatalf("answered %s", got)
	}
	others()
}

func TestAttackAnnouncedBulk(t *testing.T) {
	addr := serving(t, server.Config{}).Addr()
	others := bystander(t, addr)
	others()
	before := heap()
	for range 20 {
		c := connect(t, addr)
		c.send([]byte("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc"))
	}
	others()
	bounded(t, before, 4<<20)
}

func TestAttackByteByByte(t *testing.T) {
	addr := serving(t, server.Config{}).Addr()
	others := bystander(t, addr)
	c := connect(t, addr)
	for _, b := range encodeCommand([]string{"SET", "slow", "value"}) {
		c.send([]byte{b})
		others() // a round trip of somebody else between any two bytes
	}
	if got := c.read().text(); got != "OK" {
		t.Fatalf("answered %s", got)
	}
}

func TestAttackRepliesNeverRead(t *testing.T) {
	addr := serving(t, server.Config{}).Addr()
	others := bystander(t, addr)
	c := connect(t, addr)
	c.wants(t, "OK", "SET", "big", strings.Repeat("x", 64<<10))
	before := heap()
	one := encodeCommand([]string{"GET", "big"})
	sent := make(chan int, 1)
	go func() { // 100 000 replies of 64 KiB: the server must stop reading instead of keeping them
		c.conn.SetWriteDeadline(time.Now().Add(3 * time.Second))
		n, _ := c.conn.Write(bytes.Repeat(one, 100_000))
		sent <- n
	}()
	for waiting := true; waiting; {
		select {
		case <-sent:
			waiting = false
		default:
			others()
		}
	}
	bounded(t, before, 16<<20)
	c.conn.Close()
	others()
}

func TestAttackBeforeAuth(t *testing.T) {
	addr := serving(t, server.Config{RequirePass: "secret"}).Addr()
	before := heap()
	for attack, want := range map[string]string{
		"*11\r\n":                        "-ERR Protocol error: unauthenticated multibulk length\r\n",
		"*2\r\n$4\r\nAUTH\r\n$16385\r\n": "-ERR Protocol error: unauthenticated bulk length\r\n",
	} {
		c := connect(t, addr)
		c.send([]byte(attack))
		if got := c.rest(t); got != want {
			t.Errorf("%q answered %q, not %q", attack, got, want)
		}
	}
	bounded(t, before, 1<<20)
	c := connect(t, addr)
	c.wants(t, "(error) NOAUTH Authentication required.", "GET", "k")
	c.wants(t, "(error) WRONGPASS invalid username-password pair or user is disabled.", "AUTH", "guess")
	c.wants(t, "OK", "AUTH", "secret")
	c.wants(t, "(nil)", "GET", "k")
}

func TestAttackExplodingPatterns(t *testing.T) {
	addr := serving(t, server.Config{}).Addr()
	c := connect(t, addr)
	c.wants(t, "OK", "SET", strings.Repeat("a", 4096), "v")
	began := time.Now()
	for _, pattern := range []string{"a*a*a*a*b", strings.Repeat("a*", 40) + "b", strings.Repeat("*", 4000) + "b"} {
		c.wants(t, "(empty array)", "KEYS", pattern)
		c.do("SCAN", "0", "MATCH", pattern, "COUNT", "100")
	}
	sub := connect(t, addr)
	sub.do("PSUBSCRIBE", strings.Repeat("a*", 40)+"b")
	c.wants(t, "(integer) 0", "PUBLISH", strings.Repeat("a", 4096), "x")
	if took := time.Since(began); took > patience/2 {
		t.Fatalf("took %s", took)
	}
}

func TestAttackLongPatternsAndNames(t *testing.T) {
	c := connect(t, serving(t, server.Config{}).Addr())
	long := strings.Repeat("a", 4097)
	for _, words := range [][]string{{"KEYS", long}, {"SCAN", "0", "MATCH", long}, {"PSUBSCRIBE", long}} {
		c.wants(t, "(error) ERR pattern is too long", words...)
	}
	const refused = "(error) ERR Client names cannot contain spaces, newlines or special characters."
	c.wants(t, refused, "CLIENT", "SETNAME", long[:1025])
	c.wants(t, "OK", "CLIENT", "SETNAME", long[:1024])
}

func TestAttackLua(t *testing.T) {
	addr := serving(t, server.Config{}).Addr()
	c := connect(t, addr)
	for name, source := range map[string]string{
		"recursion":       "local function f() return f() + 1 end return f()",
		"10 GB string":    "local s = string.rep('x', 1024) while true do s = s .. s end",
		"string.rep":      "return string.rep('x', 2147483647)",
		"table":           "local t = {} for i = 1, 1e10 do t[i] = {} end",
		"table in itself": "local t = {} t[1] = t return t",
		"many writes":     "for i = 1, 1e10 do redis.call('SETRANGE', i, 100000000, 'x') end",
	} {
		t.Run(name, func(t *testing.T) {
			before := heap()
			c.conn.SetReadDeadline(time.Now().Add(5 * time.Minute)) // a memory's worth of tables, under the race detector
			c.send(encodeCommand([]string{"EVAL", source, "0"}))
			var o outcome
			if o.frame, _ = readFrame(c.br, &o.raw); o.raw == nil {
				t.Fatal("no reply")
			}
			if name != "table in itself" && o.raw[0] != '-' {
				t.Fatalf("answered %.100q", o.raw)
			}
			c.wants(t, "(integer) 0", "DBSIZE")
			bounded(t, before, 64<<20)
		})
	}
}

func TestAttackLuaLoop(t *testing.T) {
	addr := serving(t, server.Config{}).Addr()
	admin := connect(t, addr)
	admin.wants(t, "OK", "CONFIG", "SET", "busy-reply-threshold", "50")
	for _, source := range []string{
		"redis.call('SET', 'k', 'v') while true do end",
		"while true do pcall(function() while true do redis.call('INCR', 'k') end end) end",
	} {
		looping := connect(t, addr)
		looping.send(encodeCommand([]string{"EVAL", source, "0"}))
		other := connect(t, addr)
		for { // until the loop has the server, then until the threshold has passed
			got := other.do("GET", "k").text()
			if strings.HasPrefix(got, "(error) BUSY") {
				break
			}
			if got != "(nil)" {
				t.Fatalf("GET answered %s", got)
			}
		}
		admin.wants(t, "OK", "SCRIPT", "KILL")
		if got := looping.read().text(); !strings.Contains(got, "Script killed by user") {
			t.Fatalf("the script's client was told %s", got)
		}
		other.wants(t, "(nil)", "GET", "k")
	}
}

func TestAttackTooManyClients(t *testing.T) {
	const limit = 100
	addr := serving(t, server.Config{MaxClients: limit}).Addr()
	others := bystander(t, addr)
	others()
	for range limit - 1 {
		c := connect(t, addr)
		c.wants(t, "PONG", "PING")
	}
	for range 50 {
		c := connect(t, addr)
		if got := c.rest(t); got != "-ERR max number of clients reached\r\n" {
			t.Fatalf("one too many was told %q", got)
		}
	}
	others()
}

func TestAttackDeepMulti(t *testing.T) {
	addr := serving(t, server.Config{}).Addr()
	others := bystander(t, addr)
	c := connect(t, addr)
	c.wants(t, "OK", "MULTI")
	const depth = 200_000
	go c.conn.Write(bytes.Repeat(encodeCommand([]string{"INCR", "n"}), depth))
	for range depth {
		if got := c.read().text(); got != "QUEUED" {
			t.Fatalf("answered %s", got)
		}
	}
	others()
	c.wants(t, "OK", "DISCARD")
	c.wants(t, "OK", "MULTI")
	c.wants(t, "(error) ERR MULTI calls can not be nested", "MULTI")
}

func TestAttackMillionChannels(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	addr := serving(t, server.Config{}).Addr()
	others := bystander(t, addr)
	c := connect(t, addr)
	const channels = 1_000_000
	const batch = 10_000
	go func() {
		for at := 0; at < channels; at += batch {
			words := []string{"SUBSCRIBE"}
			for i := at; i < at+batch; i++ {
				words = append(words, "channel:"+strconv.Itoa(i))
			}
			if _, err := c.conn.Write(encodeCommand(words)); err != nil {
				return
			}
		}
	}()
	last := []byte(fmt.Sprintf("channel:%d\r\n:%d\r\n", channels-1, channels))
	c.conn.SetReadDeadline(time.Now().Add(time.Minute))
	window := make([]byte, 0, 1<<17)
	for !bytes.Contains(window, last) {
		n := copy(window[:cap(window)], window[max(0, len(window)-64):])
		m, err := c.br.Read(window[n:cap(window)])
		if err != nil {
			t.Fatal(err)
		}
		window = window[:n+m]
	}
	others()
	pub := connect(t, addr)
	pub.wants(t, "(integer) 1", "PUBLISH", "channel:999999", "x")
	c.conn.Close()
	for pub.do("PUBSUB", "NUMSUB", "channel:999999").text() != "1) \"channel:999999\"\n2) (integer) 0" {
	}
	others()
}

func TestAttackErrorInjection(t *testing.T) {
	addr, oracle := serving(t, server.Config{}).Addr(), startOracle(t)
	for _, words := range [][]string{
		{"no\r\nsuch", "a\r\n+OK\r\n"},
		{"EVAL", "return redis.error_reply('X a\\r\\n+OK')", "0"},
		{"EVAL", "return {err='X a\\r\\n+OK'}", "0"},
		{"EVAL", "return redis.status_reply('a\\r\\n+OK')", "0"},
		{"EVAL", "error('a\\r\\n+OK')", "0"},
		{"CLIENT", "no\r\nsuch"},
	} {
		var replies [2]string
		for i, addr := range []string{addr, oracle} {
			c := connect(t, addr)
			o := c.do(words...)
			if bytes.Count(o.raw, []byte("\n")) != 1 {
				t.Errorf("%q answered %q", words, o.raw)
			}
			replies[i] = string(o.raw)
			c.wants(t, "PONG", "PING")
		}
		if replies[0] != replies[1] {
			t.Errorf("%q: crema answers %q, redis %q", words, replies[0], replies[1])
		}
	}
}

func TestSlowSubscriberDelaysNobody(t *testing.T) {
	srv := serving(t, server.Config{OutputBufferLimit: "pubsub 1mb 512kb 60"})
	slow, quick, pub := connect(t, srv.Addr()), connect(t, srv.Addr()), connect(t, srv.Addr())
	slow.conn.(*net.TCPConn).SetReadBuffer(4096)
	slow.do("SUBSCRIBE", "news")
	quick.do("SUBSCRIBE", "news")
	payload := strings.Repeat("x", 16<<10)
	for i := 0; ; i++ { // the slow one never reads: it is disconnected, the quick one misses nothing
		got := pub.do("PUBLISH", "news", payload).text()
		if o := quick.read(); o.failure != "" {
			t.Fatalf("the quick subscriber: %s", o.failure)
		}
		if got == "(integer) 1" {
			break
		}
		if got != "(integer) 2" || i > 10_000 {
			t.Fatalf("PUBLISH number %d answered %s", i, got)
		}
	}
	if info := string(pub.do("INFO").raw); !strings.Contains(info, "slow_subscribers_closed:1\r\n") {
		t.Errorf("INFO does not count the disconnection:\n%s", info)
	}
}
