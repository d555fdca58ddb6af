package gateway

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// request is the memory that one request needs, kept for the next.
type request struct {
	batch    Batch
	reader   commandReader
	commands [][][]byte
	body     []byte
	answer   answerWriter
	reserved int64 // of Gateway.bodies
}

// What a request keeps for the next.
const (
	keepBytes = 64 << 10
	keepWords = 4 << 10
)

var requests = sync.Pool{New: func() any { return new(request) }}

// begin takes memory for one request.
func (g *Gateway) begin(r *http.Request, u User) *request {
	q := requests.Get().(*request)
	q.batch.User, q.batch.Addr = u, r.RemoteAddr
	if v := r.Header["Upstash-Sync-Token"]; len(v) > 0 {
		q.batch.Sync = v[0]
	}
	return q
}

// end gives the memory back.
func (g *Gateway) end(q *request) {
	g.bodies.Add(-q.reserved)
	clear(q.commands)
	clear(q.reader.words)
	*q = request{
		batch:    Batch{Replies: keep(q.batch.Replies)},
		reader:   commandReader{words: q.reader.words[:0]},
		commands: q.commands[:0],
		body:     keep(q.body),
		answer:   answerWriter{buf: keep(q.answer.buf)},
	}
	if cap(q.reader.words) > keepWords {
		q.reader.words = nil
	}
	if cap(q.commands) > keepWords {
		q.commands = nil
	}
	requests.Put(q)
}

func keep(b []byte) []byte {
	if cap(b) > keepBytes {
		return nil
	}
	return b[:0]
}

// format is what the answer is to look like.
type format struct{ base64, resp2 bool }

// formatOf reads the headers that ask for a format; "" or why it cannot be had.
func formatOf(h http.Header) (f format, bad string) {
	if v := h["Upstash-Encoding"]; len(v) > 0 {
		f.base64 = strings.EqualFold(v[0], "base64")
	}
	if v := h["Upstash-Response-Format"]; len(v) > 0 {
		switch strings.ToLower(v[0]) {
		case "json":
		case "resp2":
			f.resp2 = true
		default:
			return f, "ERR Upstash-Response-Format is json or resp2, not " + clip(v[0])
		}
	}
	if f.base64 && f.resp2 {
		return f, "ERR RESP2 replies cannot be encoded in base64"
	}
	return f, ""
}

// command is POST / with ["SET","k","v"].
func (g *Gateway) command(w http.ResponseWriter, r *http.Request, u User) {
	q := g.begin(r, u)
	defer g.end(q)
	if !g.readBody(w, r, q) {
		return
	}
	commands, err := q.reader.one(q.body)
	if err != nil {
		g.Fail(w, http.StatusBadRequest, "ERR failed to parse command: "+err.Error())
		return
	}
	q.batch.Commands = commands
	g.answerOne(w, r, q)
}

// pathCommand is /set/k/v. A body is one more word, parameters of the query are
// behind it.
func (g *Gateway) pathCommand(w http.ResponseWriter, r *http.Request, u User) {
	q := g.begin(r, u)
	defer g.end(q)
	if !g.readBody(w, r, q) {
		return
	}
	words, ok := pathWords(r.URL.EscapedPath(), nil)
	if ok && len(q.body) > 0 {
		words = append(words, q.body)
	}
	if ok {
		words, ok = queryWords(r.URL.RawQuery, words)
	}
	switch {
	case !ok:
		g.Fail(w, http.StatusBadRequest, "ERR malformed escape in the URL")
		return
	case len(words[0]) == 0:
		g.Fail(w, http.StatusBadRequest, "ERR no command in the path")
		return
	}
	q.commands = append(q.commands[:0], words)
	q.batch.Commands = q.commands
	g.answerOne(w, r, q)
}

// pathWords are the segments of a path, each decoded by itself.
func pathWords(escaped string, words [][]byte) ([][]byte, bool) {
	for rest, more := strings.TrimPrefix(escaped, "/"), true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		word, err := url.PathUnescape(segment)
		if err != nil {
			return nil, false
		}
		words = append(words, []byte(word))
	}
	return words, true
}

// queryWords are NAME value of each parameter, in their order; one without an
// equals sign is its name alone.
func queryWords(query string, words [][]byte) ([][]byte, bool) {
	for query != "" {
		var param string
		param, query, _ = strings.Cut(query, "&")
		name, value, valued := strings.Cut(param, "=")
		if param == "" || name == tokenParam {
			continue
		}
		for i, part := range [...]string{name, value} {
			if i == 1 && !valued {
				break
			}
			word, err := url.QueryUnescape(part)
			if err != nil {
				return nil, false
			}
			words = append(words, []byte(word))
		}
	}
	return words, true
}

// answerOne runs the one command and answers it. A command that failed is 400.
func (g *Gateway) answerOne(w http.ResponseWriter, r *http.Request, q *request) {
	f, bad := formatOf(r.Header)
	if bad != "" {
		g.Fail(w, http.StatusBadRequest, bad)
		return
	}
	if !g.do(w, r, q) {
		return
	}
	code := http.StatusOK
	if replies := q.batch.Replies; replies[0] == '-' {
		code = g.failure(replies)
	}
	if f.resp2 {
		g.raw(w, code, q)
		return
	}
	a := g.answer(w, code, q, f)
	a.item(q.batch.Replies)
	g.finish(q)
}

// failure is the code for a batch that came to one error.
func (g *Gateway) failure(reply []byte) int {
	g.Stats.Failed.Add(1)
	if strings.HasPrefix(string(reply[:min(len(reply), 12)]), "-CLUSTERDOWN") {
		return http.StatusServiceUnavailable // nothing was done: try again, or elsewhere
	}
	return http.StatusBadRequest
}

// pipeline is POST /pipeline with [["SET","k","v"],["GET","k"]]: what the SDK
// sends for almost everything.
func (g *Gateway) pipeline(w http.ResponseWriter, r *http.Request, u User) {
	q := g.begin(r, u)
	defer g.end(q)
	f, bad := formatOf(r.Header)
	if bad != "" {
		g.Fail(w, http.StatusBadRequest, bad)
		return
	}
	if !g.readCommands(w, r, q, "pipeline") || !g.do(w, r, q) {
		return
	}
	if f.resp2 {
		g.raw(w, http.StatusOK, q)
		return
	}
	a := g.answer(w, http.StatusOK, q, f)
	a.items(q.batch.Replies, len(q.batch.Commands))
	g.finish(q)
}

// multiExec is POST /multi-exec: a pipeline that is one transaction. It is
// answered in JSON whatever format was asked for.
func (g *Gateway) multiExec(w http.ResponseWriter, r *http.Request, u User) {
	q := g.begin(r, u)
	defer g.end(q)
	if !g.readCommands(w, r, q, "multi-exec") {
		return
	}
	q.batch.Atomic = true
	if !g.do(w, r, q) {
		return
	}
	f, _ := formatOf(r.Header)
	replies := q.batch.Replies
	if replies[0] != '*' {
		a := g.answer(w, g.failure(replies), q, f)
		a.item(replies)
		g.finish(q)
		return
	}
	head, rest := line(replies)
	a := g.answer(w, http.StatusOK, q, f)
	a.items(rest, length(head))
	g.finish(q)
}

// items writes n replies as an array.
func (a *answerWriter) items(replies []byte, n int) {
	a.buf = append(a.buf, '[')
	for i := range n {
		if i > 0 {
			a.buf = append(a.buf, ',')
		}
		replies = a.item(replies)
	}
	a.buf = append(a.buf, ']')
}

// readCommands reads a body of many commands.
func (g *Gateway) readCommands(w http.ResponseWriter, r *http.Request, q *request, what string) bool {
	if !g.readBody(w, r, q) {
		return false
	}
	commands, err := q.reader.many(q.body, q.commands)
	if err != nil {
		g.Fail(w, http.StatusBadRequest, "ERR failed to parse "+what+" request: "+err.Error())
		return false
	}
	if len(commands) == 0 {
		g.Fail(w, http.StatusBadRequest, "ERR empty "+what+" request")
		return false
	}
	q.commands, q.batch.Commands = commands, commands
	return true
}

// do takes the batch down the road.
func (g *Gateway) do(w http.ResponseWriter, r *http.Request, q *request) bool {
	g.Stats.Batches.Add(1)
	g.Stats.Commands.Add(int64(len(q.batch.Commands)))
	if err := g.cfg.Door.Do(r.Context(), &q.batch); err != nil {
		code := http.StatusInternalServerError
		if errors.Is(err, ErrClosed) {
			w.Header().Set("Retry-After", "1")
			code = http.StatusServiceUnavailable
		}
		g.Fail(w, code, "ERR "+err.Error())
		return false
	}
	return true
}

// answer begins an answer in JSON.
func (g *Gateway) answer(w http.ResponseWriter, code int, q *request, f format) *answerWriter {
	a := &q.answer
	a.w, a.base64 = w, f.base64
	q.head(w, code, jsonType)
	return a
}

func (q *request) head(w http.ResponseWriter, code int, contentType []string) {
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = contentType, noStore
	h["Upstash-Sync-Token"] = []string{q.batch.Sync}
	w.WriteHeader(code)
}

// finish writes what is left of an answer.
func (g *Gateway) finish(q *request) {
	q.answer.flush()
	g.Stats.BytesOut.Add(q.answer.sent)
}

// raw answers with the replies as they are.
func (g *Gateway) raw(w http.ResponseWriter, code int, q *request) {
	q.head(w, code, respType)
	n, _ := w.Write(q.batch.Replies) // the client is gone, or reads it
	g.Stats.BytesOut.Add(int64(n))
}
