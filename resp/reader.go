package resp

import (
	"bytes"
	"errors"
	"io"
	"unsafe"
)

// ErrQueryTooBig is a command that outgrew Limits.MaxQueryBytes; the
// connection is closed without an answer.
var ErrQueryTooBig = errors.New("command exceeds the query buffer limit")

// Limits bound what a connection may send. Each is checked before memory is
// spent on what it bounds.
type Limits struct {
	MaxBulkBytes   int64 // one word
	MaxArgs        int   // words of one command
	MaxInlineBytes int   // a line: an inline command or a length
	MaxQueryBytes  int64 // one command as it is sent
}

// DefaultLimits are Redis's, and a million words.
var DefaultLimits = Limits{
	MaxBulkBytes:   512 << 20,
	MaxArgs:        1 << 20,
	MaxInlineBytes: 64 << 10,
	MaxQueryBytes:  1 << 30,
}

// Until a connection has authenticated itself.
const (
	strangerArgs      = 10
	strangerBulkBytes = 16 << 10
)

// Reader cuts what a connection sends into commands. One goroutine owns it.
//
// Bytes lie in buf: those before start are answered, start to end is the
// command being read and what follows it. pos is how far that command has been
// parsed; a Fill goes on from there, so a command that arrives byte by byte is
// still parsed once.
type Reader struct {
	src     io.Reader
	srcErr  error // from the Read that also brought bytes; told at the next Fill
	err     error // from Next: the stream is unreadable from here on
	limits  Limits
	trusted bool

	buf   []byte // all of it readable: len is the capacity
	start int    // the command being read begins here
	pos   int    // and is parsed up to here
	seen  int    // and its current line has been searched up to here
	end   int    // bytes behind are not filled

	words [][]byte // of the command being read, or of the last one that Next returned
	left  int      // words still to come, 0 between commands
	bulk  int      // length of the word at pos, -1 while its length is to be read
	full  bool     // the last Read filled the buffer: a bigger one would have brought more
	high  int      // the most bytes buffered since the buffer was last empty
	waste int      // how often in a row that was little
	lent  bool     // buf is somebody else's, see Borrow
}

// NewReader reads commands from src, at first with a stranger's limits.
func NewReader(src io.Reader) *Reader {
	return &Reader{src: src, limits: DefaultLimits, bulk: -1}
}

// SetLimits changes the limits for what is parsed from now on.
func (r *Reader) SetLimits(limits Limits) { r.limits = limits }

// SetAuthenticated lifts a stranger's limits: 10 words of 16 KiB. It counts
// for commands that Next has not returned yet, so answer AUTH before the next Next.
func (r *Reader) SetAuthenticated(yes bool) { r.trusted = yes }

// Buffered counts the bytes that Next has not returned.
func (r *Reader) Buffered() int { return r.end - r.start }

// Next returns the next command if all of it is buffered; otherwise ok is
// false and it is time to Fill. It does no I/O. The words point into the read
// buffer until the next Fill, their slice is reused by the next Next. An error
// (ProtocolError or ErrQueryTooBig) is final.
func (r *Reader) Next() (words [][]byte, ok bool, err error) {
	for r.err == nil && r.start < r.end {
		var done bool
		switch {
		case r.left > 0:
			done, r.err = r.bulks()
		case r.buf[r.start] == '*':
			done, r.err = r.multibulk()
		default:
			done, r.err = r.inline()
		}
		if r.err != nil || !done {
			break
		}
		r.start, r.seen = r.pos, r.pos
		if len(r.words) > 0 {
			return r.words, true, nil
		}
	}
	return nil, false, r.err
}

// multibulk reads "*3\r\n" and the words it announces.
func (r *Reader) multibulk() (done bool, err error) {
	r.words = r.words[:0]
	n, ok, valid := r.length()
	if !ok {
		return false, r.waitLine(errMultibulkHeader)
	}
	switch {
	case !valid || n > int64(r.limits.MaxArgs):
		return false, errMultibulkLength
	case n > strangerArgs && !r.trusted:
		return false, errMultibulkAuth
	case n <= 0:
		return true, nil // an empty command: no answer
	}
	r.left = int(n)
	return r.bulks()
}

// bulks reads the words that are left of a command.
func (r *Reader) bulks() (done bool, err error) {
	for r.left > 0 {
		if r.bulk < 0 {
			at := r.pos
			n, ok, valid := r.length()
			if !ok {
				return false, r.waitLine(errBulkHeader)
			}
			switch {
			case r.buf[at] != '$':
				return false, errNotBulk(r.buf[at])
			case !valid || n < 0 || n > r.limits.MaxBulkBytes:
				return false, errBulkLength
			case n > strangerBulkBytes && !r.trusted:
				return false, errBulkAuth
			}
			r.bulk = int(n)
		}
		if r.end-r.pos < r.bulk+len("\r\n") {
			return false, nil
		}
		stop := r.pos + r.bulk
		r.words = append(r.words, r.buf[r.pos:stop:stop])
		r.pos = stop + len("\r\n") // whatever they are: Redis does not look either
		r.seen = r.pos
		r.bulk = -1
		r.left--
	}
	return true, nil
}

// length reads the number of a line such as "*3\r\n" or "$5\r\n" at pos. ok
// tells whether the line is there, valid whether it holds a number.
func (r *Reader) length() (n int64, ok, valid bool) {
	// Nearly every length has one to eight digits and is there.
	i, stop := r.pos+1, min(r.pos+9, r.end)
	for i < stop && r.buf[i]-'0' <= 9 {
		n = n*10 + int64(r.buf[i]-'0')
		i++
	}
	plain := i > r.pos+1 && (r.buf[r.pos+1] != '0' || i == r.pos+2)
	if plain && i+1 < r.end && r.buf[i] == '\r' {
		r.pos = i + len("\r\n")
		r.seen = r.pos
		return n, true, true
	}
	cr, ok := r.line('\r')
	if !ok || cr+1 >= r.end || cr-r.pos > r.limits.MaxInlineBytes {
		return 0, false, false
	}
	if cr > r.pos { // else the line is empty
		n, valid = ParseInt(r.buf[r.pos+1 : cr])
	}
	r.pos = cr + len("\r\n")
	r.seen = r.pos
	return n, true, valid
}

// line finds the delimiter that ends the line at pos. Like Redis, whose lines
// are C strings, it finds none behind a NUL.
func (r *Reader) line(delimiter byte) (at int, ok bool) {
	i := bytes.IndexByte(r.buf[r.seen:r.end], delimiter)
	if i < 0 {
		r.seen = r.end
		return 0, false
	}
	at = r.seen + i
	if bytes.IndexByte(r.buf[r.pos:at], 0) >= 0 {
		return 0, false
	}
	r.seen = at
	return at, true
}

// waitLine is nil while the unfinished line at pos may still become a line.
// The one byte more is for a CR at the limit whose LF has not come.
func (r *Reader) waitLine(tooBig ProtocolError) error {
	if r.end-r.pos > r.limits.MaxInlineBytes+1 {
		return tooBig
	}
	return nil
}

// inline reads a line of words as a person types them.
func (r *Reader) inline() (done bool, err error) {
	r.words = r.words[:0]
	stop, ok := r.line('\n')
	if !ok || stop-r.pos > r.limits.MaxInlineBytes {
		return false, r.waitLine(errInlineTooBig)
	}
	line := r.buf[r.pos:stop]
	r.pos = stop + 1
	r.words, ok = splitInPlace(r.words, bytes.TrimSuffix(line, []byte("\r")))
	if !ok {
		return false, errUnbalanced
	}
	return true, nil
}

// Fill reads once from the connection. It makes room first, never for more
// than twice of what has arrived, whatever has been announced.
func (r *Reader) Fill() error {
	if r.srcErr != nil {
		return r.srcErr
	}
	if err := r.room(); err != nil {
		return err
	}
	n, err := r.src.Read(r.buf[r.end:])
	r.end += n
	r.full = r.end == len(r.buf)
	r.high = max(r.high, r.end)
	if n > 0 {
		r.srcErr, err = err, nil
	}
	return err
}

// MemoryUsage is what the reader holds, in bytes.
func (r *Reader) MemoryUsage() int {
	return len(r.buf) + cap(r.words)*int(unsafe.Sizeof([]byte{}))
}
