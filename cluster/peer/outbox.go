package peer

import (
	"encoding/binary"
	"net"
	"runtime"
	"sync"
	"time"
)

const (
	pingEvery     = 100 * time.Millisecond
	maxSmallBytes = 16 << 10 // a message up to this size is copied at once and written with its neighbours
	postRoomBytes = 64 << 20 // posts that may wait
	spareBufBytes = 1 << 20  // a larger buffer is not kept

	// When so much waits, the next call or answer waits for room: small ones only
	// for small ones, because a large one may take its time.
	smallRoomBytes    = 64 << 20
	rotationRoomBytes = 256 << 20
)

// outbox holds what one end of a link has to send. Putting something in never
// touches the socket, so it never waits for the peer. One goroutine, write,
// started by whoever made the outbox and ended by close, sends everything that
// waits at once.
type outbox struct {
	sock net.Conn

	mu       sync.Mutex // guards what follows; taken last
	small    []byte     // whole frames, encoded; they go next
	posts    fifo       // posts from the first large one on: they stay in order
	rotation fifo       // large calls or answers, one chunk each in turn
	// Bytes of posts that wait or are being written, and how much of that is in small.
	postBytes, smallPostBytes int64
	smallRoom, rotationRoom   room   // for calls and answers
	lastID, takenID           uint64 // calls: the latest in small or rotation, the latest when small was last taken
	closed                    bool

	wake     chan struct{} // holds a token when there is something to write
	quit     chan struct{} // closed with closed
	finished chan struct{} // closed when write has returned
	spare    []byte        // the writer's own, empty
}

// message is one that is sent in chunks.
type message struct {
	kind kind
	id   uint64
	body []byte
	sent int
}

// piece is a chunk that is being written.
type piece struct {
	header
	body []byte
}

func newOutbox(sock net.Conn) *outbox {
	return &outbox{
		sock: sock, smallRoom: room{limit: smallRoomBytes}, rotationRoom: room{limit: rotationRoomBytes},
		wake: make(chan struct{}, 1), quit: make(chan struct{}), finished: make(chan struct{}),
	}
}

// post puts a post in; false means that it was dropped. It never waits.
func (o *outbox) post(frame []byte) bool {
	cost := int64(len(frame) + headerBytes)
	o.mu.Lock()
	// One that is larger than all room may go when nothing waits.
	if o.closed || len(frame) > maxPostBytes || (o.postBytes > 0 && o.postBytes+cost > postRoomBytes) {
		o.mu.Unlock()
		return false
	}
	o.postBytes += cost
	if len(frame) <= maxSmallBytes && o.posts.empty() {
		o.small = appendFrame(o.small, kindPost, 0, frame)
		o.smallPostBytes += cost
	} else {
		o.posts.push(message{kind: kindPost, body: frame})
	}
	o.mu.Unlock()
	o.signal()
	return true
}

// add puts a call or an answer in; the caller holds mu, has waited for room and
// signals afterwards.
func (o *outbox) add(k kind, id uint64, body []byte) {
	if k == kindCall {
		o.lastID = id
	}
	if o.roomFor(len(body)).bytes += int64(len(body) + headerBytes); len(body) <= maxSmallBytes {
		o.small = appendFrame(o.small, k, id, body)
	} else {
		o.rotation.push(message{kind: k, id: id, body: body})
	}
}

// awaitRoom returns true once there is room for a call or answer of n bytes,
// false when the outbox is closed or done is. The caller holds mu.
func (o *outbox) awaitRoom(n int, done <-chan struct{}) bool {
	for r := o.roomFor(n); !o.closed && r.bytes >= r.limit; {
		free := r.wait()
		o.mu.Unlock()
		select {
		case <-free:
		case <-done:
			o.mu.Lock()
			return false
		}
		o.mu.Lock()
	}
	return !o.closed
}

// unsent tells whether call id is certainly not wholly sent. The caller holds mu.
func (o *outbox) unsent(id uint64) bool {
	return id > o.takenID || o.rotation.find(id) >= 0
}

// withdraw takes call id back; false when a part of it may be on its way. The
// caller holds mu.
func (o *outbox) withdraw(id uint64) bool {
	if i := o.rotation.find(id); i >= 0 {
		m := o.rotation.at(i)
		if m.sent > 0 {
			return false
		}
		o.rotationRoom.leave(int64(len(m.body) + headerBytes))
		o.rotation.remove(i)
		return true
	}
	if id <= o.takenID {
		return false
	}
	for b := o.small; len(b) >= headerBytes; {
		if kind(b[0]) == kindCall && binary.BigEndian.Uint64(b[12:]) == id {
			b[0] = byte(kindNothing)
			return true
		}
		b = b[headerBytes+int(binary.BigEndian.Uint32(b[4:])):]
	}
	return false
}

func (o *outbox) roomFor(n int) *room {
	if n <= maxSmallBytes {
		return &o.smallRoom
	}
	return &o.rotationRoom
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// close ends the connection. What waits is not sent.
func (o *outbox) close() {
	o.mu.Lock()
	if !o.closed {
		o.closed = true
		close(o.quit)
		o.smallRoom.wake()
		o.rotationRoom.wake()
	}
	o.mu.Unlock()
	o.sock.Close()
}

// write is the writer goroutine.
func (o *outbox) write() {
	defer close(o.finished)
	ping := appendFrame(nil, kindNothing, 0, nil)
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	quiet := true
	for {
		select {
		case <-o.wake:
			for {
				// Whoever is about to put something in goes first: one write for all of
				// them is worth three times the calls per second. And a long message
				// must not keep a processor from those who have short ones.
				runtime.Gosched()
				wrote, err := o.writeTurn()
				if err != nil {
					o.close()
					return
				}
				if !wrote {
					break
				}
				quiet = false
			}
		case <-tick.C:
			if quiet {
				if _, err := o.sock.Write(ping); err != nil {
					o.close()
					return
				}
			}
			quiet = true
		case <-o.quit:
			return
		}
	}
}

// writeTurn writes every small frame that waits, then up to chunkBytes of the
// posts and up to chunkBytes of the rotation.
func (o *outbox) writeTurn() (wrote bool, err error) {
	var room [8]piece
	pieces := room[:0]

	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return false, net.ErrClosed
	}
	buf := o.small
	postBytes, smallBytes, rotationBytes := o.smallPostBytes, int64(len(buf))-o.smallPostBytes, int64(0)
	o.small, o.spare = o.spare, nil
	o.smallPostBytes, o.takenID = 0, o.lastID
	for n := 0; n < chunkBytes && !o.posts.empty(); {
		m := o.posts.at(0)
		pieces = append(pieces, m.cut())
		if n += pieces[len(pieces)-1].length; m.sent == len(m.body) {
			postBytes += int64(len(m.body) + headerBytes)
			o.posts.remove(0)
		}
	}
	for n := 0; n < chunkBytes && !o.rotation.empty(); {
		m := o.rotation.at(0)
		pieces = append(pieces, m.cut())
		n += pieces[len(pieces)-1].length
		rest := *m
		o.rotation.remove(0)
		if rest.sent < len(rest.body) {
			o.rotation.push(rest)
		} else {
			rotationBytes += int64(len(rest.body) + headerBytes)
		}
	}
	o.mu.Unlock()

	for _, p := range pieces {
		buf = append(appendHeader(buf, p.header), p.body...)
	}
	if len(buf) > 0 {
		_, err = o.sock.Write(buf)
	}
	wrote = len(buf) > 0
	if cap(buf) > spareBufBytes {
		buf = nil
	}

	o.mu.Lock()
	o.spare = buf[:0]
	o.postBytes -= postBytes
	o.smallRoom.leave(smallBytes)
	o.rotationRoom.leave(rotationBytes)
	o.mu.Unlock()
	return wrote, err
}

// cut takes the next chunk.
func (m *message) cut() piece {
	n := min(chunkBytes, len(m.body)-m.sent)
	p := piece{header{m.kind, n, len(m.body), m.id}, m.body[m.sent : m.sent+n]}
	m.sent += n
	return p
}
