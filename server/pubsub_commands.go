package server

import (
	"bytes"

	"crema/resp"
)

func pubsubRows() []command {
	const speak = pubsubFlag | loading | stale | fast | mayReplicate
	const listen = pubsubFlag | noScript | loading | stale | inSubscriber
	return []command{
		{"publish", 3, speak, noKeys, session(cmdPublish)},
		{"spublish", 3, speak, key(1), session(cmdSPublish)},
		{"subscribe", -2, listen, noKeys, session(subscribe(channelSpace))},
		{"unsubscribe", -1, listen, noKeys, session(unsubscribe(channelSpace))},
		{"psubscribe", -2, listen, noKeys, session(subscribe(patternSpace))},
		{"punsubscribe", -1, listen, noKeys, session(unsubscribe(patternSpace))},
		{"ssubscribe", -2, listen, keys(1, -1, 1), session(subscribe(shardSpace))},
		{"sunsubscribe", -1, listen, keys(1, -1, 1), session(unsubscribe(shardSpace))},
		{"pubsub", -2, 0, noKeys, container(
			command{"channels", -2, pubsubFlag | loading | stale, noKeys, session(cmdPubsubChannels)},
			command{"numpat", 2, pubsubFlag | loading | stale, noKeys, session(cmdPubsubNumPat)},
			command{"numsub", -2, pubsubFlag | loading | stale, noKeys, session(cmdPubsubNumSub)},
			command{"shardchannels", -2, pubsubFlag | loading | stale, noKeys, session(cmdPubsubShardChannels)},
			command{"shardnumsub", -2, pubsubFlag | loading | stale, noKeys, session(cmdPubsubShardNumSub)},
			command{"help", 2, loading | stale, noKeys, session(cmdPubsubHelp)},
		)},
	}
}

// PUBLISH channel message
func cmdPublish(c *conn, a *resp.Args) resp.Reply {
	return c.publish(message{channel: a.Bytes(), payload: a.Bytes()})
}

// SPUBLISH shardchannel message
func cmdSPublish(c *conn, a *resp.Args) resp.Reply {
	return c.publish(message{sharded: true, channel: a.Bytes(), payload: a.Bytes()})
}

// publish announces a message now or, while a transaction or a script is
// evaluating, after its commit: nobody hears of a change that did not happen.
func (c *conn) publish(m message) resp.Reply {
	c.srv.stats.messages.Add(1)
	if !c.open {
		if c.outbox != nil {
			c.flush() // a publisher that listens hears itself after its earlier replies
		}
		return resp.Int(int64(c.srv.pubsub.publish(m)))
	}
	m.channel, m.payload = bytes.Clone(m.channel), bytes.Clone(m.payload)
	c.deferMessage(m)
	return resp.Int(int64(c.srv.pubsub.receivers(c, m)))
}

// deferMessage keeps a message for announceDeferred, or the run's end.
func (c *conn) deferMessage(m message) {
	c.deferred = append(c.deferred, m)
	c.deferredBytes += m.cost()
}

// cost is about what a waiting message costs.
func (m message) cost() int64 { return messageOverhead + int64(len(m.channel)+len(m.payload)) }

// messageOverhead is what it costs beside its bytes.
const messageOverhead = 96

// announceDeferred publishes what waited for the commit, and subscribes to it.
// One that listens hears itself after its replies, those of EXEC included.
func (c *conn) announceDeferred() {
	if len(c.subs.joins) > 0 && c.srv.pubsub.relay != nil {
		c.agree() // nothing is held while waiting
	}
	if len(c.deferred)+len(c.subs.joins) > 0 && c.subs.count() > 0 {
		c.flush()
	}
	for i, m := range c.deferred {
		c.srv.pubsub.joinDeferred(c, i)
		c.srv.pubsub.publish(m)
	}
	c.srv.pubsub.joinDeferred(c, len(c.deferred))
	c.dropDeferred()
}

// dropDeferred forgets it.
func (c *conn) dropDeferred() {
	c.dropJoining()
	clear(c.deferred)
	c.deferred, c.deferredBytes = c.deferred[:0], 0
}

// SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE name [name …]
func subscribe(sp *space) func(*conn, *resp.Args) resp.Reply {
	return func(c *conn, a *resp.Args) resp.Reply {
		if c.sock == nil && c.stream == nil {
			return resp.ErrNoPushDoor
		}
		if sp == shardSpace && c.open {
			return resp.ErrDenyBlocking("SSUBSCRIBE")
		}
		for _, name := range a.Rest() {
			if sp == patternSpace && len(name) > maxPatternBytes {
				return resp.ErrPatternTooLong
			}
			c.srv.pubsub.subscribe(c, sp, name)
		}
		return resp.None
	}
}

// UNSUBSCRIBE, PUNSUBSCRIBE, SUNSUBSCRIBE [name …]
func unsubscribe(sp *space) func(*conn, *resp.Args) resp.Reply {
	return func(c *conn, a *resp.Args) resp.Reply {
		if a.More() {
			c.srv.pubsub.unsubscribe(c, sp, a.Rest())
			return resp.None
		}
		names := *sp.names(&c.subs)
		if len(names) == 0 {
			c.confirm(sp.unsubscribed, resp.Nil, sp.count(&c.subs))
			return resp.None
		}
		all := make([][]byte, 0, len(names))
		for name := range names {
			all = append(all, []byte(name))
		}
		c.srv.pubsub.unsubscribe(c, sp, all)
		return resp.None
	}
}

// PUBSUB CHANNELS [pattern]
func cmdPubsubChannels(c *conn, a *resp.Args) resp.Reply {
	return c.srv.pubsub.list(channelSpace, a)
}

// PUBSUB SHARDCHANNELS [pattern]
func cmdPubsubShardChannels(c *conn, a *resp.Args) resp.Reply {
	return c.srv.pubsub.list(shardSpace, a)
}

func (p *pubsub) list(sp *space, a *resp.Args) resp.Reply {
	if a.Left() > 1 {
		return resp.ErrSubcommandSyntax("pubsub", a.Words[1])
	}
	pattern := a.Peek()
	names := []resp.Reply{}
	p.mu.RLock()
	for name := range sp.audience(&p.audiences) {
		if pattern == nil || resp.Match(pattern, []byte(name), false) {
			names = append(names, resp.BulkString(name))
		}
	}
	p.mu.RUnlock()
	if p.relay == nil {
		return resp.Array(names...)
	}
	seen := make(map[string]struct{}, len(names))
	for _, name := range names {
		seen[string(name.Bytes)] = struct{}{}
	}
	p.relay.names(sp, pattern, func(name string) {
		if _, there := seen[name]; !there {
			seen[name] = struct{}{}
			names = append(names, resp.BulkString(name))
		}
	})
	return resp.Array(names...)
}

// PUBSUB NUMSUB [channel …]
func cmdPubsubNumSub(c *conn, a *resp.Args) resp.Reply { return c.srv.pubsub.sizes(channelSpace, a) }

// PUBSUB SHARDNUMSUB [shardchannel …]
func cmdPubsubShardNumSub(c *conn, a *resp.Args) resp.Reply {
	return c.srv.pubsub.sizes(shardSpace, a)
}

func (p *pubsub) sizes(sp *space, a *resp.Args) resp.Reply {
	elems := make([]resp.Reply, 0, 2*a.Left())
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, name := range a.Rest() {
		n := int64(len(sp.audience(&p.audiences)[string(name)]))
		if p.relay != nil {
			n += p.relay.size(sp, name)
		}
		elems = append(elems, resp.Bulk(name), resp.Int(n))
	}
	return resp.Array(elems...)
}

// PUBSUB NUMPAT
func cmdPubsubNumPat(c *conn, _ *resp.Args) resp.Reply {
	p := c.srv.pubsub
	if p.relay != nil {
		return resp.Int(int64(p.relay.patterns()))
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	return resp.Int(int64(len(p.patterns)))
}

// PUBSUB HELP
func cmdPubsubHelp(*conn, *resp.Args) resp.Reply {
	return helpReply("PUBSUB",
		"CHANNELS [<pattern>]",
		"    Return the currently active channels matching a <pattern> (default: '*').",
		"NUMPAT",
		"    Return number of subscriptions to patterns.",
		"NUMSUB [<channel> ...]",
		"    Return the number of subscribers for the specified channels, excluding",
		"    pattern subscriptions(default: no channels).",
		"SHARDCHANNELS [<pattern>]",
		"    Return the currently active shard level channels matching a <pattern> (default: '*').",
		"SHARDNUMSUB [<shardchannel> ...]",
		"    Return the number of subscribers for the specified shard level channel(s)",
	)
}
