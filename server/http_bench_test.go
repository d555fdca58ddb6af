package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"crema/server"
)

// What a request of the SDK costs behind net/http.
func BenchmarkRESTPipeline(b *testing.B) {
	h := server.HTTPHandler(serving(b, talksHTTP))
	for _, c := range []struct{ name, body string }{
		{"1", `[["get","key"]]`},
		{"100", "[" + strings.Repeat(`["get","key"],`, 99) + `["get","key"]]`},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest("POST", "/pipeline", strings.NewReader(c.body))
				r.Header["Authorization"] = []string{"Bearer " + restToken}
				r.Header["Upstash-Encoding"] = []string{"base64"}
				w := httptest.NewRecorder()
				if h.ServeHTTP(w, r); w.Code != http.StatusOK {
					b.Fatal(w.Body)
				}
			}
		})
	}
}
