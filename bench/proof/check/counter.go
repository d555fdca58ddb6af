package check

import (
	"fmt"
	"sort"
)

// Increment of a counter by one.
type Increment struct {
	Value   int64  `json:",omitempty"` // what it answered, from 1 on
	InDoubt bool   `json:",omitempty"`
	Node    string `json:",omitempty"`
	Call    int64
	Return  int64
}

// Counter says what is wrong with the increments of one key, "" for nothing.
// Final is what it held when everybody had finished.
func Counter(increments []Increment, final int64) string {
	var known []Increment
	inDoubt := 0
	for _, i := range increments {
		if i.InDoubt {
			inDoubt++
		} else {
			known = append(known, i)
		}
	}
	if acknowledged := int64(len(known)); final < acknowledged || final > acknowledged+int64(inDoubt) {
		return fmt.Sprintf("holds %d after %d acknowledged and %d in doubt", final, acknowledged, inDoubt)
	}
	sort.Slice(known, func(a, b int) bool { return known[a].Value < known[b].Value })
	// latestCall of those with smaller values: nobody with a larger value may
	// have returned before it was called.
	var latest Increment
	for n, i := range known {
		if n > 0 && i.Value == known[n-1].Value {
			return fmt.Sprintf("answered %d twice", i.Value)
		}
		if i.Value > final {
			return fmt.Sprintf("answered %d and holds %d", i.Value, final)
		}
		if i.Return < latest.Call {
			return fmt.Sprintf("answered %d before the request that got %d was sent", i.Value, latest.Value)
		}
		if i.Call > latest.Call {
			latest = i
		}
	}
	return ""
}
