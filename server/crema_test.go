package server_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"crema/cluster"
	"crema/server"
	"crema/store"
)

// startCrema runs a server that ends with the test and gives its address. With a
// log it is a durable one.
func startCrema(t testing.TB, log func(*store.Store, *slog.Logger) (server.Log, error)) string {
	t.Helper()
	srv, err := server.New(server.Config{
		Port:      0,
		MaxMemory: -1, // as the oracle, whatever machine this is
		OpenLog:   log,
		Users: []server.User{
			{Name: "alice", Password: "secret"},
			{Name: "reader", Password: "secret2", ReadOnly: true},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the server did not stop within 10 s of being told to")
		}
	})
	return srv.Addr()
}

// durable opens one durable node in a directory.
func durable(dir string) func(*store.Store, *slog.Logger) (server.Log, error) {
	return func(st *store.Store, log *slog.Logger) (server.Log, error) {
		return cluster.Open(cluster.Config{Dir: dir, Log: log}, st)
	}
}
