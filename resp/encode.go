package resp

import (
	"bytes"
	"math"
	"strconv"

	"github.com/tidwall/redcon"
)

// Append appends a reply's bytes in RESP2 or RESP3 (proto 2 or 3) to dst.
func Append(dst []byte, r Reply, proto int) []byte {
	switch r.Kind {
	case KindNone:
		return dst
	case KindSimple:
		return appendLine(dst, '+', r.Bytes)
	case KindError:
		// Redis drops what ends an error's text and blanks what is inside.
		return appendLine(dst, '-', bytes.TrimRight(r.Bytes, "\r\n"))
	case KindInt:
		return redcon.AppendInt(dst, r.Int)
	case KindBulk:
		return redcon.AppendBulk(dst, r.Bytes)
	case KindNil:
		if proto >= 3 {
			return append(dst, "_\r\n"...)
		}
		return append(dst, "$-1\r\n"...)
	case KindNilArray:
		if proto >= 3 {
			return append(dst, "_\r\n"...)
		}
		return append(dst, "*-1\r\n"...)
	case KindArray:
		return appendElems(AppendArrayHeader(dst, len(r.Elems), proto), r.Elems, proto)
	case KindMap:
		return appendElems(AppendMapHeader(dst, len(r.Elems)/2, proto), r.Elems, proto)
	case KindSet:
		return appendElems(appendHeader(dst, '~', len(r.Elems), proto), r.Elems, proto)
	case KindPush:
		return appendElems(AppendPushHeader(dst, len(r.Elems), proto), r.Elems, proto)
	case KindDouble:
		return appendDouble(dst, r.Float(), proto)
	case KindBool:
		return appendBool(dst, r.Int != 0, proto)
	case KindBigInt:
		if proto >= 3 {
			return appendLine(dst, '(', r.Bytes)
		}
		return redcon.AppendBulk(dst, r.Bytes)
	case KindVerbatim:
		return appendVerbatim(dst, r.Bytes, proto)
	}
	panic("resp: reply of no known kind")
}

func appendElems(dst []byte, elems []Reply, proto int) []byte {
	for i := range elems {
		dst = Append(dst, elems[i], proto)
	}
	return dst
}

// AppendArrayHeader announces an array of n replies.
func AppendArrayHeader(dst []byte, n, proto int) []byte {
	return appendHeader(dst, '*', n, proto)
}

// AppendMapHeader announces a map of n pairs, which RESP2 sees as 2n replies.
func AppendMapHeader(dst []byte, n, proto int) []byte {
	if proto < 3 {
		n *= 2
	}
	return appendHeader(dst, '%', n, proto)
}

// AppendPushHeader announces an out-of-band message of n replies.
func AppendPushHeader(dst []byte, n, proto int) []byte {
	return appendHeader(dst, '>', n, proto)
}

// appendHeader announces n replies; RESP2 knows no aggregate but the array.
func appendHeader(dst []byte, mark byte, n, proto int) []byte {
	at := len(dst)
	dst = redcon.AppendArray(dst, n)
	if proto >= 3 {
		dst[at] = mark
	}
	return dst
}

// appendLine writes a text that ends at the line's end. A CR or LF inside it
// would let whoever chose the text forge replies: each becomes a space.
func appendLine(dst []byte, mark byte, text []byte) []byte {
	dst = append(dst, mark)
	at := len(dst)
	dst = append(dst, text...)
	for i, c := range dst[at:] {
		if c == '\r' || c == '\n' {
			dst[at+i] = ' '
		}
	}
	return append(dst, '\r', '\n')
}

func appendDouble(dst []byte, f float64, proto int) []byte {
	var room [32]byte
	text := appendFloat(room[:0], f)
	if proto >= 3 {
		return appendLine(dst, ',', text)
	}
	return redcon.AppendBulk(dst, text)
}

// appendFloat is C's %.17g.
func appendFloat(dst []byte, f float64) []byte {
	switch {
	case math.IsInf(f, 1):
		return append(dst, "inf"...)
	case math.IsInf(f, -1):
		return append(dst, "-inf"...)
	case math.IsNaN(f):
		return append(dst, "nan"...)
	}
	return strconv.AppendFloat(dst, f, 'g', 17, 64)
}

func appendBool(dst []byte, b bool, proto int) []byte {
	switch {
	case proto >= 3 && b:
		return append(dst, "#t\r\n"...)
	case proto >= 3:
		return append(dst, "#f\r\n"...)
	case b:
		return append(dst, ":1\r\n"...)
	}
	return append(dst, ":0\r\n"...)
}

// appendVerbatim writes "txt:…"; RESP2 sees the text without its format.
func appendVerbatim(dst, text []byte, proto int) []byte {
	if proto < 3 {
		return redcon.AppendBulk(dst, text[len("txt:"):])
	}
	at := len(dst)
	dst = redcon.AppendBulk(dst, text)
	dst[at] = '='
	return dst
}
