package server

// historyFigures are the histories in numbers.
type historyFigures struct {
	channels                        int
	messages, bytes, repaired, gaps int64
}

func (h *histories) figures() (f historyFigures) {
	if h == nil {
		return f // nothing is kept
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	return historyFigures{len(h.channels), h.messages, h.bytes, h.repaired, h.gaps}
}
