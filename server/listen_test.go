package server_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"crema/server"
)

// authority is a certificate authority of one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	ca := &authority{dir: t.TempDir()}
	ca.cert, ca.key = ca.sign(t, "test CA", 1)
	writePEM(t, ca.file("ca.pem"), "CERTIFICATE", ca.cert.Raw)
	return ca
}

func (ca *authority) file(name string) string { return filepath.Join(ca.dir, name) }

// sign makes a certificate: of the authority itself while it has none, else by it.
func (ca *authority) sign(t testing.TB, name string, serial int64) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: ca.cert == nil,
	}
	parent, signer := template, key
	if ca.cert != nil {
		parent, signer = ca.cert, ca.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// issue writes name.pem and name.key.
func (ca *authority) issue(t testing.TB, name string, serial int64) {
	t.Helper()
	cert, key := ca.sign(t, name, serial)
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, ca.file(name+".pem"), "CERTIFICATE", cert.Raw)
	writePEM(t, ca.file(name+".key"), "EC PRIVATE KEY", raw)
}

func writePEM(t testing.TB, path, kind string, raw []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// trusting is a client's side of TLS, with a certificate of its own if named.
func (ca *authority) trusting(t testing.TB, own string) *tls.Config {
	t.Helper()
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "127.0.0.1"}
	config.RootCAs.AddCert(ca.cert)
	if own != "" {
		pair, err := tls.LoadX509KeyPair(ca.file(own+".pem"), ca.file(own+".key"))
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config
}

// pingTLS returns the serial number of the server's certificate and its answer to PING.
func pingTLS(addr string, config *tls.Config) (serial int64, text string, err error) {
	sock, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return 0, "", err
	}
	defer sock.Close()
	c := &client{conn: sock, br: bufio.NewReader(sock)}
	text = c.do("PING").text()
	return sock.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), text, nil
}

func TestTLSTakesReplacedCertificates(t *testing.T) {
	ca := newAuthority(t)
	ca.issue(t, "server", 100)
	srv := serving(t, server.Config{TLSPort: -1, TLSCertFile: ca.file("server.pem"), TLSKeyFile: ca.file("server.key")})
	serial, text, err := pingTLS(srv.TLSAddr(), ca.trusting(t, ""))
	if serial != 100 || text != "PONG" || err != nil {
		t.Fatalf("certificate %d, %s, %v", serial, text, err)
	}
	old, err := tls.Dial("tcp", srv.TLSAddr(), ca.trusting(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()

	// Half a replacement keeps the old pair in force.
	key, err := os.ReadFile(ca.file("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca.issue(t, "server", 101)
	newKey, err := os.ReadFile(ca.file("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ca.file("server.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	if serial, _, err = pingTLS(srv.TLSAddr(), ca.trusting(t, "")); serial != 100 || err != nil {
		t.Errorf("with half a replacement: certificate %d, %v", serial, err)
	}
	later := time.Now().Add(time.Second) // a file system may count time in coarse steps
	if err := os.WriteFile(ca.file("server.key"), newKey, 0o600); err != nil {
		t.Fatal(err)
	}
	os.Chtimes(ca.file("server.key"), later, later)
	if serial, _, err = pingTLS(srv.TLSAddr(), ca.trusting(t, "")); serial != 101 || err != nil {
		t.Errorf("after the replacement: certificate %d, %v", serial, err)
	}
	c := &client{conn: old, br: bufio.NewReader(old)}
	c.wants(t, "PONG", "PING")
}

func TestMutualTLS(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	ca.issue(t, "server", 1)
	ca.issue(t, "friend", 2)
	stranger.issue(t, "stranger", 3)
	cfg := server.Config{TLSPort: -1, TLSCertFile: ca.file("server.pem"), TLSKeyFile: ca.file("server.key"), TLSCACertFile: ca.file("ca.pem")}
	with := func(own *authority, name string) *tls.Config {
		config := ca.trusting(t, "")
		if own != nil {
			config.Certificates = own.trusting(t, name).Certificates
			// A client offers only certificates of the CAs that the server
			// names; this one insists.
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &config.Certificates[0], nil
			}
		}
		return config
	}
	for _, c := range []struct {
		auth   string
		client *tls.Config
		served bool
	}{
		{"yes", with(ca, "friend"), true},
		{"yes", with(nil, ""), false},
		{"yes", with(stranger, "stranger"), false},
		{"optional", with(nil, ""), true},
		{"optional", with(stranger, "stranger"), false},
		{"no", with(nil, ""), true},
	} {
		cfg.TLSAuthClients = c.auth
		srv := serving(t, cfg)
		_, text, err := pingTLS(srv.TLSAddr(), c.client)
		if served := err == nil && text == "PONG"; served != c.served {
			t.Errorf("tls-auth-clients %s: %s, %v", c.auth, text, err)
		}
	}
}

func TestPlainTextOnTheTLSPort(t *testing.T) {
	ca := newAuthority(t)
	ca.issue(t, "server", 1)
	srv := serving(t, server.Config{TLSPort: -1, TLSCertFile: ca.file("server.pem"), TLSKeyFile: ca.file("server.key")})
	c := connect(t, srv.TLSAddr())
	c.send([]byte("PING\r\n"))
	if got := c.rest(t); strings.Contains(got, "PONG") {
		t.Errorf("answered %q", got)
	}
	if _, text, err := pingTLS(srv.TLSAddr(), ca.trusting(t, "")); text != "PONG" {
		t.Errorf("%s, %v", text, err)
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	left, err := net.Listen("unix", path) // left behind by a server that was killed
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	left.Close()
	serving(t, server.Config{UnixSocket: path})
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("socket %v, %v", info, err)
	}
	sock, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	c := &client{conn: sock, br: bufio.NewReader(sock)}
	c.wants(t, "OK", "SET", "k", "v")
	c.wants(t, `"v"`, "GET", "k")
}

// A server that is alive keeps its socket.
func TestUnixSocketInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	serving(t, server.Config{UnixSocket: path})
	second, err := server.New(server.Config{UnixSocket: path})
	if err == nil {
		second.Shutdown(context.Background())
		t.Fatal("a second server took the socket over")
	}
	if !strings.Contains(err.Error(), "in use") {
		t.Error(err)
	}
	sock, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	c := &client{conn: sock, br: bufio.NewReader(sock)}
	c.wants(t, "PONG", "PING")
}

// Others see a connection, and may kill it, while its handshake goes on.
func TestKillDuringHandshake(t *testing.T) {
	ca := newAuthority(t)
	ca.issue(t, "server", 2)
	srv := serving(t, server.Config{TLSPort: -1, TLSCertFile: ca.file("server.pem"), TLSKeyFile: ca.file("server.key")})
	killer := connect(t, srv.Addr())
	own := killer.do("CLIENT", "ID").frame.text
	var shakers sync.WaitGroup
	for i := range 60 {
		raw, err := net.Dial("tcp", srv.TLSAddr())
		if err != nil {
			t.Fatal(err)
		}
		last := make(chan struct{}) // the server waits for the client's last word
		shakers.Go(func() {
			defer raw.Close()
			raw.SetDeadline(time.Now().Add(patience))
			shake := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(tls.ConnectionState) error {
				close(last)
				return nil
			}})
			if shake.Handshake() == nil {
				shake.Read(make([]byte, 1)) // until it is killed
			}
		})
		<-last
		for range i % 4 { // the moments that others would see differ
			killer.wants(t, "PONG", "PING")
		}
		for killer.do("CLIENT", "KILL", "LADDR", srv.TLSAddr()).frame.text == "0" {
		}
	}
	shakers.Wait()
	if got := killer.do("CLIENT", "ID").frame.text; got != own {
		t.Errorf("the killer is now client %s", got)
	}
}

// outside is an address of this machine that is not loopback.
func outside(t testing.TB) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() && ip.IP.To4() != nil {
			return ip.IP.String()
		}
	}
	t.Skip("this machine has only its loopback interface")
	return ""
}

func TestProtectedMode(t *testing.T) {
	ip := outside(t)
	srv := serving(t, server.Config{Bind: []string{ip, "127.0.0.1"}})
	_, port, _ := net.SplitHostPort(srv.Addr())
	stranger := func() *client { return connect(t, net.JoinHostPort(ip, port)) }
	local := connect(t, net.JoinHostPort("127.0.0.1", port))
	if got := stranger().rest(t); !strings.HasPrefix(got, "-DENIED Redis is running in protected mode") {
		t.Fatalf("a stranger was told %q", got)
	}
	local.wants(t, "OK", "CONFIG", "SET", "protected-mode", "no")
	stranger().wants(t, "PONG", "PING")
	local.wants(t, "OK", "CONFIG", "SET", "protected-mode", "yes", "requirepass", "pw")
	stranger().wants(t, "(error) NOAUTH Authentication required.", "PING")
}

func TestManyServersInOneProcess(t *testing.T) {
	a, b := serving(t, server.Config{}), serving(t, server.Config{})
	connect(t, a.Addr()).wants(t, "OK", "SET", "k", "a")
	connect(t, b.Addr()).wants(t, "(nil)", "GET", "k")
}

func TestDoor(t *testing.T) {
	srv := serving(t, server.Config{RequirePass: "for others"})
	ctx := context.Background()
	door := srv.Client()
	defer door.Close()
	if r, err := door.Do(ctx, "SET", "k", []byte("v\r\n\x00"), "PX", 60000); err != nil || string(r.Bytes) != "OK" {
		t.Fatalf("%v, %v", r, err)
	}
	if r, err := door.Do(ctx, "GET", "k"); err != nil || string(r.Bytes) != "v\r\n\x00" {
		t.Fatalf("%q, %v", r.Bytes, err)
	}
	if r, err := door.Do(ctx, "INCR", "k"); err == nil || !r.IsError() {
		t.Errorf("%v, %v", r, err)
	}
	if r, err := door.Do(ctx, "SUBSCRIBE", "c"); err == nil {
		t.Errorf("SUBSCRIBE answered %v", r)
	}
	if _, err := door.Do(ctx, "SET", "k", struct{}{}); err == nil {
		t.Error("a struct was taken for a word")
	}
	for _, words := range [][]any{{"MULTI"}, {"INCR", "n"}, {"INCRBYFLOAT", "f", 1.5}} {
		if _, err := door.Do(ctx, words...); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := door.Do(ctx, "EXEC"); err != nil || len(r.Elems) != 2 || r.Elems[0].Int != 1 {
		t.Errorf("EXEC answered %v, %v", r, err)
	}
	if err := door.Close(); err != nil {
		t.Error(err)
	}
	if _, err := door.Do(ctx, "PING"); err == nil {
		t.Error("a closed door answers")
	}
}

// A door that was killed gives back what it holds with its next call.
func TestKilledDoor(t *testing.T) {
	srv := serving(t, server.Config{})
	ctx := context.Background()
	c := connect(t, srv.Addr())
	for _, call := range []func(*server.Client){
		func(d *server.Client) { d.Close() },
		func(d *server.Client) {
			if _, err := d.Do(ctx, "PING"); !errors.Is(err, net.ErrClosed) {
				t.Errorf("PING through a killed door: %v", err)
			}
		},
	} {
		door := srv.Client()
		id, err := door.Do(ctx, "CLIENT", "ID")
		if err != nil {
			t.Fatal(err)
		}
		c.wants(t, "(integer) 1", "CLIENT", "KILL", "ID", strconv.FormatInt(id.Int, 10))
		call(door)
		if got := c.do("CLIENT", "LIST").frame.text; strings.Contains(got, "in-process") {
			t.Errorf("the closed door is still listed: %s", got)
		}
	}
}

// Shutdown waits for the command that a door is running, and lets no other begin.
func TestShutdownWaitsForDoors(t *testing.T) {
	srv := serving(t, server.Config{})
	ctx := context.Background()
	c := connect(t, srv.Addr())
	door := srv.Client()
	answered := make(chan error, 1)
	go func() {
		r, err := door.Do(ctx, "EVAL", "local n = 0 while n < 3000000 do n = n + 1 end return redis.call('SET', 'k', n)", "0")
		if err == nil && string(r.Bytes) != "OK" {
			err = errors.New("not OK")
		}
		answered <- err
	}()
	for !strings.Contains(c.do("CLIENT", "LIST").frame.text, "cmd=eval") {
	}
	grace, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		t.Error(err)
	}
	select {
	case err := <-answered:
		// A script that takes longer than a second is stopped, which is an answer.
		if err != nil && !strings.Contains(err.Error(), "script") {
			t.Error(err)
		}
	case <-time.After(patience): // behind Shutdown: all but returned
		t.Error("Shutdown did not wait for the door")
	}
	if _, err := door.Do(ctx, "GET", "k"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("GET after Shutdown: %v", err)
	}
}

func TestDialInProcess(t *testing.T) {
	srv := serving(t, server.Config{Port: -1})
	if srv.Addr() != "" {
		t.Errorf("a server without a port listens on %s", srv.Addr())
	}
	sub, err := srv.Dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	c := &client{conn: sub, br: bufio.NewReader(sub)}
	c.do("SUBSCRIBE", "c")
	door := srv.Client()
	defer door.Close()
	if r, err := door.Do(context.Background(), "PUBLISH", "c", "hello"); err != nil || r.Int != 1 {
		t.Fatalf("%v, %v", r, err)
	}
	if got := c.read().text(); got != "1) \"message\"\n2) \"c\"\n3) \"hello\"" {
		t.Errorf("the subscriber got %s", got)
	}
}
