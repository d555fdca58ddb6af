package clients

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

const (
	scenarioTimeout = 15 * time.Second
	bigValueBytes   = 8 << 20
	scannedKeys     = 10_000
)

// Compare-and-delete as lock libraries ship it.
const releaseScript = `if redis.call("get", KEYS[1]) == ARGV[1] then
  return redis.call("del", KEYS[1])
else
  return 0
end`

// scenario runs one scenario of a Go client within its time and prints the
// line that scripts print for theirs.
func scenario(t *testing.T, client, name string, run func(t *testing.T, ctx context.Context)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), scenarioTimeout)
		defer cancel()
		defer func() {
			if t.Failed() {
				fmt.Printf("FAILED %s %s\n", client, name)
				return
			}
			fmt.Printf("ok %s %s\n", client, name)
		}()
		run(t, ctx)
	})
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refused(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Fatalf("got error %v, want one with %q", err, text)
	}
}

func equal[T comparable](t *testing.T, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("got %.200v, want %.200v", got, want)
	}
}

// eventually asks until the answer is yes or the scenario's time is up; only
// for what the server announces to nobody.
func eventually(t *testing.T, ctx context.Context, what string, yes func() bool) {
	t.Helper()
	for !yes() {
		if ctx.Err() != nil {
			t.Fatalf("never: %s", what)
		}
	}
}

// receive takes one message from a channel within the scenario's time.
func receive[T any](t *testing.T, ctx context.Context, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-ctx.Done():
		t.Fatal("nothing received")
		panic("unreachable")
	}
}

// everyByte holds all 256 bytes, then the bytes the protocol itself is made of.
func everyByte() string {
	var b strings.Builder
	for i := range 256 {
		b.WriteByte(byte(i))
	}
	return b.String() + "\r\n$5\r\n*1\r\n"
}

func bigValue() string {
	all := []byte(everyByte())
	return string(bytes.Repeat(all, bigValueBytes/len(all)+1)[:bigValueBytes])
}

// newScript returns a script that no server has in its cache yet.
func newScript() string {
	return fmt.Sprintf("return {KEYS[1], ARGV[1], '%d'}", time.Now().UnixNano())
}

// trusted is a TLS configuration that knows the test authority.
func trusted(t *testing.T) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(target.caFile)
	noError(t, err)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("%s holds no certificate", target.caFile)
	}
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}
