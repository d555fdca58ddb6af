package server

import (
	"net/http"
	"sync"
	"time"

	"crema/server/gateway"
)

const (
	readyFor    = 250 * time.Millisecond // an answer is good for so long: anybody may ask
	readyWithin = 2 * time.Second        // and is waited for so long
)

// readiness is the answer to /readyz. Whoever asks while somebody else does
// waits for the same answer, so strangers cost the leader four questions a second.
type readiness struct {
	mu     sync.Mutex // guards what follows; taken after no other lock
	reason string     // empty: ready
	at     time.Time
	asking chan struct{} // closed when there is an answer; nil: nobody asks
}

// serveAlive is /healthz: the process answers. It says nothing of leaders, so
// that nobody restarts a node because another one is down.
func (s *Server) serveAlive(w http.ResponseWriter, _ *http.Request, _ gateway.User) {
	answerProbe(w, http.StatusOK, `{"status":"ok"}`)
}

// serveReady is /readyz: clients may be sent here. There is a leader that answers,
// and what it has committed is here, as CREMA HEALTH says.
func (s *Server) serveReady(w http.ResponseWriter, _ *http.Request, _ gateway.User) {
	reason := s.unready()
	if reason == "" {
		answerProbe(w, http.StatusOK, `{"status":"ready"}`)
		return
	}
	body := gateway.AppendJSONString([]byte(`{"status":"unavailable","reason":`), []byte(reason))
	answerProbe(w, http.StatusServiceUnavailable, string(body)+"}")
}

func answerProbe(w http.ResponseWriter, code int, body string) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	w.Write([]byte(body + "\n")) // the client is gone, or reads it
}

// unready is why clients should not be sent here, "" if they may be.
func (s *Server) unready() string {
	select {
	case <-s.stop:
		return "the server is shutting down"
	default:
	}
	if s.cluster == nil {
		return ""
	}
	r := &s.readiness
	r.mu.Lock()
	if !r.at.IsZero() && time.Since(r.at) < readyFor {
		defer r.mu.Unlock()
		return r.reason
	}
	if r.asking == nil {
		r.asking = make(chan struct{})
		go s.askReady() // ends with the call to the leader, which a broken link ends
	}
	asking := r.asking
	r.mu.Unlock()
	timer := time.NewTimer(readyWithin)
	defer timer.Stop()
	select {
	case <-asking:
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.reason
	case <-timer.C:
		return "the leader does not answer"
	}
}

func (s *Server) askReady() {
	reason := ""
	if reply := s.health(); reply.IsError() {
		reason = string(reply.Bytes)
	}
	r := &s.readiness
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reason, r.at = reason, time.Now()
	close(r.asking)
	r.asking = nil
}
