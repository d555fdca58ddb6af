package peer

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"runtime"
	"time"
)

const (
	maxSilence    = time.Second // nothing heard for so long: the peer is gone
	inboxBufBytes = 64 << 10
)

// inbox puts messages together again. One goroutine reads it.
type inbox struct {
	r       *bufio.Reader
	accept  [kindUnsaid + 1]bool // what may come on this side of the link
	partial map[partialKey]partial
	waiting int64 // total bytes of what is partial, at most limit
	limit   int64
}

type partialKey struct {
	kind kind
	id   uint64
}

type partial struct {
	body []byte // of the message's full length
	got  int
}

func newInbox(sock net.Conn, kinds ...kind) *inbox {
	in := &inbox{r: bufio.NewReaderSize(listener{sock}, inboxBufBytes), partial: map[partialKey]partial{}, limit: maxAssemblyBytes}
	in.accept[kindNothing] = true
	for _, k := range kinds {
		in.accept[k] = true
	}
	return in
}

// listener fails a read that hears nothing for maxSilence. The clock runs only
// while something reads: a receiver that is busy with what it has heard does
// not take that for silence.
type listener struct{ sock net.Conn }

func (l listener) Read(b []byte) (int, error) {
	if err := l.sock.SetReadDeadline(time.Now().Add(maxSilence)); err != nil {
		return 0, err
	}
	return l.sock.Read(b)
}

// next returns the next message that is complete; its body is the caller's.
func (in *inbox) next() (k kind, id uint64, body []byte, err error) {
	for {
		raw, err := in.r.Peek(headerBytes)
		if err != nil {
			return 0, 0, nil, err
		}
		h, err := parseHeader(raw)
		if err != nil {
			return 0, 0, nil, err
		}
		if !in.accept[h.kind] {
			return 0, 0, nil, fmt.Errorf("frame of kind %d on the wrong side of a link", h.kind)
		}
		in.r.Discard(headerBytes) // cannot fail: it was peeked
		if h.kind == kindNothing {
			if _, err := in.r.Discard(h.length); err != nil {
				return 0, 0, nil, err
			}
			continue
		}
		if body, done, err := in.add(h); err != nil || done {
			return h.kind, h.id, body, err
		}
	}
}

// add reads one frame's body; done means that it completes a message.
func (in *inbox) add(h header) (body []byte, done bool, err error) {
	key := partialKey{h.kind, h.id}
	p, begun := in.partial[key]
	switch {
	case !begun && h.total <= chunkBytes:
		if h.length != h.total {
			return nil, false, fmt.Errorf("frame of %d bytes begins a message of %d", h.length, h.total)
		}
		body = make([]byte, h.length)
		_, err = io.ReadFull(in.r, body)
		return body, true, err
	case !begun:
		if in.waiting+int64(h.total) > in.limit {
			return nil, false, fmt.Errorf("more than %d bytes of messages that have begun", in.limit)
		}
	case len(p.body) != h.total:
		return nil, false, fmt.Errorf("a message of %d bytes goes on as one of %d", len(p.body), h.total)
	}
	// Every chunk but the last is full: the number of messages that have
	// begun is bounded by what has really been sent of them.
	if h.length != min(chunkBytes, h.total-p.got) {
		return nil, false, fmt.Errorf("chunk of %d bytes at %d of %d", h.length, p.got, h.total)
	}
	if !begun {
		p.body = make([]byte, h.total)
		in.waiting += int64(h.total)
	}
	if _, err := io.ReadFull(in.r, p.body[p.got:p.got+h.length]); err != nil {
		return nil, false, err
	}
	if p.got += h.length; p.got < h.total {
		in.partial[key] = p
		runtime.Gosched() // those who have short messages need a processor, too
		return nil, false, nil
	}
	delete(in.partial, key)
	in.waiting -= int64(h.total)
	return p.body, true, nil
}
