package server_test

import (
	"bytes"
	"flag"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"crema/server"
	"crema/store"
)

var dataSeed = flag.Uint64("dataseed", 0, "seed of the random data commands; 0 picks one")

// pair is the oracle and a bare store that are told the same.
type pair struct {
	t      *testing.T
	bare   *server.Bare
	client *client
	heard  *client // subscribed to every keyspace event of the oracle
}

func newPair(t *testing.T) *pair {
	addr := startOracle(t)
	p := &pair{t: t, bare: server.NewBare(store.Config{Policy: store.NoEviction})}
	t.Cleanup(p.bare.Close)
	for _, c := range []**client{&p.client, &p.heard} {
		var err error
		if *c, err = dial(addr); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { (*c).conn.Close() })
	}
	p.client.do("CONFIG", "SET", "notify-keyspace-events", "EAmn")
	p.heard.do("PSUBSCRIBE", "__keyevent@*__:*")
	p.heard.do("SUBSCRIBE", "mark")
	return p
}

// events is what the oracle has announced since the last time, but for the
// end of keys whose time was up: who notices that first, and when, differs.
func (p *pair) events() (events []string) {
	p.client.do("PUBLISH", "mark", "")
	for {
		o := p.heard.read()
		if o.failure != "" {
			p.t.Fatal(o.failure)
		}
		if o.frame.elems[0].text == "message" {
			return events
		}
		db, name, _ := strings.Cut(strings.TrimPrefix(o.frame.elems[2].text, "__keyevent@"), "__:")
		if name != "expired" {
			events = append(events, name+" "+db+" "+o.frame.elems[3].text)
		}
	}
}

// do tells the bare store, and leaves the same events out.
func (p *pair) do(words ...string) (reply []byte, events []string) {
	reply, events = p.bare.Do(words...)
	return reply, slices.DeleteFunc(events, func(e string) bool { return strings.HasPrefix(e, "expired ") })
}

// same tells both one command and compares replies and events.
func (p *pair) same(words ...string) bool {
	p.t.Helper()
	want := p.client.do(words...).raw
	wantEvents := p.events()
	got, gotEvents := p.do(words...)
	if !bytes.Equal(got, want) {
		p.t.Errorf("%q: %q, Redis answers %q", words, got, want)
		return false
	}
	if !slices.Equal(gotEvents, wantEvents) {
		p.t.Errorf("%q: events %q, Redis has %q", words, gotEvents, wantEvents)
		return false
	}
	return true
}

// dataLines are commands with the words to choose from: * is a key, # a number,
// $ a value, ~ options, @ an option that takes a number far in the future.
var dataLines = strings.Split(strings.TrimSpace(`
GET *
SET * $
SET * $ ~
SET * $ ~ ~
SET * $ @
SET * $ ~ @ ~
SETNX * $
SETEX * # $
PSETEX * # $
GETSET * $
GETDEL *
GETEX * ~
GETEX * @
GETEX * PERSIST
MGET * * *
MSET * $ * $
MSET * $ *
MSETNX * $ * $
APPEND * $
STRLEN *
GETRANGE * # #
SUBSTR * # #
SETRANGE * # $
INCR *
DECR *
INCRBY * #
DECRBY * #
INCRBYFLOAT * #
INCRBYFLOAT * $
LCS * *
LCS * * LEN
LCS * * IDX
LCS * * IDX ~ #
LCS * * ~ ~
LCS * * IDX MINMATCHLEN # WITHMATCHLEN
DEL * *
UNLINK *
EXISTS * * *
TOUCH * *
TYPE *
RENAME * *
RENAMENX * *
COPY * *
COPY * * REPLACE
COPY * * DB #
COPY * * DB 1 REPLACE
MOVE * 1
MOVE * #
DBSIZE
SWAPDB 0 1
SWAPDB # #
FLUSHDB ~
EXPIRE * # ~
EXPIREAT * # ~ ~
PEXPIRE * 100000000 ~
PEXPIREAT * 4000000000000 ~
PEXPIREAT * 4000000001000 ~
PERSIST *
EXPIRETIME *
PEXPIRETIME *
TTL *
OBJECT ENCODING *
OBJECT FREQ *
SCAN # ~ #
SCAN 0 TYPE hash
RANDOMKEY *
`), "\n")

func TestRandomDataCommandsAgreeWithRedis(t *testing.T) {
	seed := *dataSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	r := rand.New(rand.NewPCG(seed, 0))
	pick := func(words string) string {
		all := strings.Split(words, "|")
		return all[r.IntN(len(all))]
	}
	fill := func(line string) (words []string) {
		for w := range strings.FieldsSeq(line) {
			switch w {
			case "*":
				w = pick("a|b|c|d")
			case "$":
				w = pick("1|10|-5|abc|abcde|ohmytext|mynewtext|1.25|3e3||" + strings.Repeat("x", 45))
			case "#":
				w = pick("0|1|2|3|-1|-2|5|15|16|100|9223372036854775807|-9223372036854775808|9223372036854775808|x||99999999999|1.5|3000000")
			case "~":
				w = pick("NX|XX|GET|KEEPTTL|nx|GT|LT|PERSIST|EX|SYNC|async|WITHMATCHLEN|MINMATCHLEN|IDX|LEN|COUNT|bogus")
			case "@":
				words = append(words, pick("EXAT|exat|PXAT"))
				w = pick("4000000000|4000000000000|4100000000|0|-1|x|9223372036854775807|9223372036854776")
			}
			words = append(words, w)
		}
		return words
	}
	p := newPair(t)
	for range 4000 {
		words := fill(dataLines[r.IntN(len(dataLines))])
		if expiresSoon(words) {
			continue
		}
		if strings.EqualFold(words[len(words)-1], "GT") {
			time.Sleep(2 * time.Millisecond) // the same time to live is greater a millisecond later
		}
		switch words[0] {
		case "TTL", "SCAN", "RANDOMKEY": // what they answer differs; that they answer must not
			want, _ := p.client.do(words...).raw, p.events()
			got, _ := p.bare.Do(words...)
			if want[0] != got[0] {
				t.Errorf("%q: %q, Redis answers %q", words, got, want)
			}
		case "PEXPIRETIME", "EXPIRETIME":
			p.near(words...)
		case "DBSIZE": // Redis counts what has expired until something finds it, as SCAN does
			p.client.do("SCAN", "0", "COUNT", "1000")
			p.same(words...)
		default:
			p.same(words...)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// expiresSoon tells whether a key might end, or nearly so, while the test runs.
func expiresSoon(words []string) bool {
	if len(words) < 3 {
		return false
	}
	n, err := strconv.ParseInt(words[2], 10, 64)
	if err != nil {
		return false
	}
	switch words[0] {
	case "SETEX", "EXPIRE":
		return n < 1000
	case "PSETEX", "PEXPIRE":
		return n < 1000_000
	case "EXPIREAT":
		return n < 4000000000 && n > 0
	}
	return false
}

// near compares integers that were made from two readings of the clock.
func (p *pair) near(words ...string) {
	p.t.Helper()
	want, _ := p.client.do(words...), p.events()
	reply, _ := p.bare.Do(words...)
	a, err1 := strconv.ParseInt(want.frame.text, 10, 64)
	b, err2 := strconv.ParseInt(strings.TrimSpace(string(reply[1:])), 10, 64)
	if want.frame.kind != ':' || reply[0] != ':' || err1 != nil || err2 != nil || math.Abs(float64(a-b)) > 10_000 {
		p.t.Errorf("%q: %q, Redis answers %q", words, reply, want.raw)
	}
}

// Every command that sets a deadline, with every number at an edge.
func TestDeadlinesAtTheEdgesAgreeWithRedis(t *testing.T) {
	p := newPair(t)
	now := time.Now().UnixMilli()
	const hour, ms, sec = 3_600_000, math.MaxInt64, math.MaxInt64 / 1000
	numbers := []int64{0, 1000_000, -1, 1, -1000, math.MinInt64, math.MinInt64 + 1, math.MaxInt64, math.MaxInt64 - 1,
		sec, sec + 1, sec - 1, -sec, -sec - 1, -sec - 2, ms - now - hour, ms - now + hour, (ms-now)/1000 - 3600, (ms-now)/1000 + 3600,
		now/1000 + 3600, now/1000 - 3600, now + hour, now - hour}
	words := []string{"x", "", "1.5", "+5", "05", " 5", "9223372036854775808"}
	for _, n := range numbers {
		words = append(words, strconv.FormatInt(n, 10))
	}
	for _, line := range []string{"EXPIRE k #", "PEXPIRE k #", "EXPIREAT k #", "PEXPIREAT k #", "SETEX k # v", "PSETEX k # v",
		"SET k v EX #", "SET k v PX #", "SET k v EXAT #", "SET k v PXAT #", "SET k v GET PXAT #", "GETEX k EX #", "GETEX k PX #",
		"GETEX k EXAT #", "GETEX k PXAT #", "EXPIRE k # XX", "EXPIRE k # GT", "PEXPIREAT k # LT", "EXPIRE none #", "GETEX none EX #"} {
		for _, number := range words {
			p.same("FLUSHALL")
			p.same("SET", "k", "v")
			said := strings.Fields(line)
			said[slices.Index(said, "#")] = number
			p.same(said...)
			if number != "1" { // may just have ended, or not
				p.near("PEXPIRETIME", "k")
			}
		}
	}
}
