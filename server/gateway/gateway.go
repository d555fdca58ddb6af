package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"crema/internal/durations"
)

// Limits of one gateway. What a stranger may make it spend is bounded by these
// and by the number of connections.
const (
	maxHeaderBytes = 128 << 10 // the request line included
	maxBodyBytes   = 10 << 20  // of one request
	maxBodiesBytes = 256 << 20 // of all requests at the same time
	maxH2Streams   = 250       // requests at the same time on one HTTP/2 connection

	headerFor = 10 * time.Second  // how long a request's header may take
	readFor   = 60 * time.Second  // header and body
	writeFor  = 120 * time.Second // and the answer
	idleFor   = 3 * time.Minute   // a kept connection without a request is closed
)

// Config says what a gateway is to be.
type Config struct {
	Door    Door
	Bind    []string    // addresses to listen on
	Port    int         // 0: no plain HTTP; negative: any free port
	TLSPort int         // 0: no HTTPS; negative: any free port
	TLS     *tls.Config // of TLSPort

	MaxConns     func() int // connections at the same time
	MaxStreams   func() int // of these, or beside these over HTTP/2, event streams
	Histories    Histories  // nil: there are none
	EventsSecret []byte     // what browsers' tokens are signed with; empty: there are none
	Routes       []Route    // the server's own, beside those of this package
	Log          *slog.Logger
}

// Gateway is the HTTP door of one server.
type Gateway struct {
	cfg   Config
	http  *http.Server
	plain []net.Listener
	tls   []net.Listener

	routes []Route
	byPath Route // of every path that is not among routes

	conns  atomic.Int64
	bodies atomic.Int64 // bytes of request bodies being read or answered
	Stats  Stats

	mu    sync.Mutex            // guards fresh
	fresh map[net.Conn]struct{} // connections that have not sent a request yet

	ending     chan struct{} // closed when streams are to end
	endingOnce sync.Once
	complaints seldom
}

// Stats counts what the gateway does. Everybody may read it.
type Stats struct {
	Requests     atomic.Int64 // all of them
	Failed       atomic.Int64 // answered with a code from 400 on
	Unauthorized atomic.Int64 // of these, 401
	Batches      atomic.Int64 // that went down the road
	Commands     atomic.Int64 // in these
	Refused      atomic.Int64 // connections over the limit
	Panics       atomic.Int64
	BytesIn      atomic.Int64 // of bodies
	BytesOut     atomic.Int64

	Streams        atomic.Int64 // open now
	StreamsBegun   atomic.Int64
	StreamsSlow    atomic.Int64 // dropped because they did not read
	StreamsRefused atomic.Int64 // over the limit
	Messages       atomic.Int64 // written to streams

	Delays durations.Histogram // from a message's At to its having been written, for each stream
}

// New opens the configured ports. Nothing is answered before Serve.
func New(cfg Config) (*Gateway, error) {
	g := &Gateway{cfg: cfg, ending: make(chan struct{}), fresh: map[net.Conn]struct{}{}}
	g.routes = append(g.ownRoutes(), cfg.Routes...)
	g.byPath = Route{anyMethod, "/*", Holders, g.pathCommand}
	g.http = &http.Server{
		Handler:           g,
		ReadHeaderTimeout: headerFor,
		ReadTimeout:       readFor,
		WriteTimeout:      writeFor,
		IdleTimeout:       idleFor,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         g.connState,
		ErrorLog:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug), // what strangers do wrong
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxH2Streams},
		TLSConfig:         cfg.TLS,
	}
	var err error
	if g.plain, err = listen(cfg.Bind, cfg.Port); err == nil {
		g.tls, err = listen(cfg.Bind, cfg.TLSPort)
	}
	if err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

func listen(bind []string, port int) (all []net.Listener, err error) {
	if port == 0 {
		return nil, nil
	}
	port = max(port, 0)
	for _, host := range bind {
		address := net.JoinHostPort(host, strconv.Itoa(port))
		l, err := net.Listen("tcp", address)
		if err != nil {
			for _, l := range all {
				l.Close()
			}
			return nil, fmt.Errorf("listen for HTTP on %s: %w", address, err)
		}
		port = l.Addr().(*net.TCPAddr).Port // "any" means the same one on every address
		all = append(all, l)
	}
	return all, nil
}

// Addr is where HTTP clients connect, empty if there is no such port.
func (g *Gateway) Addr() string { return firstAddr(g.plain) }

// TLSAddr is where HTTPS clients connect, empty if there is no such port.
func (g *Gateway) TLSAddr() string { return firstAddr(g.tls) }

func firstAddr(ls []net.Listener) string {
	if len(ls) == 0 {
		return ""
	}
	return ls[0].Addr().String()
}

// Serve answers requests until Shutdown; its error is a listener's.
func (g *Gateway) Serve() error {
	failed := make(chan error, len(g.plain)+len(g.tls))
	for _, l := range g.plain {
		go func() { failed <- g.http.Serve(l) }()
	}
	for _, l := range g.tls {
		go func() { failed <- g.http.ServeTLS(l, "", "") }()
	}
	for range cap(failed) {
		if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve HTTP: %w", err)
		}
	}
	return nil
}

// Shutdown stops accepting, ends streams with a hint to come back, and waits for
// requests that are under way until ctx ends. Then it cuts off who is left.
func (g *Gateway) Shutdown(ctx context.Context) error {
	g.endingOnce.Do(func() { close(g.ending) })
	g.mu.Lock()
	for sock := range g.fresh { // net/http would wait for their requests
		sock.Close()
	}
	g.mu.Unlock()
	err := g.http.Shutdown(ctx)
	return errors.Join(err, g.Close())
}

// Close closes every port and connection.
func (g *Gateway) Close() error {
	for _, ls := range [][]net.Listener{g.plain, g.tls} {
		for _, l := range ls {
			l.Close() // Serve may not have been called; a second time is harmless
		}
	}
	return g.http.Close()
}

// connState counts connections, and closes those over the limit before they
// have said anything.
func (g *Gateway) connState(sock net.Conn, state http.ConnState) {
	g.mu.Lock()
	if state == http.StateNew {
		g.fresh[sock] = struct{}{}
	} else {
		delete(g.fresh, sock)
	}
	g.mu.Unlock()
	switch state {
	case http.StateNew:
		select {
		case <-g.ending: // looked at with sock in fresh: either this closes it or Shutdown does
			sock.Close()
		default:
		}
		if n := g.conns.Add(1); n > int64(g.cfg.MaxConns()) {
			g.Stats.Refused.Add(1)
			sock.Close()
			if g.complaints.allow() {
				g.cfg.Log.Warn("closing an HTTP connection over maxclients", "addr", sock.RemoteAddr().String())
			}
		}
	case http.StateClosed, http.StateHijacked:
		g.conns.Add(-1)
	}
}

// Conns is how many connections there are.
func (g *Gateway) Conns() int64 { return g.conns.Load() }

// seldom lets something be logged once a second: what strangers cause must not
// fill a disk.
type seldom struct{ last atomic.Int64 } // unix s

func (s *seldom) allow() bool {
	now := time.Now().Unix()
	last := s.last.Load()
	return now != last && s.last.CompareAndSwap(last, now)
}
