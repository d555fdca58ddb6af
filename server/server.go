package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"crema/resp"
	"crema/server/gateway"
	"crema/store"
)

// Server is one crema. Make it with New, run it with Serve, end it with
// Shutdown. A program may hold any number of them.
type Server struct {
	cfg      Config
	log      *slog.Logger
	store    *store.Store
	table    *table
	users    *users
	clients  *clients
	pubsub   *pubsub
	tracking *tracking
	scripts  *scripts
	transfer transfer     // CREMA SAVE and LOAD
	maxTx    atomic.Int64 // bytes that a script or a transaction may have written before it ends
	started  time.Time

	cluster  Cluster // nil: what is applied is all there is
	peers    *peers
	relay    *relay
	sessions *sessions // what other nodes' clients WATCH here
	proxies  sync.Pool // of *conn: they evaluate what other nodes send

	live     atomic.Pointer[settings]
	changing sync.Mutex // one CONFIG SET at a time
	logLevel *slog.LevelVar

	monitors monitors
	pause    pause
	slowlog  slowlog
	latency  latencyEvents
	stats    serverStats
	rates    rates

	http      *gateway.Gateway // nil: no HTTP port
	door      *httpDoor        // behind it
	readiness readiness
	authLog   seldom // failed authentications
	listeners []net.Listener
	pollers   []*poller      // none where commands wait for other nodes
	relieved  atomic.Int32   // turns that have lasted too long for a poller, and last
	conns     sync.WaitGroup // what enter let in: connections served, commands of in-process doors
	entry     sync.RWMutex   // taken to enter; while it is locked draining becomes true
	draining  atomic.Bool
	stop      chan struct{} // closed when somebody asks the server to end
	stopOnce  sync.Once

	resignOnce, closeOnce sync.Once // of the cluster; of the store and the cluster
}

// New makes a server and opens its sockets, so that Addr is known and a port
// that is taken is reported here. Nothing is answered before Serve.
func New(cfg Config) (*Server, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	set, err := cfg.settings()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg:      cfg,
		started:  time.Now(),
		users:    newUsers(cfg.Users, cfg.RequirePass),
		clients:  newClients(),
		scripts:  newScripts(),
		sessions: newSessions(),
		logLevel: new(slog.LevelVar),
		stop:     make(chan struct{}),
	}
	s.maxTx.Store(maxTxBytes)
	s.log = cfg.logger(s.logLevel)
	if files := cfg.clientFiles(availableFiles()); set.maxClients > files && files > 0 {
		s.log.Warn("maxclients lowered to what the limit of open files allows", "maxclients", files)
		set.maxClients = files
	}
	s.pubsub = newPubsub(s)
	if s.pubsub.histories, err = newHistories(s); err != nil {
		return nil, err
	}
	s.peers = newPeers(s)
	s.relay = newRelay(s)
	s.stats.errors = map[string]int64{}
	s.table = newTable(allRows()...)
	s.scripts.engine.Recognise(s.table.recognise)
	s.live.Store(&set)
	s.store = store.New(store.Config{
		MaxMemory: set.maxMemory,
		Policy:    set.policy,
		Pin:       matchAny(cfg.Pin),
		Cache:     matchAny(cfg.Cache),
		BusyAfter: set.busyAfter,

		MaxValueBytes: set.limits.MaxBulkBytes,
		Now:           s.wallClock,
		Commit:        s.commitOwn,
	})
	s.tracking = newTracking(s.store)
	s.change(func(*settings) {})
	if cfg.OpenLog != nil {
		s.store.SetActiveExpire(false) // what has expired meanwhile is deleted through the log
		s.scripts.share(s.tellScript)
		if s.cluster, err = cfg.OpenLog(s.store, s.peers, s.log); err == nil {
			s.relay.open(s.cluster)
		}
		close(s.peers.opened)
		if err != nil {
			s.store.Close()
			return nil, err
		}
		s.store.SetActiveExpire(true)
	}
	if s.cluster == nil {
		if s.pollers, err = newPollers(); err != nil {
			return nil, errors.Join(err, s.closeStore())
		}
	}
	s.pubsub.histories.open()
	if err := s.listen(); err != nil {
		return nil, errors.Join(err, s.closeStore())
	}
	if err := s.openHTTP(); err != nil {
		for _, l := range s.listeners {
			l.Close()
		}
		return nil, errors.Join(err, s.closeStore())
	}
	return s, nil
}

// closeStore ends the log, so that nobody waits for it any more, and the store.
func (s *Server) closeStore() (err error) {
	s.closeOnce.Do(func() {
		s.relay.close()
		s.pubsub.histories.close()
		for _, p := range s.pollers {
			p.close()
		}
		if s.cluster != nil {
			err = s.cluster.Close()
		}
		s.store.Close()
	})
	return err
}

// clientFiles is how many clients there is room for. Each of two doors may have as
// many, or strangers at the one would leave none to the other, nor to the log.
func (cfg *Config) clientFiles(all int) int {
	if cfg.HTTPPort != 0 || cfg.HTTPTLSPort != 0 {
		all /= 2
	}
	return all - reservedFiles
}

// reservedFiles are for everything that is not a client.
const reservedFiles = 32

// allRows is the command table, family by family.
func allRows() [][]command {
	return [][]command{
		sessionRows(), clientRows(), commandRows(),
		stringRows(), numberRows(), lcsRows(), keyRows(), expireRows(), scanRows(), databaseRows(), objectRows(),
		pubsubRows(), monitorRows(), transactionRows(), scriptRows(),
		aclRows(), configRows(), infoRows(), slowlogRows(), latencyRows(), memoryRows(), adminRows(), cremaRows(),
	}
}

// matchAny is a test for keys that match one of the globs; nil if there is none.
func matchAny(globs []string) func([]byte) bool {
	if len(globs) == 0 {
		return nil
	}
	return func(key []byte) bool {
		for _, g := range globs {
			if resp.Match([]byte(g), key, false) {
				return true
			}
		}
		return false
	}
}

// Serve answers clients until ctx ends, Shutdown is called or a client sends
// SHUTDOWN; then it drains as Shutdown does and returns nil. It is called once.
func (s *Server) Serve(ctx context.Context) error {
	background, cancel := context.WithCancel(context.WithoutCancel(ctx)) // while it drains, too
	defer cancel()
	go s.cron(background)
	failed := make(chan error, len(s.listeners)+1)
	for _, l := range s.listeners {
		go func() { failed <- s.accept(l) }()
	}
	if s.http != nil {
		go func() { failed <- s.http.Serve() }()
	}
	var err error
	select {
	case <-ctx.Done():
	case <-s.stop:
	case err = <-failed:
	}
	grace, done := context.WithTimeout(context.Background(), s.cfg.ShutdownGrace)
	defer done()
	s.Shutdown(grace) // whom it had to cut off it has logged
	return err
}

// requestShutdown makes Serve return.
func (s *Server) requestShutdown() { s.stopOnce.Do(func() { close(s.stop) }) }

// Shutdown stops accepting, has another node lead, lets every connection finish
// what it has read, and closes what is still open when ctx ends. It may be called
// repeatedly.
func (s *Server) Shutdown(ctx context.Context) error {
	s.requestShutdown()
	for _, l := range s.listeners {
		l.Close()
	}
	httpEnded := make(chan struct{})
	go func() {
		defer close(httpEnded)
		s.drainHTTP(ctx)
	}()
	s.pause.end()
	s.resign(ctx)
	awaitRequests(ctx, httpEnded)
	s.closeEntry()
	s.clients.each((*conn).stopReading)
	drained := make(chan struct{})
	go func() {
		s.conns.Wait()
		<-httpEnded
		close(drained)
	}()
	err := s.drain(ctx, drained)
	return errors.Join(err, s.closeStore())
}

// resign has another node lead before the connections end, so that what they
// still ask is answered there.
func (s *Server) resign(ctx context.Context) {
	if s.cluster == nil {
		return
	}
	s.resignOnce.Do(func() {
		ctx, done := context.WithTimeout(ctx, resignGrace)
		defer done()
		s.cluster.Resign(ctx)
		s.peers.awaitQuiet(ctx)
	})
}

// What Shutdown allows for, beside its context.
const (
	resignGrace = 3 * time.Second // how long another node may take to lead
	scriptGrace = time.Second     // how long a running script may go on
	cutGrace    = time.Second     // how long a connection may take to notice that it was cut
)

// drain waits for the connections to end: scripts are stopped early, so that
// their clients are told, and who is still there when ctx ends is cut off.
func (s *Server) drain(ctx context.Context, drained <-chan struct{}) error {
	script := time.NewTimer(scriptGrace)
	defer script.Stop()
	for {
		select {
		case <-drained:
			return nil
		case <-script.C:
			s.scripts.close()
			continue
		case <-ctx.Done():
		}
		break
	}
	s.scripts.close()
	cut := 0
	s.clients.each(func(c *conn) {
		c.close()
		cut++
	})
	s.log.Warn("cut off clients that did not finish in time", "clients", cut)
	timer := time.NewTimer(cutGrace)
	defer timer.Stop()
	select {
	case <-drained:
	case <-timer.C:
	}
	return fmt.Errorf("drain connections: %w", ctx.Err())
}

// Addr is where TCP clients connect: host:port, the first one bound.
func (s *Server) Addr() string {
	for _, l := range s.listeners {
		if a, ok := l.Addr().(*net.TCPAddr); ok {
			return a.String()
		}
	}
	return ""
}

// logger is the configured logger, or one that says nothing.
func (cfg *Config) logger(level *slog.LevelVar) *slog.Logger {
	if cfg.LogHandler == nil {
		return slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return slog.New(cfg.LogHandler(level))
}

// TLSAddr is where TLS clients connect, empty if there is no such port.
func (s *Server) TLSAddr() string {
	for _, l := range s.listeners {
		if t, ok := l.(*tlsListener); ok {
			return t.Addr().String()
		}
	}
	return ""
}
