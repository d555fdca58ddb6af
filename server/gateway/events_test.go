package gateway

import (
	"context"
	"strings"
	"testing"
	"time"
)

func TestEncodeEvent(t *testing.T) {
	at := &Mark{Position: Position{{OriginFrom(1 << 16), 7}}}
	for payload, want := range map[string]string{
		"":                "data: \n",
		"one":             "data: one\n",
		"a\nb":            "data: a\ndata: b\n",
		"a\r\nb\rc\n\rd":  "data: a\ndata: b\ndata: c\ndata: \ndata: d\n",
		"\n":              "data: \ndata: \n",
		" data: x\nid: y": "data:  data: x\ndata: id: y\n",
		"end\r":           "data: end\ndata: \n",
	} {
		m := &Message{Kind: Published, Channel: []byte("b\n1"), Payload: []byte(payload), Mark: at}
		if got := string(m.As(formatEvents)); got != "id: AAAAAAAB.7\nevent: b 1\n"+want+"\n" {
			t.Errorf("%q: %q", payload, got)
		}
	}
	if got := string(encodeEvent(&Message{Kind: Published, Channel: []byte("c"), Payload: []byte("p")})); got != "id: 0\nevent: c\ndata: p\n\n" {
		t.Error(got)
	}
	if got := string(encodeEvent(&Message{Kind: Moved, Mark: at})); got != "id: AAAAAAAB.7\n\n" {
		t.Error(got)
	}
	if got := string(appendGap(nil, Gap{GapOld, []string{"a", `"`}, nil})); got != "event: crema:gap\ndata: {\"reason\":\"old\",\"channels\":[\"a\",\"\\\"\"],\"patterns\":[]}\n\n" {
		t.Error(got)
	}
}

// past answers Since with what it is.
type past Past

func (p *past) Now(context.Context) Position            { return p.Position }
func (p *past) Since(Position, []string, []string) Past { return Past(*p) }
func (p *past) with(m *Message, order uint64, at ...Place) {
	p.Messages = append(p.Messages, marked(m, order, at...))
}
func said(text string) *Message {
	return &Message{Kind: Published, Channel: []byte("c"), Payload: []byte(text)}
}
func marked(m *Message, order uint64, at ...Place) *Message {
	m.Mark = &Mark{Position: at, Place: at[len(at)-1], Order: order}
	return m
}

// A stream is told what it lacks, then what comes, each once, under ids that only
// rise, although its last node was ahead of this one.
func TestEventsFeed(t *testing.T) {
	const a, b = Origin(1), Origin(2)
	old := &past{Position: Position{{a, 5}, {b, 2}}, After: Position{{a, 3}, {b, 4}}}
	old.with(said("a4"), 10, Place{b, 1}, Place{a, 4})
	old.Messages[0].Mark.Position = Position{{a, 4}, {b, 1}}
	old.with(said("a5"), 11, Place{a, 5})
	f := &eventsFeed{past: old, resumed: true, seen: Position{{a, 3}, {b, 4}}, began: time.Now()}
	at := func(n, m uint64) string { return Position{{a, n}, {b, m}}.String() }
	waiting := []*Message{old.Messages[1], marked(said("a6"), 12, Place{a, 6})}
	first, rest := f.first(waiting)
	if string(first) != "retry: 1000\n" || len(rest) != 5 {
		t.Fatalf("%q, %d to come", first, len(rest))
	}
	var got []string
	tell := func(m *Message) {
		got = append(got, strings.NewReplacer("event: c\ndata: ", "", "\n\n", "", "\n", " ").Replace(string(f.bytes(m))))
	}
	for _, m := range rest {
		tell(m)
	}
	b3 := marked(said("b3"), 13, Place{a, 6}, Place{b, 3})
	tell(b3)
	tell(marked(said("b4"), 14, Place{a, 6}, Place{b, 4}))
	b5 := marked(said("b5"), 15, Place{a, 6}, Place{b, 5})
	tell(b5)
	tell(b5)
	want := []string{
		"id: " + at(4, 4) + " a4", "id: " + at(5, 4) + " a5", "id: " + at(5, 4), "", "id: " + Position{{a, 6}, {b, 4}}.String() + " a6",
		"", "", "id: " + at(6, 5) + " b5", "",
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if &b5.As(formatEvents)[0] != &b5.encoded[formatEvents].bytes[0] || f.seen != nil || f.floor != nil {
		t.Error("a stream that is where its node is has bytes of its own")
	}
}

// What was published while a stream began is not told a second time, nor takes
// its id back.
func TestEventsFeedBegins(t *testing.T) {
	const a = Origin(1)
	seven := Position{{a, 7}}
	f := &eventsFeed{past: &past{Position: seven, After: seven}, resumed: true, seen: seven}
	unkept := said("unkept")
	unkept.Mark = &Mark{Position: Position{{a, 5}}}
	_, rest := f.first([]*Message{unkept, marked(said("a6"), 1, Place{a, 6}), marked(said("a7"), 2, Place{a, 7})})
	var got string
	for _, m := range rest {
		got += string(f.bytes(m))
	}
	if want := "id: " + seven.String() + "\n\nid: " + seven.String() + "\nevent: c\ndata: unkept\n\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A stream that its node has caught up with goes on under the node's ids, though
// nothing is published: else it would keep origins that are forgotten, and be told
// of a gap for these when it comes back.
func TestEventsFeedForgets(t *testing.T) {
	const a, b = Origin(1), Origin(2)
	both := Position{{a, 5}, {b, 2}}
	f := &eventsFeed{past: &past{Position: both, After: Position{{b, 2}}}, resumed: true, seen: Position{{b, 2}}}
	_, rest := f.first(nil)
	for _, at := range []Position{both.With(a, 6), {{a, 6}}, {{a, 7}}} { // b is forgotten
		rest = append(rest, &Message{Kind: Moved, Mark: &Mark{Position: at}})
	}
	for _, m := range rest {
		if got, want := string(f.bytes(m)), "id: "+m.Mark.Position.String()+"\n\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
