package server

import (
	"sync"
	"sync/atomic"

	"crema/resp"
	"crema/server/gateway"
	"crema/store"
)

// pubsub knows who listens to what.
type pubsub struct {
	srv       *Server
	relay     *relay     // nil without other nodes
	histories *histories // nil if nothing is kept

	mu sync.RWMutex // guards what follows; taken after shard locks, before an outbox's
	audiences
	coming audiences // who will join when the other nodes know of it
}

// audiences are the listeners in the three spaces of names.
type audiences struct{ channels, shards, patterns audience }

func newAudiences() audiences { return audiences{audience{}, audience{}, audience{}} }

// audience maps a name to its listeners. It never holds an empty inner map.
type audience map[string]map[*conn]struct{}

func (au audience) join(name string, c *conn) {
	if au[name] == nil {
		au[name] = map[*conn]struct{}{}
	}
	au[name][c] = struct{}{}
}

// leave tells whether c was there.
func (au audience) leave(name string, c *conn) bool {
	_, there := au[name][c]
	delete(au[name], c)
	if len(au[name]) == 0 {
		delete(au, name)
	}
	return there
}

// subscriptions are one connection's names. The maps belong to its goroutine;
// the counts are for others, and of what has joined its audience.
type subscriptions struct {
	channels, shards, patterns    map[string]struct{}
	nChannels, nShards, nPatterns atomic.Int32

	// What EXEC has SUBSCRIBEd to and will join when its reply is in the
	// outbox: messages would overtake the confirmation.
	joining audiences // of this connection alone
	joins   []join    // in order; only the first of several of one name counts

	// What SUBSCRIBE will confirm and join when the other nodes know of it.
	arrivals []arrival
	mark     uint64 // up to which they must know
	first    bool   // of a name that they know nothing of yet: at once
}

// join is one SUBSCRIBE inside EXEC.
type join struct {
	sp    *space
	name  string
	after int // this many messages of the same EXEC are from before
}

// arrival is one SUBSCRIBE outside EXEC.
type arrival struct {
	sp    *space
	name  string
	frame []byte // its confirmation
	count int    // that it tells
}

// count is how many subscriptions of all kinds there are.
func (s *subscriptions) count() int { return len(s.channels) + len(s.shards) + len(s.patterns) }

// space is one of the three kinds of subscription: where its names are kept and
// what its confirmations are called.
type space struct {
	index                    uint8 // in spaces
	subscribed, unsubscribed string
	audience                 func(*audiences) audience
	names                    func(*subscriptions) *map[string]struct{}
	size                     func(*subscriptions) *atomic.Int32
	count                    func(*subscriptions) int // what a confirmation tells
}

func countBoth(s *subscriptions) int { return len(s.channels) + len(s.patterns) }

var (
	channelSpace = &space{0, "subscribe", "unsubscribe",
		func(a *audiences) audience { return a.channels },
		func(s *subscriptions) *map[string]struct{} { return &s.channels },
		func(s *subscriptions) *atomic.Int32 { return &s.nChannels }, countBoth}
	patternSpace = &space{1, "psubscribe", "punsubscribe",
		func(a *audiences) audience { return a.patterns },
		func(s *subscriptions) *map[string]struct{} { return &s.patterns },
		func(s *subscriptions) *atomic.Int32 { return &s.nPatterns }, countBoth}
	shardSpace = &space{2, "ssubscribe", "sunsubscribe",
		func(a *audiences) audience { return a.shards },
		func(s *subscriptions) *map[string]struct{} { return &s.shards },
		func(s *subscriptions) *atomic.Int32 { return &s.nShards },
		func(s *subscriptions) int { return len(s.shards) }}
	spaces = [subscriptionSpaces]*space{channelSpace, patternSpace, shardSpace}
)

func newPubsub(s *Server) *pubsub {
	return &pubsub{srv: s, audiences: newAudiences(), coming: newAudiences()}
}

// subscribe adds a name and confirms it. Where there are other nodes it does so
// when they know of it, see arrive.
func (p *pubsub) subscribe(c *conn, sp *space, name []byte) {
	names := sp.names(&c.subs)
	if _, ok := (*names)[string(name)]; ok {
		c.confirm(sp.subscribed, resp.Bulk(name), sp.count(&c.subs))
		return
	}
	if len(c.subs.arrivals) == 0 || len(c.out) > 0 {
		c.needOutbox() // this may wait for the client, so before mu
	}
	owned := string(name)
	if *names == nil {
		*names = map[string]struct{}{}
	}
	(*names)[owned] = struct{}{}
	if p.relay != nil {
		p.come(c, sp, owned)
	}
	if c.open {
		if len(c.subs.joins) == 0 {
			c.subs.joining = newAudiences()
		}
		sp.audience(&c.subs.joining).join(owned, c)
		c.subs.joins = append(c.subs.joins, join{sp, owned, len(c.deferred)})
		c.confirm(sp.subscribed, resp.Bulk(name), sp.count(&c.subs))
		return
	}
	n := sp.count(&c.subs)
	a := arrival{sp, owned, confirmation(sp.subscribed, resp.Bulk(name), n, c.proto), n}
	if p.relay != nil {
		c.subs.arrivals = append(c.subs.arrivals, a)
		if len(c.subs.arrivals) >= maxArrivals {
			c.arrive()
		}
		return
	}
	// The confirmation goes to the outbox and the name into the audience in one
	// step: joined first, a message could overtake the confirmation; confirmed
	// first, a message sent by somebody who saw the confirmation could miss the
	// subscriber.
	p.mu.Lock()
	defer p.mu.Unlock()
	c.confirmArrival(a)
	p.join(c, sp, owned)
}

// join puts a connection into an audience; the caller holds mu.
func (p *pubsub) join(c *conn, sp *space, name string) {
	if p.relay != nil {
		sp.audience(&p.coming).leave(name, c) // together they are as many as before
	}
	sp.audience(&p.audiences).join(name, c)
	sp.size(&c.subs).Add(1)
}

// joinDeferred joins what EXEC has SUBSCRIBEd to before its nth message. What was
// unsubscribed again meanwhile is not joining any more.
func (p *pubsub) joinDeferred(c *conn, n int) {
	s := &c.subs
	if len(s.joins) == 0 || s.joins[0].after > n {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(s.joins) > 0 && s.joins[0].after <= n {
		j := s.joins[0]
		s.joins = s.joins[1:]
		if j.sp.audience(&s.joining).leave(j.name, c) {
			p.join(c, j.sp, j.name)
		}
	}
}

// dropJoining takes back what an EXEC that came to nothing has SUBSCRIBEd to.
func (c *conn) dropJoining() {
	s := &c.subs
	for _, j := range s.joins {
		if j.sp.audience(&s.joining).leave(j.name, c) {
			delete(*j.sp.names(s), j.name)
			c.srv.pubsub.stay(c, j.sp, j.name)
		}
	}
	s.joining, s.joins = audiences{}, nil
}

// unsubscribe drops names and confirms them, whether they were there or not.
func (p *pubsub) unsubscribe(c *conn, sp *space, names [][]byte) {
	c.arrive()
	for _, name := range names {
		p.drop(c, sp, string(name))
		c.out = append(c.out, confirmation(sp.unsubscribed, resp.Bulk(name), sp.count(&c.subs), c.proto)...)
	}
	if c.open {
		return
	}
	c.agree()
	if c.outbox != nil {
		c.flush()
	}
}

func (p *pubsub) drop(c *conn, sp *space, name string) {
	names := *sp.names(&c.subs)
	if _, ok := names[name]; !ok {
		return
	}
	delete(names, name)
	if sp.audience(&c.subs.joining).leave(name, c) {
		p.stay(c, sp, name)
		return
	}
	if p.relay != nil {
		defer p.changed(c, sp, name) // behind the change
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if sp.audience(&p.audiences).leave(name, c) {
		sp.size(&c.subs).Add(-1)
	}
}

// leave ends all of a connection's subscriptions without a word.
func (p *pubsub) leave(c *conn) {
	c.arrive()
	for _, sp := range []*space{channelSpace, patternSpace, shardSpace} {
		for name := range *sp.names(&c.subs) {
			p.drop(c, sp, name)
		}
	}
}

// confirm sends one confirmation, at once unless it is part of EXEC's reply.
// CLIENT REPLY OFF does not silence it.
func (c *conn) confirm(kind string, name resp.Reply, count int) {
	c.out = append(c.out, confirmation(kind, name, count, c.proto)...)
	if c.outbox != nil && !c.open {
		c.flush()
	}
}

func confirmation(kind string, name resp.Reply, count, proto int) []byte {
	return resp.Append(nil, resp.Push(resp.BulkString(kind), name, resp.Int(int64(count))), proto)
}

// message is something published, before it reached anybody.
type message struct {
	sharded          bool
	channel, payload []byte

	place gateway.Place    // in its origin's history; Seq is 0 if it is in none, and event streams are told by publishHere
	at    gateway.Position // of this node then
	event *gateway.Message // what they share, made for the first
	told  streamsTold
}

// streamsTold are event streams that have been told of a message. One may listen
// to several names that it has.
type streamsTold map[*conn]struct{}

// first tells whether a stream is told for the first time; the caller holds mu.
func (st *streamsTold) first(c *conn) bool {
	patterns := c.subs.nPatterns.Load()
	if patterns == 0 || patterns == 1 && c.subs.nChannels.Load() == 0 {
		return true
	}
	if _, told := (*st)[c]; told {
		return false
	}
	if *st == nil {
		*st = streamsTold{}
	}
	(*st)[c] = struct{}{}
	return true
}

// of visits those who hear a message, with the words of what they get.
func (a *audiences) of(m message, visit func(to map[*conn]struct{}, words ...resp.Reply)) {
	channel, payload := resp.Bulk(m.channel), resp.Bulk(m.payload)
	if m.sharded {
		if to := a.shards[string(m.channel)]; len(to) > 0 {
			visit(to, resp.BulkString("smessage"), channel, payload)
		}
		return
	}
	if to := a.channels[string(m.channel)]; len(to) > 0 {
		visit(to, resp.BulkString("message"), channel, payload)
	}
	for pattern, to := range a.patterns {
		if resp.Match([]byte(pattern), m.channel, false) {
			visit(to, resp.BulkString("pmessage"), resp.BulkString(pattern), channel, payload)
		}
	}
}

// publish hands a message to everybody who listens, on whichever node, and
// counts them.
func (p *pubsub) publish(m message) (receivers int) {
	if p.histories != nil && !m.sharded {
		return p.histories.publish(m)
	}
	receivers = p.publishHere(m)
	if p.relay != nil {
		receivers += p.relay.publish(m)
	}
	return receivers
}

// publishHere is publish for those on this node. Frames are encoded once per
// protocol and shared.
func (p *pubsub) publishHere(m message) (receivers int) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	p.of(m, func(to map[*conn]struct{}, words ...resp.Reply) { receivers += p.deliver(to, words, &m) })
	return receivers
}

// follow tells event streams of a channel.
func (p *pubsub) follow(event *gateway.Message) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var told streamsTold
	push := func(to map[*conn]struct{}) {
		for c := range to {
			if c.follows && told.first(c) {
				c.stream.Push(event)
			}
		}
	}
	push(p.channels[string(event.Channel)])
	for pattern, to := range p.patterns {
		if resp.Match([]byte(pattern), event.Channel, false) {
			push(to)
		}
	}
}

// receivers counts who would get a message of c's, c itself included if it is
// about to listen.
func (p *pubsub) receivers(c *conn, m message) (n int) {
	count := func(to map[*conn]struct{}, _ ...resp.Reply) { n += len(to) }
	if p.relay != nil {
		n = int(p.relay.receivers(m))
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	p.of(m, count)
	c.subs.joining.of(m, count)
	return n
}

// deliver pushes one frame to each listener; the caller holds mu. Event streams
// are told of what is in a history in its order, by follow.
func (p *pubsub) deliver(to map[*conn]struct{}, words []resp.Reply, m *message) int {
	var frames [4][]byte        // by protocol
	var shared *gateway.Message // by streams
	for c := range to {
		if c.follows {
			if m.place.Seq == 0 && m.told.first(c) {
				if m.event == nil {
					m.event = streamMessage(words[len(words)-2:])
					m.event.Mark = &gateway.Mark{Position: m.at}
				}
				c.stream.Push(m.event)
			}
			continue
		}
		if c.stream != nil {
			if shared == nil {
				shared = streamMessage(words)
			}
			c.stream.Push(shared)
			continue
		}
		proto := int(c.protoSeen.Load())
		if frames[proto] == nil {
			push := resp.Push(words...)
			frames[proto] = resp.Append(make([]byte, 0, push.Size()), push, proto)
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
// has to say goes first, for which this may wait: no lock may be held.
func (c *conn) needOutbox() {
	if c.stream != nil {
		return
	}
	if !c.open {
		c.flush()
	}
	if c.outbox == nil {
		c.outbox = newOutbox(c.sock, c.outboxLimit, c.tooSlow, &c.srv.stats.bytesOut)
		c.outbox.start()
	}
}

// say hands the connection's own replies to its outbox. Where messages come in
// between they count against the limit like these, as in Redis; otherwise
// they wait for the client like any write, but never with shards held.
func (c *conn) say(frame []byte) bool {
	if c.open || c.subs.count() > 0 || c.monitor.Load() {
		return c.outbox.push(frame)
	}
	return c.outbox.reply(frame, c.detach)
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
