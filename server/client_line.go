package server

import (
	"crypto/tls"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

// clientKind is a type of CLIENT LIST TYPE and CLIENT KILL TYPE.
type clientKind uint8

const (
	normalClient clientKind = iota
	pubsubClient
	masterClient // there are no connections of this and the next kind
	replicaClient
)

// clientType reads the name of a kind.
func clientType(word []byte) (clientKind, bool) {
	switch string(appendFolded(nil, word)) {
	case "normal":
		return normalClient, true
	case "pubsub":
		return pubsubClient, true
	case "master":
		return masterClient, true
	case "replica", "slave":
		return replicaClient, true
	}
	return 0, false
}

// appendFolded appends a short word in lower case.
func appendFolded(dst, word []byte) []byte {
	folded, _ := appendLower(dst, word)
	return folded
}

// kind is what the connection counts as.
func (c *conn) kind() clientKind {
	if c.subscribed() {
		return pubsubClient
	}
	return normalClient
}

// subscribed tells any goroutine whether the connection listens to anything.
func (c *conn) subscribed() bool {
	return c.subs.nChannels.Load()+c.subs.nPatterns.Load()+c.subs.nShards.Load() > 0
}

// describe appends the connection's line of CLIENT LIST: the fields of Redis
// 7.0, then the library's name and version as later ones have. Any goroutine
// may ask.
func (c *conn) describe(dst []byte, now time.Time) []byte {
	text := func(name, value string) {
		dst = append(append(append(append(dst, name...), '='), value...), ' ')
	}
	number := func(name string, n int64) {
		dst = append(strconv.AppendInt(append(append(dst, name...), '='), n, 10), ' ')
	}
	c.mu.Lock()
	name, libName, libVer, fd := c.name, c.libName, c.libVer, c.fd()
	c.mu.Unlock()
	frames, waiting := c.waiting()
	in, queued, out := c.inBytes.Load(), c.multiBytes.Load(), c.outBytes.Load()
	events := "r"
	if waiting > 0 {
		events = "rw"
	}

	number("id", c.id)
	text("addr", c.addr)
	text("laddr", c.laddr)
	number("fd", fd)
	text("name", name)
	number("age", int64(now.Sub(c.created)/time.Second))
	number("idle", max(now.UnixMilli()-c.lastUsed.Load(), 0)/1000)
	text("flags", c.flagLetters())
	number("db", int64(c.db.Load()))
	number("sub", int64(c.subs.nChannels.Load()))
	number("psub", int64(c.subs.nPatterns.Load()))
	number("ssub", int64(c.subs.nShards.Load()))
	number("multi", int64(c.queued.Load()))
	number("qbuf", in)
	number("qbuf-free", 0)
	number("argv-mem", 0)
	number("multi-mem", queued)
	number("rbs", out)
	number("rbp", out)
	number("obl", 0)
	number("oll", int64(frames))
	number("omem", waiting)
	number("tot-mem", in+queued+out+waiting+int64(unsafe.Sizeof(*c)))
	text("events", events)
	cmd, user := "NULL", defaultUser
	if row := c.lastRow.Load(); row != nil {
		cmd = row.name
	}
	if u := c.user.Load(); u != nil {
		user = u.name
	}
	text("cmd", cmd)
	text("user", user)
	number("redir", c.redirection())
	number("resp", int64(c.protoSeen.Load()))
	text("lib-name", libName)
	text("lib-ver", libVer)
	return dst[:len(dst)-1]
}

// flagLetters is what the connection is, a letter each, in Redis's order.
func (c *conn) flagLetters() string {
	var letters []byte
	tracks, broken, bcast := c.trackingState()
	for _, f := range [...]struct {
		letter byte
		is     bool
	}{
		{'O', c.monitor.Load()}, {'P', c.subscribed()}, {'x', c.queued.Load() >= 0},
		{'t', tracks}, {'R', broken}, {'B', bcast},
		{'U', c.unix}, {'e', c.noEvict.Load()}, {'T', c.noTouch.Load()},
	} {
		if f.is {
			letters = append(letters, f.letter)
		}
	}
	if letters == nil {
		return "N"
	}
	return string(letters)
}

// waiting is what is in the connection's outbox. Whoever is subscribed,
// monitors or tracks has had one since before that could be seen.
func (c *conn) waiting() (frames int, bytes int64) {
	if c.stream != nil {
		return c.stream.Pending()
	}
	if c.hasOutbox() {
		return c.outbox.pending()
	}
	return 0, 0
}

// hasOutbox tells any goroutine that the connection's outbox may be used.
func (c *conn) hasOutbox() bool {
	return c.stream == nil && (c.subscribed() || c.monitor.Load() || c.tracker.Load() != nil)
}

// fd is the socket's file descriptor, -1 if it has none; the caller holds mu.
func (c *conn) fd() int64 {
	sock := c.sock
	if t, ok := sock.(*tls.Conn); ok {
		sock = t.NetConn()
	}
	fd := int64(-1)
	if s, ok := sock.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			raw.Control(func(n uintptr) { fd = int64(n) })
		}
	}
	return fd
}
