package server_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"crema/server"
)

// Who was told that it is subscribed hears what is published on any node from
// then on, counted, at once, and nothing before the confirmation.
func TestMessagesReachEveryNode(t *testing.T) {
	m := startMesh(t, 3, server.Config{})
	var pub []*client
	for _, n := range m.nodes {
		pub = append(pub, connect(t, n.srv.Addr()))
	}
	for round := range 50 {
		at := m.nodes[round%3]
		ch := fmt.Sprint("ch", round)
		s := connect(t, at.srv.Addr())
		for i, how := range [][]string{{"SUBSCRIBE", ch}, {"PSUBSCRIBE", ch + "*"}, {"SSUBSCRIBE", ch}} {
			s.do(how...)
			for j, p := range pub {
				if how[0] == "SSUBSCRIBE" {
					p.wants(t, "(integer) 1", "SPUBLISH", ch, strconv.Itoa(j))
					s.read()
					continue
				}
				p.wants(t, fmt.Sprintf("(integer) %d", i+1), "PUBLISH", ch, strconv.Itoa(j))
				for range i + 1 {
					if f := s.read().frame; len(f.elems) < 3 || f.elems[len(f.elems)-1].text != strconv.Itoa(j) {
						t.Fatalf("%s heard %s", how, f.render())
					}
				}
			}
		}
		s.do("UNSUBSCRIBE")
		for j, p := range pub {
			p.wants(t, "(integer) 1", "PUBLISH", ch, strconv.Itoa(j))
			s.read()
		}
		s.conn.Close()
	}
	for _, p := range pub { // what has ended is forgotten everywhere
		eventually(t, func() bool { return p.do("PUBSUB", "NUMPAT").text() == "(integer) 0" })
		eventually(t, func() bool { return p.do("PUBSUB", "SHARDCHANNELS").text() == "(empty array)" })
	}
}

// eventually waits for something that no reply announces.
func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to be")
		}
		time.Sleep(time.Millisecond)
	}
}

// PUBSUB shows the whole cluster.
func TestPubsubShowsEveryNode(t *testing.T) {
	m := startMesh(t, 3, server.Config{})
	for i, n := range m.nodes {
		for range i + 1 {
			c := connect(t, n.srv.Addr())
			c.do("SUBSCRIBE", "all", fmt.Sprint("only", i))
			c.read()
			c.do("PSUBSCRIBE", "a*", fmt.Sprint("p", i, "*"))
			c.read()
			c.do("SSUBSCRIBE", "shard")
		}
	}
	for _, n := range m.nodes {
		c := connect(t, n.srv.Addr())
		c.wants(t, "1) \"all\"\n2) (integer) 6\n3) \"only1\"\n4) (integer) 2\n5) \"none\"\n6) (integer) 0", "PUBSUB", "NUMSUB", "all", "only1", "none")
		c.wants(t, "1) \"shard\"\n2) (integer) 6", "PUBSUB", "SHARDNUMSUB", "shard")
		c.wants(t, "(integer) 4", "PUBSUB", "NUMPAT")
		c.wants(t, "(integer) 12", "PUBLISH", "all", "m")
		var names []string
		for _, e := range c.do("PUBSUB", "CHANNELS", "[ao]*").frame.elems {
			names = append(names, e.text)
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); got != "all only0 only1 only2" {
			t.Errorf("%s: channels %s", n.name, got)
		}
	}
}

// Each publisher's messages come in its order, however many publish where.
func TestMessagesKeepTheirOrder(t *testing.T) {
	const publishers, messages = 6, 2000
	m := startMesh(t, 3, server.Config{})
	var hearing, speaking sync.WaitGroup
	for _, n := range m.nodes {
		c := connect(t, n.srv.Addr())
		c.do("SUBSCRIBE", "ch")
		hearing.Go(func() {
			var next [publishers]int
			for range publishers * messages {
				o := c.read()
				if o.failure != "" {
					t.Error(o.failure)
					return
				}
				var who, i int
				fmt.Sscanf(o.frame.elems[2].text, "%d %d", &who, &i)
				if next[who] != i {
					t.Errorf("%s: %d of %d came, not %d", n.name, i, who, next[who])
					return
				}
				next[who]++
			}
		})
	}
	for who := range publishers {
		c := connect(t, m.nodes[who%3].srv.Addr())
		speaking.Go(func() {
			for i := range messages {
				c.send(encodeCommand([]string{"PUBLISH", "ch", fmt.Sprint(who, " ", i)}))
			}
			for range messages {
				if got := c.read().text(); got != "(integer) 3" {
					t.Errorf("%s heard it", got)
				}
			}
		})
	}
	speaking.Wait()
	hearing.Wait()
}

// Many subscribers come and go at once; the count is right whenever one of them
// has been told so, and in the end.
func TestManySubscribeAtOnce(t *testing.T) {
	m := startMesh(t, 3, server.Config{})
	publisher := connect(t, m.nodes[0].srv.Addr())
	var all sync.WaitGroup
	for i := range 60 {
		n := m.nodes[1+i%2]
		c := connect(t, n.srv.Addr())
		all.Go(func() {
			for j := range 20 {
				c.do("SUBSCRIBE", "shared", fmt.Sprint("own", i, j))
				c.read()
				c.do("UNSUBSCRIBE", fmt.Sprint("own", i, j))
			}
		})
	}
	all.Wait()
	publisher.wants(t, "(integer) 60", "PUBLISH", "shared", "m")
	publisher.wants(t, "1) \"shared\"", "PUBSUB", "CHANNELS")
}

// SUBSCRIBEs of one pipeline are confirmed in their order, before anything that
// comes behind them is done.
func TestPipelinedSubscribes(t *testing.T) {
	m := startMesh(t, 2, server.Config{})
	c, other := connect(t, m.nodes[1].srv.Addr()), connect(t, m.nodes[0].srv.Addr())
	c.do("HELLO", "3")
	c.pipeline("PING 1", "SUBSCRIBE a", "PSUBSCRIBE b* c*", "SUBSCRIBE a", "PING 2", "SUBSCRIBE d", "PUBLISH a own", "MULTI", "SUBSCRIBE e", "PUBSUB NUMSUB a", "EXEC", "UNSUBSCRIBE a", "SUBSCRIBE f")
	var got []string
	for range 15 {
		f := c.read().frame
		words := []string{f.text}
		if len(f.elems) > 0 {
			words = nil
		}
		for _, e := range f.elems {
			words = append(words, e.text)
		}
		got = append(got, strings.Join(words, " "))
	}
	want := []string{"1", "subscribe a 1", "psubscribe b* 2", "psubscribe c* 3", "subscribe a 3", "2", "subscribe d 4",
		"message a own", "1", "OK", "QUEUED", "QUEUED", "3 2", "unsubscribe a 4", "subscribe f 5"}
	if !slices.Equal(got, want) {
		t.Errorf("came\n%q\nnot\n%q", got, want)
	}
	other.wants(t, "(integer) 1", "PUBLISH", "f", "m")
	other.wants(t, "(integer) 1", "PUBLISH", "e", "m")
	other.wants(t, "(integer) 0", "PUBLISH", "a", "m")
}

// A node that is cut off is not waited for, and learns the whole when it is back.
func TestInterestIsToldAnew(t *testing.T) {
	m := startMesh(t, 3, server.Config{})
	a, b := m.nodes[1], m.nodes[2]
	sub, pub := connect(t, a.srv.Addr()), connect(t, b.srv.Addr())
	sub.do("SUBSCRIBE", "before", "goes")
	sub.read()
	pub.wants(t, "(integer) 1", "PUBLISH", "before", "1")
	sub.read()

	m.cut(a, b)
	pub.wants(t, "(integer) 0", "PUBLISH", "before", "2")
	took := time.Hour
	for i := range 5 { // who waits for the other node does so each time
		began := time.Now()
		sub.do("SUBSCRIBE", []string{"during", "during2", "during3", "during4", "during5"}[i])
		took = min(took, time.Since(began))
	}
	sub.do("UNSUBSCRIBE", "goes")
	if took > 900*time.Millisecond {
		t.Errorf("subscribing without the other node took %v", took)
	}
	pub.wants(t, "(integer) 0", "PUBLISH", "during", "2")

	m.link(a, b)
	eventually(t, func() bool { return pub.do("PUBSUB", "NUMSUB", "before").frame.elems[1].text == "1" })
	pub.wants(t, "(integer) 1", "PUBLISH", "before", "3")
	pub.wants(t, "(integer) 1", "PUBLISH", "during", "3")
	pub.wants(t, "(integer) 0", "PUBLISH", "goes", "3")
	for _, want := range []string{"before", "during"} {
		if f := sub.read().frame; f.elems[1].text != want || f.elems[2].text != "3" {
			t.Errorf("heard %s", f.render())
		}
	}
}

// A link without room loses messages, which are counted and not promised; who
// subscribes waits for it, but not for ever.
func TestLinkWithoutRoom(t *testing.T) {
	m := startMesh(t, 2, server.Config{})
	sub, pub := connect(t, m.nodes[1].srv.Addr()), connect(t, m.nodes[0].srv.Addr())
	sub.do("SUBSCRIBE", "ch")
	there, back := m.nodes[0].links["n2"], m.nodes[1].links["n1"]
	there.fill(true)
	pub.wants(t, "(integer) 0", "PUBLISH", "ch", "lost")
	there.fill(false)
	pub.wants(t, "(integer) 1", "PUBLISH", "ch", "heard")
	if f := sub.read().frame; f.elems[2].text != "heard" {
		t.Errorf("heard %s", f.render())
	}
	if stats := pub.do("INFO", "stats").frame.text; !strings.Contains(stats, "relayed_messages_dropped:1\r\n") || !strings.Contains(stats, "relayed_messages_out:1\r\n") {
		t.Errorf("stats\n%s", stats)
	}

	back.fill(true)
	began := time.Now()
	sub.do("SUBSCRIBE", "late")
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("confirmed after %v", took)
	}
	pub.wants(t, "(integer) 0", "PUBLISH", "late", "m")
	back.fill(false)
	eventually(t, func() bool { return pub.do("PUBLISH", "late", "m").text() == "(integer) 1" })
}

// fill makes a link refuse what is posted.
func (l *meshLink) fill(full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full, l.missed = full, 0
}

// What nodes tell each other that makes no sense harms nobody.
func TestRelayRefusesNonsense(t *testing.T) {
	m := startMesh(t, 2, server.Config{})
	c := connect(t, m.nodes[0].srv.Addr())
	good := connect(t, m.nodes[1].srv.Addr())
	good.do("SUBSCRIBE", "ch")
	for kind := 32; kind < 256; kind++ {
		for _, body := range []string{"", "\x00", "\xff", "\x01\x01\x01", "\x00\x01\x01\x09\x01\x01a", "\x00\x01\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01a",
			strings.Repeat("\xff", 30), "\xff\xff\xff\xff\xff\xff\xff\xff\x7fabc", "\x00\x01\x01\x00\x01\xff\xff\xff\xff\x0fx"} {
			m.nodes[0].peer.Hear("n3", append([]byte{byte(kind)}, body...))
		}
	}
	m.nodes[0].peer.Left("n3")
	c.wants(t, "(integer) 1", "PUBLISH", "ch", "m")
	c.wants(t, "1) \"ch\"", "PUBSUB", "CHANNELS")
}

// What the leader announces for others, keyspace events and the messages of
// their scripts and transactions, reaches every node once.
func TestAnnouncementsReachEveryNode(t *testing.T) {
	m := startMesh(t, 3, server.Config{})
	var subs, clients []*client
	for _, n := range m.nodes {
		c := connect(t, n.srv.Addr())
		c.do("PSUBSCRIBE", "__keyevent@0__:*", "ch")
		c.read()
		subs, clients = append(subs, c), append(clients, connect(t, n.srv.Addr()))
	}
	clients[1].wants(t, "OK", "CONFIG", "SET", "notify-keyspace-events", "EA")
	eventually(t, func() bool {
		for _, c := range clients {
			if c.do("CONFIG", "GET", "notify-keyspace-events").frame.elems[1].text == "" {
				return false
			}
		}
		return true
	})
	for i, c := range clients {
		key := fmt.Sprint("k", i)
		c.wants(t, "OK", "SET", key, "v", "PX", "20", "NX")
		want := []string{"set " + key, "expire " + key, "expired " + key}
		for _, s := range subs {
			for _, w := range want {
				f := s.read().frame
				if got := strings.TrimPrefix(f.elems[2].text, "__keyevent@0__:") + " " + f.elems[3].text; got != w {
					t.Fatalf("%s came, not %s", got, w)
				}
			}
		}
		c.wants(t, "(integer) 3", "EVAL", "return redis.call('publish', 'ch', 'script')", "0")
		c.do("MULTI")
		c.do("PUBLISH", "ch", "exec")
		c.do("INCR", "n")
		c.do("EXEC")
		for _, s := range subs {
			var got []string
			for range 3 {
				f := s.read().frame
				got = append(got, f.elems[3].text)
			}
			slices.Sort(got)
			if !slices.Equal(got, []string{"exec", "n", "script"}) {
				t.Fatalf("came %q", got)
			}
		}
	}
}
