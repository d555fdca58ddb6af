package server

import "encoding/binary"

// What nodes send each other is bytes for kinds, numbers as uvarints, and words
// with their length before them.

func appendWord[W string | []byte](b []byte, w W) []byte {
	return append(binary.AppendUvarint(b, uint64(len(w))), w...)
}

func appendCommand(b []byte, words [][]byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(words)))
	for _, w := range words {
		b = appendWord(b, w)
	}
	return b
}

// commandRoom is about how many bytes appendCommand appends.
func commandRoom(words [][]byte) int {
	n := 4
	for _, w := range words {
		n += len(w) + 4
	}
	return n
}

// wire takes apart what another node has sent. Once it has met what it cannot
// read it is bad, and what it reads is nothing: it need be looked at once, before
// what was read is believed.
type wire struct {
	b   []byte
	bad bool
}

func (w *wire) more() bool { return len(w.b) > 0 && !w.bad }

func (w *wire) byte() byte {
	if len(w.b) == 0 {
		w.bad = true
		return 0
	}
	v := w.b[0]
	w.b = w.b[1:]
	return v
}

func (w *wire) number() uint64 {
	v, n := binary.Uvarint(w.b)
	if n <= 0 {
		w.bad, w.b = true, nil
		return 0
	}
	w.b = w.b[n:]
	return v
}

// count is a number of things of which each takes a byte at least.
func (w *wire) count() int {
	n := w.number()
	if n > uint64(len(w.b)) {
		w.bad, w.b = true, nil
		return 0
	}
	return int(n)
}

// word points into what is read.
func (w *wire) word() []byte {
	n := w.count()
	v := w.b[:n:n]
	w.b = w.b[n:]
	return v
}

// command appends the words of one to words.
func (w *wire) command(words [][]byte) [][]byte {
	for n := w.count(); n > 0 && !w.bad; n-- {
		words = append(words, w.word())
	}
	return words
}
