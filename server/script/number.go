package script

import (
	"math"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// number spells a number as Lua does: C's %.14g.
func number(f float64) string {
	var room [32]byte
	return string(appendNumber(room[:0], f, 14))
}

// appendNumber is C's %.<precision>g.
func appendNumber(dst []byte, f float64, precision int) []byte {
	if n := int64(f); float64(n) == f && n > -1e14 && n < 1e14 && precision >= 14 && (n != 0 || !math.Signbit(f)) {
		return strconv.AppendInt(dst, n, 10)
	}
	switch {
	case math.IsInf(f, 1):
		return append(dst, "inf"...)
	case math.IsInf(f, -1):
		return append(dst, "-inf"...)
	case f != f && math.Signbit(f):
		return append(dst, "-nan"...)
	case f != f:
		return append(dst, "nan"...)
	}
	return strconv.AppendFloat(dst, f, 'g', precision, 64)
}

// parseNumber reads a number as Lua does: what C's strtod accepts, with spaces
// around it.
func parseNumber(s string) (float64, bool) {
	f, rest, ok := scanNumber(s)
	return f, ok && strings.Trim(rest, " \t\n\v\f\r") == ""
}

// scanNumber is C's strtod: the number at the start and what follows it.
func scanNumber(s string) (f float64, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	body, neg := s, false
	if body != "" && (body[0] == '-' || body[0] == '+') {
		neg = body[0] == '-'
		body = body[1:]
	}
	switch {
	case hasFold(body, "infinity"):
		f, rest = math.Inf(1), body[8:]
	case hasFold(body, "inf"):
		f, rest = math.Inf(1), body[3:]
	case hasFold(body, "nan"):
		f, rest = math.NaN(), body[3:]
	case hasFold(body, "0x"):
		f, rest, ok = scanHex(body)
		if !ok {
			return 0, s, false
		}
	default:
		n := decimalLength(body)
		if n == 0 {
			return 0, s, false
		}
		f, _ = strconv.ParseFloat(body[:n], 64) // out of range is an infinity, as in C
		rest = body[n:]
	}
	if neg {
		f = -f
	}
	return f, rest, true
}

func scanHex(body string) (f float64, rest string, ok bool) {
	n, point, digits := 2, false, 0
	for ; n < len(body); n++ {
		switch {
		case isHex(body[n]):
			digits++
			continue
		case body[n] == '.' && !point:
			point = true
			continue
		}
		break
	}
	if digits == 0 {
		return 0, body, false
	}
	text := body[:n] + "p0"
	if n < len(body) && (body[n] == 'p' || body[n] == 'P') {
		if m := exponentLength(body[n:]); m > 0 {
			text = body[:n+m]
			n += m
		}
	}
	f, _ = strconv.ParseFloat(text, 64)
	return f, body[n:], true
}

func decimalLength(s string) int {
	n, digits, point := 0, 0, false
	for ; n < len(s); n++ {
		switch {
		case '0' <= s[n] && s[n] <= '9':
			digits++
			continue
		case s[n] == '.' && !point:
			point = true
			continue
		}
		break
	}
	if digits == 0 {
		return 0
	}
	if n < len(s) && (s[n] == 'e' || s[n] == 'E') {
		n += exponentLength(s[n:])
	}
	return n
}

// exponentLength measures "e+5"; 0 if no digit follows.
func exponentLength(s string) int {
	n := 1
	if n < len(s) && (s[n] == '-' || s[n] == '+') {
		n++
	}
	start := n
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	if n == start {
		return 0
	}
	return n
}

func hasFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// toNumber converts a value where Lua wants a number.
func toNumber(v lua.LValue) (float64, bool) {
	switch v := v.(type) {
	case lua.LNumber:
		return float64(v), true
	case lua.LString:
		return parseNumber(string(v))
	}
	return 0, false
}

// toText converts a value where Lua wants a string.
func toText(v lua.LValue) (string, bool) {
	switch v := v.(type) {
	case lua.LString:
		return string(v), true
	case lua.LNumber:
		return number(float64(v)), true
	}
	return "", false
}

// truncate is C's cast of a double to a 64-bit integer as x86 does it.
func truncate(f float64) int64 {
	if f != f || f >= 1<<63 || f < -1<<63 {
		return math.MinInt64
	}
	return int64(f)
}
