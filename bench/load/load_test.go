package main

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// served is a connection whose other end answers with text, whatever it is asked.
func served(t *testing.T, text string) *conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		sock, err := l.Accept()
		if err != nil {
			return
		}
		io.WriteString(sock, text)
		io.Copy(io.Discard, sock)
	}()
	c, err := dial(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.sock.Close() })
	return c
}

func TestAnswers(t *testing.T) {
	large := strings.Repeat("x", 40<<10)
	c := served(t, "+OK\r\n:7\r\n$5\r\nhello\r\n$-1\r\n*2\r\n$1\r\na\r\n*1\r\n:1\r\n-ERR no\r\n$40960\r\n"+large+"\r\n:8\r\n")
	for _, want := range []struct {
		kind byte
		text string
	}{{'+', "OK"}, {':', "7"}, {'$', "hello"}, {'_', ""}, {'*', ""}, {'-', "ERR no"}, {'$', ""}, {':', "8"}} {
		kind, text, err := c.answer()
		if err != nil || kind != want.kind || string(text) != want.text {
			t.Fatalf("%c %q, %v; want %c %q", kind, text, err, want.kind, want.text)
		}
	}
}

// A first answer that is not as it should be ends the run: the figures would be
// those of something else.
func TestWrongAnswers(t *testing.T) {
	c := served(t, strings.Repeat("-NOAUTH Authentication required.\r\n", 16))
	j := job{keys: 1, size: 1, clients: 1, pipeline: 16}
	j.make = works["set"]
	if _, err := drive(context.Background(), j, c, 0); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("errors are taken for answers: %v", err)
	}
}

func TestTable(t *testing.T) {
	turnOf := func(operations int64, cpu time.Duration) turn {
		h := newHistogram()
		h.RecordValue(int64(2 * time.Millisecond))
		return turn{operations: operations, took: time.Second, cpu: cpu, latency: h}
	}
	results := [][]turn{
		{turnOf(300, 600*time.Microsecond), turnOf(100, time.Millisecond), turnOf(200, 400*time.Microsecond)},
		{turnOf(100, time.Millisecond), turnOf(100, time.Millisecond), turnOf(100, time.Millisecond)},
	}
	var out strings.Builder
	printTable(&out, job{name: "set", clients: 1, pipeline: 1}, []contender{{name: "one"}, {name: "other"}}, results)
	for _, want := range []string{"200   2.00     2µs   0.20", "100   1.00    10µs   1.00"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}
