package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"crema/server/gateway"
)

// httpRESTUser and httpReadOnlyUser are whom the two tokens of the command line
// stand for.
func httpRESTUser() *user     { return &user{name: defaultUser, noPass: true} }
func httpReadOnlyUser() *user { return &user{name: "readonly", readOnly: true, noWalk: true} }

// completeHTTP fills in what is missing and refuses contradictions.
func (cfg *Config) completeHTTP() error {
	if len(cfg.HTTPBind) == 0 {
		cfg.HTTPBind = []string{"127.0.0.1"}
	}
	if cfg.HTTPTLSPort != 0 && (cfg.TLSCertFile == "" || cfg.TLSKeyFile == "") {
		return fmt.Errorf("http-tls-port needs tls-cert-file and tls-key-file")
	}
	if cfg.HTTPPort == 0 && cfg.HTTPTLSPort == 0 {
		if cfg.RESTToken != "" || cfg.RESTReadonlyToken != "" || cfg.EventsSecret != "" {
			return fmt.Errorf("rest-token, rest-readonly-token and events-secret need an http-port")
		}
		if cfg.MetricsOpen || cfg.Pprof {
			return fmt.Errorf("metrics-open and pprof need an http-port")
		}
		return nil
	}
	if n := len(cfg.EventsSecret); n > 0 && n < gateway.MinSecretBytes {
		return fmt.Errorf("events-secret must have %d bytes or more", gateway.MinSecretBytes)
	}
	if cfg.RESTToken != "" && cfg.RESTToken == cfg.RESTReadonlyToken {
		return fmt.Errorf("rest-token and rest-readonly-token must differ")
	}
	if cfg.RESTToken == "" {
		cfg.RESTToken = randomToken()
	}
	return nil
}

// openHTTP opens the HTTP door, if there is to be one.
func (s *Server) openHTTP() error {
	if s.cfg.HTTPPort == 0 && s.cfg.HTTPTLSPort == 0 {
		return nil
	}
	s.door = &httpDoor{s: s, doFor: httpDoFor, tokens: restTokens{
		all:      newRESTToken(s.cfg.RESTToken, httpRESTUser()),
		readOnly: newRESTToken(s.cfg.RESTReadonlyToken, httpReadOnlyUser()),
	}}
	cfg := gateway.Config{
		Door:       s.door,
		Bind:       s.cfg.HTTPBind,
		Port:       s.cfg.HTTPPort,
		TLSPort:    s.cfg.HTTPTLSPort,
		MaxConns:   s.maxHTTPConns,
		MaxStreams: s.maxStreams,
		Routes:     s.httpRoutes(),
		Log:        s.log,

		EventsSecret: []byte(s.cfg.EventsSecret),
	}
	if s.pubsub.histories != nil {
		cfg.Histories = s.pubsub.histories
	}
	if s.cfg.HTTPTLSPort != 0 {
		// Tokens say who a client is: none is asked for a certificate.
		certs := &certificates{certFile: s.cfg.TLSCertFile, keyFile: s.cfg.TLSKeyFile, auth: "no"}
		if _, err := certs.config(nil); err != nil {
			return err
		}
		cfg.TLS = &tls.Config{
			MinVersion: tls.VersionTLS12,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				loaded, err := certs.config(nil)
				if err != nil {
					return nil, err
				}
				return &loaded.Certificates[0], nil
			},
		}
	}
	var err error
	s.http, err = gateway.New(cfg)
	return err
}

// maxHTTPConns is what other clients leave of maxclients. A few are always let
// in: whoever looks at a full server comes over HTTP.
func (s *Server) maxHTTPConns() int {
	others := s.clients.count() - int(s.http.Stats.Streams.Load()) // a stream is a client and has a connection
	return max(s.settings().maxClients-others, leastHTTPConns)
}

const leastHTTPConns = 16

// maxStreams leaves an eighth of maxclients to clients that are no streams: who
// holds a browser's token must not keep the application out.
func (s *Server) maxStreams() int {
	most := s.settings().maxClients
	return most - (most+7)/8
}

// httpRoutes are the paths that the server itself answers.
func (s *Server) httpRoutes() []gateway.Route {
	routes := []gateway.Route{
		{Methods: "GET HEAD", Path: "/metrics", Access: gateway.Anybody, Serve: s.newMetrics().serve},
		{Methods: "GET HEAD", Path: "/healthz", Access: gateway.Anybody, Serve: s.serveAlive},
		{Methods: "GET HEAD", Path: "/readyz", Access: gateway.Anybody, Serve: s.serveReady},
	}
	if s.cfg.Pprof {
		routes = append(routes, gateway.Route{Methods: "GET HEAD POST", Path: pprofPath + "*", Access: gateway.Anybody, Serve: s.servePprof})
	}
	return routes
}

// awaitRequests lets requests that are under way enter, for a while: those that
// come behind them find no port.
func awaitRequests(ctx context.Context, ended <-chan struct{}) {
	timer := time.NewTimer(requestGrace)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// requestGrace is how long a request whose body is still on its way may take
// to be let in when the server ends.
const requestGrace = time.Second

// drainHTTP ends streams, waits for requests that are under way and closes the
// ports.
func (s *Server) drainHTTP(ctx context.Context) {
	if s.http != nil {
		s.http.Shutdown(ctx) // whom it had to cut off is not told twice
	}
}

// HTTPAddr is where HTTP clients connect, empty if there is no such port.
func (s *Server) HTTPAddr() string {
	if s.http == nil {
		return ""
	}
	return s.http.Addr()
}

// HTTPTLSAddr is where HTTPS clients connect, empty if there is no such port.
func (s *Server) HTTPTLSAddr() string {
	if s.http == nil {
		return ""
	}
	return s.http.TLSAddr()
}

// RESTToken is the token that may do everything over HTTP: the one that was
// given, or the one that was made up. Empty without an HTTP port.
func (s *Server) RESTToken() string { return s.cfg.RESTToken }
