package server_test

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"crema/server"
)

// scraped is /metrics: values by series as they are written.
type scraped map[string]float64

func (r rest) scrape(headers ...string) scraped {
	r.t.Helper()
	got := r.send("GET", "/metrics", "", headers...)
	if got.code != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
		r.t.Fatalf("/metrics: %d %v %.200s", got.code, got.header, got.body)
	}
	all := scraped{}
	for line := range strings.Lines(got.body) {
		if line[0] == '#' {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(strings.TrimSpace(line[at+1:]), 64)
		if err != nil {
			r.t.Fatalf("/metrics: %q", line)
		}
		all[line[:at]] = value
	}
	return all
}

func TestMetricsCount(t *testing.T) {
	srv := serving(t, talksHTTP)
	r := restOf(t, srv)
	c := connect(t, srv.Addr())
	before := r.scrape()
	for _, words := range []string{
		"SET cached v EX 100", "SET pinned v", "GET pinned", "GET pinned", "GET none", "INCR pinned", "GET", "SELECT 3", "SET k v",
		"PUBLISH c m", "CONFIG GET port", "EVAL return 0",
	} {
		c.do(strings.Fields(words)...)
	}
	c.do("EVAL", `return redis.error_reply("-MADE:UP\255 by a script")`, "0")
	after := r.scrape()
	for series, want := range map[string]float64{
		`crema_keyspace_hits_total`:                                      2,
		`crema_keyspace_misses_total`:                                    1,
		`crema_entries{kind="pinned",part="pinned"}`:                     2,
		`crema_entries{kind="cached",part="window"}`:                     1,
		`crema_keys{db="0"}`:                                             2,
		`crema_keys{db="3"}`:                                             1,
		`crema_keys_expiring{db="0"}`:                                    1,
		`crema_command_duration_seconds_count{command="get"}`:            3,
		`crema_command_duration_seconds_bucket{command="get",le="+Inf"}`: 3,
		`crema_command_duration_seconds_count{command="config|get"}`:     1,
		`crema_commands_failed_total{command="incr"}`:                    1,
		`crema_commands_failed_total{command="get"}`:                     0,
		`crema_commands_rejected_total{command="get"}`:                   1,
		`crema_error_replies_total{code="ERR"}`:                          2,
		"crema_error_replies_total{code=\"MADE_UP\ufffd\"}":              1,
		`crema_error_replies_total{code="other"}`:                        0,
		`crema_pubsub_messages_total`:                                    1,
		`crema_in_doubt_total`:                                           0,
		`crema_http_requests_total`:                                      1, // the first scrape
	} {
		if got := after[series] - before[series]; got != want {
			t.Errorf("%s grew by %v, not %v", series, got, want)
		}
	}
	if after["crema_clients"] != 1 || after["go_goroutines"] == 0 || after["crema_entry_bytes{kind=\"pinned\",part=\"pinned\"}"] == 0 {
		t.Errorf("clients %v, goroutines %v", after["crema_clients"], after["go_goroutines"])
	}
	for series := range after {
		if strings.HasPrefix(series, "crema_raft_") {
			t.Errorf("%s without a log", series)
		}
	}
}

// What scripts make up fills no more than its share, and is counted all the same.
func TestMetricsOfManyErrors(t *testing.T) {
	srv := serving(t, talksHTTP)
	c := connect(t, srv.Addr())
	const codes = 400
	for i := range codes {
		c.do("EVAL", fmt.Sprintf("return redis.error_reply('-CODE%d x')", i), "0")
	}
	series, sum := 0, 0.0
	for name, value := range restOf(t, srv).scrape() {
		if strings.HasPrefix(name, "crema_error_replies_total{") {
			series++
			sum += value
		}
	}
	if series != 129 || sum != codes { // 128, and the rest
		t.Errorf("%d series of %v errors", series, sum)
	}
}

func TestMetricsWantAToken(t *testing.T) {
	cfg := talksHTTP
	cfg.Users = []server.User{{Name: "prom", Password: "pw", ReadOnly: true}}
	srv := serving(t, cfg)
	ofUser := connect(t, srv.Addr()).do("ACL", "RESTTOKEN", "prom", "pw").frame.text
	basic := func(password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte("anybody:"+password))
	}
	anon := restOf(t, srv)
	anon.token = ""
	for _, shown := range []string{"", "Bearer wrong", "Bearer ", basic("wrong"), basic("")} {
		if got := anon.send("GET", "/metrics", "", "Authorization", shown); got.code != 401 || strings.Contains(got.body, "crema_") {
			t.Errorf("%q: %d %.100s", shown, got.code, got.body)
		}
	}
	for _, shown := range []string{"Bearer " + restToken, "Bearer " + restReadOnly, "Bearer " + ofUser, basic(restReadOnly)} {
		anon.scrape("Authorization", shown)
	}
	anon.want("POST", "/metrics", "", 405, `{"error":"ERR method POST is not allowed here"}`)

	cfg.MetricsOpen = true
	open := restOf(t, serving(t, cfg))
	open.token = ""
	open.scrape()
}

// Streams say how long messages take.
func TestMetricsOfStreams(t *testing.T) {
	srv := serving(t, talksHTTP)
	r := restOf(t, srv)
	s := r.listen("/subscribe/c")
	s.want("data: subscribe,c,1")
	for range 3 {
		r.want("POST", "/publish/c/hello", "", 200, `{"result":1}`)
		s.want("data: message,c,hello")
	}
	eventually(t, func() bool { // it is noted behind the write that the test has read
		m := r.scrape()
		return m["crema_http_stream_delay_seconds_count"] == 3 && m["crema_http_stream_delay_seconds_sum"] > 0 && m["crema_http_streams"] == 1
	})
}

func TestProbes(t *testing.T) {
	r := restOf(t, serving(t, server.Config{HTTPPort: -1}))
	r.token = ""
	r.want("GET", "/healthz", "", 200, `{"status":"ok"}`+"\n")
	r.want("GET", "/readyz", "", 200, `{"status":"ready"}`+"\n")
	r.want("HEAD", "/readyz", "", 200, "")
}

func TestPprof(t *testing.T) {
	cfg := talksHTTP
	closed := restOf(t, serving(t, cfg))
	if got := closed.send("GET", "/debug/pprof/heap", ""); got.code != 400 {
		t.Errorf("without the flag: %d %.100s", got.code, got.body)
	}
	cfg.Pprof = true
	r := restOf(t, serving(t, cfg))
	for path, shows := range map[string]string{"": "goroutine", "goroutine?debug=1": "goroutine profile:", "heap?debug=1": "heap profile:"} {
		if got := r.send("GET", "/debug/pprof/"+path, ""); got.code != 200 || !strings.Contains(got.body, shows) {
			t.Errorf("%s: %d %.100s", path, got.code, got.body)
		}
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"} {
		if got := r.send("GET", "/debug/pprof/heap", "", name, "1.1 proxy"); got.code != 403 {
			t.Errorf("%s: %d %.100s", name, got.code, got.body)
		}
	}
	if got := r.send("GET", "/debug/pprof/cmdline", ""); got.code != 404 {
		t.Errorf("the command line: %d %s", got.code, got.body)
	}
	for _, token := range []string{"", "wrong", restReadOnly} {
		r.token = token
		if got := r.send("GET", "/debug/pprof/heap", ""); got.code != 401 {
			t.Errorf("token %q: %d %.100s", token, got.code, got.body)
		}
	}
}

// One scrape, the client's part of it included.
func BenchmarkScrape(b *testing.B) {
	srv := serving(b, talksHTTP)
	r := restOf(b, srv)
	c := connect(b, srv.Addr())
	for _, words := range []string{"SET k v", "GET k", "INCR n", "DEL n", "EXPIRE k 100", "TTL k", "PUBLISH c m", "INFO", "DBSIZE", "PING"} {
		c.do(strings.Fields(words)...)
	}
	for b.Loop() {
		r.send("GET", "/metrics", "")
	}
}
