package peer

import "sync/atomic"

const maxParked = 256

// workers runs tasks, each on a goroutine that nobody else uses meanwhile. A
// goroutine that is done waits for the next task, because its stack has already
// grown to what a command needs.
type workers struct {
	next   chan task
	parked atomic.Int32
	quit   <-chan struct{} // ends those that wait
}

func newWorkers(quit <-chan struct{}) *workers {
	return &workers{next: make(chan task), quit: quit}
}

// do never waits: guest.load bounds how many tasks there are.
func (w *workers) do(t task) {
	select {
	case w.next <- t:
	default:
		go w.work(t)
	}
}

func (w *workers) work(t task) {
	for {
		t.run()
		t = task{} // hold no memory while waiting
		if w.parked.Add(1) > maxParked {
			w.parked.Add(-1)
			return
		}
		select {
		case t = <-w.next:
			w.parked.Add(-1)
		case <-w.quit:
			return
		}
	}
}
