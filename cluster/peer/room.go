package peer

// room bounds what waits in one part of an outbox, whose mutex guards it.
type room struct {
	bytes, limit int64
	free         chan struct{} // not nil while somebody waits; closed to have everybody look again
}

// wait returns what to wait for before looking again.
func (r *room) wait() <-chan struct{} {
	if r.free == nil {
		r.free = make(chan struct{})
	}
	return r.free
}

// leave takes bytes out. Those who wait are woken only when half of the room is
// free: thousands of them for room for one would be busy with waking up.
func (r *room) leave(bytes int64) {
	if r.bytes -= bytes; r.bytes <= r.limit/2 {
		r.wake()
	}
}

func (r *room) wake() {
	if r.free != nil {
		close(r.free)
		r.free = nil
	}
}
