package server_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"crema/server"
)

// A client that subscribes while an earlier reply waits for it holds up nobody.
func TestSubscriberThatDoesNotReadDelaysNobody(t *testing.T) {
	addr := serving(t, server.Config{}).Addr()
	others := connect(t, addr)
	others.wants(t, "OK", "SET", "big", strings.Repeat("x", 30<<20))
	for _, last := range [][]string{{"SUBSCRIBE", "ch"}, {"MONITOR"}} {
		slow := connect(t, addr)
		slow.do("HELLO", "3")
		slow.wants(t, "OK", "CLIENT", "TRACKING", "ON")
		id := slow.do("CLIENT", "ID").frame.text
		slow.send(append(encodeCommand([]string{"GET", "big"}), encodeCommand(last)...))
		for deadline := time.Now().Add(patience); !strings.Contains(others.do("CLIENT", "LIST", "ID", id).frame.text, "cmd="+strings.ToLower(last[0])); {
			if time.Now().After(deadline) {
				t.Fatalf("%s was not reached", last[0])
			}
		}
		others.wants(t, "(integer) 0", "PUBLISH", "other", "m")
		slow.conn.Close()
	}
}

// Subscribing inside EXEC takes effect with its reply: no message comes before.
func TestSubscribeInExec(t *testing.T) {
	addr := serving(t, server.Config{}).Addr()
	a, b := connect(t, addr), connect(t, addr)
	for _, words := range [][]string{{"MULTI"}, {"PUBLISH", "ch", "before"}, {"SUBSCRIBE", "ch"}, {"SUBSCRIBE", "gone"}, {"PSUBSCRIBE", "c*"},
		{"PUBLISH", "ch", "own"}, {"UNSUBSCRIBE", "gone"}, {"EVAL", "for i=1,3000000 do end", "0"}} {
		a.do(words...)
	}
	a.send(encodeCommand([]string{"EXEC"}))
	for b.do("PUBLISH", "ch", "m").text() != "(integer) 2" {
	}
	f := a.read().frame
	if len(f.elems) != 7 || f.elems[0].text != "0" || f.elems[4].text != "2" {
		t.Fatalf("EXEC answered %s", f.render())
	}
	var got []string // two publishers: each message is somewhere
	for range 4 {
		f := a.read().frame
		got = append(got, f.elems[0].text+" "+f.elems[len(f.elems)-1].text)
	}
	slices.Sort(got)
	if want := []string{"message m", "message own", "pmessage m", "pmessage own"}; !slices.Equal(got, want) {
		t.Errorf("came %q, not %q", got, want)
	}
	b.wants(t, "(integer) 0", "PUBLISH", "gone", "m")
}

// An EXEC that is taken back has subscribed to nothing.
func TestSubscribeInStoppedExec(t *testing.T) {
	addr := serving(t, server.Config{}).Addr()
	a, b := connect(t, addr), connect(t, addr)
	a.do("MULTI")
	a.do("SUBSCRIBE", "ch")
	a.do("EVAL", "while true do end", "0")
	a.send(encodeCommand([]string{"EXEC"}))
	for deadline := time.Now().Add(patience); b.do("SCRIPT", "KILL").text() != "OK"; {
		if time.Now().After(deadline) {
			t.Fatal("the script does not run")
		}
	}
	if got := a.read().text(); !strings.HasPrefix(got, "(error)") {
		t.Fatalf("EXEC answered %s", got)
	}
	b.wants(t, "(integer) 0", "PUBLISH", "ch", "m")
	a.wants(t, "(nil)", "GET", "k") // no subscriber: RESP2 would refuse
	a.do("SUBSCRIBE", "ch")
	b.wants(t, "(integer) 1", "PUBLISH", "ch", "m")
}

// The limit for messages is not one for the replies of a client that has
// stopped listening.
func TestBigReplyAfterUnsubscribe(t *testing.T) {
	addr := serving(t, server.Config{OutputBufferLimit: "pubsub 1mb 512kb 1"}).Addr()
	c := connect(t, addr)
	big := strings.Repeat("x", 4<<20)
	c.wants(t, "OK", "SET", "big", big)
	c.do("SUBSCRIBE", "ch")
	c.do("UNSUBSCRIBE", "ch")
	for range 3 {
		c.send(encodeCommand([]string{"GET", "big"}))
	}
	for range 3 {
		if o := c.read(); o.failure != "" || len(o.frame.text) != len(big) {
			t.Fatalf("%s, %d bytes", o.failure, len(o.frame.text))
		}
	}
	// As in Redis, it is one for those of a client that listens.
	c.do("HELLO", "3")
	c.do("SUBSCRIBE", "ch")
	if got := c.do("GET", "big").failure; !strings.HasPrefix(got, "(closed)") {
		t.Errorf("a subscriber over its limit was answered: %q", got)
	}
}
