package peer

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long a test waits for what has to happen.
const patience = 20 * time.Second

// town is some nodes that can find each other.
type town struct {
	mu      sync.Mutex
	address map[string]string
}

func newTown() *town { return &town{address: map[string]string{}} }

func (tn *town) where(node string) string {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	return tn.address[node]
}

func (tn *town) move(node, addr string) {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	tn.address[node] = addr
}

// node is a port with a handler that tests can listen to.
type node struct {
	*Port
	id      string
	log     lines
	cluster atomic.Pointer[string]
	events  chan string // linked, unlinked, left, known and the node

	hear  func(node string, frame []byte)
	reply func(node string, request []byte) []byte
	greet func(node string)
}

type option func(*Config, *node)

func withSecret(s string) option { return func(c *Config, _ *node) { c.Secret = s } }
func withTLS(t *tls.Config) option {
	return func(c *Config, _ *node) { c.TLS = t }
}
func withCluster(id string) option { return func(_ *Config, n *node) { n.cluster.Store(&id) } }
func withReply(f func(node string, request []byte) []byte) option {
	return func(_ *Config, n *node) { n.reply = f }
}
func withHear(f func(node string, frame []byte)) option {
	return func(_ *Config, n *node) { n.hear = f }
}
func withGreet(f func(node string)) option { return func(_ *Config, n *node) { n.greet = f } }

// open starts a node of the town. It answers a call with the request.
func (tn *town) open(t testing.TB, id string, opts ...option) *node {
	t.Helper()
	n := &node{id: id, events: make(chan string, 1000)}
	n.cluster.Store(new(string))
	cfg := Config{
		NodeID: id, Listen: "127.0.0.1:0", Secret: "hush", Log: slog.New(slog.NewTextHandler(&n.log, nil)),
		ClusterID: func() string { return *n.cluster.Load() },
		Self:      func() Address { return Address{tn.where(id), "client-of-" + id + ":6379"} },
		Address:   tn.where,
		Known:     func(node string, a Address) { n.event("known", node+" "+a.Client) },
		Handler:   behind{n},
		Admin:     func(node string, request []byte) []byte { return fmt.Appendf(nil, "%s asks %s: %s", node, id, request) },
	}
	for _, o := range opts {
		o(&cfg, n)
	}
	p, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.Port = p
	tn.move(id, p.Addr().String())
	t.Cleanup(func() { p.Close() })
	return n
}

func (n *node) event(what, node string) {
	select {
	case n.events <- what + " " + node:
	default:
	}
}

// behind is the node's handler.
type behind struct{ *node }

func (b behind) Answer(node string, request []byte) []byte {
	if b.reply != nil {
		return b.reply(node, request)
	}
	return request
}

func (b behind) Hear(node string, frame []byte) {
	if b.hear != nil {
		b.hear(node, frame)
	}
}

func (b behind) Linked(node string) {
	if b.greet != nil {
		b.greet(node)
	}
	b.event("linked", node)
}
func (b behind) Unlinked(node string) { b.event("unlinked", node) }
func (b behind) Left(node string)     { b.event("left", node) }

// await returns when the events have come, in any order; others are skipped.
func (n *node) await(t testing.TB, want ...string) {
	t.Helper()
	timeout := time.After(patience)
	for len(want) > 0 {
		select {
		case e := <-n.events:
			if i := slices.Index(want, e); i >= 0 {
				want = slices.Delete(want, i, i+1)
			}
		case <-timeout:
			t.Fatalf("%s: no event %q within %v; log:\n%s", n.id, want, patience, n.log.String())
		}
	}
}

// pair is two nodes with a link each.
func pair(t testing.TB, a, b []option) (*node, *node) {
	t.Helper()
	tn := newTown()
	n1, n2 := tn.open(t, "n1", a...), tn.open(t, "n2", b...)
	n1.SetPeers([]string{"n1", "n2"})
	n2.SetPeers([]string{"n1", "n2"})
	n1.await(t, "linked n2")
	n2.await(t, "linked n1")
	return n1, n2
}

// awaitThat polls something that has no event.
func awaitThat(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) count(part string) int { return strings.Count(l.String(), part) }
