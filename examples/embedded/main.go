// Command embedded runs a crema inside a Go program: clients reach it by TCP,
// the program itself through a door without a socket.
package main

import (
	"context"
	"fmt"
	"log"

	"crema/server"
)

func main() {
	ctx := context.Background()
	srv, err := server.New(server.Config{Port: 0}) // 0: any free port
	if err != nil {
		log.Fatal(err)
	}
	go srv.Serve(ctx)
	fmt.Println("REDIS_URL=redis://" + srv.Addr())

	client := srv.Client()
	if _, err := client.Do(ctx, "SET", "k", "v", "PX", 5000); err != nil {
		log.Fatal(err)
	}
	reply, err := client.Do(ctx, "GET", "k")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("k is %s\n", reply.Bytes)
	client.Close()

	if err := srv.Shutdown(ctx); err != nil { // drains: everybody finishes first
		log.Fatal(err)
	}
}
