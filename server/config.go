package server

import (
	"slices"
	"strings"

	"crema/resp"
)

func configRows() []command {
	const operator = admin | noScript | loading | stale
	return []command{{"config", -2, 0, noKeys, container(
		command{"get", -3, operator, noKeys, session(cmdConfigGet)},
		command{"help", 2, loading | stale, noKeys, session(cmdConfigHelp)},
		command{"resetstat", 2, operator, noKeys, session(cmdConfigResetStat)},
		command{"rewrite", 2, operator, noKeys, session(cmdConfigRewrite)},
		command{"set", -4, operator | secret, noKeys, session(cmdConfigSet)},
	)}}
}

// CONFIG GET pattern [pattern ...]
//
// A parameter is answered once, under the name it was asked by.
func cmdConfigGet(c *conn, a *resp.Args) resp.Reply {
	set := c.srv.settings()
	seen := map[string]bool{}
	var pairs []resp.Reply
	show := func(p *param, as string) {
		if !seen[p.name] {
			seen[p.name] = true
			pairs = append(pairs, resp.BulkString(as), resp.BulkString(p.get(c.srv, set)))
		}
	}
	for _, pattern := range a.Rest() {
		if p := paramNamed(pattern); p != nil {
			show(p, string(pattern))
			continue
		}
		for i := range params {
			if p := &params[i]; resp.Match(pattern, []byte(p.name), true) {
				show(p, p.name)
			}
		}
	}
	return resp.Map(pairs...)
}

// CONFIG SET name value [name value ...]
//
// All of them or none: every value is tried on a copy of the settings first.
func cmdConfigSet(c *conn, a *resp.Args) resp.Reply {
	words := a.Rest()
	if len(words)%2 != 0 {
		return resp.ErrSyntax
	}
	var named []*param
	for i := 0; i < len(words); i += 2 {
		p := paramNamed(words[i])
		switch {
		case p == nil:
			return resp.ErrConfigUnknown(words[i])
		case p.set == nil:
			return resp.ErrConfigSet([]byte(p.name), "can't set immutable config")
		case slices.Contains(named, p):
			return resp.ErrConfigSet([]byte(p.name), "duplicate parameter")
		}
		named = append(named, p)
	}
	failed := resp.None
	apply := func(set *settings) {
		for i, p := range named {
			if reason := p.set(set, string(words[2*i+1])); reason != "" && failed.Kind == resp.KindNone {
				failed = resp.ErrConfigSet([]byte(p.name), reason)
			}
		}
	}
	trial := *c.srv.settings()
	if apply(&trial); failed.IsError() {
		return failed
	}
	c.srv.change(apply)
	c.srv.latency.after.Store(int64(c.srv.settings().latencyAfter))
	for _, p := range named {
		c.srv.log.Info("parameter changed", "name", p.name, "by", c.addr)
	}
	c.tellConfig(named, words)
	return resp.OK
}

// CONFIG RESETSTAT
func cmdConfigResetStat(c *conn, _ *resp.Args) resp.Reply {
	s := c.srv
	for _, row := range s.table.byName {
		row.stat.reset()
	}
	s.stats.reset()
	if c.open {
		go s.store.ResetStats() // the shards that it counts in are this Tx's until EXEC has ended
	} else {
		s.store.ResetStats()
	}
	return resp.OK
}

// reset begins counting anew.
func (s *serverStats) reset() {
	for _, n := range []interface{ Store(int64) }{
		&s.connections, &s.rejected, &s.bytesIn, &s.bytesOut, &s.messages, &s.deliveries,
		&s.outboxClosed, &s.protocolFails, &s.panics, &s.errorReplies, &s.authFails, &s.scriptsKilled,
		&s.inDoubt, &s.held,
	} {
		n.Store(0)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.errors)
}

// CONFIG REWRITE
func cmdConfigRewrite(*conn, *resp.Args) resp.Reply { return resp.ErrNoConfigFile }

// CONFIG HELP
func cmdConfigHelp(*conn, *resp.Args) resp.Reply {
	return helpReply("CONFIG",
		"GET <pattern>",
		"    Return parameters matching the glob-like <pattern> and their values.",
		"SET <directive> <value>",
		"    Set the configuration <directive> to <value>.",
		"RESETSTAT",
		"    Reset statistics reported by the INFO command.",
		"REWRITE",
		"    Rewrite the configuration file.")
}

// paramNamed finds a parameter by its name, in any case.
func paramNamed(name []byte) *param {
	for i := range params {
		if strings.EqualFold(params[i].name, string(name)) {
			return &params[i]
		}
	}
	return nil
}
