package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"crema/cluster"
	"crema/server"
	"crema/store"
)

// wireNode has the server made from cfg be one of the nodes that the flags name.
func wireNode(cfg *server.Config, flags clusterFlags, env func(string) string, stderr io.Writer) (err error) {
	var faults *cluster.Faults
	fixed := cfg.ClockOffset
	offset := func() time.Duration { return fixed }
	if path := env("CREMA_TEST_CONTROL"); path != "" {
		faults = &cluster.Faults{PowerLoss: true}
		if err := watchControl(path, faults, stderr); err != nil {
			return err
		}
		offset = func() time.Duration { return fixed + faults.ClockOffset() }
	}
	clock := cluster.NewClock(offset)
	cfg.Now = clock.Now
	cfg.ReadConsistency = flags.consistency
	node := cluster.Config{Dir: flags.dataDir, NodeID: flags.nodeID, Join: flags.join, Secret: flags.secret, Clock: clock, Faults: faults}
	if flags.clustered() {
		node.Listen = flags.listen()
		for _, p := range flags.peers {
			node.Peers = append(node.Peers, cluster.Member{ID: p.id, Peer: p.peer, Client: p.client})
		}
	}
	if flags.tls {
		if node.TLS, err = nodeTLS(cfg); err != nil {
			return err
		}
	}
	cfg.OpenLog = func(st *store.Store, peer server.Peer, log *slog.Logger) (server.Cluster, error) {
		if node.Listen != "" && node.TLS == nil && node.Secret == "" && !loopback(node.Listen) {
			log.Warn("whoever reaches the cluster port can join the cluster: there is neither --cluster-secret nor --cluster-tls", "listen", node.Listen)
		}
		node := node
		node.Log, node.Handler = log, peer
		n, err := cluster.Open(node, st)
		if err != nil {
			return nil, err // not a nil *Node in an interface
		}
		return n, nil
	}
	return nil
}

var (
	_ server.Members  = (*cluster.Node)(nil) // else the operator's commands are refused
	_ server.Measured = (*cluster.Node)(nil) // else there are no metrics of it
)

// nodeTLS is what the nodes show each other: the files of --tls-…-file. Without
// a --tls-port they are for the nodes alone.
func nodeTLS(cfg *server.Config) (*tls.Config, error) {
	if cfg.TLSCertFile == "" || cfg.TLSKeyFile == "" || cfg.TLSCACertFile == "" {
		return nil, errors.New("--cluster-tls needs --tls-cert-file, --tls-key-file and --tls-ca-cert-file")
	}
	ca, err := readCA(cfg.TLSCACertFile)
	if err != nil {
		return nil, err
	}
	pair := &keyPair{certFile: cfg.TLSCertFile, keyFile: cfg.TLSKeyFile}
	if _, err := pair.current(); err != nil {
		return nil, err
	}
	if cfg.TLSPort == 0 {
		cfg.TLSCACertFile = ""
		if cfg.HTTPTLSPort == 0 {
			cfg.TLSCertFile, cfg.TLSKeyFile = "", ""
		}
	}
	return &tls.Config{
		MinVersion:           tls.VersionTLS12,
		RootCAs:              ca,
		ClientCAs:            ca,
		ClientAuth:           tls.RequireAndVerifyClientCert,
		GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.current() },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair.current() },
	}, nil
}

// keyPair is a certificate whose files may be replaced. If they do not fit
// together, as between two replacements, the old ones stay.
type keyPair struct {
	certFile, keyFile string

	mu     sync.Mutex // guards what follows
	loaded *tls.Certificate
	times  [2]time.Time
}

func (p *keyPair) current() (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var times [2]time.Time
	for i, file := range [...]string{p.certFile, p.keyFile} {
		if info, err := os.Stat(file); err == nil {
			times[i] = info.ModTime()
		}
	}
	if p.loaded != nil && times == p.times {
		return p.loaded, nil
	}
	fresh, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	switch {
	case err == nil:
		p.loaded, p.times = &fresh, times
	case p.loaded == nil:
		return nil, fmt.Errorf("load TLS certificate: %w", err)
	}
	return p.loaded, nil
}
