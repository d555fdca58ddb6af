package gateway

import (
	"errors"
	"io"
	"net/http"
	"os"
)

const firstBody = 4 << 10 // bytes spent on a body before any of it is there

// readBody reads the body; false means that the request was answered. Memory is
// spent on what arrives, not on what is announced, and counted against what all
// requests may spend.
func (g *Gateway) readBody(w http.ResponseWriter, r *http.Request, q *request) bool {
	if r.ContentLength > maxBodyBytes {
		g.tooLarge(w)
		return false
	}
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		q.body = q.body[:0]
		return true
	}
	b := q.body[:0]
	for {
		if len(b) == cap(b) {
			if len(b) >= maxBodyBytes {
				g.tooLarge(w)
				return false
			}
			size := min(max(2*len(b), firstBody), maxBodyBytes+1)
			if size > keepBytes && !g.reserve(q, int64(size)) {
				w.Header().Set("Retry-After", "1")
				g.Fail(w, http.StatusServiceUnavailable, "ERR too many large requests at the same time")
				return false
			}
			b = append(make([]byte, 0, size), b...)
		}
		n, err := r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == nil {
			continue
		}
		q.body = b
		g.Stats.BytesIn.Add(int64(len(b)))
		switch {
		case errors.Is(err, io.EOF) && len(b) <= maxBodyBytes:
			return true
		case errors.Is(err, io.EOF):
			g.tooLarge(w)
		case errors.Is(err, os.ErrDeadlineExceeded):
			w.Header().Set("Connection", "close")
			g.Fail(w, http.StatusRequestTimeout, "ERR the body took too long")
		default: // the client is gone, or its chunks are malformed
			w.Header().Set("Connection", "close")
			g.Fail(w, http.StatusBadRequest, "ERR the body could not be read")
		}
		return false
	}
}

func (g *Gateway) tooLarge(w http.ResponseWriter) {
	w.Header().Set("Connection", "close") // what is left of the body is not read
	g.Fail(w, http.StatusRequestEntityTooLarge, "ERR request is larger than 10 MB")
}

// reserve counts size bytes as this request's, unless there would be too many.
func (g *Gateway) reserve(q *request, size int64) bool {
	more := size - q.reserved
	if g.bodies.Add(more) > maxBodiesBytes {
		g.bodies.Add(-more)
		return false
	}
	q.reserved = size
	return true
}
