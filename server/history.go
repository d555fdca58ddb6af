package server

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"crema/resp"
	"crema/server/gateway"
)

// histories keep the latest messages of some channels, so that a browser that
// lost its connection is told what it has missed, by whichever node it comes to.
//
// Each message of such a channel gets its origin's next number where it is
// published, and goes to every other node, whoever listens there. A node takes an
// origin's messages in their order, without holes; what it has not got it fetches
// from others (history_peers.go). So a position, how far each origin has come, says
// what somebody has seen, and every node can tell what that somebody lacks.
//
// What is dropped is remembered by its number: of a channel as long as that has
// a history, of all channels behind that. Then a gap may be told of where none
// is, but never the other way round.
//
// Caveats: the nodes of a cluster want the same rules. A message that no node has
// got which lives is lost without a word, as PUBLISH is at most once: whoever
// publishes through a node and sees it killed does not know.
type histories struct {
	srv   *Server
	rules []*historyRule
	limit int64 // bytes of all of it
	own   gateway.Origin

	done  chan struct{} // closed by close
	ended sync.Once

	mu        sync.RWMutex               // guards what follows; taken after shard locks, before those of pubsub and relay
	origins   map[gateway.Origin]*origin // that are known, this node's own included once it has published
	taken     gateway.Position           // up to here messages were taken, or are known to be gone
	position  gateway.Position           // taken without retired origins: what others are told
	lost      gateway.Position           // up to here messages of channels without a history may be gone
	channels  map[string]*history        // none is empty
	bytes     int64
	messages  int64
	order     uint64             // arrivals so far
	followers map[*conn]struct{} // event streams
	peers     map[string]*historyPeer
	changed   chan struct{} // closed, and replaced, when a peer's state changes
	vain      chan struct{} // changed, when somebody waited in vain for that
	repaired  int64         // messages that others had to be asked for
	gaps      int64         // times that streams were told that something is missing
}

// historyRule is one of --history, and what is kept by it in the order of arrival.
type historyRule struct {
	glob     string
	messages int
	age      time.Duration
	bytes    int64 // of one channel

	oldest, newest *record
}

// history is what is kept of one channel.
type history struct {
	name        string
	rule        *historyRule
	first, last *record
	count       int
	bytes       int64
	dropped     gateway.Position // up to here it was kept once
}

// record is one message in its channel's list and its rule's.
type record struct {
	message      *gateway.Message // never encoded by As
	of           *history
	later        *record // in the channel
	before, next *record // of the rule
}

func (r *record) cost() int64 {
	return recordOverhead + int64(len(r.message.Channel)+len(r.message.Payload)+placeBytes*len(r.message.Mark.Position))
}

const (
	recordOverhead = 400 // bytes a kept message costs beside its own
	placeBytes     = 16
	historyBytes   = 300 // a channel's, beside its messages; counted with its first one

	historyTick   = time.Second
	historyMoves  = 30 // ticks after which streams are told how far this node has come
	historyRetire = 30 * time.Second
	historyForget = 90 * time.Second // behind the longest age, for an origin that is gone; the step between is for clients
)

func newHistories(s *Server) (*histories, error) {
	if len(s.cfg.History) == 0 {
		return nil, nil
	}
	h := &histories{
		srv:       s,
		limit:     s.cfg.HistoryMemory,
		own:       gateway.OriginFrom(randomBits()),
		done:      make(chan struct{}),
		origins:   map[gateway.Origin]*origin{},
		channels:  map[string]*history{},
		followers: map[*conn]struct{}{},
		peers:     map[string]*historyPeer{},
		changed:   make(chan struct{}),
	}
	for _, text := range s.cfg.History {
		rule, err := parseHistoryRule(text)
		if err != nil {
			return nil, err
		}
		h.rules = append(h.rules, rule)
	}
	return h, nil
}

// parseHistoryRule reads GLOB=MESSAGES,AGE[,BYTES].
func parseHistoryRule(text string) (*historyRule, error) {
	wrong := fmt.Errorf("history %q is not GLOB=MESSAGES,AGE or GLOB=MESSAGES,AGE,BYTES", text)
	i := strings.LastIndexByte(text, '=')
	if i < 1 || i > maxPatternBytes {
		return nil, wrong
	}
	words := strings.Split(text[i+1:], ",")
	if len(words) < 2 || len(words) > 3 {
		return nil, wrong
	}
	rule := &historyRule{glob: text[:i], bytes: 1 << 20}
	var err, err2 error
	rule.messages, err = strconv.Atoi(words[0])
	if days, ok := strings.CutSuffix(words[1], "d"); ok {
		var n int
		n, err2 = strconv.Atoi(days)
		rule.age = time.Duration(min(max(n, 0), 1000)) * 24 * time.Hour
	} else {
		rule.age, err2 = time.ParseDuration(words[1])
	}
	if err != nil || err2 != nil || rule.messages < 1 || rule.age < time.Second {
		return nil, wrong
	}
	if len(words) == 3 {
		if rule.bytes, err = ParseBytes(words[2]); err != nil || rule.bytes < 1 {
			return nil, wrong
		}
	}
	if rule.bytes > maxHistoryBytes {
		return nil, fmt.Errorf("history %q keeps more than 256mb of one channel", text)
	}
	return rule, nil
}

const maxHistoryBytes = 256 << 20 // of one channel: a message has to fit a frame between nodes

// open begins to keep order. The goroutine ends with close.
func (h *histories) open() {
	if h != nil {
		go h.run()
	}
}

func (h *histories) close() {
	if h != nil {
		h.ended.Do(func() { close(h.done) })
	}
}

// run drops what is too old, and tells peers and streams how far this node is.
func (h *histories) run() {
	tick := time.NewTicker(historyTick)
	defer tick.Stop()
	told := gateway.Position(nil)
	for n := 1; ; n++ {
		select {
		case <-tick.C:
		case <-h.done:
			return
		}
		h.sweep(time.Now())
		h.tellAll()
		if n%historyMoves == 0 {
			told = h.move(told)
		}
	}
}

// rule is the first that keeps a channel, nil if none does.
func (h *histories) rule(channel []byte) *historyRule {
	for _, r := range h.rules {
		if resp.Match([]byte(r.glob), channel, false) {
			return r
		}
	}
	return nil
}

// publish is pubsub.publish. The lock is held while the message goes out, so that
// streams, peers and the history all have it in the same order.
func (h *histories) publish(m message) (receivers int) {
	p := h.srv.pubsub
	if h.rule(m.channel) == nil {
		receivers = h.publishUnkept(m)
	} else {
		h.mu.Lock()
		defer h.mu.Unlock()
		m.place = gateway.Place{Origin: h.own, Seq: h.taken.Of(h.own) + 1}
		now := time.Now()
		h.origin(h.own).last = now
		receivers = p.publishHere(m)
		h.take(m, now, false)
	}
	if p.relay != nil {
		receivers += p.relay.publish(m)
	}
	return receivers
}

// publishUnkept is publishHere for what is in no history, wherever it comes from:
// event streams are told how far this node has come.
func (h *histories) publishUnkept(m message) (receivers int) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	m.at = h.position
	return h.srv.pubsub.publishHere(m)
}

// take keeps a message and has the streams told; the caller holds mu. late says
// that it was fetched. Its bytes are copied.
func (h *histories) take(m message, sent time.Time, late bool) {
	h.advance(m.place)
	mark := &gateway.Mark{Position: h.position, Place: m.place, Sent: sent, Late: late}
	n := len(m.channel)
	both := append(append(make([]byte, 0, n+len(m.payload)), m.channel...), m.payload...)
	channel, payload := both[:n:n], both[n:]
	if rule := h.rule(channel); rule != nil {
		h.order++
		mark.Order = h.order
		h.keep(rule, &gateway.Message{Kind: gateway.Published, Channel: channel, Payload: payload, Mark: mark})
	} else {
		h.lost = h.lost.Join(gateway.Position{m.place}) // another node has another rule
	}
	if len(h.followers) == 0 {
		return
	}
	// Streams have a message of their own: they encode it, and what is kept with
	// the history would be twice as much.
	event := &gateway.Message{Kind: gateway.Published, Channel: channel, Payload: payload, Mark: mark}
	if !late {
		event.At = sent
	}
	h.srv.pubsub.follow(event)
}

// advance notes that an origin has come so far.
func (h *histories) advance(to gateway.Place) {
	h.taken = h.taken.With(to.Origin, to.Seq)
	h.repose()
}

// repose computes position.
func (h *histories) repose() {
	h.position = h.taken
	for o, known := range h.origins {
		if known.retired && h.taken.Of(o) > 0 {
			h.position = h.taken.Without(func(o gateway.Origin) bool { return h.origins[o] != nil && h.origins[o].retired })
			return
		}
	}
}

func (h *histories) keep(rule *historyRule, m *gateway.Message) {
	k := h.history(rule, m.Channel)
	r := &record{message: m, of: k, before: rule.newest}
	if rule.newest == nil {
		rule.oldest = r
	} else {
		rule.newest.next = r
	}
	rule.newest = r
	if k.last == nil {
		k.first = r
	} else {
		k.last.later = r
	}
	k.last = r
	k.count++
	k.bytes += r.cost()
	h.bytes += r.cost()
	h.messages++
	for k.count > rule.messages || k.bytes > rule.bytes {
		h.drop(k)
	}
	for h.bytes > h.limit && h.messages > 0 {
		h.drop(h.oldest().of)
	}
}

// history is a channel's, a new one if it has none.
func (h *histories) history(rule *historyRule, channel []byte) *history {
	k := h.channels[string(channel)]
	if k == nil {
		k = &history{name: string(channel), rule: rule}
		h.channels[k.name] = k
		h.bytes += historyBytes + int64(len(k.name))
	}
	return k
}

// oldest is the message that came first of all that are kept.
func (h *histories) oldest() (oldest *record) {
	for _, rule := range h.rules {
		if r := rule.oldest; r != nil && (oldest == nil || r.message.Mark.Order < oldest.message.Mark.Order) {
			oldest = r
		}
	}
	return oldest
}

// drop drops a channel's first message, and the channel with its last.
func (h *histories) drop(k *history) {
	r := k.first
	if k.first = r.later; k.first == nil {
		k.last = nil
	}
	k.count--
	k.bytes -= r.cost()
	h.bytes -= r.cost()
	h.messages--
	if r.before == nil {
		k.rule.oldest = r.next
	} else {
		r.before.next = r.next
	}
	if r.next == nil {
		k.rule.newest = r.before
	} else {
		r.next.before = r.before
	}
	k.dropped = k.dropped.Join(gateway.Position{r.message.Mark.Place})
	if k.first == nil {
		h.lose(k)
	}
}

// lose forgets a channel without messages.
func (h *histories) lose(k *history) {
	h.lost = h.lost.Join(k.dropped)
	delete(h.channels, k.name)
	h.bytes -= historyBytes + int64(len(k.name))
}

// sweep drops messages that are too old, and origins of which there can be none.
func (h *histories) sweep(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	longest := time.Duration(0)
	for _, rule := range h.rules {
		longest = max(longest, rule.age)
		for rule.oldest != nil && now.Sub(rule.oldest.message.Mark.Sent) > rule.age {
			h.drop(rule.oldest.of)
		}
	}
	for o, known := range h.origins {
		silent := now.Sub(known.last)
		switch {
		case o == h.own || h.near(known.node):
			known.retired = false
		case silent > longest+historyForget:
			h.forget(o)
		default:
			known.retired = silent > longest+historyRetire
		}
		h.giveUp(o, known, now)
	}
	h.repose()
}

// forget forgets an origin.
func (h *histories) forget(o gateway.Origin) {
	gone := func(other gateway.Origin) bool { return other == o }
	delete(h.origins, o)
	h.taken, h.lost = h.taken.Without(gone), h.lost.Without(gone)
	for _, k := range h.channels {
		k.dropped = k.dropped.Without(gone)
	}
}

// move tells streams how far this node has come, if it has: one whose channels are
// quiet would come back with an id so old that nobody knows what it lacks.
func (h *histories) move(told gateway.Position) gateway.Position {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if slices.Equal(told, h.position) {
		return told
	}
	event := &gateway.Message{Kind: gateway.Moved, Mark: &gateway.Mark{Position: h.position}}
	for c := range h.followers {
		c.stream.Push(event)
	}
	return h.position
}

// follow and unfollow are of an event stream that begins and ends.
func (h *histories) follow(c *conn) {
	if h != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.followers[c] = struct{}{}
	}
}

func (h *histories) unfollow(c *conn) {
	if h != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.followers, c)
	}
}

// info writes INFO's lines.
func (h *histories) info(t *infoText) {
	if h == nil {
		return
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	t.line("history_channels", len(h.channels))
	t.line("history_messages", h.messages)
	t.line("history_bytes", h.bytes)
	t.line("history_repaired", h.repaired)
	t.line("history_gaps", h.gaps)
}
