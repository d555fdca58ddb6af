package server

import (
	"encoding/binary"
	"time"

	"crema/resp"
)

// What a node asks the one that leads, and what it is answered. Numbers are
// uvarints, words and replies have their length before them.
//
//	run      requestRun head count command*
//	exec     requestExec head session count command*
//	watch    requestWatch head session watched command   watched: so many keys already; the command is the keys
//	head     version flags db target   target: the node that is asked, as the asker knows it
//	command  count word*
//
//	answer   answerDone index outcome*   index: of the newest entry in the log that the answer rests on
//	outcome  verdict reply said
//	said     count message*              what it has published, which the asker does
//	message  sharded channel payload
//	         answerNothing               the node does not lead: nothing was done
//	         answerTooLarge              done, but replies and messages are more than one client may be sent;
//	                                     to watch: not done, more than may be watched
//	         answerLost                  to watch: the session is not there any more
//
// Outcomes are in the order of the commands; where there are fewer, nothing has
// been done of the rest. A transaction is one verdict and reply, behind which
// there are reply and said of each command if it was carried out.
const forwardVersion = 1

const (
	flagNoTouch      = 1 << iota // CLIENT NO-TOUCH
	flagReadOnlyUser             // scripts may read only
	flagRESP3
	flagStrict // conn.strict
	flagNoWalk // user.noWalk
)

const (
	answerDone = iota
	answerNothing
	answerTooLarge
	answerLost
)

const maxHead = 64 + 4*binary.MaxVarintLen64 // bytes of a head, a node's name being short

// head begins a request to a node.
func (c *conn) head(kind byte, node string, room int) []byte {
	flags := byte(0)
	if c.noTouch.Load() {
		flags |= flagNoTouch
	}
	if u := c.user.Load(); u == nil || u.readOnly {
		flags |= flagReadOnlyUser
		if u != nil && u.noWalk {
			flags |= flagNoWalk
		}
	}
	if c.strict {
		flags |= flagStrict
	}
	if c.proto == 3 {
		flags |= flagRESP3
	}
	b := make([]byte, 0, maxHead+room)
	b = append(b, kind, forwardVersion, flags)
	b = binary.AppendUvarint(b, uint64(c.db.Load()))
	return appendWord(b, node)
}

func appendMessages(b []byte, messages []message) []byte {
	b = binary.AppendUvarint(b, uint64(len(messages)))
	for _, m := range messages {
		sharded := byte(0)
		if m.sharded {
			sharded = 1
		}
		b = appendWord(appendWord(append(b, sharded), m.channel), m.payload)
	}
	return b
}

// forward has the steps from there on done by the node that leads, and puts
// their replies in their places.
func (c *conn) forward(from int) (again bool) {
	r := &c.run
	steps := r.steps[from:]
	if r.node == "" {
		decide(steps, nothing)
		return false
	}
	room := 0
	for i := range steps {
		room += commandRoom(steps[i].words)
	}
	request := c.head(requestRun, r.node, room)
	request = binary.AppendUvarint(request, uint64(len(steps)))
	for i := range steps {
		request = appendCommand(request, steps[i].words)
	}
	began := time.Now()
	answer, err := c.srv.cluster.Call(r.node, request)
	c.clock = c.srv.readClock() // what it took is not the next command's time
	if err != nil {
		decide(steps, verdictOf(err))
		return false
	}
	return c.takeAnswer(steps, answer, time.Since(began))
}

// decide is for steps of whose answers nothing is known. A command that only
// reads does nothing, whether it was done or not.
func decide(steps []step, v verdict) {
	for i := range steps {
		st := &steps[i]
		if st.verdict = v; v == doubt && st.row.flags&readonly != 0 {
			st.verdict = nothing
		}
	}
}

// takeAnswer puts what the leader has answered into the output. It returns true
// when it was the leader that stopped before the end, though it leads.
func (c *conn) takeAnswer(steps []step, answer []byte, took time.Duration) (again bool) {
	in := wire{b: answer}
	switch in.byte() {
	case answerDone:
	case answerNothing:
		decide(steps, nothing)
		return false
	case answerTooLarge:
		decide(steps, done)
		c.tooLarge(len(answer))
		return false
	default:
		decide(steps, doubt)
		return false
	}
	if int64(len(c.out)+len(answer))+c.run.saying() > maxOutBytes {
		decide(steps, done)
		c.tooLarge(len(answer))
		return false
	}
	index := in.number()
	base := steps[0].from
	was := c.out[base:] // what lies between the replies
	if len(was) > 0 {
		was = append([]byte(nil), was...)
	}
	c.out = c.out[:base]
	told, settled := 0, 0 // outcomes; steps that are done, up to the first that is not
	for i := range steps {
		st := &steps[i]
		end := len(was)
		if i+1 < len(steps) {
			end = steps[i+1].from - base
		}
		between := was[st.to-base : end]
		st.from = len(c.out)
		st.verdict = nothing
		if len(in.b) > 0 && !in.bad {
			v, reply, messages := verdict(in.byte()), in.word(), in.messages()
			if in.bad {
				v = doubt
			}
			told++
			again = c.outcome(st, v, reply, took) && settled == i
			if st.verdict == done {
				st.messages = messages
				if settled == i {
					settled++
				}
			}
		}
		st.to = len(c.out)
		c.out = append(c.out, between...)
	}
	if in.bad {
		decide(steps, doubt)
		return false
	}
	c.lastIndex = max(c.lastIndex, index)
	return again || settled > 0 && settled == told && told < len(steps)
}

// outcome takes one command's verdict and reply.
func (c *conn) outcome(st *step, v verdict, reply []byte, took time.Duration) (again bool) {
	switch v {
	case done:
	case unscripted:
		if st.withSource(c.srv) {
			st.verdict = nothing
			return true
		}
		again = true
	case doubt:
		if st.verdict = doubt; st.row.flags&readonly != 0 {
			st.verdict = nothing
		}
		return false
	default:
		st.verdict = nothing
		return false
	}
	st.verdict, st.idle = done, st.row.flags&readonly != 0
	failed := len(reply) > 0 && reply[0] == '-'
	if failed {
		c.srv.stats.countError(errorText(reply))
	}
	if !st.silent {
		c.out = append(c.out, reply...)
	}
	if !st.observed {
		st.observed = true
		c.srv.observe(c, st.row, st.words, took, failed)
	}
	return again
}

// errorText is what an encoded error says.
func errorText(reply []byte) []byte { return reply[1:max(len(reply)-len("\r\n"), 1)] }

// withSource makes an EVALSHA an EVAL, if this node has the script that the
// leader lacks.
func (st *step) withSource(s *Server) bool {
	row, words := s.withSource(st.row, st.words)
	if row == st.row {
		return false
	}
	st.row, st.words = row, words
	return true
}

// withSource is the command that needs no script to be known, or the same one.
func (s *Server) withSource(row *command, words [][]byte) (*command, [][]byte) {
	name := ""
	switch row.name {
	case "evalsha":
		name = "eval"
	case "evalsha_ro":
		name = "eval_ro"
	default:
		return row, words
	}
	source := s.scripts.engine.Source(resp.Lower(words[1]))
	if source == nil {
		return row, words
	}
	return s.table.byName[name], append([][]byte{[]byte(name), source}, words[2:]...)
}

// messages point into what is read.
func (w *wire) messages() (all []message) {
	for n := w.count(); n > 0 && !w.bad; n-- {
		all = append(all, message{sharded: w.byte() != 0, channel: w.word(), payload: w.word()})
	}
	return all
}
