package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What docs/cluster.md tells an operator to do when something is gone.

// A node that has lost its disk is started as before, and gets everything back.
func TestLostDisk(t *testing.T) {
	nodes := three(t)
	talk(t, nodes[0].client, "SET lock token NX PX 1000000")
	lost := leader(t, nodes[0], nodes)
	lost.kill()
	if err := os.RemoveAll(lost.dir); err != nil {
		t.Fatal(err)
	}
	lost.run(t)
	healthy(t, nodes...)
	eventually(t, func() (bool, string) {
		code, out := nodes[0].crema("cluster", "status")
		return code == exitOK && strings.Count(out, "voter") == 2, out
	})
	sameState(t, nodes)
	// What it has now counts: another may go.
	rest := others(nodes, lost)
	rest[0].kill()
	eventually(t, func() (bool, string) {
		got := talk(t, lost.client, "GET lock")
		return got == "$5\r\ntoken\r\n+OK\r\n", got
	})
}

// A node comes back under another address, of which only itself is told.
func TestNewAddress(t *testing.T) {
	nodes := three(t)
	n3 := nodes[2]
	n3.stop(t)
	n3.peer, n3.client = freeAddr(t), freeAddr(t)
	n3.flags = []string{"--peers", peersOf(nodes...)}
	n3.run(t)
	healthy(t, nodes...)
	for _, n := range nodes {
		eventually(t, func() (bool, string) {
			code, out := n.crema("cluster", "status")
			return code == exitOK && strings.Contains(out, n3.peer) && strings.Contains(out, n3.client), out
		})
	}
	// The others know it still when they have been away.
	for _, n := range nodes[:2] {
		n.stop(t)
		n.run(t)
		healthy(t, n)
	}
	sameState(t, nodes)
}

// Two of three are gone for good. The one that is left goes on alone, with all
// that was acknowledged, and new ones join it.
func TestLostMajority(t *testing.T) {
	nodes := three(t)
	for i := range 100 {
		if got := talk(t, nodes[i%3].client, fmt.Sprintf("SET k:%d v", i)); !strings.HasPrefix(got, "+OK") {
			t.Fatalf("answered %q", got)
		}
	}
	sameState(t, nodes)
	for _, n := range nodes {
		n.kill()
	}
	left := nodes[0]
	if err := os.WriteFile(filepath.Join(left.dir, "peers.json"), fmt.Appendf(nil, `[{"id": "n1", "address": %q, "non_voter": false}]`, left.peer), 0o600); err != nil {
		t.Fatal(err)
	}
	left.flags = []string{"--peers", peersOf(left)}
	left.run(t)
	healthy(t, left)
	if got := talk(t, left.client, "DBSIZE", "SET k:100 v"); got != ":100\r\n+OK\r\n+OK\r\n" {
		t.Errorf("answered %q", got)
	}
	fresh := newNodes(t, "n4", "n5")
	for _, n := range fresh {
		n.flags = []string{"--join", left.peer, "--cluster-announce", n.peer + "@" + n.client}
		n.run(t)
	}
	all := append(fresh, left)
	healthy(t, all...)
	eventually(t, func() (bool, string) {
		code, out := left.crema("cluster", "status")
		return code == exitOK && strings.Count(out, "voter") == 2, out
	})
	sameState(t, all)
	left.kill()
	eventually(t, func() (bool, string) {
		got := talk(t, fresh[0].client, "DBSIZE")
		return got == ":101\r\n+OK\r\n", "without the one that was left: " + got
	})
}

// One durable node becomes one of two.
func TestGrowFromOne(t *testing.T) {
	n1 := newNodes(t, "n1")[0]
	n1.run(t) // alone, as with --data-dir only
	talk(t, n1.client, "SET k v")
	n1.stop(t)
	n1.flags = []string{"--peers", peersOf(n1)}
	n1.run(t)
	healthy(t, n1)
	n2 := newNodes(t, "n2")[0]
	n2.flags = []string{"--join", n1.peer, "--cluster-announce", n2.peer + "@" + n2.client}
	n2.run(t)
	healthy(t, n1, n2)
	if got := talk(t, n2.client, "GET k"); got != "$1\r\nv\r\n+OK\r\n" {
		t.Errorf("n2 answered %q", got)
	}
	sameState(t, []*testNode{n1, n2})
}

// With --cluster-tls nodes show each other certificates of their CA, and who has
// none of it stays outside.
func TestClusterTLS(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	certificates(t, dir)
	certificates(t, other)
	files := func(dir string) []string {
		return []string{"--cluster-tls", "yes", "--tls-cert-file", filepath.Join(dir, "node.crt"), "--tls-key-file",
			filepath.Join(dir, "node.key"), "--tls-ca-cert-file", filepath.Join(dir, "ca.crt")}
	}
	nodes := three(t, files(dir)...)
	if got := talk(t, nodes[0].client, "SET k v"); !strings.HasPrefix(got, "+OK") {
		t.Errorf("answered %q", got)
	}
	n3 := nodes[2]
	for _, flags := range [][]string{files(other), nil} {
		n3.stop(t)
		n3.flags = append([]string{"--peers", peersOf(nodes...)}, flags...)
		n3.run(t)
		eventually(t, func() (bool, string) { return strings.Contains(n3.log.String(), "level=WARN"), n3.log.String() })
		if code, out := n3.crema("check"); code != exitFailed {
			t.Errorf("with %q the check ended with %d: %s", flags, code, out)
		}
	}
	healthy(t, nodes[:2]...)
}

// certificates makes a CA and one certificate of it, for 127.0.0.1, in files.
func certificates(t testing.TB, dir string) {
	t.Helper()
	write := func(name, kind string, der []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	sign := func(template, parent *x509.Certificate, of, by *ecdsa.PrivateKey) []byte {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, of.Public(), by)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	caKey, nodeKey := key(), key()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	write("ca.crt", "CERTIFICATE", sign(ca, ca, caKey, caKey))
	node := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	write("node.crt", "CERTIFICATE", sign(node, ca, nodeKey, caKey))
	der, err := x509.MarshalPKCS8PrivateKey(nodeKey)
	if err != nil {
		t.Fatal(err)
	}
	write("node.key", "PRIVATE KEY", der)
}
