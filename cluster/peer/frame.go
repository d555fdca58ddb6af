package peer

import (
	"encoding/binary"
	"fmt"
)

// A frame is a header and up to chunkBytes of a message:
//
//	kind    1 byte
//	zero    3 bytes
//	length  4 bytes, of what follows the header
//	total   4 bytes, of the whole message
//	id      8 bytes: the call's number; 0 for a post
//
// A message of more than chunkBytes is several frames in order, all but the last
// of them full; frames of other messages may be in between. Numbers are big endian.
const (
	headerBytes = 20
	chunkBytes  = 64 << 10

	// A value of a gigabyte and what is said around it.
	maxMessageBytes = 1<<30 + 1<<20
	// The largest value a client can send and what is said around it.
	maxPostBytes = 512<<20 + 1<<20
	// Messages of one peer that have begun and not ended. The peer's outbox never
	// has that much: rotationRoomBytes and one more message, one post.
	maxAssemblyBytes = 2 << 30
)

type kind byte

const (
	kindNothing kind = iota + 1 // a ping; or what was withdrawn before it was sent
	kindPost
	kindCall
	kindAnswer
	kindUnsaid // an answer that is larger than a message may be
)

type header struct {
	kind   kind
	length int
	total  int
	id     uint64
}

func appendHeader(b []byte, h header) []byte {
	b = append(b, byte(h.kind), 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(h.length))
	b = binary.BigEndian.AppendUint32(b, uint32(h.total))
	return binary.BigEndian.AppendUint64(b, h.id)
}

// appendFrame appends a whole message of at most chunkBytes.
func appendFrame(b []byte, k kind, id uint64, body []byte) []byte {
	return append(appendHeader(b, header{k, len(body), len(body), id}), body...)
}

// parseHeader reads headerBytes and checks what one header alone can break.
func parseHeader(b []byte) (header, error) {
	h := header{
		kind:   kind(b[0]),
		length: int(binary.BigEndian.Uint32(b[4:])),
		total:  int(binary.BigEndian.Uint32(b[8:])),
		id:     binary.BigEndian.Uint64(b[12:]),
	}
	limit := maxMessageBytes
	if h.kind == kindPost {
		limit = maxPostBytes
	}
	switch {
	case h.kind < kindNothing || h.kind > kindUnsaid || b[1]|b[2]|b[3] != 0:
		return h, fmt.Errorf("frame of unknown kind %d", h.kind)
	case h.total > limit:
		return h, fmt.Errorf("message of %d bytes is larger than %d", h.total, limit)
	case h.length > chunkBytes || h.length > h.total:
		return h, fmt.Errorf("frame of %d bytes in a message of %d", h.length, h.total)
	case (h.kind == kindNothing || h.kind == kindUnsaid) && h.length != h.total:
		return h, fmt.Errorf("frame of kind %d is cut", h.kind)
	}
	return h, nil
}
