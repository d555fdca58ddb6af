package resp

import (
	"math"
	"unsafe"
)

// Kind names what a Reply is. The kinds are RESP3's; RESP2 shows the richer
// ones in the older shapes that Redis uses for them.
type Kind uint8

const (
	KindNone     Kind = iota // nothing is sent at all
	KindSimple               // +text
	KindError                // -CODE text
	KindInt                  // :n
	KindBulk                 // $n bytes
	KindNil                  // _ (RESP2: $-1)
	KindNilArray             // _ (RESP2: *-1)
	KindArray                // *n
	KindMap                  // %n, Elems alternate key, value (RESP2: *2n)
	KindSet                  // ~n (RESP2: *n)
	KindPush                 // >n (RESP2: *n)
	KindDouble               // ,x (RESP2: a bulk)
	KindBool                 // #t or #f (RESP2: :1 or :0)
	KindBigInt               // (digits (RESP2: a bulk)
	KindVerbatim             // =n fmt:bytes (RESP2: a bulk); Bytes holds "txt:…" or "mkd:…"
)

// Reply is one value on its way to a client: what a command returns instead of
// writing to a connection. It is a plain value; Bytes and Elems belong to
// whoever made them and must stay unchanged until the reply is encoded.
type Reply struct {
	Kind  Kind
	Int   int64 // KindInt and KindBool; the bits of KindDouble
	Bytes []byte
	Elems []Reply
}

// The replies that every family uses.
var (
	None     = Reply{}
	OK       = Simple("OK")
	Pong     = Simple("PONG")
	Queued   = Simple("QUEUED")
	Nil      = Reply{Kind: KindNil}
	NilArray = Reply{Kind: KindNilArray}
	Zero     = Int(0)
	One      = Int(1)
	Empty    = Reply{Kind: KindArray}
)

// Simple is a short text without CR or LF, such as OK.
func Simple(s string) Reply { return Reply{Kind: KindSimple, Bytes: bytesOf(s)} }

// Error is an error reply. s starts with its code ("ERR …") and has no dash.
func Error(s string) Reply { return Reply{Kind: KindError, Bytes: bytesOf(s)} }

// Int is a 64-bit signed integer.
func Int(n int64) Reply { return Reply{Kind: KindInt, Int: n} }

// Bulk is a string of any bytes.
func Bulk(b []byte) Reply { return Reply{Kind: KindBulk, Bytes: b} }

// BulkString is Bulk of a string's bytes, without copying them.
func BulkString(s string) Reply { return Reply{Kind: KindBulk, Bytes: bytesOf(s)} }

// Array is an ordered list of replies.
func Array(elems ...Reply) Reply { return Reply{Kind: KindArray, Elems: elems} }

// Map is a list of keys and values, alternating.
func Map(elems ...Reply) Reply { return Reply{Kind: KindMap, Elems: elems} }

// Set is an unordered list.
func Set(elems ...Reply) Reply { return Reply{Kind: KindSet, Elems: elems} }

// Push is an out-of-band message; RESP2 sees an array.
func Push(elems ...Reply) Reply { return Reply{Kind: KindPush, Elems: elems} }

// Double is a floating point number.
func Double(f float64) Reply { return Reply{Kind: KindDouble, Int: int64(math.Float64bits(f))} }

// Float is the number of a KindDouble.
func (r Reply) Float() float64 { return math.Float64frombits(uint64(r.Int)) }

// Bool is true or false.
func Bool(b bool) Reply {
	if b {
		return Reply{Kind: KindBool, Int: 1}
	}
	return Reply{Kind: KindBool}
}

// BigInt is an integer of any length, in decimal digits.
func BigInt(digits []byte) Reply { return Reply{Kind: KindBigInt, Bytes: digits} }

// Verbatim is text with a three-letter format, "txt" or "mkd".
func Verbatim(format, text string) Reply {
	return Reply{Kind: KindVerbatim, Bytes: []byte(format + ":" + text)}
}

// Strings is an array of bulk strings.
func Strings(ss ...string) Reply {
	elems := make([]Reply, len(ss))
	for i, s := range ss {
		elems[i] = BulkString(s)
	}
	return Array(elems...)
}

// IsError tells whether the reply is an error.
func (r Reply) IsError() bool { return r.Kind == KindError }

// IsNil tells whether the reply is either of the two nils.
func (r Reply) IsNil() bool { return r.Kind == KindNil || r.Kind == KindNilArray }

// Size is about how many bytes the reply takes on the wire, at most a little
// less than it really does.
func (r Reply) Size() int64 {
	n := int64(len(r.Bytes))
	for i := range r.Elems {
		n += elemOverhead + r.Elems[i].Size()
	}
	return n
}

// elemOverhead is what an element takes beside its bytes.
const elemOverhead = 16

// bytesOf views a string as bytes. Nobody writes to a Reply's Bytes.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
