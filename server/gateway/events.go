package gateway

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"time"
)

// Event streams are for people's browsers: EventSource reads them as they are.
//
//	GET /events?channel=batch:123&channel=news&pattern=job:*
//
//	retry: 1000
//	id: q2V0aW5n.41
//
//	id: q2V0aW5n.42
//	event: batch:123
//	data: {"done":12}
//
// Every event says in its id how far the stream has come. The first id comes
// at once and without an event, so that a browser which comes back has one to
// show even if it was told nothing yet: what was published meanwhile is sent
// first. Where something is missing that the histories do not hold, a gapEvent
// says so.

// Histories are the latest messages of some channels.
type Histories interface {
	// Now is the position of a stream that is about to begin. It waits, not for
	// long, for a node that has just come to know what the others know.
	Now(ctx context.Context) Position
	// Since is what was published behind a position to these channels and to
	// those that match the patterns.
	Since(after Position, channels, patterns []string) Past
}

// Past is what Since finds.
type Past struct {
	Messages []*Message // in the order of this node; they belong to the history
	Position Position   // of this node now
	After    Position   // what was asked for, without what nobody here knows
	Gaps     []Gap
}

// Gap is what Since cannot tell.
type Gap struct {
	Reason             string // of those below
	Channels, Patterns []string
}

// Why something may be missing.
const (
	GapOld     = "old"     // it was kept once: the history is too short, or this node does not have it
	GapUnknown = "unknown" // the id is of nobody that this node knows, or none
	GapUnkept  = "unkept"  // the channel has no history
)

// Mark is a message's place among others, if there are histories.
type Mark struct {
	Position Position // of this node, the message included
	Place    Place    // of the message; its Seq is 0 if it is in no history
	Order    uint64   // of its arrival here; 0 if it is in no history
	Sent     time.Time
	Late     bool // it came by another way than at once
}

// gapEvent is the name of events that tell of gaps. No glob keeps people from
// publishing to a channel of that name; theirs would have an id.
const gapEvent = "crema:gap"

var beginEvents = []byte("retry: 1000\n") // ms

// events is /events.
func (g *Gateway) events(w http.ResponseWriter, r *http.Request, _ User) {
	asked := r.URL.Query()
	l := Listening{Channels: distinct(asked["channel"]), Patterns: distinct(asked["pattern"]), Events: true}
	if n := len(l.Channels) + len(l.Patterns); n == 0 || n > maxNames {
		g.Fail(w, http.StatusBadRequest, "ERR an event stream wants between 1 and 1024 of channel= and pattern=")
		return
	}
	u, allowed := g.eventsUser(w, r, asked.Get("token"), l)
	if !allowed.ok {
		return
	}
	l.User = u
	if !allowed.until.IsZero() {
		ctx, cancel := context.WithDeadline(r.Context(), allowed.until)
		defer cancel()
		r = r.WithContext(ctx)
	}
	f := &eventsFeed{past: g.cfg.Histories, listening: l, began: time.Now()}
	after := asked.Get("lastEventId")
	if newer := r.Header.Get("Last-Event-ID"); newer != "" {
		after = newer // the address is from when the page was opened
	}
	var now Position
	if f.past != nil {
		now = f.past.Now(r.Context())
	}
	if f.resumed = after != ""; f.resumed {
		var err error
		if f.seen, err = ParsePosition(after); err != nil {
			f.seen, f.unknown = now, true
		}
	} else {
		f.seen = now
	}
	g.Stream(w, r, l, Feed{Format: formatEvents, First: f.first, Bytes: f.bytes})
}

// eventsFeed is what one stream has seen. It belongs to the stream's goroutine.
type eventsFeed struct {
	past      Histories // nil: there are none
	listening Listening
	began     time.Time
	resumed   bool // the client has shown an id
	unknown   bool // it was none of ours

	seen   Position // the client's when it came: nothing up to it is told again; nil once this node has come so far
	floor  Position // ids are no less than this; nil once this node has come so far
	replay int      // so many messages to come are a history's: their bytes are not shared, or it would keep them
	order  uint64   // of the newest message told that is in a history
	end    *Message // says where the node was when the stream began; what waits behind it may be older
}

// first begins the stream with what happened since the client's last one.
func (f *eventsFeed) first(waiting []*Message) (first []byte, rest []*Message) {
	first = append(first, beginEvents...)
	var past Past
	if f.past != nil {
		past = f.past.Since(f.seen, f.listening.Channels, f.listening.Patterns)
	} else if f.resumed {
		past.Gaps = []Gap{{GapUnkept, f.listening.Channels, f.listening.Patterns}}
	}
	if f.unknown {
		past.Gaps = append(past.Gaps, Gap{GapUnknown, f.listening.Channels, f.listening.Patterns})
	}
	if f.resumed {
		for _, gap := range past.Gaps {
			first = appendGap(first, gap)
		}
	}
	// Ids of what is sent again go on from where the client is. Behind that the
	// stream is where this node is, too.
	f.floor, f.replay = past.After, len(past.Messages)
	f.end = &Message{Kind: Moved, Mark: &Mark{Position: past.Position}}
	return first, slices.Concat(past.Messages, []*Message{f.end}, waiting)
}

// bytes is what the stream tells of a message, nil if nothing.
func (f *eventsFeed) bytes(m *Message) []byte {
	switch m.Kind {
	case Missed:
		gap := Gap{GapOld, f.listening.Channels, f.listening.Patterns}
		if m.Channel != nil {
			gap.Channels, gap.Patterns = []string{string(m.Channel)}, nil
		}
		return appendGap(nil, gap)
	case Published, Moved:
	default:
		return nil
	}
	if f.replay > 0 {
		f.replay--
		f.order = m.Mark.Order
		return appendEvent(nil, m, f.floor.Join(m.Mark.Position))
	}
	if m == f.end {
		f.floor = f.floor.Join(m.Mark.Position)
		return appendEvent(nil, m, f.floor)
	}
	if f.told(m) {
		return nil
	}
	if m.Mark == nil {
		return m.As(formatEvents)
	}
	if f.seen != nil && m.Mark.Position.Covers(f.seen) {
		f.seen = nil
	}
	if f.floor != nil && m.Mark.Position.Covers(f.floor) {
		f.floor = nil
	}
	if f.floor == nil {
		return m.As(formatEvents)
	}
	f.floor = f.floor.Join(m.Mark.Position)
	return appendEvent(nil, m, f.floor)
}

// told tells whether the client has a message already, or was not there yet.
func (f *eventsFeed) told(m *Message) bool {
	if m.Mark == nil || m.Mark.Order == 0 {
		return false
	}
	if m.Mark.Order <= f.order {
		return true
	}
	f.order = m.Mark.Order
	at := m.Mark.Place
	if at.Seq > 0 && f.seen.Of(at.Origin) >= at.Seq {
		return true
	}
	return m.Mark.Late && !f.resumed && m.Mark.Sent.Before(f.began)
}

// encodeEvent is a message as all streams see it whose id is this node's.
func encodeEvent(m *Message) []byte {
	var at Position
	if m.Mark != nil {
		at = m.Mark.Position
	}
	return appendEvent(nil, m, at)
}

// appendEvent writes a message: each of its lines, however it ends, is a data
// line of its own, and the browser puts a line feed between them.
func appendEvent(b []byte, m *Message, at Position) []byte {
	if b == nil {
		b = make([]byte, 0, 64+len(m.Channel)+len(m.Payload)+24*len(at))
	}
	b = append(at.Append(append(b, "id: "...)), '\n')
	if m.Kind == Moved {
		return append(b, '\n')
	}
	b = append(append(append(b, "event: "...), oneLine(m.Channel)...), '\n')
	for rest := m.Payload; ; {
		i := bytes.IndexAny(rest, "\r\n")
		if i < 0 {
			return append(append(append(b, "data: "...), rest...), "\n\n"...)
		}
		b = append(append(append(b, "data: "...), rest[:i]...), '\n')
		if rest[i] == '\r' && i+1 < len(rest) && rest[i+1] == '\n' {
			i++
		}
		rest = rest[i+1:]
	}
}

// appendGap writes an event without an id: a client that loses its connection
// before it has what follows is told again.
func appendGap(b []byte, gap Gap) []byte {
	b = append(append(append(b, "event: "+gapEvent+"\ndata: "...), `{"reason":"`...), gap.Reason...)
	b = appendNames(append(b, `","channels":`...), gap.Channels)
	b = appendNames(append(b, `,"patterns":`...), gap.Patterns)
	return append(b, "}\n\n"...)
}

func appendNames(b []byte, names []string) []byte {
	b = append(b, '[')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendJSONString(b, []byte(name))
	}
	return append(b, ']')
}

// eventsAllowed is what a token allows a stream.
type eventsAllowed struct {
	ok    bool
	until time.Time // zero: as long as it likes
}

// eventsUser looks at the token of a stream, and has answered if it is not
// allowed. u is nil where the token itself says what is.
func (g *Gateway) eventsUser(w http.ResponseWriter, r *http.Request, token string, l Listening) (u User, allowed eventsAllowed) {
	if token == "" {
		token = Token(r)
	}
	if claims, err := readToken(token, g.cfg.EventsSecret, time.Now()); err == nil {
		if name, ok := claims.allow(l.Channels, l.Patterns); !ok {
			g.Fail(w, http.StatusForbidden, "NOPERM the token does not allow "+clip(name))
			return nil, eventsAllowed{}
		}
		return nil, eventsAllowed{true, claims.expires}
	}
	if u = g.cfg.Door.User(token); u == nil {
		g.Unauthorized(w, r)
		return nil, eventsAllowed{}
	}
	return u, eventsAllowed{ok: true}
}
