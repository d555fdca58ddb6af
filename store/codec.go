package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// An entry is what one position of a log holds, and one block of a snapshot:
//
//	version (1 byte)  kind (1 byte)  body  CRC-32C of all before it (4 bytes, little endian)
//
// The body of KindEffects is effects, one after the other:
//
//	op (1 byte)  fields (1 byte)  database (1 byte)  the fields, in the order of their bits
//
// Keys and values are a length and so many bytes. Lengths are unsigned varints,
// deadlines are signed ones, in unix ms. Which fields are there does not depend
// on the op: what comes later adds ops and fields. There is one way to write
// an entry, and only what is written so is read.
//
// What is written is for the other nodes, so Local effects are left out, a key
// in it is pinned, and one that is pinned no more is deleted.

// Kind is what an entry is about.
type Kind uint8

const (
	KindEffects Kind = 1 // the effects of one batch
	KindClock   Kind = 2 // a Clock
)

const (
	entryVersion = 1
	headerBytes  = 2
	sumBytes     = 4
)

// The fields of an effect.
const (
	hasKey = 1 << iota
	hasValue
	hasDeadline
	hasEncoding
	hasDB2
)

var layouts = [...]struct{ must, may byte }{
	OpPut:    {hasKey | hasValue, hasDeadline | hasEncoding},
	OpExpire: {hasKey, hasDeadline},
	OpDelete: {hasKey, 0},
	OpFlush:  {0, 0},
	OpSwap:   {hasDB2, 0},
}

var (
	// ErrDamaged is for bytes that are not as they were written.
	ErrDamaged = errors.New("store: the checksum is wrong: the bytes are not those that were written")
	// ErrTruncated is for bytes that end where more were to come.
	ErrTruncated = errors.New("store: the end is missing: the bytes were not all written, or not all copied")
	// ErrNewer is for what only a later version can have written.
	ErrNewer = errors.New("store: written by a newer version, which has to read it")
	// ErrMalformed is for bytes whose checksum is right and which nobody can have written.
	ErrMalformed = errors.New("store: not in the form that entries and snapshots have")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendEffects appends to dst the entry of a batch of effects.
func AppendEffects(dst []byte, effects []Effect) []byte {
	return AppendBatch(dst, [][]Effect{effects})
}

// AppendBatch appends to dst one entry with the effects of several Txs, in order.
func AppendBatch(dst []byte, batch [][]Effect) []byte {
	from := len(dst)
	dst = append(dst, entryVersion, byte(KindEffects))
	for _, effects := range batch {
		for i := range effects {
			if !effects[i].Local {
				dst = appendEffect(dst, &effects[i])
			}
		}
	}
	return seal(dst, from)
}

// seal ends the entry that begins at from.
func seal(dst []byte, from int) []byte {
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
}

func appendEffect(dst []byte, f *Effect) []byte {
	op := f.Op
	if (op == OpPut || op == OpExpire) && !f.Pinned {
		op = OpDelete
	}
	layout := layouts[op]
	fields := layout.must
	if f.Deadline != 0 {
		fields |= layout.may & hasDeadline
	}
	if f.Encoding != Plain {
		fields |= layout.may & hasEncoding
	}
	dst = append(dst, byte(op), fields, f.DB)
	if fields&hasKey != 0 {
		dst = append(binary.AppendUvarint(dst, uint64(len(f.Key))), f.Key...)
	}
	if fields&hasValue != 0 {
		dst = append(binary.AppendUvarint(dst, uint64(len(f.Value))), f.Value...)
	}
	if fields&hasDeadline != 0 {
		dst = binary.AppendVarint(dst, f.Deadline)
	}
	if fields&hasEncoding != 0 {
		dst = append(dst, byte(f.Encoding))
	}
	if fields&hasDB2 != 0 {
		dst = append(dst, f.DB2)
	}
	return dst
}

// KindOf is the kind of an entry that is whole.
func KindOf(b []byte) (Kind, error) {
	kind, _, err := openEntry(b)
	return kind, err
}

// openEntry checks an entry and takes it apart.
func openEntry(b []byte) (Kind, []byte, error) {
	if len(b) < headerBytes+sumBytes {
		return 0, nil, fmt.Errorf("entry of %d bytes: %w", len(b), ErrTruncated)
	}
	end := len(b) - sumBytes
	if crc32.Checksum(b[:end], castagnoli) != binary.LittleEndian.Uint32(b[end:]) {
		return 0, nil, fmt.Errorf("entry of %d bytes: %w", len(b), ErrDamaged)
	}
	if b[0] == 0 {
		return 0, nil, fmt.Errorf("entry of version 0: %w", ErrMalformed)
	}
	if b[0] > entryVersion {
		return 0, nil, fmt.Errorf("entry of version %d: %w", b[0], ErrNewer)
	}
	switch kind := Kind(b[1]); kind {
	case KindEffects, KindClock:
		return kind, b[headerBytes:end], nil
	case 0:
		return 0, nil, fmt.Errorf("entry of no kind: %w", ErrMalformed)
	default:
		return 0, nil, fmt.Errorf("entry of kind %d: %w", kind, ErrNewer)
	}
}

// DecodeEffects reads an entry of KindEffects. Keys and values point into b.
// It allocates nothing but the effects.
func DecodeEffects(b []byte) ([]Effect, error) { return decodeEffects(nil, b) }

func decodeEffects(effects []Effect, b []byte) ([]Effect, error) {
	kind, body, err := openEntry(b)
	if err != nil {
		return nil, err
	}
	if kind != KindEffects {
		return nil, fmt.Errorf("entry of kind %d where effects should be: %w", kind, ErrMalformed)
	}
	return parseEffects(effects, body)
}

// parseEffects appends the effects of a body.
func parseEffects(effects []Effect, body []byte) ([]Effect, error) {
	r := reader{b: body}
	for len(r.b) > 0 {
		at := len(body) - len(r.b)
		f := r.effect()
		if r.err != nil {
			return nil, fmt.Errorf("effect at byte %d of %d: %w", at, len(body), r.err)
		}
		effects = append(effects, f)
	}
	return effects, nil
}

// reader takes a body apart and remembers its first error.
type reader struct {
	b   []byte
	err error
}

func (r *reader) effect() (f Effect) {
	op, fields, db := Op(r.byte()), r.byte(), r.byte()
	if r.err != nil {
		return f
	}
	if int(op) >= len(layouts) || fields >= hasDB2<<1 {
		r.fail(ErrNewer, "op %d with fields %#x", op, fields)
		return f
	}
	layout := layouts[op]
	switch {
	case op == 0 || fields&layout.must != layout.must || fields&^(layout.must|layout.may) != 0:
		r.fail(ErrMalformed, "op %d with fields %#x", op, fields)
		return f
	case db >= NumDBs && !(op == OpFlush && db == AllDBs):
		r.fail(ErrMalformed, "database %d", db)
		return f
	}
	f.Op, f.DB, f.Pinned = op, db, op == OpPut || op == OpExpire
	if fields&hasKey != 0 {
		f.Key = r.bytes()
	}
	if fields&hasValue != 0 {
		f.Value = r.bytes()
	}
	if fields&hasDeadline != 0 {
		if f.Deadline = r.varint(); f.Deadline == 0 {
			r.fail(ErrMalformed, "deadline 0")
		}
	}
	if fields&hasEncoding != 0 {
		if f.Encoding = Encoding(r.byte()); f.Encoding != Raw && f.Encoding != Embstr {
			r.fail(ErrMalformed, "encoding %d", f.Encoding)
		}
	}
	if fields&hasDB2 != 0 {
		if f.DB2 = r.byte(); f.DB2 >= NumDBs || f.DB2 == f.DB {
			r.fail(ErrMalformed, "swap of %d and %d", f.DB, f.DB2)
		}
	}
	return f
}

func (r *reader) fail(err error, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format+": %w", append(args, err)...)
	}
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail(ErrMalformed, "the body ends within an effect")
	}
	if r.err != nil {
		return 0
	}
	b := r.b[0]
	r.b = r.b[1:]
	return b
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail(ErrMalformed, "%d bytes where %d are left", n, len(r.b))
	}
	if r.err != nil {
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1) // as binary.Varint
}

func (r *reader) uvarint() uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 || n > 1 && r.b[n-1] == 0 { // a zero at the end is a longer way to write it
		r.fail(ErrMalformed, "number")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// AppendClock appends to dst the entry of a Clock.
func AppendClock(dst []byte, c Clock) []byte {
	from := len(dst)
	dst = append(dst, entryVersion, byte(KindClock))
	dst = binary.AppendVarint(dst, c.Now)
	dst = binary.AppendUvarint(dst, uint64(c.Extend))
	return seal(dst, from)
}

// DecodeClock reads an entry of KindClock.
func DecodeClock(b []byte) (Clock, error) {
	kind, body, err := openEntry(b)
	if err != nil {
		return Clock{}, err
	}
	if kind != KindClock {
		return Clock{}, fmt.Errorf("entry of kind %d where a clock should be: %w", kind, ErrMalformed)
	}
	return parseClock(body)
}

func parseClock(body []byte) (Clock, error) {
	r := reader{b: body}
	c := Clock{Now: r.varint()}
	extend := r.uvarint()
	switch {
	case r.err != nil:
		return Clock{}, fmt.Errorf("clock: %w", r.err)
	case extend > math.MaxInt64 || len(r.b) > 0:
		return Clock{}, fmt.Errorf("clock of %d bytes: %w", len(body), ErrMalformed)
	}
	c.Extend = int64(extend)
	return c, nil
}
