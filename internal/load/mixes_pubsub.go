package load

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
)

const (
	messageBytes = 100
	stampBytes   = 16 // of a message: when it was sent
	window       = 4  // batches of messages that subscribers may be behind in a closed loop
)

// Listening says who listens to what is published.
type Listening struct {
	Patterns int  // so many of the subscribers, to a pattern that matches every channel
	Channels bool // each subscriber has a channel of its own, and a message goes to one of them
	Stalled  int  // so many more subscribe and never read
}

// Fanout publishes to subscribers. Job.Clients is how many clients publish; the
// latency is that of a message, from PUBLISH to subscriber.
func Fanout(subscribers int, l Listening) Mix {
	return func(t *Turn, number int) Work {
		if t.heard == nil {
			t.heard = &audience{listening: l, subscribers: subscribers}
		}
		a := t.heard
		channels := 1
		if l.Channels {
			channels = subscribers
		}
		return &publisher{a: a, channels: channels, random: rand.New(rand.NewPCG(uint64(number), t.Job.Seed+3<<32)), reach: int64(a.reach()), room: int64(a.reach() * window * t.Job.Pipeline)}
	}
}

// audience is who listens in one turn.
type audience struct {
	listening   Listening
	subscribers int
	behind      atomic.Int64 // deliveries that are due and have not come
}

// reach is how many subscribers hear one message.
func (a *audience) reach() int {
	if a.listening.Channels {
		return 1
	}
	return a.subscribers
}

// subscription is the command with which one of them subscribes.
func (a *audience) subscription(number int) []string {
	switch {
	case number < a.listening.Patterns:
		return []string{"PSUBSCRIBE", "news:*"}
	case a.listening.Channels:
		return []string{"SUBSCRIBE", channel(number)}
	}
	return []string{"SUBSCRIBE", channel(0)}
}

func channel(number int) string { return "news:" + strconv.Itoa(number) }

type publisher struct {
	a        *audience
	channels int
	reach    int64 // deliveries of one message
	room     int64 // deliveries that may be due at once
	random   *rand.Rand
}

// Ready keeps the subscribers within reach: what a server keeps for one that is
// behind has a limit.
func (p *publisher) Ready() bool { return p.a.behind.Load() < p.room }

func (p *publisher) Next(c *Client) {
	to := 0
	if p.channels > 1 {
		to = p.random.IntN(p.channels)
	}
	c.out = append(c.out, "*3\r\n$7\r\nPUBLISH\r\n"...)
	c.out = appendBulk(c.out, channel(to))
	c.out = append(c.out, "$100\r\n"...)
	var stamp [8]byte
	for i := range stamp {
		stamp[i] = byte(c.due >> (56 - 8*i))
	}
	c.out = hex.AppendEncode(c.out, stamp[:])
	c.out = append(c.out, padding...)
	p.a.behind.Add(p.reach)
	c.Ask(0, 0)
}

var padding = strings.Repeat("x", messageBytes-stampBytes) + "\r\n"

func (p *publisher) Answer(c *Client, _ Request, a Answer) {
	n, ok := length(a.Text)
	if a.Kind != ':' || !ok || int64(n) < p.reach {
		c.wrong(a)
	}
	c.done()
}

// subscriber takes what comes.
type subscriber struct{ a *audience }

func (*subscriber) Next(*Client) {}

func (*subscriber) Answer(c *Client, _ Request, a Answer) { c.wrong(a) }

func (s *subscriber) Message(c *Client, a Answer) {
	if len(a.Text) != messageBytes {
		c.turn.fail(fmt.Errorf("a message of %q", clip(a.Text)))
		return
	}
	sent, ok := int64(0), true
	for _, d := range a.Text[:stampBytes] {
		switch {
		case d >= '0' && d <= '9':
			sent = sent<<4 | int64(d-'0')
		case d >= 'a' && d <= 'f':
			sent = sent<<4 | int64(d-'a'+10)
		default:
			ok = false
		}
	}
	if !ok {
		c.turn.fail(fmt.Errorf("a message of %q", clip(a.Text)))
		return
	}
	s.a.behind.Add(-1)
	c.tally.Delivered++
	c.tally.took(c.due-sent, 1)
}
