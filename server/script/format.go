package script

import (
	"math"
	"strconv"
	"strings"
)

// directive is one %… of string.format.
type directive struct {
	minus, plus, space, alt, zero bool
	width, precision              int // precision -1: none given
}

// maxField is more than a directive for a number writes: %99.99f of 1e308.
const maxField = 512

// maxFormat bounds a directive's width and precision to two digits, as Lua.
const maxFormat = 2

func strFormat(c call) int {
	format := c.text(1)
	o := &output{c: c}
	arg := 1
	for i := 0; i < len(format); i++ {
		plain := strings.IndexByte(format[i:], '%')
		if plain < 0 {
			o.write(format[i:])
			break
		}
		o.write(format[i : i+plain])
		i += plain
		if i+1 < len(format) && format[i+1] == '%' {
			i++
			o.writeByte('%')
			continue
		}
		o.room(maxField)
		d, n := c.directive(format[i+1:])
		i += n + 1
		verb := byte(0)
		if i < len(format) {
			verb = format[i]
		}
		arg++
		if arg > c.n() {
			c.badArg(arg, "no value")
		}
		switch verb {
		case 'c':
			o.out = d.pad(o.out, "", string([]byte{byte(c.integer(arg))}), false)
		case 'd', 'i':
			o.out = d.signed(o.out, truncate(c.number(arg)))
		case 'o', 'u', 'x', 'X':
			o.out = d.unsigned(o.out, unsigned(c.number(arg)), verb)
		case 'e', 'E', 'f', 'g', 'G':
			o.out = d.float(o.out, c.number(arg), verb)
		case 'q':
			s := c.text(arg)
			o.room(quotedLen(s))
			o.out = quote(o.out, s)
		case 's':
			s := c.text(arg)
			o.room(len(s) + maxField)
			o.out = d.text(o.out, s)
		default:
			c.fail("invalid option '%" + strings.TrimSuffix(string(verb), "\x00") + "' to 'format'")
		}
	}
	o.push()
	return 1
}

// directive reads flags, width and precision: how many bytes they take.
func (c call) directive(s string) (d directive, n int) {
	d.precision = -1
	for ; n < len(s) && strings.IndexByte("-+ #0", s[n]) >= 0; n++ {
		switch s[n] {
		case '-':
			d.minus = true
		case '+':
			d.plus = true
		case ' ':
			d.space = true
		case '#':
			d.alt = true
		case '0':
			d.zero = true
		}
	}
	if n > 5 {
		c.fail("invalid format (repeated flags)")
	}
	number := func() int {
		start := n
		for n < len(s) && '0' <= s[n] && s[n] <= '9' && n-start < maxFormat {
			n++
		}
		v, _ := strconv.Atoi(s[start:n])
		return v
	}
	d.width = number()
	if n < len(s) && s[n] == '.' {
		n++
		d.precision = number()
	}
	if n < len(s) && '0' <= s[n] && s[n] <= '9' {
		c.fail("invalid format (width or precision too long)")
	}
	return d, n
}

// pad writes a sign or prefix and a body in the directive's width.
func (d directive) pad(out []byte, prefix, body string, zeros bool) []byte {
	fill := d.width - len(prefix) - len(body)
	if !d.minus && !zeros {
		for ; fill > 0; fill-- {
			out = append(out, ' ')
		}
	}
	out = append(out, prefix...)
	if !d.minus && zeros {
		for ; fill > 0; fill-- {
			out = append(out, '0')
		}
	}
	out = append(out, body...)
	for ; fill > 0; fill-- {
		out = append(out, ' ')
	}
	return out
}

func (d directive) sign(negative bool) string {
	switch {
	case negative:
		return "-"
	case d.plus:
		return "+"
	case d.space:
		return " "
	}
	return ""
}

// least fills an integer's digits up to the precision.
func (d directive) least(digits string) string {
	if d.precision == 0 && digits == "0" {
		return ""
	}
	return strings.Repeat("0", max(d.precision-len(digits), 0)) + digits
}

func (d directive) signed(out []byte, n int64) []byte {
	digits := strings.TrimPrefix(strconv.FormatInt(n, 10), "-")
	return d.pad(out, d.sign(n < 0), d.least(digits), d.zero && d.precision < 0)
}

func (d directive) unsigned(out []byte, n uint64, verb byte) []byte {
	prefix, base := "", 10
	switch verb {
	case 'o':
		base = 8
	case 'x', 'X':
		base = 16
		if d.alt && n != 0 {
			prefix = "0" + string(verb)
		}
	}
	digits := strconv.FormatUint(n, base)
	if verb == 'X' {
		digits = strings.ToUpper(digits)
	}
	digits = d.least(digits)
	if verb == 'o' && d.alt && !strings.HasPrefix(digits, "0") {
		digits = "0" + digits
	}
	return d.pad(out, prefix, digits, d.zero && d.precision < 0)
}

// unsigned is C's cast of a double to an unsigned 64-bit integer.
func unsigned(f float64) uint64 {
	if f >= 1<<63 && f < 1<<64 {
		return uint64(f-1<<63) + 1<<63
	}
	return uint64(truncate(f))
}

func (d directive) float(out []byte, f float64, verb byte) []byte {
	negative := math.Signbit(f)
	if f != f || math.IsInf(f, 0) {
		body := "nan"
		if f == f {
			body = "inf"
		}
		if verb < 'a' {
			body = strings.ToUpper(body)
		}
		return d.pad(out, d.sign(negative), body, false)
	}
	precision := d.precision
	if precision < 0 {
		precision = 6
	}
	lower := verb | 0x20
	if lower == 'g' && precision == 0 {
		precision = 1
	}
	body := strconv.FormatFloat(math.Abs(f), lower, precision, 64)
	if d.alt {
		body = withPoint(body, lower, precision)
	}
	if verb < 'a' {
		body = strings.ToUpper(body)
	}
	return d.pad(out, d.sign(negative), body, d.zero)
}

// withPoint is the flag #: a decimal point always, and for %g the zeros.
func withPoint(body string, verb byte, precision int) string {
	mantissa, exponent := body, ""
	if at := strings.IndexByte(body, 'e'); at >= 0 {
		mantissa, exponent = body[:at], body[at:]
	}
	if !strings.Contains(mantissa, ".") {
		mantissa += "."
	}
	if verb == 'g' {
		digits := len(strings.TrimLeft(strings.Replace(mantissa, ".", "", 1), "0"))
		mantissa += strings.Repeat("0", max(precision-digits, 0))
	}
	return mantissa + exponent
}

// text is %s. As in C a string ends at its zero byte, unless it is long and
// the directive says nothing of its length.
func (d directive) text(out []byte, s string) []byte {
	if d.precision < 0 && len(s) >= 100 {
		return append(out, s...)
	}
	if at := strings.IndexByte(s, 0); at >= 0 {
		s = s[:at]
	}
	if d.precision >= 0 && d.precision < len(s) {
		s = s[:d.precision]
	}
	return d.pad(out, "", s, false)
}

// quotedLen is how many bytes quote writes.
func quotedLen(s string) int {
	return 2 + len(s) + strings.Count(s, `"`) + strings.Count(s, `\`) + strings.Count(s, "\n") + strings.Count(s, "\r") + 3*strings.Count(s, "\x00")
}

func quote(out []byte, s string) []byte {
	out = append(out, '"')
	for i := range len(s) {
		switch s[i] {
		case '"', '\\', '\n':
			out = append(out, '\\', s[i])
		case '\r':
			out = append(out, `\r`...)
		case 0:
			out = append(out, `\000`...)
		default:
			out = append(out, s[i])
		}
	}
	return append(out, '"')
}
