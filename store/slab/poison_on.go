//go:build poison

package slab

// With the tag poison whatever is freed is written over at once, so that a test
// sees who still reads it.
const poisoned = true

func poison(b []byte) {
	for i := range b {
		b[i] = 0xdb
	}
}
