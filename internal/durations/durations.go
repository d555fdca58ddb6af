// Package durations counts how long things took, cheaply enough to do it always.
//
// A Histogram has a bucket for each power of two of nanoseconds, so adding is two
// atomic additions and reading copies 41 numbers. Whoever shows one chooses which
// bounds to show.
//
// # Caveats
//
// Read looks at one bucket after the other: what is added meanwhile may be in the
// sum and not yet in a bucket.
package durations

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Buckets covers 1 ns to 9 minutes; what took longer is in the last.
const Buckets = 40

// Histogram counts durations. Its zero value is empty; everybody may use it.
type Histogram struct {
	nanos   atomic.Int64
	buckets [Buckets]atomic.Int64
}

// Counts is a Histogram at a moment. Bucket i has what took less than 2^i ns, and
// is in none before it.
type Counts struct {
	Nanos   int64 // the sum
	Buckets [Buckets]int64
}

// Add counts one duration.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	h.nanos.Add(int64(d))
	h.buckets[min(bits.Len64(uint64(d)), Buckets-1)].Add(1)
}

// Nanos is the sum of what was added.
func (h *Histogram) Nanos() int64 { return h.nanos.Load() }

// Read copies the counts.
func (h *Histogram) Read() (c Counts) {
	c.Nanos = h.nanos.Load()
	for i := range h.buckets {
		c.Buckets[i] = h.buckets[i].Load()
	}
	return c
}

// Any tells whether anything was counted.
func (c *Counts) Any() bool { return c.Buckets != [Buckets]int64{} }

// Cumulate is how many there are in all, and how many took less than 2^i ns for
// each i of exponents, by 2^i ns in seconds.
func (c *Counts) Cumulate(exponents []int) (total uint64, below map[float64]uint64) {
	below = make(map[float64]uint64, len(exponents))
	next := 0
	for i, n := range c.Buckets {
		total += uint64(n)
		if next < len(exponents) && exponents[next] == i {
			below[float64(int64(1)<<i)/1e9] = total
			next++
		}
	}
	return total, below
}
