package server_test

import (
	"crypto/sha1"
	"encoding/hex"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"crema/server"
)

// hearAll says the lines to an empty server, so many in one write, and returns
// everything that comes of them, in an order that both servers share.
func hearAll(t *testing.T, addr string, lines [][]string, clock *atomic.Int64, together int) (all []string) {
	note := func(kind string, text string) { all = append(all, kind+": "+steady(text)) }
	say := func(c *client, words ...string) outcome {
		o := c.do(words...)
		if o.failure != "" {
			t.Fatalf("%s: %s", strings.Join(words, " "), o.failure)
		}
		return o
	}
	control, speaker, listener, monitor := connect(t, addr), connect(t, addr), connect(t, addr), connect(t, addr)
	for _, words := range [][]string{
		{"FLUSHALL"}, {"SCRIPT", "FLUSH"}, {"CONFIG", "SET", "maxmemory-policy", "volatile-lfu"}, {"CONFIG", "SET", "maxmemory", "0"},
		{"DEBUG", "SET-ACTIVE-EXPIRE", "0"}, // an expired key is found when it is looked at, not at some moment
		{"CONFIG", "SET", "notify-keyspace-events", "KEAnm"}, {"CONFIG", "SET", "slowlog-max-len", "100000"},
		{"CONFIG", "SET", "slowlog-log-slower-than", "0"}, {"SLOWLOG", "RESET"}, {"CONFIG", "RESETSTAT"},
	} {
		control.wants(t, "OK", words...)
	}
	for _, source := range server.NativeScripts() {
		say(control, "SCRIPT", "LOAD", source)
	}
	say(listener, "HELLO", "3")
	id := strings.TrimPrefix(say(listener, "CLIENT", "ID").text(), "(integer) ")
	say(listener, "PSUBSCRIBE", "__key*__:*")
	say(listener, "PING") // what is answered through an outbox is counted afterwards
	monitor.wants(t, "OK", "MONITOR")
	var batch [][]string
	flush := func() {
		var b []byte
		for _, words := range batch {
			b = append(b, encodeCommand(words)...)
		}
		speaker.send(b)
		for _, words := range batch {
			o := speaker.read()
			if o.failure != "" {
				t.Fatalf("%s: %s", strings.Join(words, " "), o.failure)
			}
			note(strings.Join(words, " "), string(o.raw))
		}
		batch = batch[:0]
	}
	for _, words := range lines {
		if words[0] == "later" {
			flush()
			ms, _ := strconv.ParseInt(words[1], 10, 64)
			clock.Add(ms)
			continue
		}
		words = slices.Clone(words)
		for i, w := range words {
			if w == "$listener" {
				words[i] = id
			}
		}
		if batch = append(batch, words); len(batch) >= together {
			flush()
		}
	}
	flush()
	speaker.conn.Close()
	control.wants(t, "OK", "CONFIG", "SET", "maxmemory-policy", "noeviction") // OBJECT IDLETIME wants it
	for db := range 2 {
		say(control, "SELECT", strconv.Itoa(db))
		for _, key := range nativeKeys {
			for _, words := range [][]string{{"PTTL", key}, {"OBJECT", "ENCODING", key}, {"OBJECT", "IDLETIME", key}, {"MEMORY", "USAGE", key}, {"GET", key}} {
				note(strings.Join(words, " "), string(say(control, words...).raw))
			}
		}
	}
	say(control, "ECHO", "the end")
	for {
		o := monitor.read()
		if o.failure != "" {
			t.Fatalf("MONITOR: %s\n%s", o.failure, strings.Join(all, "\n"))
		}
		line := string(o.raw)
		if strings.Contains(line, "the end") {
			break
		}
		if !strings.Contains(line, `"CLIENT" "TRACKING"`) {
			note("monitor", line)
		}
	}
	listener.send(encodeCommand([]string{"PING", "the end"}))
	for {
		o := listener.read()
		if o.failure != "" {
			t.Fatalf("events: %s", o.failure)
		}
		if strings.Contains(string(o.raw), "the end") {
			break
		}
		note("event", string(o.raw))
	}
	for _, e := range say(control, "SLOWLOG", "GET", "-1").frame.elems {
		if text := e.elems[3].render(); !strings.Contains(text, "MONITOR") {
			note("slowlog", text)
		}
	}
	for _, section := range []string{"commandstats", "errorstats", "stats", "crema"} {
		for _, line := range strings.Split(say(control, "INFO", section).frame.text, "\r\n") {
			if counts.MatchString(line) {
				note("info", elapsed.ReplaceAllString(line, ""))
			}
		}
	}
	for _, c := range []*client{control, listener, monitor} {
		c.conn.Close()
	}
	return all
}

var (
	counts  = regexp.MustCompile(`^(cmdstat_|errorstat_|keyspace_|total_error|pinned_|expired_keys|evicted_keys)`)
	elapsed = regexp.MustCompile(`usec=\d+,usec_per_call=[\d.]+,`)
	stamp   = regexp.MustCompile(`^\+\d+\.\d+ \[(\d+) [^\]l]+\]|^\+\d+\.\d+`)
	times   = regexp.MustCompile(`\b\d{3,12}\b`)
)

// steady leaves out what depends on how fast a server is: when and from where a
// command came, and the last three digits of what remains of a key's time.
func steady(text string) string {
	text = stamp.ReplaceAllString(text, "$1")
	return strconv.Quote(times.ReplaceAllStringFunc(text, func(digits string) string {
		n, _ := strconv.ParseInt(digits, 10, 64)
		return strconv.FormatInt((n+500)/1000, 10) + "s"
	}))
}

// nativeTalk makes what is said.
type nativeTalk struct{ *rand.Rand }

var nativeKeys = []string{"k1", "k2", "k3"}

func (g nativeTalk) pick(words ...string) string { return words[g.IntN(len(words))] }
func (g nativeTalk) key() string                 { return g.pick(nativeKeys...) }
func (g nativeTalk) token() string               { return g.pick("a", "a", "a", "b", "", "12", "a\r\n\x00") }
func (g nativeTalk) number() string {
	return g.pick("100000", "100000", "100000", "200000", "700000", "0", "-1", "-100000", "x", "", "1.5", "300000.0", "1e5", " 100000", "0100000",
		"1099511627776", "1099511627777", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "9007199254740993", "0x10", "inf", "nan")
}

func (g nativeTalk) lines() (all [][]string) {
	soon := g.IntN(120) // when a second does not remain of what had 100, if at all
	for i := range 60 {
		switch n := g.IntN(100); {
		case i == soon:
			all = append(all, []string{"later", "99700"})
		case n < 60:
			all = append(all, g.script())
		case n < 75:
			all = append(all, [][]string{
				{"SET", g.key(), g.token()}, {"SET", g.key(), g.token(), "PX", "300000"}, {"DEL", g.key()}, {"PERSIST", g.key()},
				{"PEXPIRE", g.key(), "100000"}, {"GET", g.key()}, {"MSETNX", g.key(), g.token()}, {"SET", g.key(), "a"},
			}[g.IntN(8)])
		case n < 80:
			all = append(all, []string{"later", g.pick("100000", "150000", "1000000")})
		case n < 90:
			all = append(all, []string{g.pick("MULTI", "EXEC", "EXEC", "DISCARD")})
		case n < 91: // full, and nothing is evicted, which would happen at any time
			all = append(all, []string{"CONFIG", "SET", "maxmemory-policy", "noeviction"}, []string{"CONFIG", "SET", "maxmemory", "1"})
		case n < 93:
			all = append(all, []string{"CONFIG", "SET", "maxmemory", "0"}, []string{"CONFIG", "SET", "maxmemory-policy", g.pick("volatile-lfu", "allkeys-lfu")})
		default:
			all = append(all, [][]string{
				{"SELECT", g.pick("0", "1")}, {"WATCH", g.key()},
				{"AUTH", "reader", "secret2"}, {"AUTH", "alice", "secret"}, {"AUTH", "alice", "secret"}, {"CLIENT", "NO-TOUCH", g.pick("ON", "OFF")},
				{"CLIENT", "TRACKING", g.pick("ON", "ON", "OFF"), "REDIRECT", "$listener"}, {"SCRIPT", "FLUSH"}, {"HELLO", g.pick("2", "3")},
			}[g.IntN(9)])
		}
	}
	return append(all, []string{"DISCARD"}, []string{"AUTH", "alice", "secret"}, []string{"CONFIG", "SET", "maxmemory", "0"})
}

// script runs one of the scripts, mostly as a lock library would.
func (g nativeTalk) script() []string {
	source := g.pick(server.NativeScripts()...)
	sum := sha1.Sum([]byte(source))
	sha := hex.EncodeToString(sum[:])
	words := [][]string{
		{"EVAL", source}, {"EVAL", source}, {"EVALSHA", sha}, {"EVALSHA", strings.ToUpper(sha)},
		{"EVAL", respaced(source)}, {"EVAL_RO", source}, {"EVALSHA_RO", sha},
	}[min(g.IntN(12), 6)]
	n := 1
	if g.IntN(4) == 0 {
		n = g.IntN(4)
	}
	words = append(words, strconv.Itoa(n))
	for range n {
		words = append(words, g.key())
	}
	argv := []string{g.token(), g.number(), g.pick("0", "0", "1", "", "00")}
	if g.IntN(3) > 0 {
		argv[0], argv[1] = "a", g.pick("100000", "200000")
	}
	if g.IntN(6) == 0 {
		argv = argv[:g.IntN(4)]
	}
	return append(words, argv...)
}

// respaced is the same script as somebody else might have typed it.
func respaced(source string) string {
	return "-- a lock\n\t" + strings.NewReplacer(" then ", " then\n\t\t", "'", `"`, " end", ";\nend", " == ", "==", "key", "name", "'get'", `"GET"`).Replace(source) + " -- ok\r\n"
}
