package server_test

import (
	"context"
	"testing"

	"crema/server"
)

// What PUBLISH costs beside the socket: without a listener, with one on this node,
// and with one on another.
func BenchmarkPublish(b *testing.B) {
	b.Run("alone", func(b *testing.B) { benchPublish(b, serving(b, server.Config{}), "") })
	b.Run("alone-heard", func(b *testing.B) {
		srv := serving(b, server.Config{})
		benchPublish(b, srv, srv.Addr())
	})
	b.Run("mesh", func(b *testing.B) { benchPublish(b, startMesh(b, 3, server.Config{}).nodes[0].srv, "") })
	b.Run("mesh-heard", func(b *testing.B) {
		m := startMesh(b, 3, server.Config{})
		benchPublish(b, m.nodes[0].srv, m.nodes[1].srv.Addr())
	})
}

func benchPublish(b *testing.B, srv *server.Server, listener string) {
	if listener != "" {
		c := connect(b, listener)
		c.do("SUBSCRIBE", "ch")
		go func() {
			buf := make([]byte, 64<<10)
			for {
				if _, err := c.conn.Read(buf); err != nil {
					return
				}
			}
		}()
	}
	door := srv.Client()
	defer door.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := door.Do(context.Background(), "PUBLISH", "ch", "a message of some bytes"); err != nil {
			b.Fatal(err)
		}
	}
}
