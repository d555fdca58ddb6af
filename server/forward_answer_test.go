package server

import (
	"context"
	"testing"
)

// An answer that ends anywhere but where it should leaves the command in doubt,
// or not done, and publishes nothing.
func TestAnswersCutShort(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	defer s.Serve(ctx)
	said := []message{{channel: []byte("ch"), payload: []byte("one")}, {sharded: true, channel: []byte("sh")}}
	answer := appendMessages(appendWord([]byte{answerDone, 7, byte(done)}, ":1\r\n"), said)
	for n := range len(answer) + 1 {
		c := s.newConn(nil)
		c.keep(s.table.byName["eval"], 0, [][]byte{[]byte("eval"), nil, []byte("0")})
		c.takeAnswer(c.run.steps, answer[:n:n], 0)
		got := c.run.said()
		if n < len(answer) {
			if v := c.run.steps[0].verdict; v != doubt && v != nothing || len(got) > 0 {
				t.Errorf("%d bytes of %d: verdict %d, %d messages", n, len(answer), v, len(got))
			}
			continue
		}
		if len(got) != 1 || len(got[0].messages) != 2 {
			t.Fatalf("published %v", got)
		}
		for i, m := range got[0].messages {
			if w := said[i]; m.sharded != w.sharded || string(m.channel) != string(w.channel) || string(m.payload) != string(w.payload) {
				t.Errorf("message %d is %v", i, m)
			}
		}
	}
}
