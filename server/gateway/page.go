package gateway

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"time"
)

// The page: what is behind pageFiles is shown to anybody, for it knows nothing.
// What it shows it asks of /pipeline with the token that it is given.

//go:embed page
var pageBundle embed.FS

// pageFile is one file of the bundle with the headers it goes out with.
type pageFile struct {
	body      []byte
	mime, tag string
}

const pagePath = "/page/"

// pageFiles is the bundle by the paths it is asked for.
var pageFiles = func() map[string]pageFile {
	entries, err := pageBundle.ReadDir("page")
	if err != nil {
		panic(err)
	}
	files := map[string]pageFile{}
	for _, entry := range entries {
		body, err := pageBundle.ReadFile("page/" + entry.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(body)
		file := pageFile{body, pageTypes[path.Ext(entry.Name())], `"` + hex.EncodeToString(sum[:16]) + `"`}
		if file.mime == "" {
			panic("page: no type for " + entry.Name())
		}
		if entry.Name() == "index.html" {
			files["/"] = file
			continue
		}
		files[pagePath+entry.Name()] = file
	}
	return files
}()

// pageTypes are said here: what the machine believes of extensions is not asked.
var pageTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// pagePolicy lets the page load what is served here and talk to where it came
// from, and nothing else: not another host, not a script in its text, not markup
// made of strings, not a frame around it.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

var pageHeaders = map[string][]string{
	"Content-Security-Policy":      {pagePolicy},
	"X-Content-Type-Options":       {"nosniff"},
	"X-Frame-Options":              {"DENY"},
	"Referrer-Policy":              {"no-referrer"},
	"Cross-Origin-Opener-Policy":   {"same-origin"},
	"Cross-Origin-Resource-Policy": {"same-origin"},
	"Permissions-Policy":           {"camera=(), geolocation=(), microphone=()"},
	"Cache-Control":                {"no-cache"}, // kept, and asked about: a new server has a new page
}

// pageRoutes are the page's rows.
func (g *Gateway) pageRoutes() []Route {
	return []Route{
		{"GET HEAD", "/", Anybody, g.page},
		{"GET HEAD", pagePath + "*", Anybody, g.page},
	}
}

func (g *Gateway) page(w http.ResponseWriter, r *http.Request, _ User) {
	file, ok := pageFiles[r.URL.Path]
	if !ok {
		g.Fail(w, http.StatusNotFound, "ERR no such file: "+clip(r.URL.Path))
		return
	}
	h := w.Header()
	for name, value := range pageHeaders {
		h[name] = value
	}
	h["Content-Type"] = []string{file.mime}
	h["Etag"] = []string{file.tag}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file.body))
}
