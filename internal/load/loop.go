package load

import (
	"runtime"
	"sync"
	"time"
)

// loop does the I/O of some clients of a turn until the turn is over.
type loop interface {
	run() error
	// add has another client read, before run is called.
	add(c *Conn, w Work) error
	close()
}

// pacer says when the next pipeline of a thread's share of an open loop is due, and
// whose it is.
type pacer struct {
	due    int64 // ns of the turn's clock
	start  int64
	every  float64 // ns between two
	number int64
	client int
}

func newPacer(j *Job, callers int, now int64) pacer {
	share := j.Rate * float64(callers) / float64(j.Clients)
	return pacer{due: now, start: now, every: 1e9 * float64(j.Pipeline) / share}
}

func (p *pacer) step(callers int) {
	p.number++
	p.due = p.start + int64(float64(p.number)*p.every)
	p.client = (p.client + 1) % callers
}

// goroutines has one goroutine read for each client, which in a closed loop also
// writes; in an open one the loop's own goroutine writes for all.
type goroutines struct {
	turn    *Turn
	tally   *Tally
	clients []*served
	callers int
}

type served struct {
	mu sync.Mutex // guards the client; the socket is read without it
	*Client
	sock  *Conn
	tally Tally
	phase int32
}

func newGoroutines(t *Turn, conns []*Conn, numbers []int, tally *Tally) (loop, error) {
	l := &goroutines{turn: t, tally: tally}
	for i, c := range conns {
		s := &served{sock: c, tally: newTally()}
		s.Client = newClient(t, &s.tally, numbers[i])
		l.clients = append(l.clients, s)
	}
	l.callers = len(l.clients)
	return l, nil
}

func (l *goroutines) add(c *Conn, w Work) error {
	s := &served{sock: c, tally: newTally()}
	s.Client = &Client{turn: l.turn, tally: &s.tally, work: w, in: make([]byte, readBytes/4)}
	l.clients = append(l.clients, s)
	return nil
}

// close has nothing to do: who opened the connections closes them.
func (l *goroutines) close() {}

func (l *goroutines) run() error {
	var readers sync.WaitGroup
	for i, s := range l.clients {
		readers.Go(func() {
			if err := s.run(i < l.callers && l.turn.Job.Rate == 0); err != nil && l.turn.phase.Load() != stopping {
				l.turn.fail(err)
			}
		})
	}
	if l.turn.Job.Rate > 0 {
		l.begin()
	}
	readers.Wait()
	for _, s := range l.clients {
		l.tally.add(s.tally)
	}
	return nil
}

// begin sends what is due until the turn is over.
func (l *goroutines) begin() {
	pace := newPacer(l.turn.Job, l.callers, l.turn.now())
	for l.turn.phase.Load() != stopping && !l.turn.spent() {
		if wait := pace.due - l.turn.now(); wait > 0 {
			time.Sleep(min(time.Duration(wait), watchEvery))
			continue
		}
		s := l.clients[pace.client]
		s.mu.Lock()
		s.batch(pace.due, l.turn.Job.Pipeline)
		err := s.write()
		s.mu.Unlock()
		if err != nil {
			l.turn.fail(err)
		}
		pace.step(l.callers)
	}
}

// run reads until the turn is over; of a closed loop it also begins what comes next.
func (s *served) run(closed bool) error {
	for {
		s.mu.Lock()
		if now := s.turn.phase.Load(); now != s.phase {
			if s.phase = now; now == stopping {
				s.mu.Unlock()
				return nil
			}
			s.tally.reset()
		}
		if closed && s.asked.len() == 0 && !s.batch(s.turn.now(), s.turn.Job.Pipeline) {
			s.mu.Unlock()
			if s.turn.spent() {
				return nil
			}
			runtime.Gosched() // the subscribers it waits for are ours as well
			continue
		}
		if !closed && s.asked.len() == 0 && s.turn.spent() {
			s.mu.Unlock()
			return nil
		}
		err := s.write()
		room := s.room()
		s.mu.Unlock()
		if err != nil {
			return err
		}
		s.sock.SetReadDeadline(time.Now().Add(watchEvery))
		n, err := s.sock.Read(room)
		if timeout, ok := err.(interface{ Timeout() bool }); ok && timeout.Timeout() {
			continue
		}
		if err != nil {
			return err
		}
		s.mu.Lock()
		err = s.took(n, s.turn.now())
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

func (s *served) write() error {
	if len(s.out) == 0 {
		return nil
	}
	_, err := s.sock.Write(s.out)
	s.out = s.out[:0]
	return err
}
