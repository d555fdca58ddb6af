//go:build unix

package check

import (
	"math"

	"golang.org/x/sys/unix"
)

// Never is when an operation in doubt returned.
const Never = math.MaxInt64

// Now is CLOCK_MONOTONIC, the same in every process of this machine.
func Now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err)
	}
	return t.Nano()
}
