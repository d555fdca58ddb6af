package script

import (
	"encoding/binary"
	"math"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

var structFuncs = map[string]gofn{
	"pack":   structPack,
	"unpack": structUnpack,
	"size":   structSize,
}

const (
	maxIntBytes  = 32
	defaultAlign = 8 // of "!" without a number
)

// layout reads a format of struct.pack.
type layout struct {
	c     call
	fmt   string
	at    int
	big   bool
	align int
}

func (c call) layout() *layout {
	format, _, _ := strings.Cut(c.text(1), "\x00")
	return &layout{c: c, fmt: format, align: 1}
}

// next is the next option and its size, 0 for one that has none.
func (l *layout) next() (opt byte, size int, ok bool) {
	if l.at == len(l.fmt) {
		return 0, 0, false
	}
	l.c.step(1)
	opt = l.fmt[l.at]
	l.at++
	switch opt {
	case 'B', 'b', 'x':
		size = 1
	case 'H', 'h':
		size = 2
	case 'L', 'l', 'T', 'd':
		size = 8
	case 'f':
		size = 4
	case 'c':
		size = l.number(1)
	case 'i', 'I':
		if size = l.number(4); size > maxIntBytes {
			l.c.fail("integral size " + itoa(size) + " is larger than limit of " + itoa(maxIntBytes))
		}
	}
	return opt, size, true
}

func (l *layout) number(none int) int {
	start, n := l.at, 0
	for ; l.at < len(l.fmt) && '0' <= l.fmt[l.at] && l.fmt[l.at] <= '9'; l.at++ {
		if n = n*10 + int(l.fmt[l.at]-'0'); n > math.MaxInt32 {
			l.c.fail("integral size overflow")
		}
	}
	if l.at == start {
		return none
	}
	return n
}

// padding is what comes before an option at a position.
func (l *layout) padding(at int, opt byte, size int) int {
	if size == 0 || opt == 'c' {
		return 0
	}
	size = min(size, l.align)
	return (size - at&(size-1)) & (size - 1)
}

// control obeys an option that is no value.
func (l *layout) control(opt byte) {
	switch opt {
	case ' ':
	case '>':
		l.big = true
	case '<':
		l.big = false
	case '!':
		if l.align = l.number(defaultAlign); l.align <= 0 || l.align&(l.align-1) != 0 {
			l.c.fail("alignment " + itoa(l.align) + " is not a power of 2")
		}
	default:
		l.c.badArg(1, "invalid format option '"+string([]byte{opt})+"'")
	}
}

func structPack(c call) int {
	l := c.layout()
	c.Push(lua.LNil) // where Redis has it, for the error about a missing argument
	o := &output{c: c}
	arg := 2
	for {
		opt, size, ok := l.next()
		if !ok {
			break
		}
		o.room(2 * maxIntBytes)
		for n := l.padding(len(o.out), opt, size); n > 0; n-- {
			o.out = append(o.out, 0)
		}
		switch opt {
		case 'b', 'B', 'h', 'H', 'l', 'L', 'T', 'i', 'I':
			o.out = l.appendInteger(o.out, c.number(arg), size)
			arg++
		case 'x':
			o.out = append(o.out, 0)
		case 'f':
			o.out = l.order().AppendUint32(o.out, math.Float32bits(float32(c.number(arg))))
			arg++
		case 'd':
			o.out = l.order().AppendUint64(o.out, math.Float64bits(c.number(arg)))
			arg++
		case 'c', 's':
			s := c.text(arg)
			arg++
			if size == 0 {
				size = len(s)
			}
			c.require(len(s) >= size, arg, "string too short")
			o.write(s[:size])
			if opt == 's' {
				o.writeByte(0)
			}
		default:
			l.control(opt)
		}
	}
	o.push()
	return 1
}

func (l *layout) order() binary.AppendByteOrder {
	if l.big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

func (l *layout) appendInteger(out []byte, f float64, size int) []byte {
	n := unsigned(f)
	at := len(out)
	out = append(out, make([]byte, size)...)
	for i := range size {
		if l.big {
			out[at+size-1-i] = byte(n)
		} else {
			out[at+i] = byte(n)
		}
		n >>= 8
	}
	return out
}

func (l *layout) integer(b string, signed bool) float64 {
	n := l.bits(b)
	if !signed {
		return float64(n)
	}
	if mask := ^uint64(0) << ((len(b)*8 - 1) & 63); n&mask != 0 {
		n |= mask
	}
	return float64(int64(n))
}

// bits are the bytes of an integer, the low 64 bits of a long one.
func (l *layout) bits(b string) uint64 {
	var n uint64
	for i := range len(b) {
		if l.big {
			n = n<<8 | uint64(b[i])
		} else {
			n = n<<8 | uint64(b[len(b)-1-i])
		}
	}
	return n
}

func structUnpack(c call) int {
	l := c.layout()
	data := c.text(2)
	at := c.integerOr(3, 1)
	c.require(at != 0, 3, "offset must be 1 or greater")
	at--
	base := c.n()
	fits := func(size int) {
		c.require(at >= 0 && size <= len(data) && at <= len(data)-size, 2, "data string too short")
	}
	for {
		opt, size, ok := l.next()
		if !ok {
			break
		}
		if at >= 0 {
			at += l.padding(at, opt, size)
		}
		fits(size)
		if c.n()-base >= maxUnpack-2 {
			c.fail("stack overflow (too many results)")
		}
		switch opt {
		case 'b', 'h', 'l', 'i':
			c.pushNumber(l.integer(data[at:at+size], true))
		case 'B', 'H', 'L', 'T', 'I':
			c.pushNumber(l.integer(data[at:at+size], false))
		case 'x':
		case 'f':
			c.pushNumber(float64(math.Float32frombits(uint32(l.bits(data[at : at+4])))))
		case 'd':
			c.pushNumber(math.Float64frombits(l.bits(data[at : at+8])))
		case 'c':
			if size == 0 {
				f, isNumber := toNumber(c.Get(-1))
				if c.n() == base || !isNumber {
					c.fail("format 'c0' needs a previous size")
				}
				c.Pop(1)
				c.require(f >= 0 && f <= float64(len(data)), 2, "data string too short")
				size = int(f)
				fits(size)
			}
			c.charge(size)
			c.pushText(strings.Clone(data[at : at+size]))
		case 's':
			n := strings.IndexByte(data[at:], 0)
			if n < 0 {
				c.fail("unfinished string in data")
			}
			c.charge(n)
			c.pushText(strings.Clone(data[at : at+n]))
			size = n + 1
		default:
			l.control(opt)
		}
		at += size
	}
	c.pushNumber(float64(at + 1))
	return c.n() - base
}

func structSize(c call) int {
	l := c.layout()
	at := 0
	for {
		opt, size, ok := l.next()
		if !ok {
			break
		}
		at += l.padding(at, opt, size)
		switch {
		case opt == 's':
			c.badArg(1, "option 's' has no fixed size")
		case opt == 'c' && size == 0:
			c.badArg(1, "option 'c0' has no fixed size")
		case opt == ' ' || opt == '<' || opt == '>' || opt == '!' || digit(opt) > 35:
			l.control(opt)
		}
		at += size
	}
	c.pushNumber(float64(at))
	return 1
}
