package server

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"crema/resp"
	"crema/server/gateway"
)

// httpDoor is how the gateway's requests come to the road. Each borrows a
// session without a socket, which nobody sees, and leaves no state in it.
type httpDoor struct {
	s       *Server
	tokens  restTokens
	idle    sync.Pool    // of *conn
	changes atomic.Int64 // batches that may have changed something; part of sync tokens
	doFor   time.Duration
}

// maxHTTPReplies ends a batch: HTTP has no way to take replies one by one.
const maxHTTPReplies = 64 << 20 // bytes

// httpDoFor is how long a pipeline may take until no more of it is begun: the
// gateway gives up an answer that is not written in twice that.
const httpDoFor = time.Minute

var (
	errHTTPReplies  = resp.Error("ERR not done: the replies before this one are too large for one request")
	errHTTPDropped  = resp.Error("ERR the replies are too large for one request")
	errHTTPTooLarge = resp.Error("ERR the transaction is too large")
	errHTTPGone     = resp.Error("ERR not done: the client is gone, or the request took too long")
	errHTTPCut      = resp.Error("ERR not done: a command before this one failed in an unexpected way")
)

// Do is gateway.Door's.
func (d *httpDoor) Do(ctx context.Context, b *gateway.Batch) error {
	if err := ctx.Err(); err != nil {
		return err // the client is gone, and nothing was done
	}
	if !d.s.enter() {
		return gateway.ErrClosed
	}
	defer d.s.conns.Done()
	c := d.borrow(b)
	shown := parseSync(b.Sync)
	c.strict = shown.index > 0
	changes := false
	if b.Atomic {
		changes = c.atomically(b.Commands)
	} else {
		changes = c.inOrder(ctx, d.doFor, b.Commands)
	}
	if changes {
		shown.changes = d.changes.Add(1)
	}
	b.Sync = syncToken{max(shown.index, c.lastIndex), shown.changes}.String()
	b.Replies = c.out
	d.giveBack(c)
	return nil
}

func (d *httpDoor) borrow(b *gateway.Batch) *conn {
	c, _ := d.idle.Get().(*conn)
	if c == nil {
		c = d.s.newConn(nil)
	}
	c.addr = b.Addr
	c.user.Store(b.User.(*user))
	c.clock = d.s.readClock()
	c.lastIndex = 0
	c.out = b.Replies[:0]
	return c
}

// giveBack keeps a session for the next request, unless what it did may have
// left it in disorder.
func (d *httpDoor) giveBack(c *conn) {
	c.out, c.ownReads = nil, false // READONLY is not about a request, but a script may say it
	if c.closing || c.dropped || c.multi != nil {
		c.endMulti()
		return
	}
	c.release()
	d.idle.Put(c)
}

// inOrder runs a pipeline and leaves one reply for each command in the output. It
// ends when nobody waits for it any more: whoever tries again and again would
// have all of that run.
func (c *conn) inOrder(ctx context.Context, within time.Duration, commands [][][]byte) (changes bool) {
	done, rest, began := 0, errHTTPCut, c.clock.base
	for _, words := range commands {
		if ctx.Err() != nil || c.clock.base.Add(c.clock.now).Sub(began) > within {
			rest = errHTTPGone
			break
		}
		row, bad := c.srv.overHTTP(words)
		if row == nil {
			c.reject(nil, bad)
		} else {
			changes = changes || row.mayChange()
			c.execute(words)
		}
		done++
		if c.closing {
			break
		}
		if len(c.out) > maxHTTPReplies {
			rest = errHTTPReplies
			break
		}
	}
	c.settle()
	if c.dropped { // what there was to say is gone
		c.out, done, rest = c.out[:0], 0, errHTTPDropped
	}
	for range len(commands) - done {
		c.out = resp.Append(c.out, rest, c.proto)
	}
	return changes
}

// atomically runs a transaction and leaves its array in the output, or the one
// reason why nothing of it was done.
func (c *conn) atomically(commands [][][]byte) (changes bool) {
	c.execute([][]byte{[]byte("MULTI")})
	for _, words := range commands {
		at := len(c.out)
		row, bad := c.srv.overHTTP(words)
		if row == nil {
			c.reject(nil, bad)
		} else {
			changes = changes || row.mayChange()
			c.execute(words)
		}
		if !bytes.Equal(c.out[at:], queuedReply) {
			why := c.out[at:]
			if len(why) == 0 { // it would be closed for what it has queued
				why = resp.Append(nil, errHTTPTooLarge, c.proto)
			}
			c.out = append(c.out[:0], why...)
			c.endMulti()
			return false
		}
	}
	c.out = c.out[:0]
	c.execute([][]byte{[]byte("EXEC")})
	c.settle()
	if c.dropped {
		c.out = resp.Append(c.out[:0], errHTTPDropped, c.proto)
	}
	return changes
}

var queuedReply = resp.Append(nil, resp.Queued, 2)

// overHTTP finds a command's row, or says why a request cannot have it run: it
// is none, or it is about a connection, which a request does not have.
func (s *Server) overHTTP(words [][]byte) (*command, resp.Reply) {
	row, _, bad := s.table.lookup(words)
	if row == nil {
		return nil, bad
	}
	if row.flags&notOverHTTP != 0 {
		name, _, _ := strings.Cut(row.name, "|")
		row.stat.rejected.Add(1)
		return nil, resp.Error("ERR " + strings.ToUpper(name) + " is not available over HTTP")
	}
	return row, resp.None
}

// httpFlags are a row's flags that follow from its container's name and its
// other flags.
func httpFlags(name string, f flags) flags {
	if f&(blocking|protected) != 0 || ofConnections[name] {
		return notOverHTTP
	}
	return 0
}

// ofConnections are the commands that are about the connection they come over,
// or would hold it.
var ofConnections = map[string]bool{
	"auth": true, "client": true, "discard": true, "exec": true, "hello": true, "monitor": true, "multi": true,
	"psubscribe": true, "punsubscribe": true, "quit": true, "readonly": true, "readwrite": true, "reset": true,
	"select": true, "shutdown": true, "ssubscribe": true, "subscribe": true, "sunsubscribe": true,
	"unsubscribe": true, "unwatch": true, "wait": true, "watch": true,
}

// syncToken is what a client shows to read its own writes: where in the log its
// newest change is, and a number that differs after each change even where
// there is no log.
type syncToken struct {
	index   uint64
	changes int64
}

func (t syncToken) String() string {
	b := strconv.AppendUint(make([]byte, 0, 24), t.index, 10)
	return string(strconv.AppendInt(append(b, '-'), t.changes, 10))
}

// parseSync reads a token. One that nobody here has given out asks for nothing.
func parseSync(text string) (t syncToken) {
	index, changes, _ := strings.Cut(text, "-")
	n, err := strconv.ParseUint(index, 10, 63)
	if err != nil {
		return syncToken{}
	}
	t.index = n
	if m, err := strconv.ParseUint(changes, 10, 63); err == nil {
		t.changes = int64(min(m, math.MaxInt64))
	}
	return t
}

// Listen is gateway.Door's. The stream is a client like one with a socket: it is
// in CLIENT LIST, counts against maxclients, and CLIENT KILL ends it.
func (d *httpDoor) Listen(ctx context.Context, l gateway.Listening, q *gateway.Queue) (leave func(), err error) {
	s := d.s
	if !s.enter() {
		return nil, gateway.ErrClosed
	}
	c := s.newConn(nil)
	c.addr, c.laddr, c.stream = l.Addr, "http", q
	c.user.Store(httpListener)
	if u, ok := l.User.(*user); ok {
		c.user.Store(u)
	}
	if !s.clients.add(c, s.settings().maxClients) {
		s.stats.rejected.Add(1)
		s.conns.Done()
		return nil, fmt.Errorf("%s", resp.ErrMaxClients.Bytes)
	}
	stop := context.AfterFunc(ctx, c.close) // a client that goes is waited for by nobody
	if c.follows = l.Events; c.follows {
		s.pubsub.histories.follow(c)
	}
	leave = func() {
		stop()
		s.pubsub.histories.unfollow(c)
		c.finish()
		s.conns.Done()
	}
	for _, ask := range []struct {
		command string
		names   []string
		wanted  bool
	}{
		{"subscribe", l.Channels, len(l.Channels) > 0},
		{"psubscribe", l.Patterns, len(l.Patterns) > 0},
		{"monitor", nil, l.Monitor},
	} {
		if !ask.wanted {
			continue
		}
		words := [][]byte{[]byte(ask.command)}
		for _, name := range ask.names {
			words = append(words, []byte(name))
		}
		if c.execute(words); len(c.out) > 0 && c.out[0] == '-' {
			err := fmt.Errorf("%s", errorText(c.out))
			leave()
			return nil, err
		}
	}
	c.arrive()
	return leave, nil
}

// httpListener is whom a stream belongs to whose token the gateway has looked
// at itself.
var httpListener = &user{name: "http", readOnly: true}

// confirmArrival tells a subscriber that it is one; the caller holds pubsub.mu.
func (c *conn) confirmArrival(a arrival) {
	if c.stream == nil {
		c.outbox.push(a.frame)
		return
	}
	m := &gateway.Message{Kind: gateway.Subscribed, Channel: []byte(a.name), Count: a.count}
	if a.sp == patternSpace {
		m = &gateway.Message{Kind: gateway.PSubscribed, Pattern: []byte(a.name), Count: a.count}
	}
	c.stream.Push(m)
}

// streamMessage is what streams share of a message: words point to where it came
// from, and streams keep it.
func streamMessage(words []resp.Reply) *gateway.Message {
	channel, payload := words[len(words)-2].Bytes, words[len(words)-1].Bytes
	m := &gateway.Message{Kind: gateway.Published, At: time.Now()}
	both := append(append(make([]byte, 0, len(channel)+len(payload)), channel...), payload...)
	m.Channel, m.Payload = both[:len(channel):len(channel)], both[len(channel):]
	if len(words) == 4 {
		m.Kind, m.Pattern = gateway.PPublished, bytes.Clone(words[1].Bytes)
	}
	return m
}
