package server

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"crema/resp"
	"crema/store"
)

// A mistake of ours in a command closes the connection that met it, is counted,
// and lets go of the shards that the command held.
func TestPanicHarmsNobodyElse(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	boom := command{"boom", 2, write, key(1), data(func(tx *store.Tx, a *resp.Args) resp.Reply {
		tx.Put(a.Bytes(), store.Put{Value: []byte("half")})
		panic("as planned")
	})}
	boom.stat = new(commandStat)
	s.table.byName["boom"] = &boom
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	defer func() {
		cancel()
		<-served
	}()
	say := func(lines string) string {
		c, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, lines)
		b, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if got := say("BOOM k\r\nPING\r\n"); got != "-ERR internal error\r\n" {
		t.Errorf("answered %q", got)
	}
	if got := say("GET k\r\nSET k v\r\nQUIT\r\n"); got != "$-1\r\n+OK\r\n+OK\r\n" {
		t.Errorf("others were answered %q", got)
	}
	if got := say("INFO crema\r\nQUIT\r\n"); !strings.Contains(got, "command_panics:1\r\n") {
		t.Errorf("not counted: %q", got)
	}
}
