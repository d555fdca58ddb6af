package resp

import (
	"sync"
	"unsafe"
)

// The sizes of a Reader's buffer between commands: small for the idle, larger
// for whoever sends pipelines. Only a command that needs more gets more, and
// only for as long as it lasts.
const (
	smallBuffer  = 4 << 10
	mediumBuffer = 16 << 10
	largeBuffer  = 64 << 10
	keptWords    = 1 << 10 // a longer slice of words is given back
	wasteReads   = 16      // so many Reads in a row that need little, and the buffer shrinks
)

// Buffers of these sizes are shared by all readers.
var (
	smallBuffers  = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	mediumBuffers = sync.Pool{New: func() any { return new([mediumBuffer]byte) }}
	largeBuffers  = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

func newBuffer(size int) []byte {
	switch {
	case size <= smallBuffer:
		return smallBuffers.Get().(*[smallBuffer]byte)[:]
	case size <= mediumBuffer:
		return mediumBuffers.Get().(*[mediumBuffer]byte)[:]
	case size <= largeBuffer:
		return largeBuffers.Get().(*[largeBuffer]byte)[:]
	}
	return make([]byte, size)
}

func freeBuffer(buf []byte) {
	switch len(buf) {
	case smallBuffer:
		smallBuffers.Put((*[smallBuffer]byte)(buf))
	case mediumBuffer:
		mediumBuffers.Put((*[mediumBuffer]byte)(buf))
	case largeBuffer:
		largeBuffers.Put((*[largeBuffer]byte)(buf))
	}
}

// Release gives back what a connection does not need while it waits for more,
// a big command's buffer above all. The words that Next returned are no longer
// valid. A half-read command is kept.
func (r *Reader) Release() {
	if r.start < r.end {
		return
	}
	if len(r.buf) > largeBuffer {
		r.swap(nil)
	}
	if cap(r.words) > keptWords {
		r.words = nil
	}
}

// Borrow lends the reader a buffer for as long as it takes to answer what is
// read into it: one that serves many connections stays in the processor's
// cache. A reader that is in the middle of a command goes on with its own.
func (r *Reader) Borrow(buf []byte) {
	if r.start == r.end {
		r.swap(buf)
		r.lent = true
	}
}

// Return gives a borrowed buffer back, and one of the reader's own that is empty;
// the words that Next returned are no longer valid. A half-read command moves
// to a buffer of the reader's own.
func (r *Reader) Return() {
	switch {
	case r.start == r.end:
		r.swap(nil)
	case r.lent:
		r.move(newBuffer(r.end - r.start))
		r.forgetWords()
		r.lent = false
	}
}

// free gives up the buffer in use, which is to be replaced.
func (r *Reader) free(buf []byte) {
	if !r.lent {
		freeBuffer(buf)
	}
	r.lent = false
}

// swap replaces an empty buffer.
func (r *Reader) swap(buf []byte) {
	r.words = r.words[:0]
	r.forgetWords()
	r.free(r.buf)
	r.buf, r.full, r.waste = buf, false, 0
	r.start, r.pos, r.seen, r.end, r.high = 0, 0, 0, 0, 0
}

// room makes room behind end for the next Read.
func (r *Reader) room() error {
	pending := r.end - r.start
	if int64(pending) >= r.limits.MaxQueryBytes {
		r.err = ErrQueryTooBig
		return r.err
	}
	if pending == 0 {
		r.rewind()
		return nil
	}
	if r.start == 0 && r.end < len(r.buf) || len(r.buf)-r.end >= smallBuffer/2 && !r.full {
		return nil
	}
	// Moving the rest to the front costs no more than what has been answered
	// since the last move; otherwise the buffer at least doubles, as it does to
	// read more at once.
	if more := r.full && len(r.buf) < largeBuffer; r.start >= len(r.buf)/2 && !more {
		r.move(r.buf)
		return nil
	}
	old := r.buf
	r.move(newBuffer(r.grownSize()))
	r.forgetWords()
	r.free(old)
	return nil
}

// forgetWords clears what is behind the words in use: a stale word would keep
// the whole buffer that it points into from being collected.
func (r *Reader) forgetWords() { clear(r.words[len(r.words):cap(r.words)]) }

// rewind starts an empty buffer from its front: a bigger one if the last Read
// filled it, a smaller one if for some time hardly any of it was used.
func (r *Reader) rewind() {
	size := len(r.buf)
	if r.high < size/4 {
		r.waste++
	} else {
		r.waste = 0
	}
	switch {
	case size == 0:
		r.swap(newBuffer(smallBuffer))
	case r.full && size < largeBuffer:
		r.swap(newBuffer(4 * size))
	case r.waste > wasteReads && size > smallBuffer:
		r.swap(newBuffer(min(size/4, largeBuffer)))
	}
	r.start, r.pos, r.seen, r.end, r.high = 0, 0, 0, 0, 0
}

// grownSize is the size of the next buffer: twice this one, or just what a big
// word needs if that is less. Were small words to count too, a command of many
// would be copied for each few of them.
func (r *Reader) grownSize() int {
	size := 2 * len(r.buf)
	if size <= largeBuffer {
		size = 4 * len(r.buf) // the next of the shared sizes
	}
	if r.bulk > len(r.buf)/2 {
		const behind = 4 << 10 // for the words that follow a big one
		if exact := r.pos - r.start + r.bulk + behind; exact > len(r.buf) && exact < size {
			size = exact
		}
	}
	return int(min(int64(size), max(r.limits.MaxQueryBytes, int64(len(r.buf)))))
}

// move copies what is not answered to the front of to, which may be the buffer
// itself, and points the words of the half-read command there.
func (r *Reader) move(to []byte) {
	from := r.buf
	copy(to, from[r.start:r.end])
	if r.left > 0 {
		base := uintptr(unsafe.Pointer(unsafe.SliceData(from))) + uintptr(r.start)
		for i, word := range r.words {
			at := 0 // an empty word may lie anywhere
			if len(word) > 0 {
				at = int(uintptr(unsafe.Pointer(unsafe.SliceData(word))) - base)
			}
			r.words[i] = to[at : at+len(word) : at+len(word)]
		}
	}
	r.buf = to
	r.pos -= r.start
	r.seen -= r.start
	r.end -= r.start
	r.high = r.end
	r.start = 0
}
