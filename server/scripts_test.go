package server_test

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"crema/server"
)

const endless = "while true do end"

// busy starts an endless script and returns when it has the server.
func busy(t *testing.T, addr string) *client {
	t.Helper()
	c := connect(t, addr)
	c.send(encodeCommand([]string{"EVAL", endless, "0"}))
	awaitBusy(t, addr)
	return c
}

// awaitBusy returns when a script keeps others waiting for longer than the
// threshold, which it lowers.
func awaitBusy(t *testing.T, addr string) {
	t.Helper()
	c := connect(t, addr)
	c.wants(t, "OK", "CONFIG", "SET", "busy-reply-threshold", "10")
	for !strings.HasPrefix(c.do("EXISTS", "k").text(), "(error) BUSY") {
	}
	c.wants(t, "OK", "CONFIG", "SET", "busy-reply-threshold", "60000")
}

// awaitCommand returns when n clients are at a command.
func awaitCommand(t *testing.T, addr, name string, n int) {
	t.Helper()
	c := connect(t, addr)
	for strings.Count(string(c.do("CLIENT", "LIST").raw), "cmd="+name+" ") < n {
	}
}

func TestScriptMessagesAreBounded(t *testing.T) {
	c := connect(t, serving(t, server.Config{}).Addr())
	c.send(encodeCommand([]string{"EVAL", "local s = string.rep('x', 100000000) while true do redis.call('PUBLISH', 'c', s) end", "0"}))
	c.conn.SetReadDeadline(time.Now().Add(5 * time.Minute)) // it copies a gigabyte
	var raw []byte
	f, err := readFrame(c.br, &raw)
	if err != nil {
		t.Fatal(err)
	}
	got := f.render()
	if !strings.HasPrefix(got, "(error) ERR script wrote more") {
		t.Errorf("answered %s", got)
	}
}

// A transaction that writes more than memory has room for ends before it does.
func TestTransactionsAreBounded(t *testing.T) {
	g := startGroup(t, 2, server.Config{})
	for _, srv := range []*server.Server{serving(t, server.Config{}), g.members[0].srv, g.members[1].srv} {
		server.SetMaxTx(srv, 64<<20)
		c := connect(t, srv.Addr())
		c.wants(t, "(integer) 4000000", "SETRANGE", "k", "3999999", "x")
		c.wants(t, "OK", "MULTI")
		for i := range 18 {
			c.wants(t, "QUEUED", "COPY", "k", "k:"+strconv.Itoa(i))
		}
		c.wants(t, "(error) EXECABORT Transaction discarded because of: it writes more than one may hold", "EXEC")
		c.wants(t, "(integer) 1", "DBSIZE")
		c.wants(t, "OK", "FLUSHALL")
	}
}

// Lock libraries acquire with a plain SET … PX inside a script.
func TestScriptInTransactionPins(t *testing.T) {
	c := connect(t, serving(t, server.Config{}).Addr())
	c.wants(t, "OK", "MULTI")
	c.wants(t, "QUEUED", "EVAL", "return redis.call('SET', KEYS[1], 'token', 'PX', 30000)", "1", "lock")
	c.wants(t, "1) OK", "EXEC")
	if info := string(c.do("INFO", "crema").raw); !strings.Contains(info, "pinned_keys:1\r\n") {
		t.Errorf("the lock is not pinned:\n%s", info)
	}
}

// A command that waited for a script takes the time after the wait.
func TestWaitingMovesTheClockOn(t *testing.T) {
	addr := serving(t, server.Config{}).Addr()
	a := connect(t, addr)
	a.wants(t, "OK", "DEBUG", "SET-ACTIVE-EXPIRE", "0")
	a.wants(t, "OK", "SET", "k", "v", "PX", "300")
	expired := time.After(400 * time.Millisecond)
	looping := busy(t, addr)
	b := connect(t, addr)
	b.send(encodeCommand([]string{"GET", "k"}))
	awaitCommand(t, addr, "get", 1)
	<-expired
	a.wants(t, "OK", "SCRIPT", "KILL")
	looping.read()
	if got := b.read().text(); got != "(nil)" {
		t.Errorf("a key that expired during the wait: GET answered %s", got)
	}
}

func TestShutdownEndsScripts(t *testing.T) {
	srv, err := server.New(server.Config{})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background()) }()
	a, b := connect(t, srv.Addr()), connect(t, srv.Addr())
	loop := encodeCommand([]string{"EVAL", endless, "0"})
	a.send(bytes.Repeat(loop, 3)) // one after the other, and another client's behind them
	b.send(loop)
	awaitBusy(t, srv.Addr())
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	// One of the two had the server; the other was told BUSY meanwhile.
	if first, second := a.read().text(), b.read().text(); !strings.Contains(first+second, "Script killed") {
		t.Errorf("the scripts' clients were told %s and %s", first, second)
	}
}

func TestScriptFlushedWhileItWaits(t *testing.T) {
	addr := serving(t, server.Config{}).Addr()
	k := connect(t, addr)
	sha := strings.Trim(k.do("SCRIPT", "LOAD", "return 8").text(), `"`)
	looping := busy(t, addr)
	bySource, bySHA := connect(t, addr), connect(t, addr)
	bySource.send(encodeCommand([]string{"EVAL", "return 7", "0"}))
	bySHA.send(encodeCommand([]string{"EVALSHA", sha, "0"}))
	awaitCommand(t, addr, "eval", 2)
	awaitCommand(t, addr, "evalsha", 1)
	k.wants(t, "OK", "SCRIPT", "FLUSH")
	k.wants(t, "OK", "SCRIPT", "KILL")
	looping.read()
	if got := bySource.read().text(); got != "(integer) 7" {
		t.Errorf("EVAL answered %s", got)
	}
	if got := bySHA.read().text(); got != "(integer) 8" && !strings.HasPrefix(got, "(error) NOSCRIPT") {
		t.Errorf("EVALSHA answered %s", got)
	}
}

func TestErrorCodesOfScriptsAreBounded(t *testing.T) {
	c := connect(t, serving(t, server.Config{}).Addr())
	before := heap()
	for i := range 20 {
		c.do("EVAL", "return {err = ARGV[1] .. string.rep('A', 10000000) .. ' m'}", "0", fmt.Sprint(i))
	}
	bounded(t, before, 64<<20)
}

// The time that Lua itself takes is the script's, not that of the command that
// it calls next.
func TestSlowlogTellsTheScript(t *testing.T) {
	c := connect(t, serving(t, server.Config{}).Addr())
	got := ""
	for range 3 { // a GET that was held up is slow by itself
		c.do("SLOWLOG", "RESET")
		c.do("EVAL", "for i = 1, 3000000 do end redis.call('GET', 'x') return 1", "0")
		got = string(c.do("SLOWLOG", "GET").raw)
		if strings.Contains(got, "EVAL") && !strings.Contains(got, "\r\nGET\r\n") {
			return
		}
	}
	t.Errorf("SLOWLOG shows %q", got)
}

func TestKilledWhilePausedDoesNothing(t *testing.T) {
	addr := serving(t, server.Config{}).Addr()
	a, b := connect(t, addr), connect(t, addr)
	a.wants(t, "OK", "CLIENT", "PAUSE", "100000", "WRITE")
	id := strings.TrimPrefix(b.do("CLIENT", "ID").text(), "(integer) ")
	b.send(encodeCommand([]string{"SET", "leak", "1"}))
	for c := connect(t, addr); strings.Contains(string(c.do("CLIENT", "LIST", "ID", id).raw), "qbuf=0 "); {
	}
	a.wants(t, "(integer) 1", "CLIENT", "KILL", "ID", id)
	b.rest(t)
	a.wants(t, "OK", "CLIENT", "UNPAUSE")
	a.wants(t, "(nil)", "GET", "leak")
}

func TestReplyOverTheLimit(t *testing.T) {
	addr := serving(t, server.Config{}).Addr()
	others := bystander(t, addr)
	c := connect(t, addr)
	c.wants(t, "OK", "SET", "big", strings.Repeat("x", 8<<20))
	words := []string{"MGET"}
	for range 200 { // 1.6 GB
		words = append(words, "big")
	}
	before := heap()
	c.send(encodeCommand(words))
	if got := c.rest(t); got != "" {
		t.Errorf("%d bytes came", len(got))
	}
	others()
	bounded(t, before, 64<<20)
}
