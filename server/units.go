package server

import (
	"fmt"
	"math"
	"strconv"
)

// ParseBytes reads an amount of memory in Redis's spelling: k, m and g are
// powers of 1000, kb, mb and gb powers of 1024, b and nothing are bytes, in
// either case. "64mb" is 67108864.
func ParseBytes(text string) (int64, error) {
	digits := 0
	for digits < len(text) && '0' <= text[digits] && text[digits] <= '9' {
		digits++
	}
	n, err := strconv.ParseInt(text[:digits], 10, 64)
	unit, known := unitBytes(text[digits:])
	if err != nil || !known || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is not an amount of memory such as 1048576, 512mb or 2gb", text)
	}
	return n * unit, nil
}

// unitBytes is how many bytes a unit stands for.
func unitBytes(unit string) (int64, bool) {
	var lower [2]byte
	if len(unit) > len(lower) {
		return 1, false
	}
	for i := range len(unit) {
		lower[i] = unit[i] | 0x20
	}
	switch string(lower[:len(unit)]) {
	case "", "b":
		return 1, true
	case "k":
		return 1000, true
	case "kb":
		return 1 << 10, true
	case "m":
		return 1000 * 1000, true
	case "mb":
		return 1 << 20, true
	case "g":
		return 1000 * 1000 * 1000, true
	case "gb":
		return 1 << 30, true
	}
	return 1, false
}

// humanBytes shows an amount of memory as INFO's _human lines do.
func humanBytes(n int64) string {
	f := float64(n)
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%dB", n)
	case n < 1<<20:
		return fmt.Sprintf("%.2fK", f/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.2fM", f/(1<<20))
	case n < 1<<40:
		return fmt.Sprintf("%.2fG", f/(1<<30))
	default:
		return fmt.Sprintf("%.2fT", f/(1<<40))
	}
}
