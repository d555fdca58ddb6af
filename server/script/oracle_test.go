package script

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"crema/resp"
)

// oracle is a real Redis: it runs the same scripts, and the commands of the
// scripts that run here.
type oracle struct{ path string }

func startOracle(t testing.TB) *oracle {
	t.Helper()
	server, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("needs redis-server to compare with")
	}
	path := filepath.Join(t.TempDir(), "s")
	cmd := exec.Command(server, "--port", "0", "--unixsocket", path, "--save", "")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "ready to accept connections at") {
			go func() { // keeps the pipe from filling up; ends with the server
				defer close(ended)
				for lines.Scan() {
				}
			}()
			return &oracle{path}
		}
	}
	close(ended)
	t.Fatal("redis-server ended")
	return nil
}

// client is one connection to the oracle.
type client struct {
	net.Conn
	br *bufio.Reader
	t  testing.TB
}

func (o *oracle) dial(t testing.TB, proto string) *client {
	t.Helper()
	conn, err := net.Dial("unix", o.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &client{conn, bufio.NewReader(conn), t}
	c.do([][]byte{[]byte("HELLO"), []byte(proto)})
	return c
}

func (c *client) do(words [][]byte) resp.Reply {
	c.SetDeadline(time.Now().Add(20 * time.Second))
	var elems []resp.Reply
	for _, w := range words {
		elems = append(elems, resp.Bulk(w))
	}
	c.Write(resp.Append(nil, resp.Array(elems...), 2))
	r, err := resp.ReadReply(c.br)
	if err != nil {
		c.t.Fatalf("%q: %v", words, err)
	}
	return r
}

// realHost runs a script's commands on the oracle.
type realHost struct {
	*client
	logged []string
}

func (h *realHost) Call(words [][]byte) resp.Reply {
	r := h.do(words)
	switch {
	case !r.IsError():
	case bytes.HasPrefix(r.Bytes, []byte("ERR unknown command")):
		return resp.Error("ERR Unknown Redis command called from script")
	case bytes.HasPrefix(r.Bytes, []byte("ERR wrong number of arguments")):
		return resp.Error("ERR Wrong number of args calling Redis command from script")
	}
	return r
}

func (h *realHost) Log(level int, text string) { h.logged = append(h.logged, text) }

func (h *realHost) SetProto(n int) { h.do([][]byte{[]byte("HELLO"), []byte{'0' + byte(n)}}) }

func (h *realHost) Check(words [][]byte) (allowed, known bool) {
	r := h.do(append([][]byte{[]byte("ACL"), []byte("DRYRUN"), []byte("default")}, words...))
	return !r.IsError(), !r.IsError()
}

// eval is EVAL on the engine.
func eval(e *Engine, h Host, source string, keys, argv [][]byte) (resp.Reply, error) {
	s, err := e.Prepare([]byte(source))
	if err != nil {
		return resp.Error(err.Error()), nil
	}
	return e.Run(context.Background(), s, keys, argv, h)
}

// show spells a reply as it comes over the wire.
func show(r resp.Reply, proto int) string {
	return fmt.Sprintf("%q", resp.Append(nil, r, proto))
}

// readCases reads scripts that are separated by lines of dashes.
func readCases(t testing.TB, name string) []string {
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var cases []string
	for _, c := range strings.Split(string(text), "\n-----\n") {
		cases = append(cases, strings.TrimRight(c, "\n"))
	}
	return cases
}

// addresses are what tostring says of tables and functions.
var addresses = regexp.MustCompile(`0x[0-9a-f]+`)

// TestAsRedis runs every script of the conversation here and on the oracle and
// demands the same bytes in both protocols.
func TestAsRedis(t *testing.T) {
	o := startOracle(t)
	e := New(Limits{})
	keys, argv := [][]byte{[]byte("k1")}, [][]byte{[]byte("a1")}
	for _, proto := range []int{2, 3} {
		theirs := o.dial(t, fmt.Sprint(proto))
		for _, source := range readCases(t, "conversation.lua") {
			theirs.do([][]byte{[]byte("FLUSHALL")})
			want := theirs.do([][]byte{[]byte("EVAL"), []byte(source), []byte("1"), keys[0], argv[0]})
			theirs.do([][]byte{[]byte("FLUSHALL")})
			host := &realHost{client: o.dial(t, "2")}
			got, err := eval(e, host, source, keys, argv)
			host.Close()
			if err != nil {
				t.Errorf("%s\nstopped: %v", source, err)
				continue
			}
			g := addresses.ReplaceAllString(show(got, proto), "0x")
			w := addresses.ReplaceAllString(show(want, proto), "0x")
			if g != w {
				t.Errorf("RESP%d\n%s\n got %s\nwant %s", proto, source, g, w)
			}
		}
	}
}
