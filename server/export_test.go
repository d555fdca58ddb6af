package server

import (
	"time"

	"crema/server/gateway"
)

// WatchSessions counts what other nodes' clients watch here.
func (s *Server) WatchSessions() (n int) {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	for _, all := range s.sessions.byNode {
		n += len(all)
	}
	return n
}

// HTTPStats is what the HTTP door counts.
func HTTPStats(s *Server) *gateway.Stats { return &s.http.Stats }

// HTTPHandler answers requests without a port.
func HTTPHandler(s *Server) *gateway.Gateway { return s.http }

// SetHTTPDoFor is how long pipelines may take.
func SetHTTPDoFor(s *Server, d time.Duration) { s.door.doFor = d }

// SetMaxTx is how many bytes a script or a transaction may write.
func SetMaxTx(s *Server, n int64) { s.maxTx.Store(n) }
