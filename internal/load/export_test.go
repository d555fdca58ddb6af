package load

// Portable is s as systems without epoll see it.
func Portable(s *Server) *Server {
	p := *s
	p.portable = true
	return &p
}
