package server

import (
	"sync"
	"sync/atomic"

	"crema/resp"
	"crema/store"
)

// pubsub knows who listens to what. Channels, sharded channels and patterns
// are three spaces of names.
type pubsub struct {
	srv *Server

	mu       sync.RWMutex // guards the maps; taken after shard locks, before an outbox's
	channels audience
	shards   audience
	patterns audience
}

// audience maps a name to its listeners. It never holds an empty inner map.
type audience map[string]map[*conn]struct{}

func (au audience) join(name string, c *conn) {
	if au[name] == nil {
		au[name] = map[*conn]struct{}{}
	}
	au[name][c] = struct{}{}
}

func (au audience) leave(name string, c *conn) {
	delete(au[name], c)
	if len(au[name]) == 0 {
		delete(au, name)
	}
}

// subscriptions are one connection's names. The maps belong to its goroutine;
// the counts are for others.
type subscriptions struct {
	channels, shards, patterns    map[string]struct{}
	nChannels, nShards, nPatterns atomic.Int32
}

// count is how many subscriptions of all kinds there are.
func (s *subscriptions) count() int { return len(s.channels) + len(s.shards) + len(s.patterns) }

// space is one of the three kinds of subscription: where its names are kept and
// what its confirmations are called.
type space struct {
	subscribed, unsubscribed string
	audience                 func(*pubsub) audience
	names                    func(*subscriptions) *map[string]struct{}
	size                     func(*subscriptions) *atomic.Int32
	count                    func(*subscriptions) int // what a confirmation tells
}

func countBoth(s *subscriptions) int { return len(s.channels) + len(s.patterns) }

var (
	channelSpace = &space{"subscribe", "unsubscribe",
		func(p *pubsub) audience { return p.channels },
		func(s *subscriptions) *map[string]struct{} { return &s.channels },
		func(s *subscriptions) *atomic.Int32 { return &s.nChannels }, countBoth}
	patternSpace = &space{"psubscribe", "punsubscribe",
		func(p *pubsub) audience { return p.patterns },
		func(s *subscriptions) *map[string]struct{} { return &s.patterns },
		func(s *subscriptions) *atomic.Int32 { return &s.nPatterns }, countBoth}
	shardSpace = &space{"ssubscribe", "sunsubscribe",
		func(p *pubsub) audience { return p.shards },
		func(s *subscriptions) *map[string]struct{} { return &s.shards },
		func(s *subscriptions) *atomic.Int32 { return &s.nShards },
		func(s *subscriptions) int { return len(s.shards) }}
)

func newPubsub(s *Server) *pubsub {
	return &pubsub{srv: s, channels: audience{}, shards: audience{}, patterns: audience{}}
}

// subscribe adds a name and confirms it.
func (p *pubsub) subscribe(c *conn, sp *space, name []byte) {
	names := sp.names(&c.subs)
	if _, ok := (*names)[string(name)]; !ok {
		c.needOutbox()
		owned := string(name)
		if *names == nil {
			*names = map[string]struct{}{}
		}
		(*names)[owned] = struct{}{}
		sp.size(&c.subs).Add(1)
		// The confirmation goes to the outbox and the name into the audience
		// in one step: joined first, a message could overtake the
		// confirmation; confirmed first, a message sent by somebody who saw
		// the confirmation could miss the subscriber.
		p.mu.Lock()
		defer p.mu.Unlock()
		sp.audience(p).join(owned, c)
	}
	c.confirm(sp.subscribed, resp.Bulk(name), sp.count(&c.subs))
}

// unsubscribe drops a name and confirms it, whether it was there or not.
func (p *pubsub) unsubscribe(c *conn, sp *space, name []byte) {
	p.drop(c, sp, string(name))
	c.confirm(sp.unsubscribed, resp.Bulk(name), sp.count(&c.subs))
}

func (p *pubsub) drop(c *conn, sp *space, name string) {
	names := *sp.names(&c.subs)
	if _, ok := names[name]; !ok {
		return
	}
	delete(names, name)
	sp.size(&c.subs).Add(-1)
	p.mu.Lock()
	sp.audience(p).leave(name, c)
	p.mu.Unlock()
}

// leave ends all of a connection's subscriptions without a word.
func (p *pubsub) leave(c *conn) {
	for _, sp := range []*space{channelSpace, patternSpace, shardSpace} {
		for name := range *sp.names(&c.subs) {
			p.drop(c, sp, name)
		}
	}
}

// confirm sends one confirmation, at once unless it is part of EXEC's reply.
// CLIENT REPLY OFF does not silence it.
func (c *conn) confirm(kind string, name resp.Reply, count int) {
	c.out = resp.Append(c.out, resp.Push(resp.BulkString(kind), name, resp.Int(int64(count))), c.proto)
	if c.outbox != nil && !c.open {
		c.flush()
	}
}

// message is something published, before it reached anybody.
type message struct {
	sharded          bool
	channel, payload []byte
}

// publish hands a message to everybody who listens, and counts them. Frames
// are encoded once per protocol and shared.
func (p *pubsub) publish(m message) (receivers int) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if m.sharded {
		return p.deliver(p.shards[string(m.channel)], resp.BulkString("smessage"), resp.Bulk(m.channel), resp.Bulk(m.payload))
	}
	n := p.deliver(p.channels[string(m.channel)], resp.BulkString("message"), resp.Bulk(m.channel), resp.Bulk(m.payload))
	for pattern, to := range p.patterns {
		if resp.Match([]byte(pattern), m.channel, false) {
			n += p.deliver(to, resp.BulkString("pmessage"), resp.BulkString(pattern), resp.Bulk(m.channel), resp.Bulk(m.payload))
		}
	}
	return n
}

// receivers counts who would get a message.
func (p *pubsub) receivers(m message) int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if m.sharded {
		return len(p.shards[string(m.channel)])
	}
	n := len(p.channels[string(m.channel)])
	for pattern, to := range p.patterns {
		if resp.Match([]byte(pattern), m.channel, false) {
			n += len(to)
		}
	}
	return n
}

// deliver pushes one frame to each listener; the caller holds mu.
func (p *pubsub) deliver(to map[*conn]struct{}, elems ...resp.Reply) int {
	var frames [4][]byte // by protocol
	for c := range to {
		proto := int(c.protoSeen.Load())
		if frames[proto] == nil {
			frames[proto] = resp.Append(nil, resp.Push(elems...), proto)
		}
		c.outbox.push(frames[proto])
	}
	p.srv.stats.deliveries.Add(int64(len(to)))
	return len(to)
}

// The letters K and E of notify-keyspace-events, beside the store's classes.
const (
	eventKeyspace store.EventClass = 1 << 30
	eventKeyevent store.EventClass = 1 << 31
)

// announce publishes keyspace events as notify-keyspace-events asks.
// https://redis.io/docs/latest/develop/use/keyspace-notifications/
func (p *pubsub) announce(events []store.Event, wanted store.EventClass) {
	for _, e := range events {
		if wanted&e.Class == 0 {
			continue
		}
		db := []byte{byte('0' + e.DB)}
		if e.DB > 9 {
			db = []byte{'1', byte('0' + e.DB - 10)}
		}
		if wanted&eventKeyspace != 0 {
			channel := append(append(append([]byte("__keyspace@"), db...), "__:"...), e.Key...)
			p.publish(message{channel: channel, payload: []byte(e.Name)})
		}
		if wanted&eventKeyevent != 0 {
			channel := append(append(append([]byte("__keyevent@"), db...), "__:"...), e.Name...)
			p.publish(message{channel: channel, payload: e.Key})
		}
	}
}

// needOutbox makes sure that messages can reach the connection. What it still
// has to say goes first.
func (c *conn) needOutbox() {
	if c.outbox != nil {
		return
	}
	if !c.open {
		c.flush()
	}
	c.outbox = newOutbox(c.sock, c.outboxLimit, c.tooSlow, &c.srv.stats.bytesOut)
}

// tooSlow gives up a client whose messages do not fit its outbox any more.
func (c *conn) tooSlow() {
	c.srv.stats.outboxClosed.Add(1)
	c.srv.log.Warn("closing client that does not read its messages", "id", c.id, "addr", c.addr)
	c.close()
}

// outboxLimit is the class of client-output-buffer-limit that applies. A
// MONITOR client is bounded as a subscriber is, where Redis lets it grow.
func (c *conn) outboxLimit() outboxLimit { return c.srv.settings().outboxPubsub }

// checkSlow applies the soft limits to subscribers that get nothing new.
func (s *Server) checkSlow() {
	s.clients.each(func(c *conn) {
		if c.hasOutbox() {
			c.outbox.check()
		}
	})
}
