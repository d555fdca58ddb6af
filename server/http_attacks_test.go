package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"crema/server"
)

// say writes raw bytes to the HTTP port and returns the code of the answer, 0 if
// the connection was closed without one.
func (r rest) say(raw string) int {
	r.t.Helper()
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(r.url, "http://"), patience)
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	go io.WriteString(conn, raw) // the answer may come before all of it was read
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		if err, ok := err.(net.Error); ok && err.Timeout() {
			r.t.Errorf("no answer to %.60q", raw)
		}
		return 0
	}
	io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// What strangers send costs them their connection, and nobody else anything.
func TestRESTStrangers(t *testing.T) {
	r := restOf(t, serving(t, talksHTTP))
	const auth = "Authorization: Bearer " + restToken + "\r\n"
	for _, c := range []struct {
		raw  string
		code int
	}{
		{"*1\r\n$4\r\nPING\r\n", 400},
		{"GET / HTTP/9.9\r\n\r\n", 505},
		{"GET /get/k HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: b\r\n", 20_000) + "\r\n", 431},
		{"GET /get/" + strings.Repeat("k", 1<<20) + " HTTP/1.1\r\nHost: x\r\n\r\n", 431},
		{"GET /get/%zz HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", 400},
		{"GET /get/k?EX=%zz HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", 400},
		{"GET /subscribe%2Fc HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", 400},
		{"GET //// HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", 400},
		{"GET * HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", 400},
		{"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		{"POST /pipeline HTTP/1.1\r\nHost: x\r\n" + auth + "Content-Length: 99999999999\r\n\r\n[", 413},
		{"POST /pipeline HTTP/1.1\r\nHost: x\r\n" + auth + "Content-Length: -1\r\n\r\n[", 400},
		{"POST /pipeline HTTP/1.1\r\nHost: x\r\n" + auth + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n[[1]]]", 400},
		{"POST /pipeline HTTP/1.1\r\nHost: x\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
		{"POST /pipeline HTTP/1.1\r\nHost: x\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\nb\r\n[[\"ping\"]] \r\n0\r\n\r\n", 200},
		{"POST /pipeline HTTP/1.1\r\nHost: x\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\n" +
			strings.Repeat("100000\r\n"+strings.Repeat("[", 1<<20)+"\r\n", 11), 413},
	} {
		if got := r.say(c.raw); got != c.code {
			t.Errorf("%.60q: %d, want %d", c.raw, got, c.code)
		}
	}
	r.want("GET", "/ping", "", 200, `{"result":"PONG"}`)
}

func TestRESTLimits(t *testing.T) {
	srv := serving(t, talksHTTP)
	r := restOf(t, srv)
	ping := strings.Repeat(`["ping"],`, 10_000)
	if got := r.send("POST", "/pipeline", "["+strings.TrimSuffix(ping, ",")+"]"); got.code != 200 || strings.Count(got.body, "PONG") != 10_000 {
		t.Errorf("10 000 commands: %d, %d answers", got.code, strings.Count(got.body, "PONG"))
	}
	r.want("POST", "/pipeline", "["+ping+`["ping"]]`, 400, `{"error":"ERR failed to parse pipeline request: too many commands"}`)
	r.want("POST", "/", `["del"`+strings.Repeat(",1", 1<<20)+"]", 400, `{"error":"ERR failed to parse command: too many words"}`)
	r.want("POST", "/set/k", strings.Repeat("x", 10<<20), 200, `{"result":"OK"}`)
	r.want("POST", "/set/k", strings.Repeat("x", 10<<20+1), 413, `{"error":"ERR request is larger than 10 MB"}`)

	// Replies have a limit as well: what is behind it is not done.
	got := r.send("POST", "/pipeline", "["+strings.Repeat(`["get","k"],`, 8)+`["set","after","1"]]`)
	if n := strings.Count(got.body, `{"result"`); n != 7 || !strings.Contains(got.body, `{"error":"ERR not done: the replies before this one are too large for one request"}`) {
		t.Errorf("%d replies, the last %s", n, got.body[len(got.body)-200:])
	}
	r.want("GET", "/get/after", "", 200, `{"result":null}`)
	r.want("GET", "/ping", "", 200, `{"result":"PONG"}`)
}

// What is behind in a pipeline is not run for a client that is gone.
func TestRESTGone(t *testing.T) {
	srv := serving(t, talksHTTP)
	r, tcp := restOf(t, srv), connect(t, srv.Addr())
	m := r.listen("/monitor")
	m.want(`data: "OK"`)
	tcp.do("CLIENT", "PAUSE", "100000", "WRITE")
	ctx, leave := context.WithCancel(context.Background())
	req := httptest.NewRequestWithContext(ctx, "POST", "/pipeline?_token="+restToken, strings.NewReader(`[["get","k"],["incr","n"],["incr","n"]]`))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server.HTTPHandler(srv).ServeHTTP(httptest.NewRecorder(), req)
	}()
	if got := m.next(); !strings.HasSuffix(got, `"get" "k"`) {
		t.Fatal(got)
	}
	leave()
	tcp.do("CLIENT", "UNPAUSE")
	<-ended
	if n := tcp.do("GET", "n").frame.text; n == "2" {
		t.Error("all of it was run")
	}
}

// Nor is what is behind in one that has taken too long.
func TestRESTTakesTooLong(t *testing.T) {
	srv := serving(t, talksHTTP)
	server.SetHTTPDoFor(srv, 0)
	restOf(t, srv).want("POST", "/pipeline", `[["incr","n"],["incr","n"]]`, 200,
		`[{"result":1},{"error":"ERR not done: the client is gone, or the request took too long"}]`)
}

// Connections and streams are no more than maxclients, and a few for whoever
// looks.
func TestRESTTooMany(t *testing.T) {
	cfg := talksHTTP
	cfg.MaxClients = 20
	r := restOf(t, serving(t, cfg))
	var open []*reading
	for range 15 {
		s := r.listen("/subscribe/c")
		s.want("data: subscribe,c,1")
		open = append(open, s)
	}
	addr := strings.TrimPrefix(r.url, "http://")
	closed := 0
	for range 20 {
		conn, err := net.DialTimeout("tcp", addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, "GET /ping HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+restToken+"\r\n\r\n")
		if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
			closed++
		}
	}
	if closed != 15 {
		t.Errorf("%d of 20 connections over 15 were closed, of 20 allowed", closed)
	}
	for _, s := range open {
		s.conn.Close()
	}
}

// Streams leave room for clients that are none.
func TestRESTStreamsLeaveRoom(t *testing.T) {
	cfg := talksHTTP
	cfg.MaxClients = 16
	srv := serving(t, cfg)
	r := restOf(t, srv)
	for range 14 {
		r.listen("/subscribe/c").want("data: subscribe,c,1")
	}
	r.want("GET", "/subscribe/c", "", 503, `{"error":"ERR too many streams"}`)
	if got := connect(t, srv.Addr()).do("PING").frame.text; got != "PONG" {
		t.Error(got)
	}
}

// A stream that does not read is given up, counted, and holds nobody up.
func TestRESTSlowStream(t *testing.T) {
	srv := serving(t, talksHTTP)
	r := restOf(t, srv)
	s := r.listen("/subscribe/c")
	s.want("data: subscribe,c,1")
	tcp := connect(t, srv.Addr())
	message := strings.Repeat("x", 1<<20)
	await(t, func() bool {
		tcp.do("PUBLISH", "c", message)
		return slowStreams(srv) == 1
	})
	if got := tcp.do("PING").frame.text; got != "PONG" {
		t.Error(got)
	}
}

func slowStreams(srv *server.Server) int64 { return server.HTTPStats(srv).StreamsSlow.Load() }

// HTTP/2 over TLS, whose certificate is read again when it changes.
func TestRESTOverTLS(t *testing.T) {
	ca := newAuthority(t)
	ca.issue(t, "server", 100)
	cfg := talksHTTP
	cfg.HTTPPort, cfg.HTTPTLSPort, cfg.TLSCertFile, cfg.TLSKeyFile = 0, -1, ca.file("server.pem"), ca.file("server.key")
	srv := serving(t, cfg)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.trusting(t, ""), ForceAttemptHTTP2: true}}
	ask := func(method, path, body string) (*http.Response, string) {
		t.Helper()
		ctx, done := context.WithTimeout(context.Background(), patience)
		defer done()
		req, _ := http.NewRequestWithContext(ctx, method, "https://"+srv.HTTPTLSAddr()+path, strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+restToken)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(text)
	}
	res, text := ask("POST", "/pipeline", `[["set","k","v"],["get","k"]]`)
	if res.ProtoMajor != 2 || text != `[{"result":"OK"},{"result":"v"}]` {
		t.Errorf("%s %s", res.Proto, text)
	}
	ca.issue(t, "server", 101)
	later := time.Now().Add(time.Second) // a file system may count time in coarse steps
	os.Chtimes(ca.file("server.key"), later, later)
	client.CloseIdleConnections()
	if res, _ = ask("GET", "/get/k", ""); res.TLS.PeerCertificates[0].SerialNumber.Int64() != 101 {
		t.Error("the old certificate is still shown")
	}

	// Many streams share one connection.
	ctx, done := context.WithTimeout(context.Background(), patience)
	defer done()
	var streams []*bufio.Reader
	for range 50 {
		req, _ := http.NewRequestWithContext(ctx, "GET", "https://"+srv.HTTPTLSAddr()+"/subscribe/c", nil)
		req.Header.Set("Authorization", "Bearer "+restToken)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		streams = append(streams, bufio.NewReader(res.Body))
	}
	if _, text := ask("GET", "/publish/c/hello", ""); text != fmt.Sprintf(`{"result":%d}`, len(streams)) {
		t.Error(text)
	}
	for i, s := range streams {
		for _, want := range []string{"data: subscribe,c,1\n", "\n", "data: message,c,hello\n", "\n"} {
			if got, err := s.ReadString('\n'); got != want {
				t.Fatalf("stream %d: %q, %v", i, got, err)
			}
		}
	}
}
