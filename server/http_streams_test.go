package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crema/server"
)

// reading is one open stream.
type reading struct {
	t    testing.TB
	br   *bufio.Reader
	conn net.Conn
}

// listen opens a stream as the SDK does.
func (r rest) listen(path string) *reading { return r.open("POST", path, "[]") }

// get opens a stream as a browser does.
func (r rest) get(path string) *reading { return r.open("GET", path, "") }

// open opens a stream from another origin, and returns it behind its response's header.
func (r rest) open(method, path, body string) *reading {
	r.t.Helper()
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(r.url, "http://"), patience)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(3 * patience)) // for all that is read of it
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nOrigin: http://app\r\nAuthorization: Bearer %s\r\nAccept: text/event-stream\r\nContent-Length: %d\r\n\r\n%s",
		method, path, r.token, len(body), body)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" || res.Header.Get("Access-Control-Allow-Origin") != "*" {
		text, _ := io.ReadAll(res.Body)
		r.t.Fatalf("%s: %s %v %s", path, res.Status, res.Header, text)
	}
	return &reading{r.t, bufio.NewReader(res.Body), conn}
}

// next is the next line that says something.
func (s *reading) next() string {
	s.t.Helper()
	for {
		line, err := s.br.ReadString('\n')
		if err != nil {
			return "(" + err.Error() + ")"
		}
		if line = strings.TrimSuffix(line, "\n"); line != "" && line[0] != ':' {
			return line
		}
	}
}

func (s *reading) want(lines ...string) {
	s.t.Helper()
	for _, want := range lines {
		if got := s.next(); got != want {
			s.t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestRESTStreams(t *testing.T) {
	srv := serving(t, talksHTTP)
	r := restOf(t, srv)
	tcp := connect(t, srv.Addr())
	both := r.listen("/subscribe/a/b%2Cc")
	both.want("data: subscribe,a,1", "data: subscribe,b,c,2")
	pattern := r.listen("/PSubscribe/a*")
	pattern.want("data: psubscribe,a*,1")
	for _, c := range [][2]string{
		{"plain", "plain"}, {"a,b", "a,b"}, {"", ""}, {"{\n \"a\": \"x\"\r\n}", `{"a":"x"}`}, {"two\nlines", `"two\nlines"`}, {"\xff\n", "\"\ufffd\\n\""}, {"\xff", "\xff"},
	} {
		if got := tcp.do("PUBLISH", "a", c[0]).frame.text; got != "2" {
			t.Errorf("%q was heard by %s", c[0], got)
		}
		both.want("data: message,a," + c[1])
		pattern.want("data: pmessage,a*,a," + c[1])
	}
	r.want("POST", "/publish/b%2Cc", "over HTTP", 200, `{"result":1}`)
	both.want("data: message,b,c,over HTTP")
	if got := tcp.do("PUBSUB", "NUMSUB", "a").frame.elems; len(got) != 2 || got[1].text != "1" {
		t.Errorf("NUMSUB a: %v", got)
	}
	list := tcp.do("CLIENT", "LIST").frame.text
	if strings.Count(list, "laddr=http") != 2 || !strings.Contains(list, " sub=2 ") || !strings.Contains(list, " psub=1 ") {
		t.Error(list)
	}
	both.conn.Close() // whoever goes is forgotten
	await(t, func() bool { return tcp.do("PUBLISH", "b,c", "x").frame.text == "0" })

	for id := range 20 { // CLIENT KILL ends a stream
		tcp.do("CLIENT", "KILL", "ID", fmt.Sprint(id), "SKIPME", "yes")
	}
	pattern.want("(EOF)")
	if got := r.send("GET", "/subscribe/"+strings.Repeat("x/", 2000), ""); got.code != 400 {
		t.Errorf("2000 channels: %d %s", got.code, got.body)
	}
}

func TestRESTMonitor(t *testing.T) {
	srv := serving(t, talksHTTP)
	r := restOf(t, srv)
	m := r.listen("/monitor")
	m.want(`data: "OK"`)
	r.want("POST", "/pipeline", `[["set","k","line\nbreak"],["get","k"]]`, 200, `[{"result":"OK"},{"result":"line\nbreak"}]`)
	connect(t, srv.Addr()).do("GET", "tcp")
	for _, want := range []string{`"set" "k" "line\nbreak"`, `"get" "k"`, `"GET" "tcp"`} {
		got := m.next()
		var at, db string
		if n, _ := fmt.Sscanf(got, "data: %s [%s ", &at, &db); n != 2 || db != "0" || !strings.HasSuffix(got, "] "+want) {
			t.Errorf("%s: %s", want, got)
		}
	}
	r.send("POST", "/", `["acl","resttoken","default","pass"]`)
	if got := m.next(); !strings.HasSuffix(got, `] "acl" "resttoken" "default" "(redacted)"`) {
		t.Error(got)
	}
	r.want("POST", "/multi-exec", `[["incr","n"]]`, 200, `[{"result":1}]`)
	for _, want := range []string{`"MULTI"`, `"incr" "n"`, `"EXEC"`} {
		if got := m.next(); !strings.HasSuffix(got, "] "+want) {
			t.Errorf("%s: %s", want, got)
		}
	}
}

// A server that ends says so to streams, finishes what is under way, and leaves
// no port open.
func TestRESTShutdown(t *testing.T) {
	srv, err := server.New(talksHTTP)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background()) }()
	r := restOf(t, srv)
	s := r.listen("/subscribe/c")
	s.want("data: subscribe,c,1")
	silent, err := net.DialTimeout("tcp", srv.HTTPAddr(), patience) // as browsers open one in advance
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	r.want("GET", "/ping", "", 200, `{"result":"PONG"}`)
	ctx, done := context.WithTimeout(context.Background(), patience)
	defer done()
	began := time.Now()
	if err := srv.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("it took %s", took)
	}
	s.want("retry: 1000", "(EOF)")
	if err := <-served; err != nil {
		t.Error(err)
	}
	if conn, err := net.DialTimeout("tcp", srv.HTTPAddr(), patience); err == nil {
		conn.Close()
		t.Error("the port is still open")
	}
}

// Requests under way when the server is told to end are answered; those behind
// them find no connection, which clients try again elsewhere.
func TestRESTShutdownUnderLoad(t *testing.T) {
	srv, err := server.New(talksHTTP)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background()) }()
	client := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	var answered atomic.Int64
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for {
				res, err := client.Post("http://"+srv.HTTPAddr()+"/pipeline?_token="+restToken, "", strings.NewReader(`[["incr","n"]]`))
				if err != nil {
					return
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if res.StatusCode != 200 || err != nil {
					t.Errorf("%d %s, %v", res.StatusCode, body, err)
				}
				answered.Add(1)
			}
		})
	}
	await(t, func() bool { return answered.Load() > 1000 })
	ctx, done := context.WithTimeout(context.Background(), patience)
	defer done()
	if err := srv.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	workers.Wait()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
