package server

// WatchSessions counts what other nodes' clients watch here.
func (s *Server) WatchSessions() (n int) {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	for _, all := range s.sessions.byNode {
		n += len(all)
	}
	return n
}
