package server

import (
	"strconv"
	"sync"
	"sync/atomic"

	"crema/resp"
	"crema/server/gateway"
)

// monitors are the connections that watch every command.
type monitors struct {
	n   atomic.Int32 // how many; read on the hot path
	mu  sync.RWMutex // guards all; taken before an outbox's
	all map[*conn]struct{}
}

func monitorRows() []command {
	return []command{{"monitor", 1, admin | noScript | loading | stale, noKeys, session(cmdMonitor)}}
}

// MONITOR
func cmdMonitor(c *conn, _ *resp.Args) resp.Reply {
	if c.sock == nil && c.stream == nil {
		return resp.ErrNoPushDoor
	}
	if c.open {
		return resp.Error("ERR MONITOR isn't allowed for DENY BLOCKING client")
	}
	if c.monitor.Load() {
		return resp.None // as Redis: asked for twice, answered once
	}
	c.needOutbox() // this may wait for the client, so before the lock
	c.srv.monitors.join(c)
	return resp.None
}

// join answers OK and lets the connection watch, in one step: whoever sees the
// OK and says something is shown. So feed has to find n changed before there is an OK.
func (m *monitors) join(c *conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil {
		m.all = map[*conn]struct{}{}
	}
	m.all[c] = struct{}{}
	m.n.Store(int32(len(m.all)))
	c.monitor.Store(true)
	if c.stream != nil {
		c.stream.Push(&gateway.Message{Kind: gateway.Shown, Payload: []byte(`"OK"`)})
	} else if c.replyMode == replyOn {
		c.outbox.push(resp.Append(nil, resp.OK, c.proto))
	}
}

func (m *monitors) leave(c *conn) {
	if !c.monitor.Load() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, c)
	m.n.Store(int32(len(m.all)))
	c.monitor.Store(false)
}

// feed shows one command to everybody who watches, in MONITOR's format:
//
//	+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"
func (m *monitors) feed(c *conn, words [][]byte) {
	if m.n.Load() == 0 || c.proxy {
		return
	}
	source := c.addr
	if c.inScript {
		source = "lua"
	} else if c.unix {
		source = "unix:" + c.laddr
	}
	us := c.clock.micros()
	line := append([]byte{'+'}, strconv.FormatInt(us/1e6, 10)...)
	line = append(line, '.')
	line = append(line, strconv.FormatInt(1e6+us%1e6, 10)[1:]...)
	line = append(line, " ["...)
	line = strconv.AppendInt(line, int64(c.db.Load()), 10)
	line = append(line, ' ')
	line = append(line, source...)
	line = append(line, ']')
	for _, w := range words {
		line = append(line, ' ')
		line = resp.AppendQuoted(line, w)
	}
	line = append(line, "\r\n"...)
	m.mu.RLock()
	defer m.mu.RUnlock()
	var shared *gateway.Message // by streams
	for to := range m.all {
		if to.stream != nil {
			if shared == nil {
				shared = &gateway.Message{Kind: gateway.Shown, Payload: line[1 : len(line)-len("\r\n")]}
			}
			to.stream.Push(shared)
			continue
		}
		to.outbox.push(line)
	}
}
