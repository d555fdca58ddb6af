package server_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"crema/server"
)

// keepsHistory is a server whose channels batch:* have one.
func keepsHistory(rules ...string) server.Config {
	cfg := talksHTTP
	cfg.History = rules
	return cfg
}

// eventsOf is an event stream as a browser has it.
type eventsOf struct {
	*reading
	id string // of the last one
}

// events opens a stream behind an id, "" for one from now on, and reads its first id.
func (r rest) events(after string, names ...string) *eventsOf {
	r.t.Helper()
	q := url.Values{}
	for i := 0; i < len(names); i += 2 {
		q.Add(names[i], names[i+1])
	}
	if after != "" {
		q.Set("lastEventId", after)
	}
	s := &eventsOf{reading: r.get("/events?" + q.Encode())}
	s.reading.want("retry: 1000")
	if after == "" {
		if got := s.event(); got != "" {
			r.t.Errorf("a stream began with %q", got)
		}
	}
	return s
}

// event is the next: its name and data, or "" if it is an id alone.
func (s *eventsOf) event() string {
	s.t.Helper()
	var text []string
	for {
		line, err := s.br.ReadString('\n')
		if err != nil {
			return "(" + err.Error() + ")"
		}
		line = strings.TrimSuffix(line, "\n")
		field, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "":
			return strings.Join(text, " ")
		case field == "id":
			s.id = value
		case field == "event" || field == "data":
			text = append(text, value)
		}
	}
}

// tells reads events and skips ids alone.
func (s *eventsOf) tells(want ...string) {
	s.t.Helper()
	for _, want := range want {
		got := s.event()
		for got == "" {
			got = s.event()
		}
		if got != want {
			s.t.Errorf("got %q, want %q", got, want)
		}
	}
}

const gapOld = `crema:gap {"reason":"old","channels":["batch:1"],"patterns":[]}`

func TestHistoryResumes(t *testing.T) {
	srv := serving(t, keepsHistory("batch:*=3,1h"))
	r, tcp := restOf(t, srv), connect(t, srv.Addr())
	s := r.events("", "channel", "batch:1", "channel", "plain", "pattern", "batch:*")
	begin := s.id
	for _, publish := range [][2]string{{"batch:1", "one"}, {"plain", "two"}, {"batch:2", "three"}, {"batch:1", "four"}} {
		tcp.do("PUBLISH", publish[0], publish[1])
	}
	s.tells("batch:1 one") // once, by the channel and by the pattern
	afterOne := s.id
	s.tells("plain two", "batch:2 three", "batch:1 four")
	end := s.id

	r.events(afterOne, "pattern", "batch:*").tells("batch:2 three", "batch:1 four")
	r.events(afterOne, "channel", "batch:2").tells("batch:2 three")
	r.events(begin, "channel", "batch:1").tells("batch:1 one", "batch:1 four")
	r.events("0", "channel", "batch:1").tells("batch:1 one", "batch:1 four")
	r.events(end, "channel", "batch:1", "channel", "plain", "pattern", "x*").
		tells(`crema:gap {"reason":"unkept","channels":["plain"],"patterns":["x*"]}`)
	r.events("AAAAAAAA.7", "channel", "batch:1").
		tells(`crema:gap {"reason":"unknown","channels":["batch:1"],"patterns":[]}`, "batch:1 one", "batch:1 four")
	r.events("nonsense", "channel", "batch:1").tells(`crema:gap {"reason":"unknown","channels":["batch:1"],"patterns":[]}`)

	// What is kept no more is told as a gap, of that channel alone.
	for i := range 3 {
		tcp.do("PUBLISH", "batch:1", fmt.Sprint(i))
	}
	late := r.events(begin, "pattern", "batch:*")
	late.tells(gapOld, "batch:2 three", "batch:1 0", "batch:1 1", "batch:1 2")
	late.event() // where it is
	tcp.do("PUBLISH", "batch:2", "live")
	late.tells("batch:2 live")
	r.events(end, "channel", "batch:1").tells("batch:1 0", "batch:1 1", "batch:1 2")
	r.events(begin, "channel", "batch:2").tells("batch:2 three", "batch:2 live")
}

// RESP clients read histories, and go on from the ids that browsers have.
func TestHistoryCommand(t *testing.T) {
	srv := serving(t, keepsHistory("batch:*=3,1h"))
	tcp := connect(t, srv.Addr())
	show := func(words ...string) string {
		f := tcp.do(append([]string{"CREMA", "HISTORY"}, words...)...).frame
		if len(f.elems) != 6 {
			return f.render()
		}
		var all []string
		for _, m := range f.elems[5].elems {
			all = append(all, m.elems[1].text)
		}
		return strings.Join(all, " ") + " / " + f.elems[3].text
	}
	check := func(want string, words ...string) {
		t.Helper()
		if got := show(words...); got != want {
			t.Errorf("%q: got %q, want %q", words, got, want)
		}
	}
	id := func(i int) string {
		return tcp.do("CREMA", "HISTORY", "batch:1").frame.elems[5].elems[i].elems[0].text
	}
	check(" / 1", "batch:1")
	for i := range 3 {
		tcp.do("PUBLISH", "batch:1", fmt.Sprint(i))
	}
	check("0 1 2 / 1", "batch:1")
	check("1 2 / 1", "batch:1", "COUNT", "2")
	check("1 2 / 1", "batch:1", "AFTER", id(0))
	check("1 / 1", "batch:1", "after", id(0), "count", "1")
	check("0 / 1", "batch:1", "AFTER", "0", "COUNT", "1")
	first := id(0)
	for range 3 {
		tcp.do("PUBLISH", "batch:1", "x")
	}
	check("x x x / 0", "batch:1", "AFTER", first)
	check("(error) ERR this channel has no history", "other")
	check("(error) ERR AFTER wants the id of an event", "batch:1", "AFTER", "x")
	check("(error) ERR value is out of range, must be positive", "batch:1", "COUNT", "-1")
	check("(error) ERR syntax error", "batch:1", "COUNT", "1", "COUNT", "1")
	if info := tcp.do("INFO", "crema").frame.text; !strings.Contains(info, "history_channels:1\r\nhistory_messages:3\r\n") {
		t.Error(info)
	}
}

// Histories are bounded in messages, bytes and age.
func TestHistoryBounds(t *testing.T) {
	cfg := keepsHistory("m:*=10,1h", "b:*=1000,1h,4kb", "t:*=1000,1s", "*=100000,1h")
	cfg.HistoryMemory = 1 << 20
	srv := serving(t, cfg)
	tcp := connect(t, srv.Addr())
	kept := func(channel string) int {
		return len(tcp.do("CREMA", "HISTORY", channel).frame.elems[5].elems)
	}
	for range 30 {
		tcp.do("PUBLISH", "m:1", "x")
		tcp.do("PUBLISH", "b:1", strings.Repeat("x", 500))
	}
	if n := kept("m:1"); n != 10 {
		t.Errorf("%d messages are kept of 10", n)
	}
	if n := kept("b:1"); n < 2 || n > 4 {
		t.Errorf("%d messages of 500 bytes are kept in 4 KiB", n)
	}
	for try := range 5 {
		began := time.Now()
		for range 30 {
			tcp.do("PUBLISH", fmt.Sprint("t:", try), "x")
		}
		n := kept(fmt.Sprint("t:", try))
		if time.Since(began) > 900*time.Millisecond {
			continue // some may be old
		}
		if n != 30 {
			t.Errorf("%d messages are kept, and none is old", n)
		}
		break
	}
	await(t, func() bool { return kept("t:0") == 0 })
	for i := range 4000 {
		tcp.do("PUBLISH", fmt.Sprint("channel:", i), strings.Repeat("x", 100))
	}
	info := tcp.do("INFO", "crema").frame.text
	_, rest, _ := strings.Cut(info, "history_bytes:")
	var bytes int
	fmt.Sscan(rest, &bytes)
	if bytes < 1<<19 || bytes > 1<<20 {
		t.Errorf("%d bytes of 1 MiB", bytes)
	}
	if n := kept("m:1"); n != 0 {
		t.Errorf("%d of the oldest messages are left", n)
	}
	tcp.do("PUBLISH", "b:1", strings.Repeat("x", 5000))
	if n := kept("b:1"); n != 0 {
		t.Errorf("a message larger than its channel may be is kept, with %d", n)
	}
}

func TestHistoryRules(t *testing.T) {
	for _, wrong := range []string{"", "x", "=1,1h", "x=1", "x=0,1h", "x=1,0s", "x=1,1h,0", "x=1,1h,1gb", "x=1,1h,1mb,2", "x=y,1h", "x=1,y", "x=1,-5d"} {
		cfg := keepsHistory(wrong)
		cfg.Port = 0
		if srv, err := server.New(cfg); err == nil {
			srv.Shutdown(t.Context())
			t.Errorf("history %q is a rule", wrong)
		}
	}
}

// What a link had no room for is fetched, comes late, in order and once; what is
// published behind it waits.
func TestHistoryFillsHoles(t *testing.T) {
	m := startMesh(t, 3, keepsHistory("batch:*=1000,1h"))
	pub := connect(t, m.nodes[0].srv.Addr())
	s := restOf(t, m.nodes[1].srv).events("", "channel", "batch:1")
	other := restOf(t, m.nodes[2].srv).events("", "channel", "batch:1")
	pub.do("PUBLISH", "batch:1", "1")
	s.tells("batch:1 1")
	there := m.nodes[0].links["n2"]
	there.fill(true)
	pub.do("PUBLISH", "batch:1", "2")
	pub.do("PUBLISH", "batch:1", "3")
	there.fill(false)
	pub.do("PUBLISH", "batch:1", "4") // shows the hole
	s.tells("batch:1 2", "batch:1 3", "batch:1 4")
	there.fill(true)
	pub.do("PUBLISH", "batch:1", "5") // nothing behind it does: the mark tells
	there.fill(false)
	s.tells("batch:1 5")
	other.tells("batch:1 1", "batch:1 2", "batch:1 3", "batch:1 4", "batch:1 5")
	// One node's ids are good on the others.
	tcp := connect(t, m.nodes[1].srv.Addr())
	tcp.do("PUBLISH", "batch:1", "6")
	s.tells("batch:1 6")
	for i, n := range m.nodes {
		eventually(t, func() bool {
			return strings.Contains(connect(t, n.srv.Addr()).do("INFO", "crema").frame.text, fmt.Sprintf("history_messages:%d\r\n", 6+i))
		})
		again := restOf(t, n.srv).events(s.id, "channel", "batch:1")
		again.event()
		tcp.do("PUBLISH", "batch:1", fmt.Sprint("to ", i))
		again.tells(fmt.Sprint("batch:1 to ", i))
		s.tells(fmt.Sprint("batch:1 to ", i))
	}
}

// Two nodes that cannot reach each other hear of each other's messages by way of
// the third, and by themselves again when they can.
func TestHistoryGoesRound(t *testing.T) {
	m := startMesh(t, 3, keepsHistory("batch:*=1000,1h"))
	a, b := m.nodes[0], m.nodes[1]
	pub := connect(t, a.srv.Addr())
	s := restOf(t, b.srv).events("", "channel", "batch:1")
	pub.do("PUBLISH", "batch:1", "1")
	s.tells("batch:1 1")
	m.apart(a, b)
	pub.do("PUBLISH", "batch:1", "2")
	s.tells("batch:1 2")
	m.together(a, b)
	pub.do("PUBLISH", "batch:1", "3")
	s.tells("batch:1 3")
	// One that is cut off from all is told when it is back.
	m.apart(a, b)
	m.apart(b, m.nodes[2])
	pub.do("PUBLISH", "batch:1", "4")
	m.together(a, b)
	s.tells("batch:1 4")
}

// Whoever was away for longer than the history lasts is told of the gap, streams
// that are open included.
func TestHistoryTellsOfGaps(t *testing.T) {
	m := startMesh(t, 2, keepsHistory("batch:*=2,1h"))
	a, b := m.nodes[0], m.nodes[1]
	pub := connect(t, a.srv.Addr())
	s := restOf(t, b.srv).events("", "channel", "batch:1")
	quiet := restOf(t, b.srv).events("", "channel", "batch:2")
	pub.do("PUBLISH", "batch:1", "1")
	s.tells("batch:1 1")
	before := s.id
	m.apart(a, b)
	for i := 2; i <= 5; i++ {
		pub.do("PUBLISH", "batch:1", fmt.Sprint(i))
	}
	m.together(a, b)
	s.tells(gapOld, "batch:1 4", "batch:1 5")
	restOf(t, b.srv).events(before, "channel", "batch:1").tells(gapOld, "batch:1 4", "batch:1 5")
	restOf(t, a.srv).events(before, "channel", "batch:1").tells(gapOld, "batch:1 4", "batch:1 5")
	pub.do("PUBLISH", "batch:2", "x")
	quiet.tells("batch:2 x")
}

// A hole that nobody can fill is a gap, and what was published behind it comes.
func TestHistoryGivesUp(t *testing.T) {
	m := startMesh(t, 2, keepsHistory("batch:*=1000,1h"))
	a, b := m.nodes[0], m.nodes[1]
	pub := connect(t, a.srv.Addr())
	s := restOf(t, b.srv).events("", "channel", "batch:1")
	pub.do("PUBLISH", "batch:1", "1")
	s.tells("batch:1 1")
	a.links["n2"].fill(true)
	pub.do("PUBLISH", "batch:1", "2")
	m.cut(b, a) // so that b cannot ask
	a.links["n2"].fill(false)
	began := time.Now()
	pub.do("PUBLISH", "batch:1", "3")
	s.tells(gapOld, "batch:1 3")
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("gave up after %v", took)
	}
}

// Messages that no history keeps do not take an id back, wherever they were
// published: the browser would be told everything again.
func TestHistoryIDsOnlyRise(t *testing.T) {
	m := startMesh(t, 2, keepsHistory("batch:*=1000,1h"))
	s := restOf(t, m.nodes[1].srv).events("", "channel", "batch:1", "channel", "plain")
	for _, n := range m.nodes {
		pub := connect(t, n.srv.Addr())
		pub.do("PUBLISH", "batch:1", "kept")
		s.tells("batch:1 kept")
		kept := s.id
		pub.do("PUBLISH", "plain", "not kept")
		s.tells("plain not kept")
		if s.id != kept {
			t.Errorf("%s: id %q behind %q", n.name, s.id, kept)
		}
	}
}

// A node whose peer does not answer has each of its readers wait no more than once.
func TestHistoryWaitsOnce(t *testing.T) {
	m := startMesh(t, 2, keepsHistory("batch:*=1000,1h"))
	a := m.nodes[0]
	a.links["n2"].close()
	a.peer.Linked("n2")
	began := time.Now()
	restOf(t, a.srv).send("POST", "/pipeline", "["+strings.Repeat(`["crema","history","batch:1"],`, 20)+`["ping"]]`)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("20 looks took %v", took)
	}
}
