package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"time"
)

// certificates keeps the TLS configuration of files that may be replaced while
// the server runs. A handshake that finds a file's time changed reads all of
// them again; if they do not fit together (one is replaced after the other),
// the old ones stay in force.
type certificates struct {
	certFile, keyFile, caFile string
	auth                      string // tls-auth-clients: no, optional or yes

	mu     sync.Mutex // guards what follows
	loaded *tls.Config
	times  [3]time.Time
}

// config is tls.Config.GetConfigForClient.
func (cs *certificates) config(*tls.ClientHelloInfo) (*tls.Config, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	times := cs.fileTimes()
	if cs.loaded != nil && times == cs.times {
		return cs.loaded, nil
	}
	fresh, err := cs.load()
	if err != nil {
		if cs.loaded != nil {
			return cs.loaded, nil
		}
		return nil, err
	}
	cs.loaded, cs.times = fresh, times
	return fresh, nil
}

func (cs *certificates) fileTimes() (times [3]time.Time) {
	for i, file := range []string{cs.certFile, cs.keyFile, cs.caFile} {
		if info, err := os.Stat(file); err == nil {
			times[i] = info.ModTime()
		}
	}
	return times
}

func (cs *certificates) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(cs.certFile, cs.keyFile)
	if err != nil {
		return nil, fmt.Errorf("load TLS certificate: %w", err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if cs.auth == "no" {
		return config, nil
	}
	pem, err := os.ReadFile(cs.caFile)
	if err != nil {
		return nil, fmt.Errorf("load TLS CA certificate: %w", err)
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("load TLS CA certificate: no certificate in %s", cs.caFile)
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	if cs.auth == "optional" {
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return config, nil
}
