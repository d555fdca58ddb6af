package gateway

import (
	"errors"
	"sync"
	"time"
)

// Kind is what a message tells.
type Kind uint8

const (
	Subscribed  Kind = iota // Channel is listened to; with Count names in all
	PSubscribed             // so is Pattern
	Published               // Payload was published to Channel
	PPublished              // and Pattern matches it
	Shown                   // Payload is a line of MONITOR
	Missed                  // something published to Channel, or to any if nil, will not be told
	Moved                   // nothing but the Mark's position
)

// Message is what streams are told. It is shared by all of them and never
// changes; each format is encoded once, by the first stream that needs it.
type Message struct {
	Kind    Kind
	Channel []byte
	Pattern []byte
	Payload []byte
	Count   int
	At      time.Time // when this node was told; zero: its delay is not measured
	Mark    *Mark     // of messages among histories, else nil

	encoded [formats]struct {
		once  sync.Once
		bytes []byte
	}
}

// Format is one way to write messages to a stream.
type Format uint8

const (
	formatSDK    Format = iota // what the SDK's subscribe and monitor read
	formatEvents               // /events
	formats                    // how many there are
)

// encoders are the formats' functions. nil bytes say nothing to the client.
var encoders = [formats]func(m *Message) []byte{
	formatSDK:    encodeSDK,
	formatEvents: encodeEvent,
}

// As is the message as bytes, which belong to everybody.
func (m *Message) As(f Format) []byte {
	e := &m.encoded[f]
	e.once.Do(func() { e.bytes = encoders[f](m) })
	return e.bytes
}

// cost is about what a waiting message costs.
func (m *Message) cost() int {
	return messageOverhead + len(m.Channel) + len(m.Pattern) + len(m.Payload)
}

const (
	messageOverhead = 128     // bytes a message costs beside its own
	maxQueueBytes   = 8 << 20 // how far a stream may fall behind
	keepMessages    = 1 << 10 // room for so many is kept for the next
)

// Why a queue was closed.
var (
	ErrSlow  = errors.New("the client does not read its messages")
	ErrEnded = errors.New("the session was ended")
)

// Queue holds what one stream has not been sent yet. A push never waits; when the
// stream falls too far behind the queue is closed, because a stream with silent
// holes is worse than none.
type Queue struct {
	mu     sync.Mutex // guards what follows; taken after every lock of the server
	list   []*Message
	bytes  int
	err    error         // why it was closed
	wake   chan struct{} // holds one token when there is something to do
	onSlow func()        // called once, under mu, when ErrSlow closes it
}

// NewQueue makes a queue. onSlow is told, under its lock, of a stream that was given up.
func NewQueue(onSlow func()) *Queue { return &Queue{wake: make(chan struct{}, 1), onSlow: onSlow} }

// Push appends a message; false means that the queue is closed.
func (q *Queue) Push(m *Message) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return false
	}
	q.list = append(q.list, m)
	if q.bytes += m.cost(); q.bytes > maxQueueBytes {
		q.close(ErrSlow)
		q.onSlow()
		return false
	}
	q.signal()
	return true
}

// Close ends the queue; what waits in it is dropped.
func (q *Queue) Close(why error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.close(why)
	}
}

func (q *Queue) close(why error) {
	q.err, q.list, q.bytes = why, nil, 0
	q.signal()
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Wake gets a token when Take has something to return.
func (q *Queue) Wake() <-chan struct{} { return q.wake }

// Take returns what waits and makes room for the next, for which spare is used.
// Once the queue is closed it returns why.
func (q *Queue) Take(spare []*Message) ([]*Message, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.list
	if clear(spare); cap(spare) > keepMessages {
		spare = nil
	}
	q.list, q.bytes = spare[:0], 0
	return list, q.err
}

// Pending is how many messages and bytes wait.
func (q *Queue) Pending() (messages int, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.list), int64(q.bytes)
}
