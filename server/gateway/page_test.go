package gateway

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// askPage asks a gateway without a door: the page is for whoever has no token.
func askPage(method, path string, headers ...string) *httptest.ResponseRecorder {
	g := &Gateway{}
	g.routes = g.ownRoutes()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w
}

// All that the page's files name is in the bundle, and is served with its type.
func TestPageFiles(t *testing.T) {
	reference := regexp.MustCompile(`(?:src|href)="([^"#][^"]*)"|from '\./([^']+)'`)
	total := 0
	for at, file := range pageFiles {
		w := askPage("GET", at)
		if w.Code != 200 || w.Body.String() != string(file.body) || w.Header().Get("Content-Type") != file.mime {
			t.Errorf("GET %s: %d %v", at, w.Code, w.Header())
		}
		if head := askPage("HEAD", at); head.Code != 200 || head.Body.Len() != 0 || head.Header().Get("Content-Length") == "" {
			t.Errorf("HEAD %s: %d, %d bytes", at, head.Code, head.Body.Len())
		}
		if again := askPage("GET", at, "If-None-Match", w.Header().Get("ETag")); again.Code != 304 || again.Body.Len() != 0 {
			t.Errorf("GET %s again: %d, %d bytes", at, again.Code, again.Body.Len())
		}
		for _, m := range reference.FindAllStringSubmatch(string(file.body), -1) {
			path := "/" + m[1]
			if m[2] != "" {
				path = pagePath + m[2]
			}
			if _, ok := pageFiles[path]; !ok {
				t.Errorf("%s names %s, which there is not", at, path)
			}
		}
		total += len(file.body)
	}
	if len(pageFiles) < 7 || total > 100<<10 {
		t.Errorf("%d files of %d bytes", len(pageFiles), total)
	}
}

// The page comes with headers that keep it to itself, and names no other host.
func TestPageKeepsToItself(t *testing.T) {
	h := askPage("GET", "/").Header()
	for name, want := range map[string]string{
		"Content-Security-Policy":      "default-src 'none'",
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
		"Referrer-Policy":              "no-referrer",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Cache-Control":                "no-cache",
	} {
		if !strings.Contains(h.Get(name), want) {
			t.Errorf("%s: %q", name, h.Get(name))
		}
	}
	if strings.Contains(pagePolicy, "unsafe") || strings.Contains(pagePolicy, "http") || h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("too much is allowed: %v", h)
	}
	host := regexp.MustCompile(`(?:https?:)?//[a-z0-9.-]+\.[a-z]+`)
	markup := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|\son[a-z]+=|style=`)
	for at, file := range pageFiles {
		text := strings.ReplaceAll(string(file.body), "http://www.w3.org/2000/svg", "") // a name, not an address
		if found := host.FindString(text); found != "" {
			t.Errorf("%s names %s", at, found)
		}
		if found := markup.FindString(text); found != "" {
			t.Errorf("%s has %s", at, found)
		}
	}
}

// What is not in the bundle is not there, whatever a path is made of.
func TestPageElsewhere(t *testing.T) {
	for _, path := range []string{"/page/", "/page/x", "/page/index.html", "/page/../page.go", "/page/..%2f..%2fpage.go", "/PAGE/page.js", "/page/page.js/"} {
		if w := askPage("GET", path); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), `{"error":"ERR no such file`) {
			t.Errorf("GET %s: %d %.60s", path, w.Code, w.Body)
		}
	}
	if w := askPage("POST", "/page/page.js"); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}
