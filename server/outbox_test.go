package server

import (
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// Whoever waits for an earlier reply to be written learns that it never will
// be, though the write that failed was of a message before it.
func TestOutboxReplyEndsWithTheSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		o := newOutbox(ours, func() outboxLimit { return outboxLimit{} }, func() {}, new(atomic.Int64))
		o.start()
		o.push([]byte("message"))
		synctest.Wait() // the writer is in Write: nobody reads
		if !o.reply([]byte("first"), func() {}) {
			t.Error("the first reply was refused")
		}
		second := make(chan bool, 1)
		go func() { second <- o.reply([]byte("second"), func() {}) }()
		synctest.Wait() // for the first
		theirs.Close()
		if <-second {
			t.Error("the second reply was taken by a dead socket")
		}
		o.drain()
	})
}
