package server

import (
	"math"
	"slices"
	"time"

	"crema/resp"
)

func clientRows() []command {
	const (
		own      = noScript | loading | stale | catConnection // about the connection itself
		operator = own | admin
	)
	return []command{{"client", -2, 0, noKeys, container(append(trackingSubs(),
		command{"capa", -3, own, noKeys, session(cmdClientCapa)},
		command{"getname", 2, own, noKeys, session(cmdClientGetName)},
		command{"help", 2, loading | stale | catConnection, noKeys, session(cmdClientHelp)},
		command{"id", 2, own, noKeys, session(cmdClientID)},
		command{"info", 2, own, noKeys, session(cmdClientInfo)},
		command{"kill", -3, operator, noKeys, session(cmdClientKill)},
		command{"list", -2, operator, noKeys, session(cmdClientList)},
		command{"maint_notifications", -3, own, noKeys, session(cmdClientMaintNotifications)},
		command{"no-evict", 3, operator, noKeys, session(cmdClientNoEvict)},
		command{"no-touch", 3, own, noKeys, session(cmdClientNoTouch)},
		command{"pause", -3, operator, noKeys, session(cmdClientPause)},
		command{"reply", 3, own, noKeys, session(cmdClientReply)},
		command{"setinfo", 4, own, noKeys, session(cmdClientSetInfo)},
		command{"setname", 3, own, noKeys, session(cmdClientSetName)},
		command{"unblock", -3, operator, noKeys, session(cmdClientUnblock)},
		command{"unpause", 2, operator, noKeys, session(cmdClientUnpause)},
	)...)}}
}

// CLIENT ID
func cmdClientID(c *conn, _ *resp.Args) resp.Reply { return resp.Int(c.id) }

// CLIENT GETNAME
func cmdClientGetName(c *conn, _ *resp.Args) resp.Reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.name == "" {
		return resp.Nil
	}
	return resp.BulkString(c.name)
}

// CLIENT SETNAME name
func cmdClientSetName(c *conn, a *resp.Args) resp.Reply {
	name := a.Bytes()
	if !validClientName(name) {
		return resp.ErrClientName
	}
	c.setName(name)
	return resp.OK
}

// maxClientName bounds what a connection may have kept about itself.
const maxClientName = 1 << 10

// validClientName tells whether a name fits into a line of CLIENT LIST.
func validClientName(name []byte) bool {
	if len(name) > maxClientName {
		return false
	}
	for _, b := range name {
		if b < '!' || b > '~' {
			return false
		}
	}
	return true
}

// setName names the connection; empty takes the name away.
func (c *conn) setName(name []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.name = string(name)
}

// CLIENT SETINFO LIB-NAME name|LIB-VER version
func cmdClientSetInfo(c *conn, a *resp.Args) resp.Reply {
	attr := a.Peek()
	into := &c.libName
	switch {
	case a.Match("LIB-NAME"):
	case a.Match("LIB-VER"):
		into = &c.libVer
	default:
		return resp.Error("ERR Unrecognized option '" + string(attr) + "'")
	}
	value := a.Bytes()
	if !validClientName(value) {
		return resp.Error("ERR " + string(attr) + " cannot contain spaces, newlines or special characters.")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	*into = string(value)
	return resp.OK
}

// CLIENT REPLY ON|OFF|SKIP
func cmdClientReply(c *conn, a *resp.Args) resp.Reply {
	switch {
	case a.Match("ON"):
		c.replyMode = replyOn
		return resp.OK
	case a.Match("OFF"):
		c.replyMode = replyOff
	case a.Match("SKIP"):
		if c.replyMode != replyOff {
			c.replyMode = replySkip
		}
	default:
		return resp.ErrSyntax
	}
	return resp.None
}

// onOff reads a switch.
func onOff(a *resp.Args) (on, ok bool) {
	if a.Match("ON") {
		return true, true
	}
	return false, a.Match("OFF")
}

// CLIENT NO-EVICT ON|OFF
func cmdClientNoEvict(c *conn, a *resp.Args) resp.Reply {
	on, ok := onOff(a)
	if !ok {
		return resp.ErrSyntax
	}
	c.noEvict.Store(on)
	return resp.OK
}

// CLIENT NO-TOUCH ON|OFF
func cmdClientNoTouch(c *conn, a *resp.Args) resp.Reply {
	on, ok := onOff(a)
	if !ok {
		return resp.ErrSyntax
	}
	c.noTouch.Store(on)
	return resp.OK
}

// CLIENT PAUSE milliseconds [WRITE|ALL]
func cmdClientPause(c *conn, a *resp.Args) resp.Reply {
	if a.Left() > 2 {
		return resp.ErrSubcommandSyntax("client", a.Words[1])
	}
	timeout, writesOnly := a.Bytes(), false
	if a.More() {
		writesOnly = a.Match("WRITE")
		if !writesOnly && !a.Match("ALL") {
			return resp.ErrPauseMode
		}
	}
	ms, bad := milliseconds(timeout)
	if bad.IsError() {
		return bad
	}
	if ms > math.MaxInt64-c.clock.ms() {
		return resp.OK // ends behind the end of time, which Redis takes for long ago
	}
	c.srv.pause.begin(times(ms, time.Millisecond), writesOnly)
	return resp.OK
}

// milliseconds reads a timeout.
func milliseconds(word []byte) (ms int64, bad resp.Reply) {
	ms, ok := resp.ParseInt(word)
	switch {
	case !ok:
		return 0, resp.ErrTimeout
	case ms < 0:
		return 0, resp.ErrTimeoutNeg
	}
	return ms, resp.None
}

// CLIENT UNPAUSE
func cmdClientUnpause(c *conn, _ *resp.Args) resp.Reply {
	c.srv.pause.end()
	return resp.OK
}

// CLIENT UNBLOCK id [TIMEOUT|ERROR]
//
// No command blocks, so nobody is ever unblocked.
func cmdClientUnblock(_ *conn, a *resp.Args) resp.Reply {
	if a.Left() > 2 {
		return resp.ErrSubcommandSyntax("client", a.Words[1])
	}
	id := a.Bytes()
	if a.More() && !a.Match("TIMEOUT") && !a.Match("ERROR") {
		return resp.ErrUnblockReason
	}
	if _, ok := resp.ParseInt(id); !ok {
		return resp.ErrNotInteger
	}
	return resp.Zero
}

// CLIENT CAPA capability [capability ...]
//
// A capability changes something only where there is something to change:
// what a server does not know it ignores, as Valkey does.
func cmdClientCapa(*conn, *resp.Args) resp.Reply { return resp.OK }

// CLIENT MAINT_NOTIFICATIONS ON|OFF [MOVING-ENDPOINT-TYPE type]
//
// Clients ask for these by default and go on without them when refused. They
// would announce that connections are about to be moved to another address.
func cmdClientMaintNotifications(_ *conn, a *resp.Args) resp.Reply {
	on, ok := onOff(a)
	if !ok {
		return resp.ErrSyntax
	}
	for a.More() {
		if !a.Match("MOVING-ENDPOINT-TYPE") || a.Bytes() == nil {
			return resp.ErrSyntax
		}
	}
	if on {
		return resp.Error("ERR maintenance notifications are not available: this server does not move its clients")
	}
	return resp.OK
}

// CLIENT INFO
func cmdClientInfo(c *conn, _ *resp.Args) resp.Reply {
	return resp.Verbatim("txt", string(append(c.describe(nil, time.Now()), '\n')))
}

// CLIENT LIST [TYPE type|ID id ...]
func cmdClientList(c *conn, a *resp.Args) resp.Reply {
	var of []*conn
	switch {
	case !a.More():
		of = c.srv.clients.list()
	case a.Left() == 2 && a.Match("TYPE"):
		kind, ok := clientType(a.Peek())
		if !ok {
			return resp.ErrClientType(a.Bytes())
		}
		of = slices.DeleteFunc(c.srv.clients.list(), func(other *conn) bool { return other.kind() != kind })
	case a.Left() > 1 && a.Match("ID"):
		for a.More() {
			id := a.IntOr(resp.ErrClientID)
			if a.Failed() {
				return a.Err()
			}
			if other := c.srv.clients.id(id); other != nil {
				of = append(of, other)
			}
		}
	default:
		return resp.ErrSyntax
	}
	var text []byte
	now := time.Now()
	for _, other := range of {
		text = append(other.describe(text, now), '\n')
	}
	return resp.Verbatim("txt", string(text))
}

// CLIENT KILL address
// CLIENT KILL [ID id] [TYPE type] [USER name] [ADDR address] [LADDR address] [SKIPME yes|no]
func cmdClientKill(c *conn, a *resp.Args) resp.Reply {
	if a.Left() == 1 {
		addr := a.Text()
		if c.srv.killClients(c, func(other *conn) bool { return other.addr == addr }) == 0 {
			return resp.ErrNoSuchClient
		}
		return resp.OK
	}
	skipMe := true
	var tests []func(*conn) bool
	for a.More() {
		if a.Left() == 1 {
			return resp.ErrSyntax
		}
		switch {
		case a.Match("ID"):
			id := a.IntOr(resp.ErrClientIDPositive)
			if id < 1 {
				return resp.ErrClientIDPositive
			}
			tests = append(tests, func(other *conn) bool { return other.id == id })
		case a.Match("TYPE"):
			kind, ok := clientType(a.Peek())
			if !ok {
				return resp.ErrClientType(a.Bytes())
			}
			a.Bytes()
			tests = append(tests, func(other *conn) bool { return other.kind() == kind })
		case a.Match("ADDR"):
			addr := a.Text()
			tests = append(tests, func(other *conn) bool { return other.addr == addr })
		case a.Match("LADDR"):
			laddr := a.Text()
			tests = append(tests, func(other *conn) bool { return other.laddr == laddr })
		case a.Match("USER"):
			name := a.Text()
			if c.srv.users.get(name) == nil {
				return resp.ErrNoSuchUser([]byte(name))
			}
			tests = append(tests, func(other *conn) bool {
				u := other.user.Load()
				return u != nil && u.name == name
			})
		case a.Match("SKIPME"):
			skipMe = a.Match("YES")
			if !skipMe && !a.Match("NO") {
				return resp.ErrSyntax
			}
		default:
			return resp.ErrSyntax
		}
	}
	n := c.srv.killClients(c, func(other *conn) bool {
		for _, test := range tests {
			if !test(other) {
				return false
			}
		}
		return other != c || !skipMe
	})
	return resp.Int(int64(n))
}

// killClients closes the connections that match. The one that asks still gets
// its answer.
func (s *Server) killClients(asker *conn, match func(*conn) bool) (killed int) {
	s.clients.each(func(c *conn) {
		if !match(c) {
			return
		}
		killed++
		if c == asker {
			c.closing = true
		} else {
			c.close()
			s.clients.remove(c) // it may be a moment before it notices
		}
	})
	return killed
}

// CLIENT HELP
func cmdClientHelp(*conn, *resp.Args) resp.Reply {
	return helpReply("CLIENT",
		"CACHING (YES|NO)",
		"    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
		"GETREDIR",
		"    Return the client ID we are redirecting to when tracking is enabled.",
		"GETNAME",
		"    Return the name of the current connection.",
		"ID",
		"    Return the ID of the current connection.",
		"INFO",
		"    Return information about the current client connection.",
		"KILL <ip:port>",
		"    Kill connection made from <ip:port>.",
		"KILL <option> <value> [<option> <value> [...]]",
		"    Kill connections. Options are:",
		"    * ADDR (<ip:port>|<unixsocket>:0)",
		"      Kill connections made from the specified address",
		"    * LADDR (<ip:port>|<unixsocket>:0)",
		"      Kill connections made to specified local address",
		"    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
		"      Kill connections by type.",
		"    * USER <username>",
		"      Kill connections authenticated by <username>.",
		"    * SKIPME (YES|NO)",
		"      Skip killing current connection (default: yes).",
		"LIST [options ...]",
		"    Return information about client connections. Options:",
		"    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
		"      Return clients of specified type.",
		"UNPAUSE",
		"    Stop the current client pause, resuming traffic.",
		"PAUSE <timeout> [WRITE|ALL]",
		"    Suspend all, or just write, clients for <timeout> milliseconds.",
		"REPLY (ON|OFF|SKIP)",
		"    Control the replies sent to the current connection.",
		"SETNAME <name>",
		"    Assign the name <name> to the current connection.",
		"SETINFO <option> <value>",
		"    Note the client's library. Options are LIB-NAME and LIB-VER.",
		"UNBLOCK <clientid> [TIMEOUT|ERROR]",
		"    Unblock the specified blocked client.",
		"TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
		"         [OPTIN] [OPTOUT] [NOLOOP]",
		"    Control server assisted client side caching.",
		"TRACKINGINFO",
		"    Report tracking status for the current connection.",
		"NO-EVICT (ON|OFF)",
		"    Protect current client connection from eviction.",
		"NO-TOUCH (ON|OFF)",
		"    Read without making keys look used.",
		"CAPA <capability> [<capability> ...]",
		"    Announce what the client is capable of.")
}
