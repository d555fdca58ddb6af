package gateway

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
)

// fakeDoor answers +OK to every command; a user is any token but the empty one.
type fakeDoor struct{ commands int }

type name string

func (n name) Name() string { return string(n) }

func (d *fakeDoor) Do(_ context.Context, b *Batch) error {
	d.commands += len(b.Commands)
	for range b.Commands {
		b.Replies = append(b.Replies, "+OK\r\n"...)
	}
	return nil
}

func (d *fakeDoor) Listen(context.Context, Listening, *Queue) (func(), error) { return func() {}, nil }

func (d *fakeDoor) User(token string) User {
	if token == "" {
		return nil
	}
	return name(token)
}

func fakeGateway(t *testing.T, routes ...Route) *Gateway {
	t.Helper()
	many := func() int { return 1000 }
	g, err := New(Config{
		Door: &fakeDoor{}, MaxConns: many, MaxStreams: many, Routes: routes,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// Large bodies have a limit in common, and give back what they took of it.
func TestBodiesAtOnce(t *testing.T) {
	g := fakeGateway(t)
	post := func(body io.Reader) int {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/set/k?_token=t", body)
		g.ServeHTTP(w, r)
		return w.Code
	}
	if code := post(bytes.NewReader(make([]byte, maxBodyBytes))); code != 200 {
		t.Error(code)
	}
	g.bodies.Store(maxBodiesBytes - 1<<20)
	if code := post(bytes.NewReader(make([]byte, 4<<20))); code != 503 {
		t.Errorf("beyond the limit: %d", code)
	}
	if code := post(strings.NewReader("small")); code != 200 {
		t.Errorf("a small one: %d", code)
	}
	if left := g.bodies.Load(); left != maxBodiesBytes-1<<20 {
		t.Errorf("%d bytes were not given back", left-(maxBodiesBytes-1<<20))
	}
}
