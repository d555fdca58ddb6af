package server

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// exhausted is a listener of a process without file descriptors.
type exhausted struct {
	net.Listener
	accepts int
}

func (l *exhausted) Accept() (net.Conn, error) {
	l.accepts++
	return nil, errors.New("too many open files")
}

func TestAcceptFailuresAreRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		s := &Server{log: slog.New(slog.NewTextHandler(&logged, nil)), stop: make(chan struct{})}
		l := &exhausted{}
		ended := make(chan struct{})
		go func() {
			s.accept(l)
			close(ended)
		}()
		time.Sleep(20 * time.Second) // of the bubble's clock
		synctest.Wait()
		s.closeEntry()
		close(s.stop)
		<-ended
		lines := bytes.Count(logged.Bytes(), []byte("\n"))
		if lines < 10 || lines > 21 {
			t.Errorf("%d lines logged in 20 s", lines)
		}
		if l.accepts > 30 {
			t.Errorf("tried %d times in 20 s", l.accepts)
		}
	})
}

func TestNobodyEntersWhileDraining(t *testing.T) {
	s := &Server{}
	if !s.enter() {
		t.Fatal("the first was not let in")
	}
	s.conns.Done()
	s.closeEntry()
	if s.enter() {
		t.Error("entered a server that drains")
	}
	s.conns.Wait()
}

// Clients over HTTP take no file of the others, nor of the log.
func TestFilesOfTwoDoors(t *testing.T) {
	for _, cfg := range []Config{{HTTPPort: 1}, {HTTPTLSPort: -1}} {
		if n := cfg.clientFiles(2000); 2*n+reservedFiles > 2000 || n < 900 {
			t.Errorf("%d clients at each door with 2000 files", n)
		}
	}
	if n := (&Config{}).clientFiles(2000); n != 2000-reservedFiles {
		t.Errorf("%d clients at the only door", n)
	}
}
