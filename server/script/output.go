package script

// output is a string that a library function is making. Its buffer is paid for
// before it grows, and counts as the script's while it is filled.
type output struct {
	c   call
	out []byte // written to only where room was asked for
}

// room is asked before n bytes are written.
func (o *output) room(n int) {
	o.c.in.guard.steps += 1 + n/64
	o.fit(n)
}

// fit is room that is asked for again and again for the same bytes.
func (o *output) fit(n int) {
	if need := len(o.out) + n; need > cap(o.out) {
		o.grow(need)
	}
}

// grow moves to a buffer of twice the size, but asks for no more than what is
// needed once twice would be over half of the limit: while the old one is
// copied the script pays for both.
func (o *output) grow(need int) {
	in := o.c.in
	size := max(need, min(2*cap(o.out), int(in.guard.limit/2)))
	o.c.charge(size)
	o.c.step(1)
	out := make([]byte, len(o.out), size)
	copy(out, o.out)
	in.building += int64(size - cap(o.out))
	o.out = out
}

func (o *output) write(s string) {
	o.room(len(s))
	o.out = append(o.out, s...)
}

func (o *output) writeByte(b byte) {
	o.room(1)
	o.out = append(o.out, b)
}

// push pushes the string. One that fills little of its buffer moves out of it:
// strings are measured by their length.
func (o *output) push() {
	o.c.step(1)
	out := o.out
	if cap(out)-len(out) > len(out)/8 {
		o.c.charge(len(out))
		out = append(make([]byte, 0, len(out)), out...)
	}
	o.c.in.building -= int64(cap(o.out))
	o.out = nil
	o.c.pushText(textOf(out))
}
