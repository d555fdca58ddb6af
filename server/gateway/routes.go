package gateway

import (
	"net/http"
	"runtime/debug"
	"strings"
)

// Access is who may use a route.
type Access uint8

const (
	Anybody Access = iota // without a token, and not from scripts of other origins
	Holders               // whoever has a token; Serve is given whose it is
	Itself                // from any origin; Serve looks at the request by itself and is given no user
)

// Route is one row of what the gateway answers. A path that no row names is a
// command.
type Route struct {
	Methods string // separated by spaces
	Path    string // the whole of it; with a trailing * whatever begins like this
	Access  Access
	Serve   func(w http.ResponseWriter, r *http.Request, u User)
}

const anyMethod = "GET HEAD POST PUT"

// ownRoutes are the routes of this package.
func (g *Gateway) ownRoutes() []Route {
	return append([]Route{
		{"POST PUT", "/", Holders, g.command},
		{anyMethod, "/pipeline", Holders, g.pipeline},
		{anyMethod, "/multi-exec", Holders, g.multiExec},
		{anyMethod, "/subscribe/*", Holders, g.subscribe},
		{anyMethod, "/psubscribe/*", Holders, g.psubscribe},
		{anyMethod, "/monitor", Holders, g.monitor},
		{"GET HEAD", "/events", Itself, g.events},
	}, g.pageRoutes()...)
}

// find returns the row for a request; nil with the methods that there would be.
func (g *Gateway) find(r *http.Request) (row *Route, allowed string) {
	path, named := r.URL.Path, false
	for i := range g.routes {
		row := &g.routes[i]
		if !row.names(path) {
			continue
		}
		named = true
		if hasWord(row.Methods, r.Method) || r.Method == http.MethodOptions {
			return row, ""
		}
		allowed += " " + row.Methods
	}
	if row := &g.byPath; !named {
		if hasWord(row.Methods, r.Method) || r.Method == http.MethodOptions {
			return row, ""
		}
		allowed = row.Methods
	}
	return nil, strings.TrimSpace(allowed)
}

// names tells whether a path is the row's, in any case: commands are.
func (row *Route) names(path string) bool {
	n := len(row.Path)
	if row.Path[n-1] == '*' {
		n--
		return len(path) >= n && strings.EqualFold(path[:n], row.Path[:n])
	}
	return strings.EqualFold(path, row.Path)
}

func hasWord(words, word string) bool {
	for words != "" {
		var w string
		if w, words, _ = strings.Cut(words, " "); w == word {
			return true
		}
	}
	return false
}

// ServeHTTP answers one request. A panic is our mistake: it is answered, logged
// and counted, and harms nobody else.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.Stats.Requests.Add(1)
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p) // net/http cuts the connection
			}
			g.Stats.Panics.Add(1)
			g.cfg.Log.Error("panic in HTTP request", "path", clip(r.URL.Path), "panic", p, "stack", string(debug.Stack()))
			g.Fail(w, http.StatusInternalServerError, "ERR internal error")
		}
	}()
	row, allowed := g.find(r)
	if row == nil {
		w.Header().Set("Allow", strings.ReplaceAll(allowed, " ", ", ")+", OPTIONS")
		g.Fail(w, http.StatusMethodNotAllowed, "ERR method "+clip(r.Method)+" is not allowed here")
		return
	}
	if row.Access != Anybody {
		allowOrigins(w.Header(), r.Method == http.MethodOptions)
	}
	if r.Method == http.MethodOptions {
		w.Header().Set("Allow", strings.ReplaceAll(row.Methods, " ", ", ")+", OPTIONS")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	var u User
	if row.Access == Holders {
		if u = g.cfg.Door.User(Token(r)); u == nil {
			g.Unauthorized(w, r)
			return
		}
	}
	row.Serve(w, r, u)
}

// clip bounds what a stranger may write into a log or an answer.
func clip(s string) string { return s[:min(len(s), 128)] }

// The headers of answers to scripts of other origins. A token is in no
// cookie, so a page has one only if it was given one: any origin may ask.
var (
	allOrigins  = []string{"*"}
	corsMethods = []string{"GET, HEAD, POST, PUT, OPTIONS"}
	corsHeaders = []string{"Authorization, Content-Type, Last-Event-ID, Upstash-Encoding, Upstash-Response-Format, Upstash-Sync-Token, " +
		"Upstash-Telemetry-Sdk, Upstash-Telemetry-Runtime, Upstash-Telemetry-Platform"}
	corsExposed = []string{"Upstash-Sync-Token"}
	corsMaxAge  = []string{"86400"} // seconds that a browser may remember this
)

// allowOrigins lets them see the answer; asked is what a browser asks before.
func allowOrigins(h http.Header, asked bool) {
	h["Access-Control-Allow-Origin"] = allOrigins
	if !asked {
		h["Access-Control-Expose-Headers"] = corsExposed
		return
	}
	h["Access-Control-Allow-Methods"] = corsMethods
	h["Access-Control-Allow-Headers"] = corsHeaders
	h["Access-Control-Max-Age"] = corsMaxAge
}

// Token is the token that a request shows, in its header or its query.
func Token(r *http.Request) string {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	if strings.Contains(r.URL.RawQuery, tokenParam) {
		return r.URL.Query().Get(tokenParam)
	}
	return ""
}

const tokenParam = "_token"

// Unauthorized answers 401.
func (g *Gateway) Unauthorized(w http.ResponseWriter, r *http.Request) {
	g.Stats.Unauthorized.Add(1)
	if g.complaints.allow() {
		g.cfg.Log.Warn("HTTP request without a valid token", "addr", r.RemoteAddr, "failures", g.Stats.Unauthorized.Load())
	}
	w.Header()["Www-Authenticate"] = []string{"Bearer"}
	g.Fail(w, http.StatusUnauthorized, "WRONGPASS invalid or missing token")
}

// Fail answers with a code and {"error": text}, the shape of everything that is
// not an answer.
func (g *Gateway) Fail(w http.ResponseWriter, code int, text string) {
	g.Stats.Failed.Add(1)
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = jsonType, noStore
	w.WriteHeader(code)
	b := append(AppendJSONString([]byte(`{"error":`), []byte(text)), '}')
	n, _ := w.Write(b) // the client is gone, or reads it
	g.Stats.BytesOut.Add(int64(n))
}

var (
	jsonType = []string{"application/json"}
	respType = []string{"application/octet-stream"}
	noStore  = []string{"no-store"} // a cache between would answer GET from what was
)
