package gateway

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRoutes(t *testing.T) {
	say := func(text string) func(http.ResponseWriter, *http.Request, User) {
		return func(w http.ResponseWriter, _ *http.Request, u User) {
			if u != nil {
				text += " to " + u.Name()
			}
			w.Write([]byte(text))
		}
	}
	g := fakeGateway(t,
		Route{"GET HEAD", "/front", Anybody, say("front")},
		Route{"GET", "/open", Anybody, say("open")},
		Route{"GET", "/itself", Itself, say("itself")},
		Route{"GET", "/held/*", Holders, say("held")},
		Route{"GET", "/panics", Anybody, func(http.ResponseWriter, *http.Request, User) { panic("as planned") }},
	)
	for _, c := range []struct {
		method, path string
		code         int
		body         string
		origins      bool
	}{
		{"GET", "/front", 200, "front", false},
		{"POST", "/?_token=t", 400, `{"error":"ERR failed to parse command: malformed JSON"}`, true},
		{"DELETE", "/", 405, `{"error":"ERR method DELETE is not allowed here"}`, false},
		{"GET", "/open", 200, "open", false},
		{"POST", "/open", 405, `{"error":"ERR method POST is not allowed here"}`, false},
		{"OPTIONS", "/open", 204, "", false},
		{"GET", "/itself", 200, "itself", true},
		{"GET", "/held/x/y?_token=me", 200, "held to me", true},
		{"GET", "/held/", 401, `{"error":"WRONGPASS invalid or missing token"}`, true},
		{"GET", "/held?_token=me", 200, `{"result":"OK"}`, true}, // a command
		{"GET", "/opened?_token=me", 200, `{"result":"OK"}`, true},
		{"GET", "/panics", 500, `{"error":"ERR internal error"}`, false},
	} {
		w := httptest.NewRecorder()
		g.ServeHTTP(w, httptest.NewRequest(c.method, c.path, strings.NewReader("")))
		if w.Code != c.code || w.Body.String() != c.body || (w.Header().Get("Access-Control-Allow-Origin") == "*") != c.origins {
			t.Errorf("%s %s: %d %s %v", c.method, c.path, w.Code, w.Body, w.Header())
		}
	}
	if n := g.Stats.Panics.Load(); n != 1 {
		t.Errorf("%d panics were counted", n)
	}
}
