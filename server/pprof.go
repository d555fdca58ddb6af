package server

import (
	"net"
	"net/http"
	"net/http/pprof"
	"strings"

	"crema/server/gateway"
)

const pprofPath = "/debug/pprof/"

// servePprof shows profiles to whoever is on this machine and has a token that may
// do everything: they tell of the program, and taking one costs time. The
// command line is not among them, because it may hold passwords.
func (s *Server) servePprof(w http.ResponseWriter, r *http.Request, _ gateway.User) {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !onLoopback(r.RemoteAddr) || local == nil || !onLoopback(local.String()) || forwarded(r.Header) {
		s.http.Fail(w, http.StatusForbidden, "NOPERM profiles are for this machine only")
		return
	}
	if u := s.tokenHolder(r); u == nil || u.readOnly {
		s.http.Unauthorized(w, r)
		return
	}
	switch name := strings.TrimPrefix(r.URL.Path, pprofPath); name {
	case "cmdline":
		s.http.Fail(w, http.StatusNotFound, "ERR the command line is not shown")
	case "profile":
		pprof.Profile(w, r)
	case "symbol":
		pprof.Symbol(w, r)
	case "trace":
		pprof.Trace(w, r)
	default:
		pprof.Index(w, r) // the list, or the profile of that name
	}
}

// forwarded tells whether a proxy on this machine asks for somebody else.
func forwarded(h http.Header) bool {
	return h.Get("Forwarded")+h.Get("X-Forwarded-For")+h.Get("X-Real-Ip")+h.Get("Via") != ""
}

func onLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}
