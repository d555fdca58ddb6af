package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	heartbeatEvery = 15 * time.Second // a comment, so that proxies keep the stream and dead clients are noticed
	streamWriteFor = 10 * time.Second // a client that takes no byte for this long is given up
	maxNames       = 1024             // channels and patterns of one stream
)

var (
	eventStream = []string{"text/event-stream"}
	noCache     = []string{"no-cache, no-transform"}
	noBuffering = []string{"no"}

	heartbeat = []byte(": \n\n")
	comeBack  = []byte("retry: 1000\n\n") // ms; this server ends, another may be there
)

// subscribe is /subscribe/channel/… in the SDK's format.
func (g *Gateway) subscribe(w http.ResponseWriter, r *http.Request, u User) {
	if names, ok := g.names(w, r); ok {
		g.Stream(w, r, Listening{User: u, Channels: names}, Feed{Format: formatSDK})
	}
}

// psubscribe is /psubscribe/pattern/…
func (g *Gateway) psubscribe(w http.ResponseWriter, r *http.Request, u User) {
	if names, ok := g.names(w, r); ok {
		g.Stream(w, r, Listening{User: u, Patterns: names}, Feed{Format: formatSDK})
	}
}

// monitor is /monitor.
func (g *Gateway) monitor(w http.ResponseWriter, r *http.Request, u User) {
	g.Stream(w, r, Listening{User: u, Monitor: true}, Feed{Format: formatSDK})
}

// names are the segments behind the first.
func (g *Gateway) names(w http.ResponseWriter, r *http.Request) (names []string, ok bool) {
	words, ok := pathWords(r.URL.EscapedPath(), nil)
	if !ok {
		g.Fail(w, http.StatusBadRequest, "ERR malformed escape in the URL")
		return nil, false
	}
	if len(words) < 2 { // the first slash was an escape
		g.Fail(w, http.StatusBadRequest, "ERR no channel in the path")
		return nil, false
	}
	if len(words)-1 > maxNames {
		g.Fail(w, http.StatusBadRequest, "ERR too many channels for one stream")
		return nil, false
	}
	for _, word := range words[1:] {
		names = append(names, string(word))
	}
	return distinct(names), true
}

// distinct are the names without those that came before: each costs as much as
// the first, in what a stream is told of and what a history is searched for.
func distinct(names []string) []string {
	seen := make(map[string]bool, len(names))
	return slices.DeleteFunc(names, func(name string) bool {
		again := seen[name]
		seen[name] = true
		return again
	})
}

// Feed says how a stream is written.
type Feed struct {
	Format Format
	// First, if not nil, is called once the stream listens and nothing is written
	// yet: what it returns goes first. Messages that wait in the queue meanwhile are
	// shown to it: it returns those that are still to be written.
	First func(waiting []*Message) (first []byte, rest []*Message)
	// Bytes, if not nil, is what this stream tells of a message, in the place of Format.
	Bytes func(m *Message) []byte
}

func (f *Feed) of(m *Message) []byte {
	if f.Bytes != nil {
		return f.Bytes(m)
	}
	return m.As(f.Format)
}

// Stream answers with server-sent events until the client goes, falls too far
// behind, or the server ends.
func (g *Gateway) Stream(w http.ResponseWriter, r *http.Request, l Listening, feed Feed) {
	// A client that goes is only noticed when its body was read.
	io.Copy(io.Discard, io.LimitReader(r.Body, firstBody))
	if g.Stats.Streams.Add(1) > int64(g.cfg.MaxStreams()) {
		g.Stats.Streams.Add(-1)
		g.Stats.StreamsRefused.Add(1)
		w.Header().Set("Retry-After", "10")
		g.Fail(w, http.StatusServiceUnavailable, "ERR too many streams")
		return
	}
	defer g.Stats.Streams.Add(-1)
	l.Addr = r.RemoteAddr
	control := http.NewResponseController(w)
	q := NewQueue(func() {
		g.Stats.StreamsSlow.Add(1)
		if r.ProtoMajor == 1 {
			control.SetWriteDeadline(time.Now()) // it may be writing
		}
	})
	leave, err := g.cfg.Door.Listen(r.Context(), l, q)
	if err != nil {
		code := http.StatusBadRequest
		if errors.Is(err, ErrClosed) {
			code = http.StatusServiceUnavailable
		}
		g.Fail(w, code, err.Error())
		return
	}
	defer leave()
	g.Stats.StreamsBegun.Add(1)
	h := w.Header()
	h["Content-Type"], h["Cache-Control"], h["X-Accel-Buffering"] = eventStream, noCache, noBuffering
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return
	}
	s := stream{g: g, w: w, control: control, queue: q, feed: feed, shares: r.ProtoMajor > 1}
	s.control.SetReadDeadline(time.Time{}) // the server's is for requests that end
	err = s.run(r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if _, why := q.Take(nil); !errors.Is(why, ErrSlow) { // else it is counted
			g.Stats.StreamsSlow.Add(1)
		}
	} else if !errors.Is(err, ErrSlow) {
		return
	}
	if g.complaints.allow() {
		g.cfg.Log.Warn("closing HTTP stream that does not read its messages", "addr", r.RemoteAddr)
	}
}

// stream is one response that goes on. Its goroutine is the request's.
type stream struct {
	g       *Gateway
	w       http.ResponseWriter
	control *http.ResponseController
	queue   *Queue
	feed    Feed
	joined  []byte
	shares  bool      // its connection, with other streams
	until   time.Time // of the write deadline; one that has passed harms when something is written
}

// run writes until somebody ends the stream, and returns why.
func (s *stream) run(r *http.Request) error {
	s.w.WriteHeader(http.StatusOK)
	list, err := s.queue.Take(nil)
	if s.feed.First != nil && err == nil {
		s.joined, list = s.feed.First(list)
	}
	if err == nil {
		err = s.write(list)
	}
	beat := time.NewTicker(heartbeatEvery)
	defer beat.Stop()
	for err == nil {
		select {
		case <-s.queue.Wake():
			if list, err = s.queue.Take(list); err == nil {
				err = s.write(list)
			}
			if err == nil {
				s.g.Stats.noteDelays(list) // not of what First had: that may be old
			}
		case <-beat.C:
			s.joined = append(s.joined, heartbeat...)
			err = s.flush()
		case <-s.g.ending:
			s.joined = append(s.joined, comeBack...)
			s.flush()
			return nil
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}
	return err
}

// write writes messages, small ones together.
func (s *stream) write(list []*Message) error {
	for _, m := range list {
		b := s.feed.of(m)
		if len(s.joined)+len(b) > writeBytes && len(s.joined) > 0 {
			if err := s.send(s.joined); err != nil {
				return err
			}
			s.joined = s.joined[:0]
		}
		if len(b) >= writeBytes {
			if err := s.send(b); err != nil {
				return err
			}
			continue
		}
		s.joined = append(s.joined, b...)
	}
	s.g.Stats.Messages.Add(int64(len(list)))
	return s.flush()
}

// send writes bytes that have to be taken within streamWriteFor, or twice as
// long: setting a deadline costs an eighth of what an event does.
func (s *stream) send(b []byte) error {
	if now := time.Now(); s.until.Sub(now) < streamWriteFor {
		s.until = now.Add(2 * streamWriteFor)
		s.control.SetWriteDeadline(s.until)
	}
	n, err := s.w.Write(b)
	s.g.Stats.BytesOut.Add(int64(n))
	return err
}

func (s *stream) flush() error {
	err := s.send(s.joined)
	if s.joined = s.joined[:0]; cap(s.joined) > writeBytes {
		s.joined = nil
	}
	if err == nil {
		err = s.control.Flush()
	}
	if s.shares { // there it would end a stream that has nothing to say
		s.until = time.Time{}
		s.control.SetWriteDeadline(s.until)
	}
	return err
}

// encodeSDK writes what the SDK reads: one data line, its parts split at the
// first commas.
func encodeSDK(m *Message) []byte {
	b := append(make([]byte, 0, len("data: psubscribe,,,\n\n")+len(m.Channel)+len(m.Pattern)+len(m.Payload)), "data: "...)
	switch m.Kind {
	case Subscribed:
		b = append(append(b, "subscribe,"...), oneLine(m.Channel)...)
		b = strconv.AppendInt(append(b, ','), int64(m.Count), 10)
	case PSubscribed:
		b = append(append(b, "psubscribe,"...), oneLine(m.Pattern)...)
		b = strconv.AppendInt(append(b, ','), int64(m.Count), 10)
	case Published:
		b = append(append(b, "message,"...), oneLine(m.Channel)...)
		b = append(append(b, ','), oneLinePayload(m.Payload)...)
	case PPublished:
		b = append(append(b, "pmessage,"...), oneLine(m.Pattern)...)
		b = append(append(b, ','), oneLine(m.Channel)...)
		b = append(append(b, ','), oneLinePayload(m.Payload)...)
	case Shown:
		b = append(b, m.Payload...)
	}
	return append(b, "\n\n"...)
}

// oneLine makes a name one that ends no line.
func oneLine(name []byte) []byte {
	if !bytes.ContainsAny(name, "\r\n") {
		return name
	}
	return []byte(strings.NewReplacer("\r", " ", "\n", " ").Replace(string(name)))
}

// oneLinePayload keeps a payload in one line. The SDK parses it as JSON and takes
// it as it is if it is none: JSON with line breaks loses these, and any
// other text with line breaks is told as a JSON string.
func oneLinePayload(payload []byte) []byte {
	if !bytes.ContainsAny(payload, "\r\n") {
		return payload
	}
	var compact bytes.Buffer
	if json.Compact(&compact, payload) == nil {
		return compact.Bytes()
	}
	return AppendJSONString(nil, payload)
}
