package server

import "encoding/binary"

// A frame is a byte for its kind, then numbers (varints) and strings (their
// length, then their bytes).

func appendString[S string | []byte](frame []byte, s S) []byte {
	return append(binary.AppendUvarint(frame, uint64(len(s))), s...)
}

// frameReader takes a frame apart. What is missing reads as nothing and makes
// the frame bad, so it need be checked once, before what was read is believed.
type frameReader struct {
	rest []byte
	bad  bool
}

func (f *frameReader) more() bool { return len(f.rest) > 0 && !f.bad }

func (f *frameReader) byte() byte {
	if len(f.rest) == 0 {
		f.bad = true
		return 0
	}
	b := f.rest[0]
	f.rest = f.rest[1:]
	return b
}

func (f *frameReader) number() uint64 {
	n, size := binary.Uvarint(f.rest)
	if size <= 0 {
		f.bad, f.rest = true, nil
		return 0
	}
	f.rest = f.rest[size:]
	return n
}

// bytes points into the frame.
func (f *frameReader) bytes() []byte {
	n := f.number()
	if n > uint64(len(f.rest)) {
		f.bad, f.rest = true, nil
		return nil
	}
	b := f.rest[:n:n]
	f.rest = f.rest[n:]
	return b
}
