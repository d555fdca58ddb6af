package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"crema/server"
)

const (
	restToken    = "all-of-it"
	restReadOnly = "only-reading"
)

// talksHTTP is a server with an HTTP port.
var talksHTTP = server.Config{HTTPPort: -1, RESTToken: restToken, RESTReadonlyToken: restReadOnly}

// rest is a client of one server's HTTP port, as whoever its token says.
type rest struct {
	t     testing.TB
	url   string
	token string
}

func restOf(t testing.TB, srv *server.Server) rest {
	return rest{t, "http://" + srv.HTTPAddr(), restToken}
}

// answer is what came back.
type answer struct {
	code   int
	header http.Header
	body   string
}

// send makes a request; headers are names and values.
func (r rest) send(method, path, body string, headers ...string) answer {
	r.t.Helper()
	ctx, done := context.WithTimeout(context.Background(), 2*patience) // bodies may be large, and the race detector slow
	defer done()
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

// want checks a request's code and body; an answer in JSON has to be JSON.
func (r rest) want(method, path, body string, code int, text string, headers ...string) answer {
	r.t.Helper()
	got := r.send(method, path, body, headers...)
	if got.code != code || got.body != text || got.header.Get("Cache-Control") != "no-store" && code != 204 {
		r.t.Errorf("%s %s %.100s\ngot  %d %s\nwant %d %s", method, path, body, got.code, got.body, code, text)
	}
	if got.header.Get("Content-Type") == "application/json" && method != "HEAD" && !json.Valid([]byte(got.body)) {
		r.t.Errorf("%s %s: not JSON: %s", method, path, got.body)
	}
	return got
}

// Every documented way to say a command.
func TestRESTCommands(t *testing.T) {
	srv := serving(t, talksHTTP)
	r := restOf(t, srv)
	for _, c := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"GET", "/set/foo/bar", "", 200, `{"result":"OK"}`},
		{"GET", "/get/foo", "", 200, `{"result":"bar"}`},
		{"POST", "/GET/foo", "", 200, `{"result":"bar"}`},
		{"PUT", "/gEt/foo", "", 200, `{"result":"bar"}`},
		{"GET", "/get/none", "", 200, `{"result":null}`},
		{"GET", "/incr/n", "", 200, `{"result":1}`},
		{"GET", "/mget/foo/none/n", "", 200, `{"result":["bar",null,"1"]}`},
		{"POST", "/set/body", "a value\n/with?anything\"in it", 200, `{"result":"OK"}`},
		{"GET", "/get/body", "", 200, `{"result":"a value\n/with?anything\"in it"}`},
		{"POST", "/set/body?EX=100&NX", "v", 200, `{"result":null}`},
		{"POST", "/set/query?EX=100", "v", 200, `{"result":"OK"}`},
		{"GET", "/ttl/query", "", 200, `{"result":100}`},
		{"GET", "/set/query/two+words?EX=1%300", "", 200, `{"result":"OK"}`},
		{"GET", "/get/query", "", 200, `{"result":"two+words"}`},
		{"GET", "/set/a%2Fb%20c%3F/%C3%A4%00%FF", "", 200, `{"result":"OK"}`},
		{"GET", "/get/a%2Fb%20c%3F", "", 200, `{"result":"ä\u0000` + "\ufffd" + `"}`},
		{"GET", "/set/empty/", "", 200, `{"result":"OK"}`},
		{"GET", "/get/empty", "", 200, `{"result":""}`},
		{"GET", "/set//of-an-empty-key", "", 200, `{"result":"OK"}`},
		{"GET", "/get/", "", 200, `{"result":"of-an-empty-key"}`},
		{"GET", "/set/../dots", "", 200, `{"result":"OK"}`},
		{"GET", "/get/..", "", 200, `{"result":"dots"}`},
		{"GET", "/get/foo?_token=" + restToken, "", 200, `{"result":"bar"}`},
		{"GET", "/get", "", 400, `{"error":"ERR wrong number of arguments for 'get' command"}`},
		{"GET", "/incr/foo", "", 400, `{"error":"ERR value is not an integer or out of range"}`},
		{"GET", "/nosuch/x", "", 400, `{"error":"ERR unknown command 'nosuch', with args beginning with: 'x' "}`},
		{"GET", "/get/%zz", "", 400, ``},
		{"GET", "/watch/foo", "", 400, `{"error":"ERR WATCH is not available over HTTP"}`},
		{"POST", "/", `["SET","j","bar","EX",100]`, 200, `{"result":"OK"}`},
		{"PUT", "/", ` [ "GET" , "j" ] `, 200, `{"result":"bar"}`},
		{"POST", "/", `["mset","t",true,"f",false,"n",-1.5e3]`, 200, `{"result":"OK"}`},
		{"POST", "/", `["mget","t","f","n"]`, 200, `{"result":["true","false","-1.5e3"]}`},
		{"POST", "/", `["set","u","\u00e4\ud83d\ude00\ud800\n\"\\\/"]`, 200, `{"result":"OK"}`},
		{"POST", "/", `["get","u"]`, 200, `{"result":"ä😀` + "\ufffd" + `\n\"\\/"}`},
		{"POST", "/", `["eval","return {1,'two',{3,{}},false,{err='bad'}}",0]`, 200, `{"result":[1,"two",[3,[]],null,"bad"]}`},
		{"POST", "/", `["incrbyfloat","float",0.5]`, 200, `{"result":"0.5"}`},
		{"POST", "/", ``, 400, `{"error":"ERR failed to parse command: malformed JSON"}`},
		{"POST", "/", `[]`, 400, `{"error":"ERR failed to parse command: a command without words"}`},
		{"POST", "/", `["get",["k"]]`, 400, `{"error":"ERR failed to parse command: a word of a command is a string, a number or a boolean"}`},
		{"POST", "/", `["get","k"] x`, 400, `{"error":"ERR failed to parse command: something follows the JSON"}`},
		{"POST", "/pipeline", `[["set","p",1],["incr","p"],["incr","foo"],["nosuch"],["subscribe","c"],["get","p"]]`, 200,
			`[{"result":"OK"},{"result":2},{"error":"ERR value is not an integer or out of range"},` +
				`{"error":"ERR unknown command 'nosuch', with args beginning with: "},` +
				`{"error":"ERR SUBSCRIBE is not available over HTTP"},{"result":"2"}]`},
		{"POST", "/pipeline", `[]`, 400, `{"error":"ERR empty pipeline request"}`},
		{"POST", "/pipeline", `["get","k"]`, 400, `{"error":"ERR failed to parse pipeline request: malformed JSON"}`},
		{"POST", "/multi-exec", `[["set","m",1],["incr","foo"],["incr","m"]]`, 200,
			`[{"result":"OK"},{"error":"ERR value is not an integer or out of range"},{"result":2}]`},
		{"POST", "/multi-exec", `[["set","m","spoiled"],["nosuch"]]`, 400, `{"error":"ERR unknown command 'nosuch', with args beginning with: "}`},
		{"POST", "/multi-exec", `[["set","m","spoiled"],["get"]]`, 400, `{"error":"ERR wrong number of arguments for 'get' command"}`},
		{"POST", "/multi-exec", `[["set","m","spoiled"],["exec"]]`, 400, `{"error":"ERR EXEC is not available over HTTP"}`},
		{"GET", "/get/m", "", 200, `{"result":"2"}`},
		{"DELETE", "/get/m", "", 405, `{"error":"ERR method DELETE is not allowed here"}`},
		{"PATCH", "/pipeline", "[]", 405, `{"error":"ERR method PATCH is not allowed here"}`},
		{"HEAD", "/set/head/1", "", 200, ``},
		{"GET", "/get/head", "", 200, `{"result":"1"}`},
	} {
		if strings.Contains(c.path, "%zz") {
			continue // the client refuses to send it: see TestRESTStrangers
		}
		r.want(c.method, c.path, c.body, c.code, c.want)
	}
	// A request leaves nothing behind in the session that the next one gets.
	tcp := connect(t, srv.Addr())
	if got := tcp.do("GET", "u").frame.text; got != "ä😀\ufffd\n\"\\/" {
		t.Errorf("over TCP: %q", got)
	}
}

// What a request cannot have, whatever it says.
func TestRESTRefused(t *testing.T) {
	r := restOf(t, serving(t, talksHTTP))
	for _, words := range []string{
		"auth x", "client id", "client kill id 1", "discard", "exec", "hello 3", "monitor x", "multi", "psubscribe p", "punsubscribe p", "quit",
		"readonly", "readwrite", "reset", "select 1", "shutdown", "ssubscribe c", "subscribe c", "sunsubscribe c", "unsubscribe c", "unwatch",
		"wait 0 0", "watch k", "debug sleep 1", "client reply off",
	} {
		list, _ := json.Marshal(strings.Fields(words))
		name := strings.ToUpper(strings.Fields(words)[0])
		want := `"error":"ERR ` + name + ` is not available over HTTP"`
		r.want("POST", "/", string(list), 400, "{"+want+"}")
		r.want("POST", "/pipeline", fmt.Sprintf(`[["set","k","v"],%s,["get","k"]]`, list), 200, `[{"result":"OK"},{`+want+`},{"result":"v"}]`)
		r.want("POST", "/multi-exec", fmt.Sprintf(`[["set","k","w"],%s]`, list), 400, "{"+want+"}")
	}
	r.want("GET", "/get/k", "", 200, `{"result":"v"}`)
}

// What a script says about its connection ends with the request: READONLY would
// have the next one, whosever it is, read what is not certain.
func TestRESTLeavesNothing(t *testing.T) {
	g := startGroup(t, 2, talksHTTP)
	r := restOf(t, g.members[0].srv)
	r.want("POST", "/", `["eval","redis.call('select',3); return redis.call('readonly')",0]`, 200, `{"result":"OK"}`)
	g.lead(1)
	verified := func() int {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.verified
	}
	for range 5 { // one of the sessions that are kept is that one
		before := verified()
		r.want("GET", "/get/k", "", 200, `{"result":null}`)
		if verified() == before {
			t.Error("a read of what is not certain")
		}
	}
}

func TestRESTFormats(t *testing.T) {
	r := restOf(t, serving(t, talksHTTP))
	b64 := []string{"Upstash-Encoding", "base64"}
	resp2 := []string{"Upstash-Response-Format", "resp2"}
	r.want("POST", "/", `["set","k","v"]`, 200, `{"result":"OK"}`, b64...)
	r.want("POST", "/", `["set","ok","OK"]`, 200, `{"result":"OK"}`)
	r.want("POST", "/", `["get","k"]`, 200, `{"result":"dg=="}`, b64...)
	r.want("POST", "/", `["ping"]`, 200, `{"result":"UE9ORw=="}`, b64...)
	r.want("POST", "/pipeline", `[["get","ok"],["mget","ok","none","k"],["incr","n"],["get"],["echo",""]]`, 200,
		`[{"result":"OK"},{"result":["T0s=",null,"dg=="]},{"result":1},{"error":"ERR wrong number of arguments for 'get' command"},{"result":""}]`, b64...)
	r.want("POST", "/multi-exec", `[["get","ok"],["mget","k"]]`, 200, `[{"result":"OK"},{"result":["dg=="]}]`, b64...)
	r.want("GET", "/get/k", "", 200, "$1\r\nv\r\n", resp2...)
	r.want("GET", "/incr/k", "", 400, "-ERR value is not an integer or out of range\r\n", resp2...)
	got := r.want("POST", "/pipeline", `[["get","k"],["mget","k","none"],["incr","k"]]`, 200,
		"$1\r\nv\r\n*2\r\n$1\r\nv\r\n$-1\r\n-ERR value is not an integer or out of range\r\n", resp2...)
	if is := got.header.Get("Content-Type"); is != "application/octet-stream" {
		t.Error(is)
	}
	r.want("POST", "/multi-exec", `[["get","k"]]`, 200, `[{"result":"v"}]`, resp2...)
	r.want("GET", "/get/k", "", 400, `{"error":"ERR RESP2 replies cannot be encoded in base64"}`, append(b64, resp2...)...)
	r.want("GET", "/get/k", "", 400, `{"error":"ERR Upstash-Response-Format is json or resp2, not xml"}`, "Upstash-Response-Format", "xml")
	r.want("GET", "/get/k", "", 200, `{"result":"v"}`, "Upstash-Response-Format", "json")

	big := strings.Repeat("äbc\x01", 300_000) // over several writes, with characters across their ends
	r.want("POST", "/set/big", big, 200, `{"result":"OK"}`)
	var back struct{ Result string }
	if err := json.Unmarshal([]byte(r.send("GET", "/get/big", "").body), &back); err != nil || back.Result != big {
		t.Errorf("%d of %d bytes came back: %v", len(back.Result), len(big), err)
	}
	var raw struct{ Result []byte } // which encoding/json has in base64
	if err := json.Unmarshal([]byte(r.send("GET", "/get/big", "", b64...).body), &raw); err != nil || string(raw.Result) != big {
		t.Errorf("%d of %d bytes came back in base64: %v", len(raw.Result), len(big), err)
	}
}

func TestRESTTokens(t *testing.T) {
	cfg := talksHTTP
	cfg.RequirePass = "secret"
	cfg.Users = []server.User{{Name: "alice", Password: "pw"}, {Name: "reader", Password: "pw2", ReadOnly: true}}
	srv := serving(t, cfg)
	r := restOf(t, srv)
	r.want("POST", "/", `["set","k","v"]`, 200, `{"result":"OK"}`)
	for _, token := range []string{"", "wrong", restToken + "x", restToken[1:], "user_", "user__", "user_616c696365_", "user_616c696365_00", "user_zz_00", "secret", "pw"} {
		r.token = token
		r.want("GET", "/get/k", "", 401, `{"error":"WRONGPASS invalid or missing token"}`)
		r.want("POST", "/pipeline", "[]", 401, `{"error":"WRONGPASS invalid or missing token"}`)
		r.want("POST", "/subscribe/c", "[]", 401, `{"error":"WRONGPASS invalid or missing token"}`)
	}
	r.token = ""
	r.want("GET", "/get/k?_token="+restToken, "", 200, `{"result":"v"}`)
	r.want("GET", "/get/k", "", 401, `{"error":"WRONGPASS invalid or missing token"}`, "Authorization", "Basic "+restToken)
	r.want("GET", "/get/k", "", 200, `{"result":"v"}`, "Authorization", "bearer  "+restToken)

	r.token = restReadOnly
	r.want("GET", "/get/k", "", 200, `{"result":"v"}`)
	r.want("GET", "/mget/k/none", "", 200, `{"result":["v",null]}`)
	r.want("POST", "/", `["eval_ro","return redis.call('get','k')",0]`, 200, `{"result":"v"}`)
	for _, words := range []string{
		`["set","k","w"]`, `["del","k"]`, `["getdel","k"]`, `["keys","*"]`, `["scan","0"]`, `["randomkey"]`, `["dbsize"]`, `["flushall"]`, `["publish","c","m"]`,
		`["config","get","*"]`, `["script","flush"]`, `["script","kill"]`, `["slowlog","get"]`, `["crema","status"]`,
		`["eval","return redis.call('set','k','w')",0]`, `["eval","return redis.call('keys','*')",0]`, `["eval_ro","return redis.call('scan',0)",0]`,
	} {
		if got := r.send("POST", "/", words); got.code != 400 || !strings.Contains(got.body, "NOPERM") && !strings.Contains(got.body, "can't run this command") {
			t.Errorf("%s with the read-only token: %d %s", words, got.code, got.body)
		}
	}
	if got := r.send("POST", "/monitor", ""); got.code != 400 || !strings.Contains(got.body, "NOPERM") {
		t.Errorf("monitor with the read-only token: %d %s", got.code, got.body)
	}

	tcp := connect(t, srv.Addr())
	tcp.do("AUTH", "alice", "pw")
	if got := tcp.do("ACL", "RESTTOKEN", "alice", "wrong").frame.text; got != `ERR Wrong password or user "alice" does not exist` {
		t.Error(got)
	}
	if got := tcp.do("ACL", "RESTTOKEN", "nobody", "pw").frame.text; got != `ERR Wrong password or user "nobody" does not exist` {
		t.Error(got)
	}
	r.token = tcp.do("ACL", "RESTTOKEN", "alice", "pw").frame.text
	r.want("POST", "/", `["set","k","of alice"]`, 200, `{"result":"OK"}`)
	r.token = tcp.do("ACL", "RESTTOKEN", "reader", "pw2").frame.text
	r.want("GET", "/get/k", "", 200, `{"result":"of alice"}`)
	r.want("GET", "/keys/*", "", 200, `{"result":["k"]}`)
	if got := r.send("GET", "/set/k/v", ""); got.code != 400 || !strings.Contains(got.body, "NOPERM") {
		t.Errorf("set by a reader: %d %s", got.code, got.body)
	}
	// A token is a password's: a new password, another token.
	r.token = restToken
	r.token = strings.Trim(strings.TrimPrefix(r.send("POST", "/", `["acl","resttoken","default","secret"]`).body, `{"result":`), `"}`)
	r.want("GET", "/get/k", "", 200, `{"result":"of alice"}`)
	tcp.do("CONFIG", "SET", "requirepass", "changed")
	r.want("GET", "/get/k", "", 401, `{"error":"WRONGPASS invalid or missing token"}`)
	tcp.do("CONFIG", "SET", "requirepass", "")
	r.token = restToken
	r.want("POST", "/", `["acl","resttoken","default","any"]`, 400, `{"error":"ERR user \"default\" has no password and so no token"}`)
}

// Without a token one is made up; without a port there is nothing.
func TestRESTMadeUpToken(t *testing.T) {
	srv := serving(t, server.Config{HTTPPort: -1})
	r := restOf(t, srv)
	r.token = srv.RESTToken()
	if len(r.token) != 64 {
		t.Errorf("token %q", r.token)
	}
	r.want("GET", "/ping", "", 200, `{"result":"PONG"}`)
	other := serving(t, server.Config{HTTPPort: -1})
	if other.RESTToken() == r.token {
		t.Error("two servers made up the same token")
	}
	if srv := serving(t, server.Config{}); srv.HTTPAddr() != "" || srv.RESTToken() != "" {
		t.Errorf("without a port: %q, %q", srv.HTTPAddr(), srv.RESTToken())
	}
	for _, cfg := range []server.Config{{RESTToken: "x"}, {HTTPPort: -1, RESTToken: "x", RESTReadonlyToken: "x"}, {HTTPTLSPort: -1}} {
		if srv, err := server.New(cfg); err == nil {
			srv.Shutdown(context.Background())
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

func TestRESTOrigins(t *testing.T) {
	r := restOf(t, serving(t, talksHTTP))
	r.token = "" // a browser asks without one
	got := r.want("OPTIONS", "/pipeline", "", 204, "")
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "POST", "Access-Control-Allow-Headers": "Upstash-Sync-Token",
	} {
		if is := got.header.Get(name); !strings.Contains(is, want) {
			t.Errorf("%s: %q", name, is)
		}
	}
	for _, path := range []string{"/get/k", "/", "/subscribe/c", "/multi-exec"} {
		if got := r.want("OPTIONS", path, "", 204, ""); got.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %v", path, got.header)
		}
	}
	got = r.send("POST", "/pipeline", "[]") // an error must be readable, too
	if got.header.Get("Access-Control-Allow-Origin") != "*" || got.header.Get("Access-Control-Expose-Headers") != "Upstash-Sync-Token" {
		t.Errorf("%v", got.header)
	}
}

func TestRESTSyncToken(t *testing.T) {
	r := restOf(t, serving(t, talksHTTP))
	sync := ""
	seen := map[string]bool{}
	ask := func(path, body string) string {
		t.Helper()
		got := r.send("POST", path, body, "Upstash-Sync-Token", sync)
		if sync = got.header.Get("Upstash-Sync-Token"); sync == "" {
			t.Fatalf("%s %s: no sync token", path, body)
		}
		return sync
	}
	for _, c := range [][2]string{{"/", `["set","k","v"]`}, {"/pipeline", `[["set","k","v"],["get","k"]]`}, {"/multi-exec", `[["set","k","v"]]`}, {"/", `["eval","return 1",0]`}, {"/", `["publish","c","m"]`}} {
		if s := ask(c[0], c[1]); seen[s] {
			t.Errorf("%s %s: the token %s was there before", c[0], c[1], s)
		}
		seen[sync] = true
	}
	if before := sync; ask("/", `["get","k"]`) != before {
		t.Errorf("a read made %s of the token %s", sync, before)
	}
	for _, strange := range []string{"x", "-", "-1", "99999999999999999999999-1", "1-99999999999999999999999999", strings.Repeat("9", 5000)} {
		r.want("POST", "/", `["get","k"]`, 200, `{"result":"v"}`, "Upstash-Sync-Token", strange)
	}
}
