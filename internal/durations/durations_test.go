package durations

import (
	"maps"
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{-5, 0, 1, 1023, 1024, 1025, time.Hour} {
		h.Add(d)
	}
	c := h.Read()
	if want := int64(1 + 1023 + 1024 + 1025 + time.Hour); c.Nanos != want || h.Nanos() != want {
		t.Errorf("the sum is %d and %d, not %d", c.Nanos, h.Nanos(), want)
	}
	total, below := c.Cumulate([]int{0, 1, 10, 11, 20})
	want := map[float64]uint64{1e-9: 2, 2e-9: 3, 1.024e-6: 4, 2.048e-6: 6, 1.048576e-3: 6}
	if total != 7 || !maps.Equal(below, want) {
		t.Errorf("%d in all, %v below, not 7 and %v", total, below, want)
	}
}

func BenchmarkAdd(b *testing.B) {
	var h Histogram
	for b.Loop() {
		h.Add(700)
	}
}
