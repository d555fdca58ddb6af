package gateway

import (
	"context"
	"errors"
)

// User is somebody that commands are run for. Only the server knows what the
// user may do.
type User interface{ Name() string }

// Door is the way into the server behind the gateway.
type Door interface {
	// Do takes a batch down the one road. Its error is ErrClosed; whatever the
	// commands come to, an error included, is in the replies.
	Do(ctx context.Context, b *Batch) error
	// Listen has q told of what is published, and shown, from the confirmations
	// on that it pushes first, until leave is called. The session may be ended from
	// the server's side: then q is closed.
	Listen(ctx context.Context, l Listening, q *Queue) (leave func(), err error)
	// User is whom a token stands for, nil if it is nobody's. It takes as long
	// for a wrong token as for a right one.
	User(token string) User
}

// ErrClosed is the answer of a server that is shutting down.
var ErrClosed = errors.New("the server is shutting down")

// Batch is what one request asks, and what it is answered. Words and replies
// are the caller's; the words are not touched after Do.
type Batch struct {
	User     User
	Addr     string     // the client's, for MONITOR and SLOWLOG
	Commands [][][]byte // no command is without words
	Atomic   bool       // all of them in one MULTI … EXEC

	// Sync is the sync token that the client has shown, then the one to show it:
	// what is read with it is no older than what it was given out for.
	Sync string

	// Replies holds, in RESP2, one reply for each command. Of an atomic batch it
	// is one array of them, or one error if nothing was done. Do appends to
	// Replies[:0].
	Replies []byte
}

// Listening is what a stream is to be told.
type Listening struct {
	User     User   // who must be allowed to; nil: the gateway has looked itself
	Addr     string // of the client, for CLIENT LIST
	Channels []string
	Patterns []string
	Monitor  bool // every command that the server runs
	Events   bool // messages come in the order of histories, once, with their Mark
}
