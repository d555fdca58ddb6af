package server

import "crema/resp"

func sessionRows() []command {
	return []command{
		{"hello", -1, secret | noScript | loading | stale | fast | noAuth | allowBusy | catConnection, noKeys, session(cmdHello)},
		{"auth", -2, noScript | loading | stale | fast | noAuth | allowBusy | secret | catConnection, noKeys, session(cmdAuth)},
		{"ping", -1, fast | inSubscriber | catConnection, noKeys, session(cmdPing)},
		{"echo", 2, loading | stale | fast | catConnection, noKeys, session(cmdEcho)},
		{"reset", 1, noScript | loading | stale | fast | noAuth | allowBusy | unqueued | inSubscriber | catConnection, noKeys, session(cmdReset)},
		{"quit", -1, noScript | loading | stale | fast | noAuth | allowBusy | unqueued | inSubscriber | catConnection, noKeys, session(cmdQuit)},
		{"select", 2, loading | stale | fast | catConnection, noKeys, session(cmdSelect)},
	}
}

// HELLO [protover [AUTH username password] [SETNAME clientname]]
func cmdHello(c *conn, a *resp.Args) resp.Reply {
	proto := c.proto
	if a.More() {
		n := a.IntOr(resp.ErrProtoVersion)
		if a.Failed() {
			return a.Err()
		}
		if n < 2 || n > 3 {
			return resp.ErrNoProto
		}
		proto = int(n)
	}
	for a.More() { // each option takes effect as it is read, as in Redis
		switch {
		case a.Left() > 2 && a.Match("AUTH"):
			if bad := c.authenticate(a.Bytes(), a.Bytes()); bad.IsError() {
				return bad
			}
		case a.Left() > 1 && a.Match("SETNAME"):
			name := a.Bytes()
			if !validClientName(name) {
				return resp.ErrClientName
			}
			c.setName(name)
		default:
			return resp.ErrHelloOption(a.Peek())
		}
	}
	if c.user.Load() == nil {
		return resp.ErrNoAuthHello
	}
	c.setProto(proto)
	return resp.Map(
		resp.BulkString("server"), resp.BulkString("redis"),
		resp.BulkString("version"), resp.BulkString(RedisVersion),
		resp.BulkString("proto"), resp.Int(int64(proto)),
		resp.BulkString("id"), resp.Int(c.id),
		resp.BulkString("mode"), resp.BulkString("standalone"),
		resp.BulkString("role"), resp.BulkString("master"),
		resp.BulkString("modules"), resp.Empty,
	)
}

func (c *conn) setProto(proto int) {
	c.proto = proto
	c.protoSeen.Store(int32(proto))
}

// AUTH [username] password
func cmdAuth(c *conn, a *resp.Args) resp.Reply {
	if a.Left() > 2 {
		return resp.ErrSyntax
	}
	name := []byte(defaultUser)
	if a.Left() == 2 {
		name = a.Bytes()
	} else if c.srv.users.get(defaultUser).noPass {
		return resp.ErrNoPassword
	}
	if bad := c.authenticate(name, a.Bytes()); bad.Kind != resp.KindNone {
		return bad
	}
	return resp.OK
}

// PING [message]
func cmdPing(c *conn, a *resp.Args) resp.Reply {
	if a.Left() > 1 {
		return a.WrongArity()
	}
	if c.proto == 2 && c.subs.count() > 0 {
		message := resp.BulkString("")
		if a.More() {
			message = resp.Bulk(a.Bytes())
		}
		return resp.Array(resp.BulkString("pong"), message)
	}
	if a.More() {
		return resp.Bulk(a.Bytes())
	}
	return resp.Pong
}

// ECHO message
func cmdEcho(_ *conn, a *resp.Args) resp.Reply { return resp.Bulk(a.Bytes()) }

// QUIT
func cmdQuit(c *conn, _ *resp.Args) resp.Reply {
	c.closing = true
	return resp.OK
}

// SELECT index
func cmdSelect(c *conn, a *resp.Args) resp.Reply {
	db := database(a, resp.None)
	checkDatabase(a, db)
	if a.Failed() {
		return a.Err()
	}
	c.selectDB(db)
	return resp.OK
}

func (c *conn) selectDB(db int) {
	c.db.Store(int32(db))
	if c.open {
		c.tx.Select(db)
	}
}

// RESET makes the connection as good as new.
func cmdReset(c *conn, _ *resp.Args) resp.Reply {
	c.endMulti()
	c.srv.monitors.leave(c)
	c.srv.pubsub.leave(c)
	c.srv.tracking.leave(c)
	c.ownReads = false
	c.noTouch.Store(false)
	c.noEvict.Store(false)
	c.setName(nil)
	c.selectDB(0)
	c.setProto(2)
	c.login(c.srv.users.anonymous())
	c.replyMode = replyOn
	return resp.Simple("RESET")
}
