//go:build !linux

package load

func newLoop(t *Turn, conns []*Conn, numbers []int, tally *Tally) (loop, error) {
	return newGoroutines(t, conns, numbers, tally)
}
