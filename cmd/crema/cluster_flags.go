package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

const (
	maxNodeID = 64 // bytes
	maxPeers  = 15 // a change has to reach most of them
)

// clusterFlags is what the flags say about the cluster.
type clusterFlags struct {
	dataDir     string
	nodeID      string
	port        int // where this node listens; 0 = the port of its own address
	peers       []member
	join        string
	announce    string // HOST:PORT[@HOST:PORT]
	secret      string
	tls         bool
	consistency string
}

// member is one node of --peers.
type member struct{ id, peer, client string }

// settings are the flags that fill f in.
func (f *clusterFlags) settings() []setting {
	text := func(to *string) func(string) error {
		return func(s string) error { *to = s; return nil }
	}
	return []setting{
		{"data-dir", "directory that keeps pinned keys through a restart (default none: memory only)", false, text(&f.dataDir)},
		{"node-id", "this node's name in the cluster, such as n1", false, func(s string) error {
			f.nodeID = s
			return checkNodeID(s)
		}},
		{"cluster-port", "TCP port for the other nodes (default the one of this node in --peers)", false, func(s string) (err error) {
			if f.port, err = parsePort(s); err == nil && f.port == 0 {
				err = errors.New("the other nodes have to know the port: it cannot be any free one")
			}
			return err
		}},
		{"peers", "n1=HOST:PORT[@HOST:PORT],… every node: where nodes reach it, @ where clients do", false, func(s string) (err error) {
			f.peers, err = parsePeers(s)
			return err
		}},
		{"join", "HOST:PORT of a node whose cluster this one is to join", false, func(s string) (err error) {
			f.join, err = parseAddress(s)
			return err
		}},
		{"cluster-announce", "HOST:PORT[@HOST:PORT] of this node, where it is not in --peers", false, func(s string) error {
			_, _, err := parseAddresses(s)
			f.announce = s
			return err
		}},
		{"cluster-secret", "what the nodes of the cluster have in common and nobody else", false, text(&f.secret)},
		{"cluster-tls", "yes or no: nodes show each other the certificates of --tls-…-file (default no)", false, func(s string) (err error) {
			f.tls, err = parseYesNo(s)
			return err
		}},
		{"read-consistency", "linearizable, lease or local: what reads wait for (default linearizable)", false, func(s string) error {
			switch s {
			case "linearizable", "lease", "local":
				f.consistency = s
				return nil
			}
			return fmt.Errorf("%q is none of linearizable, lease and local", s)
		}},
	}
}

// clustered tells whether there are, or may come to be, other nodes.
func (f *clusterFlags) clustered() bool { return len(f.peers) > 0 || f.join != "" || f.announce != "" }

// complete finds contradictions, and puts this node into peers if it is not
// there. clientPort is where this node's clients connect.
func (f *clusterFlags) complete(clientPort int) error {
	if f.dataDir == "" {
		for _, given := range []struct {
			flag string
			is   bool
		}{
			{"node-id", f.nodeID != ""}, {"cluster-port", f.port != 0}, {"peers", len(f.peers) > 0}, {"join", f.join != ""},
			{"cluster-announce", f.announce != ""}, {"cluster-secret", f.secret != ""}, {"cluster-tls", f.tls},
			{"read-consistency", f.consistency != ""},
		} {
			if given.is {
				return fmt.Errorf("--%s needs a --data-dir: without one nothing is replicated", given.flag)
			}
		}
		return nil
	}
	if !f.clustered() {
		for _, given := range []struct {
			flag string
			is   bool
		}{{"cluster-port", f.port != 0}, {"cluster-secret", f.secret != ""}, {"cluster-tls", f.tls}} {
			if given.is {
				return fmt.Errorf("--%s needs --peers, --join or --cluster-announce: alone there is nobody to talk to", given.flag)
			}
		}
		return nil
	}
	if f.nodeID == "" {
		return errors.New("--peers, --join and --cluster-announce need a --node-id: which of the nodes is this one?")
	}
	return f.findSelf(clientPort)
}

// findSelf makes this node's own addresses known: they stand in peers, or are
// announced.
func (f *clusterFlags) findSelf(clientPort int) error {
	self := f.self()
	switch {
	case self == nil && len(f.peers) > 0:
		return fmt.Errorf("--peers names no node %s, which --node-id says this is", f.nodeID)
	case self == nil && f.announce == "":
		return errors.New("--join needs a --cluster-announce HOST:PORT@HOST:PORT: where the others, and clients, reach this node")
	case self == nil:
		f.peers = []member{{id: f.nodeID}}
		self = &f.peers[0]
	case f.join != "" && len(f.peers) > 1:
		return errors.New("--join and --peers with other nodes exclude each other: the cluster that is joined says who they are")
	}
	if f.announce != "" {
		self.peer, self.client, _ = parseAddresses(f.announce)
	}
	for i := range f.peers {
		if p := &f.peers[i]; p.client == "" { // as with equal nodes on several machines
			host, _, _ := net.SplitHostPort(p.peer)
			p.client = net.JoinHostPort(host, strconv.Itoa(clientPort))
		}
	}
	if f.port == 0 {
		_, port, _ := net.SplitHostPort(self.peer)
		f.port, _ = strconv.Atoi(port)
	}
	if f.join == self.peer {
		return errors.New("--join names this node itself: it takes the address of one that is in the cluster")
	}
	return nil
}

// self is this node among peers, nil if it is not there.
func (f *clusterFlags) self() *member {
	for i := range f.peers {
		if f.peers[i].id == f.nodeID {
			return &f.peers[i]
		}
	}
	return nil
}

// listen is the address of the cluster port: on every interface, but for a node
// that others can only reach from its own machine.
func (f *clusterFlags) listen() string {
	host := ""
	if self := f.self().peer; loopback(self) {
		host, _, _ = net.SplitHostPort(self)
	}
	return net.JoinHostPort(host, strconv.Itoa(f.port))
}

// parsePeers reads n1=HOST:PORT[@HOST:PORT],n2=…
func parsePeers(s string) ([]member, error) {
	var peers []member
	ids, addresses := map[string]bool{}, map[string]string{}
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		id, where, ok := strings.Cut(part, "=")
		if !ok {
			return nil, fmt.Errorf("%q is not ID=HOST:PORT or ID=HOST:PORT@HOST:PORT", part)
		}
		if err := checkNodeID(id); err != nil {
			return nil, err
		}
		peer, client, err := parseAddresses(where)
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", id, err)
		}
		if ids[id] {
			return nil, fmt.Errorf("node %s is given twice", id)
		}
		if other := addresses[peer]; other != "" {
			return nil, fmt.Errorf("nodes %s and %s have the same address %s", other, id, peer)
		}
		ids[id], addresses[peer] = true, id
		peers = append(peers, member{id, peer, client})
	}
	if len(peers) > maxPeers {
		return nil, fmt.Errorf("%d nodes are more than %d", len(peers), maxPeers)
	}
	return peers, nil
}

// parseAddresses reads HOST:PORT[@HOST:PORT]; client is "" without the second.
func parseAddresses(s string) (peer, client string, err error) {
	first, second, both := strings.Cut(s, "@")
	if peer, err = parseAddress(first); err != nil || !both {
		return peer, "", err
	}
	client, err = parseAddress(second)
	return peer, client, err
}

// parseAddress wants a host and a port that others can connect to.
func parseAddress(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if n, bad := strconv.Atoi(port); err != nil || bad != nil || n < 1 || n > 65535 || host == "" || strings.ContainsAny(host, " \t/") {
		return "", fmt.Errorf("%q is not HOST:PORT", s)
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return "", fmt.Errorf("%q is no address that others can connect to", s)
	}
	return s, nil
}

func checkNodeID(id string) error {
	bad := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r))
	}
	if id == "" || len(id) > maxNodeID || strings.ContainsFunc(id, bad) {
		return fmt.Errorf("a node id has 1 to %d letters, digits, dots, dashes and underscores: not %.80q", maxNodeID, id)
	}
	return nil
}

// loopback tells whether only this machine can connect to an address.
func loopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
