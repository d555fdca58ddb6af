package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"
)

// authority makes certificates for 127.0.0.1.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

// config is mutual TLS with a certificate of a that believes trust.
func (a *authority) config(t *testing.T, trust *authority) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test node"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(trust.cert)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		RootCAs:      pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}
}

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	n1, n2 := pair(t, []option{withTLS(a.config(t, a))}, []option{withTLS(a.config(t, a))})
	request := make([]byte, 1<<20)
	for from, to := range map[*node]string{n1: "n2", n2: "n1"} {
		if answer, err := from.Call(soon(t), to, request); err != nil || len(answer) != len(request) {
			t.Errorf("%v, %d bytes", err, len(answer))
		}
	}
	if _, err := n1.CallAdmin(soon(t), n2.Addr().String(), []byte("status")); err != nil {
		t.Error(err)
	}
}

func TestTLSOfSomebodyElse(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	for name, opts := range map[string][]option{
		"certificate of another authority": {withTLS(theirs.config(t, ours))},
		"belief in another authority":      {withTLS(ours.config(t, theirs))},
		"no TLS":                           nil,
	} {
		t.Run(name, func(t *testing.T) {
			tn := newTown()
			n1, n2 := tn.open(t, "n1", opts...), tn.open(t, "n2", withTLS(ours.config(t, ours)))
			n1.SetPeers([]string{"n2"})
			awaitThat(t, "both say so", func() bool {
				return n1.log.count("no link to peer") == 1 && n2.log.count("refused a connection") == 1
			})
			if n1.Linked("n2") {
				t.Error("linked")
			}
		})
	}
}
