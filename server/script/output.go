package script

// output is a string that a library function is making. It accounts for its
// whole length whenever that has doubled.
type output struct {
	c    call
	out  []byte
	next int
}

// room is asked before n bytes are written.
func (o *output) room(n int) {
	o.c.in.guard.steps += 1 + n/64
	if len(o.out)+n > o.next {
		o.next = 2 * (len(o.out) + n)
		o.c.charge(o.next)
		o.c.step(1)
	}
}

func (o *output) write(s string) {
	o.room(len(s))
	o.out = append(o.out, s...)
}

func (o *output) writeByte(b byte) {
	o.room(1)
	o.out = append(o.out, b)
}

// push pushes the string.
func (o *output) push() {
	o.c.step(1)
	o.c.pushText(textOf(o.out))
}
