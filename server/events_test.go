package server_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"crema/server"
)

const eventsSecret = "what browsers' tokens are signed with"

// browserToken is what an application's own server gives a page.
func browserToken(claims string) string {
	part := base64.RawURLEncoding.EncodeToString
	text := part([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + part([]byte(claims))
	mac := hmac.New(sha256.New, []byte(eventsSecret))
	mac.Write([]byte(text))
	return text + "." + part(mac.Sum(nil))
}

func TestEventsTokens(t *testing.T) {
	cfg := talksHTTP
	cfg.EventsSecret = eventsSecret
	cfg.Users = []server.User{{Name: "reader", Password: "pw", ReadOnly: true}}
	cfg.RequirePass = "secret"
	srv := serving(t, cfg)
	r := restOf(t, srv)
	tcp := connect(t, srv.Addr())
	tcp.do("AUTH", "secret")
	r.token = ""
	in := func(d time.Duration) string {
		return fmt.Sprintf(`{"exp":%d,"channels":["batch:*"]}`, time.Now().Add(d).Unix())
	}
	for name, token := range map[string]string{
		"a token": browserToken(in(time.Hour)), "the REST token": restToken, "the read-only token": restReadOnly,
		"a user's": tcp.do("ACL", "RESTTOKEN", "reader", "pw").frame.text,
	} {
		for _, param := range []string{"token", "_token"} {
			s := r.get("/events?channel=batch:1&" + url.Values{param: {token}}.Encode())
			s.want("retry: 1000", "id: 0")
			if got := tcp.do("PUBLISH", "batch:1", "x").frame.text; got != "1" {
				t.Errorf("%s: %s receivers", name, got)
			}
			s.want("id: 0", "event: batch:1", "data: x")
			s.conn.Close()
			await(t, func() bool { return tcp.do("PUBLISH", "batch:1", "x").frame.text == "0" })
		}
	}
	var names []string
	for i := range 1025 {
		names = append(names, fmt.Sprint("channel=", i))
	}
	for _, refused := range []struct {
		query string
		code  int
		body  string
	}{
		{"channel=batch:1", 401, `{"error":"WRONGPASS invalid or missing token"}`},
		{"channel=batch:1&token=x", 401, `{"error":"WRONGPASS invalid or missing token"}`},
		{"channel=batch:1&token=" + browserToken(in(-time.Second)), 401, `{"error":"WRONGPASS invalid or missing token"}`},
		{"channel=batch:1&token=" + browserToken(in(time.Hour)) + "x", 401, `{"error":"WRONGPASS invalid or missing token"}`},
		{"channel=batch:1&channel=other&token=" + browserToken(in(time.Hour)), 403, `{"error":"NOPERM the token does not allow other"}`},
		{"channel=batch:1&pattern=*&token=" + browserToken(in(time.Hour)), 403, `{"error":"NOPERM the token does not allow *"}`},
		{"token=" + restToken, 400, `{"error":"ERR an event stream wants between 1 and 1024 of channel= and pattern="}`},
		{strings.Join(names, "&") + "&token=" + restToken, 400, `{"error":"ERR an event stream wants between 1 and 1024 of channel= and pattern="}`},
	} {
		r.want("GET", "/events?"+refused.query, "", refused.code, refused.body)
	}
	if got := r.send("POST", "/events?channel=x&token="+restToken, ""); got.code != 405 {
		t.Errorf("POST: %d", got.code)
	}
	// A browser's token is good for nothing else, and its stream ends with it.
	r.want("GET", "/get/k?_token="+browserToken(in(time.Hour)), "", 401, `{"error":"WRONGPASS invalid or missing token"}`)
	var got answer
	for life := 2 * time.Second; life < patience; life *= 2 { // it may be over before it is shown
		if got = r.send("GET", "/events?channel=batch:1&token="+browserToken(in(life)), ""); got.code != 401 {
			break
		}
	}
	if got.code != 200 || got.body != "retry: 1000\nid: 0\n\n" {
		t.Errorf("until a token's end: %d %q", got.code, got.body)
	}
}

// A REST token may look like a browser's.
func TestEventsTokenWithDots(t *testing.T) {
	cfg := talksHTTP
	cfg.EventsSecret, cfg.RESTToken = eventsSecret, "rest.token.one"
	r := restOf(t, serving(t, cfg))
	r.token = cfg.RESTToken
	r.get("/events?channel=c").want("retry: 1000", "id: 0")
}

// A name counts once, however often it is said.
func TestEventsNamesOnce(t *testing.T) {
	r := restOf(t, serving(t, talksHTTP))
	again := strings.Repeat("channel=c&", 2000)
	r.want("GET", "/events?"+again+"pattern="+strings.Repeat("x", 5000), "", 400, `{"error":"ERR pattern is too long"}`)
	r.get("/events?"+again).want("retry: 1000", "id: 0")
	r.listen("/subscribe/a/a/b").want("data: subscribe,a,1", "data: subscribe,b,2")
}

// A message is one event, also if several names of a stream match it and several
// publishers speak at once.
func TestEventsOnce(t *testing.T) {
	srv := startMesh(t, 1, talksHTTP).nodes[0].srv // where each connection has its goroutine
	names := []string{"channel", "x1"}
	for i := range 30 {
		names = append(names, "pattern", "x"+strings.Repeat("*", i)+"1")
	}
	s := restOf(t, srv).events("", names...)
	const publishers, each = 4, 1000
	for i := range publishers {
		c := connect(t, srv.Addr())
		go func() {
			for j := range each {
				c.do("PUBLISH", "x1", fmt.Sprint(i, "-", j))
			}
		}()
	}
	seen := map[string]bool{}
	for range publishers * each {
		told := s.event()
		if seen[told] {
			t.Fatalf("%q was told twice", told)
		}
		seen[told] = true
	}
}

// Without histories a browser that comes back is told that something may be missing.
func TestEventsWithoutHistory(t *testing.T) {
	srv := serving(t, talksHTTP)
	r, tcp := restOf(t, srv), connect(t, srv.Addr())
	s := r.events("", "channel", "a,b", "pattern", "a*")
	tcp.do("PUBLISH", "a,b", "one\ntwo")
	s.tells("a,b one two")
	if s.id != "0" {
		t.Errorf("id %q", s.id)
	}
	s = r.events("0", "channel", "a")
	s.tells(`crema:gap {"reason":"unkept","channels":["a"],"patterns":[]}`)
	if info := tcp.do("INFO", "crema").frame.text; strings.Contains(info, "history") {
		t.Error(info)
	}
	tcp.wants(t, "(error) ERR this channel has no history", "CREMA", "HISTORY", "a")
	tcp.do("SPUBLISH", "a", "sharded")
	tcp.do("PUBLISH", "a", "not")
	s.tells("a not")
}

// A browser that does not read is given up and counted, and nobody else waits.
func TestEventsSlow(t *testing.T) {
	srv := serving(t, keepsHistory("batch:*=10,1h"))
	r, tcp := restOf(t, srv), connect(t, srv.Addr())
	r.events("", "channel", "batch:1") // and reads no more
	good := r.events("", "channel", "batch:2")
	payload := strings.Repeat("x", 1<<20)
	await(t, func() bool {
		tcp.do("PUBLISH", "batch:1", payload)
		return server.HTTPStats(srv).StreamsSlow.Load() == 1
	})
	tcp.do("PUBLISH", "batch:2", "x")
	good.tells("batch:2 x")
	await(t, func() bool { return tcp.do("PUBLISH", "batch:1", "x").frame.text == "0" })
}
