package gateway

import "time"

// noteDelays counts how long messages that were just written have been under way.
func (st *Stats) noteDelays(list []*Message) {
	var now time.Time
	for _, m := range list {
		if m.At.IsZero() {
			continue
		}
		if now.IsZero() {
			now = time.Now()
		}
		st.Delays.Add(now.Sub(m.At))
	}
}
