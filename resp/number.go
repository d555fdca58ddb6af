package resp

import (
	"bytes"
	"math/big"
)

// Redis adds floats as x86's long double: 64 bits of mantissa, 15 of exponent.
const (
	floatBits    = 64
	floatMaxExp  = 16384  // a number of a larger exponent is infinite
	floatMinExp  = -16445 // and of a smaller one zero
	maxFloatText = 5<<10 - 1
	maxFloatExp  = 9 // digits of an exponent; with more it is infinite or zero
)

// AddFloat is INCRBYFLOAT's sum of a stored number and an increment, in Redis's
// spelling: 17 decimals without the zeros at the end. The error is ErrNotFloat
// or ErrNaN, and None if there is a sum.
func AddFloat(a, b []byte) (sum []byte, err Reply) {
	x, ok := parseFloat(a)
	if !ok {
		return nil, ErrNotFloat
	}
	y, ok := parseFloat(b)
	if !ok {
		return nil, ErrNotFloat
	}
	if x.IsInf() || y.IsInf() {
		return nil, ErrNaN
	}
	if x.Add(x, y); x.MantExp(nil) > floatMaxExp {
		return nil, ErrNaN
	}
	return formatFloat(x), None
}

// parseFloat reads what C's strtold reads, all of it, and nothing that is not
// a number: decimals, 0x hexadecimals and infinities, but no spaces and no nan.
func parseFloat(text []byte) (*big.Float, bool) {
	if len(text) == 0 || len(text) > maxFloatText {
		return nil, false
	}
	unsigned := text
	if text[0] == '+' || text[0] == '-' {
		unsigned = text[1:]
	}
	f := new(big.Float).SetPrec(floatBits)
	if EqualFold(unsigned, "INF") || EqualFold(unsigned, "INFINITY") {
		return f.SetInf(text[0] == '-'), true
	}
	base, zero, ok := spelling(unsigned)
	if !ok || zero {
		return f, ok
	}
	if base == 16 {
		base = 0 // big.Float's word for "see the 0x"
	}
	if _, _, err := f.Parse(string(text), base); err != nil || f.IsInf() || f.Sign() == 0 {
		return nil, false
	}
	exp := f.MantExp(nil)
	return f, floatMinExp <= exp && exp <= floatMaxExp
}

// spelling tells the base of a number without its sign, if it is one at all,
// and whether it is zero whatever its exponent.
func spelling(text []byte) (base int, zero, ok bool) {
	base, digit, mark := 10, isDigit, byte('e')
	if len(text) > 2 && text[0] == '0' && text[1]|0x20 == 'x' {
		base, digit, mark = 16, isHex, 'p'
		text = text[2:]
	}
	rest, whole := skip(text, digit)
	fraction := 0
	if len(rest) > 0 && rest[0] == '.' {
		rest, fraction = skip(rest[1:], digit)
	}
	zero = len(bytes.Trim(text[:len(text)-len(rest)], "0.")) == 0
	if whole+fraction == 0 || len(rest) == 0 {
		return base, zero, whole+fraction > 0
	}
	if rest[0]|0x20 != mark {
		return 0, false, false
	}
	rest = rest[1:]
	if len(rest) > 0 && (rest[0] == '+' || rest[0] == '-') {
		rest = rest[1:]
	}
	rest, digits := skip(rest, isDigit)
	if digits == 0 || len(rest) > 0 {
		return 0, false, false
	}
	exponent := bytes.TrimLeft(text[len(text)-digits:], "0")
	return base, zero, zero || len(exponent) <= maxFloatExp
}

func skip(text []byte, digit func(byte) bool) (rest []byte, skipped int) {
	for skipped < len(text) && digit(text[skipped]) {
		skipped++
	}
	return text[skipped:], skipped
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// formatFloat is C's %.17Lf without the zeros at the end, nor a minus before zero.
func formatFloat(f *big.Float) []byte {
	text := f.Append(nil, 'f', 17)
	text = bytes.TrimSuffix(bytes.TrimRight(text, "0"), []byte("."))
	if string(text) == "-0" {
		return text[1:]
	}
	return text
}
