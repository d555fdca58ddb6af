package resp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// What ReadReply accepts of one reply.
const (
	maxReplyDepth    = 128
	maxReplyBulk     = 1 << 30 // bytes
	maxReplyElements = 1 << 24 // in all aggregates together
	maxReplyLine     = 1 << 20 // bytes
	replyChunk       = 64 << 10
)

// ErrBadReply is a reply that no server of this protocol sends, or one beyond
// the reader's limits. The connection is of no further use.
var ErrBadReply = errors.New("malformed reply")

// ReadReply reads one reply in RESP2 or RESP3, an error reply included: the
// error it returns is about the connection. Memory is spent on what arrives,
// not on what is announced. Attributes are skipped.
func ReadReply(br *bufio.Reader) (Reply, error) {
	d := decoder{br: br, elements: maxReplyElements}
	r, err := d.reply(0)
	if errors.Is(err, io.EOF) && d.begun {
		err = io.ErrUnexpectedEOF
	}
	return r, err
}

type decoder struct {
	br       *bufio.Reader
	begun    bool // something has been read
	elements int  // how many more may follow
}

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBadReply, fmt.Sprintf(format, args...))
}

func (d *decoder) reply(depth int) (Reply, error) {
	if depth > maxReplyDepth {
		return None, bad("nested deeper than %d", maxReplyDepth)
	}
	line, err := d.line()
	for err == nil && line[0] == '|' {
		if _, err = d.elems(line, 2, depth); err == nil {
			line, err = d.line()
		}
	}
	if err != nil {
		return None, err
	}
	text := line[1:]
	switch line[0] {
	case '+':
		return Reply{Kind: KindSimple, Bytes: text}, nil
	case '-':
		return Reply{Kind: KindError, Bytes: text}, nil
	case '(':
		return Reply{Kind: KindBigInt, Bytes: text}, nil
	case ':':
		n, ok := ParseInt(text)
		if !ok {
			return None, bad("integer %q", text)
		}
		return Int(n), nil
	case ',':
		return double(text)
	case '#':
		if string(text) != "t" && string(text) != "f" {
			return None, bad("boolean %q", text)
		}
		return Bool(text[0] == 't'), nil
	case '_':
		return Nil, nil
	case '$':
		if string(text) == "-1" {
			return Nil, nil
		}
		return d.bulk(KindBulk, text)
	case '!':
		return d.bulk(KindError, text)
	case '=':
		r, err := d.bulk(KindVerbatim, text)
		if err == nil && (len(r.Bytes) < 4 || r.Bytes[3] != ':') {
			err = bad("verbatim text without a format")
		}
		return r, err
	case '*':
		if string(text) == "-1" {
			return NilArray, nil
		}
		return d.aggregate(KindArray, line, 1, depth)
	case '%':
		return d.aggregate(KindMap, line, 2, depth)
	case '~':
		return d.aggregate(KindSet, line, 1, depth)
	case '>':
		return d.aggregate(KindPush, line, 1, depth)
	}
	return None, bad("type %q", line[0])
}

// line reads a line that is not empty, without its end.
func (d *decoder) line() ([]byte, error) {
	var line []byte
	for {
		part, err := d.br.ReadSlice('\n')
		d.begun = d.begun || len(part) > 0
		line = append(line, part...)
		if len(line) > maxReplyLine {
			return nil, bad("line longer than %d bytes", maxReplyLine)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return nil, bad("line %q", line)
	}
	return line[:len(line)-2], nil
}

func (d *decoder) bulk(kind Kind, length []byte) (Reply, error) {
	n, ok := ParseInt(length)
	if !ok || n < 0 || n > maxReplyBulk {
		return None, bad("length %q", length)
	}
	body := make([]byte, 0, min(int(n), replyChunk))
	for len(body) < int(n) {
		at := len(body)
		body = append(body, make([]byte, min(int(n)-at, max(at, replyChunk)))...)
		if _, err := io.ReadFull(d.br, body[at:]); err != nil {
			return None, err
		}
	}
	var end [2]byte
	if _, err := io.ReadFull(d.br, end[:]); err != nil {
		return None, err
	}
	if end != [2]byte{'\r', '\n'} {
		return None, bad("text longer than announced")
	}
	return Reply{Kind: kind, Bytes: body}, nil
}

func (d *decoder) aggregate(kind Kind, line []byte, each, depth int) (Reply, error) {
	elems, err := d.elems(line, each, depth)
	return Reply{Kind: kind, Elems: elems}, err
}

// elems reads the elements that a line announces, each at a time.
func (d *decoder) elems(line []byte, each, depth int) ([]Reply, error) {
	n, ok := ParseInt(line[1:])
	if !ok || n < 0 || n > int64(d.elements/each) {
		return nil, bad("count %q", line[1:])
	}
	count := int(n) * each
	d.elements -= count
	elems := make([]Reply, 0, min(count, 64))
	for range count {
		r, err := d.reply(depth + 1)
		if err != nil {
			return nil, err
		}
		elems = append(elems, r)
	}
	return elems, nil
}

func double(text []byte) (Reply, error) {
	switch strings.ToLower(string(text)) {
	case "inf", "+inf":
		return Double(math.Inf(1)), nil
	case "-inf":
		return Double(math.Inf(-1)), nil
	case "nan", "-nan":
		return Double(math.NaN()), nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return None, bad("double %q", text)
	}
	return Double(f), nil
}
