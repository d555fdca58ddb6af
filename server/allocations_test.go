package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"crema/server"
)

// What clients ask for most costs no allocation, from the socket and back.
func TestNoAllocations(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector allocates")
	}
	const pipeline, turns = 64, 200
	numbered := func(format string) []byte {
		var all []byte
		for i := range pipeline {
			all = append(all, encodeCommand(strings.Fields(fmt.Sprintf(format, i)))...)
		}
		return all
	}
	for _, test := range []struct {
		name, first, command string
		reply                string // of each
	}{
		{name: "GET", first: "SET k%d 0123456789", command: "GET k%d", reply: "$10\r\n0123456789\r\n"},
		{name: "GET of nothing", command: "GET none%d", reply: "$-1\r\n"},
		{name: "SET", first: "SET k%d 0123456789", command: "SET k%d 9876543210", reply: "+OK\r\n"},
		{name: "SET EX", first: "SET k%d 0123456789", command: "SET k%d 9876543210 EX 100", reply: "+OK\r\n"},
		{name: "EXPIRE", first: "SET k%d 0123456789", command: "EXPIRE k%d 100", reply: ":1\r\n"},
		{name: "INCR", first: "SET k%d 1000", command: "INCR k%d", reply: ":1000\r\n"},
		{name: "DEL of nothing", command: "DEL none%d", reply: ":0\r\n"},
		{name: "EXISTS", first: "SET k%d 0123456789", command: "EXISTS k%d", reply: ":1\r\n"},
		{name: "TTL", first: "SET k%d 0123456789", command: "TTL k%d", reply: ":-1\r\n"},
		{name: "PUBLISH to nobody", command: "PUBLISH c%d message", reply: ":0\r\n"},
		{name: "PING", command: "PING p%d", reply: "$3\r\np00\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := serving(t, server.Config{})
			sock, err := net.Dial("tcp", srv.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer sock.Close()
			sock.SetDeadline(time.Now().Add(30 * time.Second))
			room := make([]byte, 64<<10)
			if test.first != "" {
				sock.Write(numbered(test.first))
				if _, err := io.ReadFull(sock, room[:pipeline*len("+OK\r\n")]); err != nil {
					t.Fatal(err)
				}
			}
			say := numbered(test.command)
			turn := func() {
				sock.Write(say)
				for lines := bytes.Count([]byte(test.reply), []byte("\n")) * pipeline; lines > 0; {
					n, err := sock.Read(room)
					if err != nil {
						t.Fatal(err)
					}
					lines -= bytes.Count(room[:n], []byte("\n"))
				}
			}
			for range turns {
				turn()
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range turns {
				turn()
			}
			runtime.ReadMemStats(&after)
			// What happens by the clock allocates too.
			if each := float64(after.Mallocs-before.Mallocs) / (pipeline * turns); each > 0.05 {
				t.Errorf("%.2f allocations a command", each)
			}
		})
	}
}
