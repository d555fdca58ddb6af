package peer

import (
	"bytes"
	"net"
	"testing"
	"time"
)

// reel is a connection that plays bytes.
type reel struct {
	net.Conn
	*bytes.Reader
}

func (r reel) Read(b []byte) (int, error)      { return r.Reader.Read(b) }
func (r reel) SetReadDeadline(time.Time) error { return nil }

func FuzzInbox(f *testing.F) {
	long := make([]byte, 3*chunkBytes/2)
	first := message{kind: kindCall, id: 7, body: long}
	one, two := first.cut(), first.cut()
	cut := append(appendHeader(nil, one.header), one.body...)
	cut = append(cut, appendFrame(nil, kindPost, 0, []byte("between"))...)
	cut = append(append(cut, appendHeader(nil, two.header)...), two.body...)
	f.Add(cut)
	f.Add(appendFrame(nil, kindNothing, 0, nil))
	f.Add(appendHeader(nil, header{kindCall, chunkBytes, maxMessageBytes, 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := newInbox(reel{Reader: bytes.NewReader(b)}, kindPost, kindCall)
		in.limit = 1 << 20 // many of the inputs announce gigabytes
		read := 0
		for {
			_, _, body, err := in.next()
			if err != nil {
				break
			}
			if read += headerBytes + len(body); read > len(b) {
				t.Fatalf("%d bytes of messages in %d", read, len(b))
			}
		}
		if in.waiting > in.limit || len(in.partial) > len(b)/chunkBytes+1 {
			t.Fatalf("%d partial messages of %d bytes", len(in.partial), in.waiting)
		}
	})
}

func TestInboxRefuses(t *testing.T) {
	two := func(a, b header) []byte {
		buf := append(appendHeader(nil, a), make([]byte, a.length)...)
		return append(appendHeader(buf, b), make([]byte, b.length)...)
	}
	for name, b := range map[string][]byte{
		"an answer":             appendFrame(nil, kindAnswer, 1, nil),
		"an unknown kind":       appendFrame(nil, 9, 1, nil),
		"too large a message":   appendHeader(nil, header{kindCall, chunkBytes, maxMessageBytes + 1, 1}),
		"too large a post":      appendHeader(nil, header{kindPost, chunkBytes, maxPostBytes + 1, 0}),
		"too large a chunk":     appendHeader(nil, header{kindCall, chunkBytes + 1, 2 * chunkBytes, 1}),
		"more than the message": appendHeader(nil, header{kindCall, 10, 9, 1}),
		"a small chunk":         appendHeader(nil, header{kindCall, 10, 2 * chunkBytes, 1}),
		"a small message cut":   appendHeader(nil, header{kindCall, 10, 20, 1}),
		"another length":        two(header{kindCall, chunkBytes, 2 * chunkBytes, 1}, header{kindCall, chunkBytes, 3 * chunkBytes, 1}),
	} {
		in := newInbox(reel{Reader: bytes.NewReader(append(b, make([]byte, chunkBytes)...))}, kindPost, kindCall)
		if _, _, body, err := in.next(); err == nil {
			t.Errorf("%s: a message of %d bytes", name, len(body))
		}
	}
}

// Messages that begin and do not end are bounded together.
func TestInboxBoundsWhatHasBegun(t *testing.T) {
	var b []byte
	for id := range 3 {
		b = append(appendHeader(b, header{kindCall, chunkBytes, 4 << 20, uint64(id)}), make([]byte, chunkBytes)...)
	}
	in := newInbox(reel{Reader: bytes.NewReader(b)}, kindPost, kindCall)
	in.limit = 9 << 20
	if _, _, _, err := in.next(); err == nil || in.waiting != 8<<20 {
		t.Errorf("%v with %d bytes begun", err, in.waiting)
	}
}
