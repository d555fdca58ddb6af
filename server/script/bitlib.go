package script

import (
	"math"
	"math/bits"
)

var bitFuncs = map[string]gofn{
	"tobit":   func(c call) int { return c.pushBits(c.bits(1)) },
	"bnot":    func(c call) int { return c.pushBits(^c.bits(1)) },
	"bswap":   func(c call) int { return c.pushBits(bits.ReverseBytes32(c.bits(1))) },
	"band":    bitFold(func(a, b uint32) uint32 { return a & b }),
	"bor":     bitFold(func(a, b uint32) uint32 { return a | b }),
	"bxor":    bitFold(func(a, b uint32) uint32 { return a ^ b }),
	"lshift":  bitShift(func(a uint32, n int) uint32 { return a << n }),
	"rshift":  bitShift(func(a uint32, n int) uint32 { return a >> n }),
	"arshift": bitShift(func(a uint32, n int) uint32 { return uint32(int32(a) >> n) }),
	"rol":     bitShift(bits.RotateLeft32),
	"ror":     bitShift(func(a uint32, n int) uint32 { return bits.RotateLeft32(a, -n) }),
	"tohex":   bitToHex,
}

// bits is a number's low 32 bits, rounded as the addition of 2^52 + 2^51 does.
func (c call) bits(n int) uint32 {
	return uint32(math.Float64bits(c.number(n) + (1<<52 + 1<<51)))
}

func (c call) pushBits(b uint32) int {
	c.pushNumber(float64(int32(b)))
	return 1
}

func bitFold(f func(a, b uint32) uint32) gofn {
	return func(c call) int {
		a := c.bits(1)
		for i := 2; i <= c.n(); i++ {
			a = f(a, c.bits(i))
		}
		return c.pushBits(a)
	}
}

func bitShift(f func(a uint32, n int) uint32) gofn {
	return func(c call) int {
		a := c.bits(1)
		return c.pushBits(f(a, int(c.bits(2)&31)))
	}
}

func bitToHex(c call) int {
	b := c.bits(1)
	n, digits := 8, "0123456789abcdef"
	if c.n() >= 2 {
		n = int(int32(c.bits(2)))
	}
	if n < 0 {
		n, digits = -n, "0123456789ABCDEF"
	}
	n = min(n, 8)
	var out [8]byte
	for i := n - 1; i >= 0; i-- {
		out[i] = digits[b&15]
		b >>= 4
	}
	c.pushText(string(out[:n]))
	return 1
}
