package server_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"crema/server"
)

// Without a log there is nothing to operate, and nothing that could be ill.
func TestOperatorWithoutCluster(t *testing.T) {
	c := connect(t, serving(t, server.Config{}).Addr())
	for _, command := range []string{"STATUS", "ADD n2 a:1", "REMOVE n2", "PROMOTE n2", "TRANSFER", "SNAPSHOT", "DIGEST", "SAVE BEGIN", "LOAD END x"} {
		c.wants(t, "(error) ERR This instance has cluster support disabled", strings.Fields("CREMA "+command)...)
	}
	c.wants(t, "OK", "CREMA", "HEALTH")
}

// Only an operator may; and nobody inside MULTI, where what the leader would have
// to change first may be held.
func TestOperatorsOnly(t *testing.T) {
	addr := startCrema(t, durable(filepath.Join(t.TempDir(), "data")))
	c := connect(t, addr)
	c.wants(t, "OK", "AUTH", "reader", "secret2")
	c.wants(t, "(error) NOPERM this user has no permissions to run the 'crema|transfer' command", "CREMA", "TRANSFER")
	c.wants(t, "(error) NOPERM this user has no permissions to run the 'crema|save' command", "CREMA", "SAVE", "BEGIN")
	c.wants(t, "OK", "CREMA", "HEALTH")
	c = connect(t, addr)
	c.wants(t, "OK", "MULTI")
	c.wants(t, "(error) ERR Command not allowed inside a transaction", "CREMA", "STATUS")
}

// A copy is taken away in chunks and brought back in chunks; what is not what was
// announced changes nothing.
func TestSaveAndLoad(t *testing.T) {
	c := connect(t, startCrema(t, durable(filepath.Join(t.TempDir(), "data"))))
	large := strings.Repeat("x", 900_000)
	c.wants(t, "OK", "MSET", "a", large, "b", large, "c", large)
	digest := c.do("CREMA", "DIGEST").frame

	begun := fields(c.do("CREMA", "SAVE", "BEGIN").frame)
	id, size := begun["transfer"].text, begun["bytes"].text
	if id == "" || begun["sha256"].text != digest.elems[1].text || size != digest.elems[2].text {
		t.Fatalf("SAVE BEGIN: %v, DIGEST: %s", begun, digest.render())
	}
	busy := "(error) ERR another snapshot is on its way, try again in a minute"
	unknown := "(error) ERR no such transfer: it was given up, or the leader has changed; begin again"
	c.wants(t, busy, "CREMA", "SAVE", "BEGIN")
	c.wants(t, unknown, "CREMA", "SAVE", "READ", "another", "0")
	c.wants(t, "(error) ERR offset is out of range", "CREMA", "SAVE", "READ", id, "100000000")
	c.wants(t, "(error) ERR offset is out of range", "CREMA", "SAVE", "READ", id, "-1")
	c.wants(t, `""`, "CREMA", "SAVE", "READ", id, size)
	var copied strings.Builder
	for fmt.Sprint(copied.Len()) != size {
		chunk := c.do("CREMA", "SAVE", "READ", id, fmt.Sprint(copied.Len())).frame.text
		if len(chunk) == 0 || len(chunk) > 1<<20 {
			t.Fatalf("a chunk of %d bytes at %d of %s", len(chunk), copied.Len(), size)
		}
		copied.WriteString(chunk)
	}
	c.wants(t, "OK", "CREMA", "SAVE", "END", id)
	c.wants(t, unknown, "CREMA", "SAVE", "END", id)

	load := func(text, announced string) (id string) {
		id = c.do("CREMA", "LOAD", "BEGIN", fmt.Sprint(len(text)), announced).frame.text
		for at := 0; at < len(text); at += 1 << 20 {
			chunk := text[at:min(at+1<<20, len(text))]
			want := fmt.Sprintf("(integer) %d", at+len(chunk))
			c.wants(t, want, "CREMA", "LOAD", "WRITE", id, fmt.Sprint(at), chunk)
			c.wants(t, want, "CREMA", "LOAD", "WRITE", id, fmt.Sprint(at), chunk) // by who did not hear the answer
		}
		return id
	}
	sum := func(text string) string {
		b := sha256.Sum256([]byte(text))
		return hex.EncodeToString(b[:])
	}
	c.wants(t, "(integer) 1", "DEL", "a")
	c.wants(t, "(error) ERR the snapshot did not arrive as it was sent", "CREMA", "LOAD", "APPLY", load(copied.String(), sum("another")))
	rubbish := c.do("CREMA", "LOAD", "APPLY", load("rubbish", sum("rubbish")))
	if !strings.HasPrefix(rubbish.frame.text, "ERR ") {
		t.Errorf("rubbish was applied: %s", rubbish.frame.render())
	}
	c.wants(t, "(integer) 2", "EXISTS", "a", "b", "c")

	id = c.do("CREMA", "LOAD", "BEGIN", "10", sum("")).frame.text
	c.wants(t, "(error) ERR offset is out of range", "CREMA", "LOAD", "WRITE", id, "5", "x")
	c.wants(t, "(error) ERR offset is out of range", "CREMA", "LOAD", "WRITE", id, "0", "more than ten bytes")
	c.wants(t, unknown, "CREMA", "SAVE", "READ", id, "0")
	c.wants(t, "OK", "CREMA", "LOAD", "END", id)

	c.wants(t, "OK", "CREMA", "LOAD", "APPLY", load(copied.String(), sum(copied.String())))
	c.wants(t, "(integer) 3", "EXISTS", "a", "b", "c")
	c.wants(t, "OK", "SET", "d", "v")
}
