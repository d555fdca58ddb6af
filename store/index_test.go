package store

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// Whatever the table does between two calls, a key that is there all the time
// is returned.
func TestScanReturnsWhatStays(t *testing.T) {
	for _, c := range []struct {
		name   string
		begin  int // keys besides those that stay
		change func(i int) (add, remove int)
	}{
		{"still", 1000, func(int) (int, int) { return 0, 0 }},
		{"growing", 0, func(int) (int, int) { return 300, 0 }},
		{"shrinking", 30_000, func(int) (int, int) { return 0, 800 }},
		{"both", 5000, func(i int) (int, int) {
			if i/8%2 == 0 {
				return 900, 0
			}
			return 0, 1100
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(t, newClock().config())
			const stay = 500
			for i := range stay {
				put(t, s, fmt.Sprintf("stay:%d", i), "", 0)
			}
			var others []string
			n := 0
			add := func(tx *Tx) {
				k := fmt.Sprintf("other:%d", n)
				n++
				tx.Put([]byte(k), Put{})
				others = append(others, k)
			}
			do(t, s, func(tx *Tx) {
				for range c.begin {
					add(tx)
				}
			})
			seen := map[string]int{}
			cursor, calls := uint64(0), 0
			for {
				do(t, s, func(tx *Tx) {
					cursor = tx.Scan(cursor, 10, func(k []byte, _ Entry) { seen[string(k)]++ })
				})
				if cursor == 0 {
					break
				}
				if cursor >= 1<<53 {
					t.Fatalf("cursor %d does not fit a double", cursor)
				}
				if calls++; calls > 100_000 {
					t.Fatal("the scan does not end")
				}
				plus, minus := c.change(calls)
				if n > 60_000 {
					plus = 0
				}
				do(t, s, func(tx *Tx) {
					for range plus {
						add(tx)
					}
					for ; minus > 0 && len(others) > 0; minus-- {
						i := rand.IntN(len(others))
						tx.Delete([]byte(others[i]))
						others[i] = others[len(others)-1]
						others = others[:len(others)-1]
					}
				})
			}
			for i := range stay {
				if seen[fmt.Sprintf("stay:%d", i)] == 0 {
					t.Errorf("stay:%d was there all the time and was not returned", i)
				}
			}
			check(t, s)
		})
	}
}

func TestIndexShrinks(t *testing.T) {
	s := newStore(t, newClock().config())
	do(t, s, func(tx *Tx) {
		for i := range 20_000 {
			tx.Put(fmt.Appendf(nil, "%d", i), Put{})
		}
	})
	do(t, s, func(tx *Tx) {
		for i := range 19_900 {
			tx.Delete(fmt.Appendf(nil, "%d", i))
		}
	})
	buckets := 0
	for i := range s.shards {
		buckets += len(s.shards[i].indexes[0].main.buckets) + len(s.shards[i].indexes[0].next.buckets)
	}
	if buckets > 320 {
		t.Errorf("100 keys have %d buckets", buckets)
	}
	check(t, s)
}
