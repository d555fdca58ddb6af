package server

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"crema/resp"
	"crema/server/gateway"
)

// Since is gateway.Histories'.
func (h *histories) Since(after gateway.Position, channels, patterns []string) gateway.Past {
	past, matched := h.past(after, channels, patterns)
	if matched > 1 { // now that no publisher waits for it
		slices.SortFunc(past.Messages, func(a, b *gateway.Message) int { return cmp.Compare(a.Mark.Order, b.Mark.Order) })
	}
	return past
}

// past is Since with the messages of one channel behind those of another; it
// tells how many channels there are.
func (h *histories) past(after gateway.Position, channels, patterns []string) (past gateway.Past, found int) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	past.Position = h.position
	past.After = after.Without(func(o gateway.Origin) bool { return h.origins[o] == nil })
	var keptChannels, keptPatterns []string
	var unkept gateway.Gap
	matched := map[string]*history{}
	for _, name := range channels {
		if k := h.channels[name]; k != nil {
			matched[name] = k
		}
		if h.rule([]byte(name)) != nil {
			keptChannels = append(keptChannels, name)
		} else {
			unkept.Channels = append(unkept.Channels, name)
		}
	}
	for _, pattern := range patterns {
		if h.keepsAll(pattern) {
			keptPatterns = append(keptPatterns, pattern)
		} else {
			unkept.Patterns = append(unkept.Patterns, pattern)
		}
		for name, k := range h.channels {
			if resp.Match([]byte(pattern), []byte(name), false) {
				matched[name] = k
			}
		}
	}
	gap := func(reason string, channels, patterns []string) {
		if len(channels)+len(patterns) > 0 {
			past.Gaps = append(past.Gaps, gateway.Gap{Reason: reason, Channels: channels, Patterns: patterns})
		}
	}
	gap(gateway.GapUnkept, unkept.Channels, unkept.Patterns)
	switch {
	case len(past.After) < len(after):
		gap(gateway.GapUnknown, keptChannels, keptPatterns)
	case len(h.current(beyond(h.lost, after))) > 0:
		gap(gateway.GapOld, keptChannels, keptPatterns)
	default:
		var short []string
		for name, k := range matched {
			if len(h.current(beyond(k.dropped, after))) > 0 {
				short = append(short, name)
			}
		}
		slices.Sort(short)
		gap(gateway.GapOld, short, nil)
	}
	for _, k := range matched {
		past.Messages = k.since(past.Messages, after)
	}
	return past, len(matched)
}

// since appends what came behind a position.
func (k *history) since(list []*gateway.Message, after gateway.Position) []*gateway.Message {
	for r := k.first; r != nil; r = r.later {
		if at := r.message.Mark.Place; at.Seq > after.Of(at.Origin) {
			list = append(list, r.message)
		}
	}
	return list
}

// keepsAll tells whether every channel that matches a pattern is certainly kept:
// it is a rule's glob, or begins as one that ends in its only star.
func (h *histories) keepsAll(pattern string) bool {
	for _, rule := range h.rules {
		prefix, ok := strings.CutSuffix(rule.glob, "*")
		if rule.glob == pattern || ok && !strings.ContainsAny(prefix, `*?[\`) && strings.HasPrefix(pattern, prefix) {
			return true
		}
	}
	return false
}

var (
	errNoHistory = resp.Error("ERR this channel has no history")
	errNoEventID = resp.Error("ERR AFTER wants the id of an event")
)

// CREMA HISTORY channel [AFTER id] [COUNT count]
//
// With an id it shows the oldest messages behind it, else the newest. position is
// the id to go on from; complete is 0 if something that was published behind the id
// may not be kept any more.
func cmdCremaHistory(c *conn, a *resp.Args) resp.Reply {
	channel := a.Bytes()
	var after gateway.Position
	count, resumed := int64(-1), false
	for a.More() {
		switch {
		case !resumed && a.Match("AFTER"):
			var err error
			if after, err = gateway.ParsePosition(a.Text()); err != nil {
				a.Fail(errNoEventID)
			}
			resumed = true
		case count < 0 && a.Match("COUNT"):
			if count = a.Int(); count < 0 {
				a.Fail(resp.ErrNotPositive)
			}
		default:
			a.Fail(resp.ErrSyntax)
		}
		if a.Failed() {
			return a.Err()
		}
	}
	h := c.srv.pubsub.histories
	if h == nil || h.rule(channel) == nil {
		return errNoHistory
	}
	h.settle(context.Background())
	past := h.Since(after, []string{string(channel)}, nil)
	return historyReply(past, count, resumed, time.Now())
}

// historyReply shows what there is behind a position.
func historyReply(past gateway.Past, count int64, oldest bool, now time.Time) resp.Reply {
	list, position := past.Messages, past.After.Join(past.Position)
	if count >= 0 && int64(len(list)) > count {
		if oldest {
			list = list[:count]
			position = past.After
			if count > 0 {
				position = past.After.Join(list[count-1].Mark.Position)
			}
		} else {
			list = list[int64(len(list))-count:]
		}
	}
	shown := make([]resp.Reply, len(list))
	for i, m := range list {
		shown[i] = resp.Array(
			resp.BulkString(past.After.Join(m.Mark.Position).String()),
			resp.Bulk(m.Payload),
			resp.Int(max(now.Sub(m.Mark.Sent).Milliseconds(), 0)),
		)
	}
	complete := int64(1)
	if len(past.Gaps) > 0 {
		complete = 0
	}
	return resp.Map(
		resp.BulkString("position"), resp.BulkString(position.String()),
		resp.BulkString("complete"), resp.Int(complete),
		resp.BulkString("messages"), resp.Array(shown...),
	)
}
