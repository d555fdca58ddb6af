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

// talkative is a server as the conversations expect it.
var talkative = server.Config{
	MaxMemory: -1, // as the oracle, whatever machine this is
	Users: []server.User{
		{Name: "alice", Password: "secret"},
		{Name: "reader", Password: "secret2", ReadOnly: true},
	},
}

// startCrema runs a server that ends with the test and gives its address. With a
// log it is a durable one.
func startCrema(t testing.TB, log func(*store.Store, server.Peer, *slog.Logger) (server.Cluster, error)) string {
	t.Helper()
	cfg := talkative
	cfg.OpenLog = log
	srv, err := server.New(cfg)
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
func durable(dir string) func(*store.Store, server.Peer, *slog.Logger) (server.Cluster, error) {
	return func(st *store.Store, _ server.Peer, log *slog.Logger) (server.Cluster, error) {
		node, err := cluster.Open(cluster.Config{Dir: dir, Log: log}, st)
		if err != nil {
			return nil, err
		}
		return node, nil
	}
}
