package server_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience is how long a reply may take before a test gives up on it.
const patience = 20 * time.Second

// target is a server that holds conversations: crema, a cluster of crema, or
// the oracle.
type target struct {
	name     string
	addr     string
	control  *client           // stays logged in, whatever a conversation sets
	baseline map[string]string // CONFIG GET * before the first conversation
	among    bool              // it is one of several nodes
	dead     error             // what went wrong for good: nothing more is asked of it
}

func newTarget(t testing.TB, name, addr string) *target {
	t.Helper()
	tg := &target{name: name, addr: addr}
	var err error
	if tg.control, err = dial(addr); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	t.Cleanup(func() { tg.control.conn.Close() })
	tg.baseline = tg.config()
	return tg
}

// config reads every parameter.
func (tg *target) config() map[string]string {
	got := tg.control.do("CONFIG", "GET", "*").frame
	params := map[string]string{}
	for i := 0; i+1 < len(got.elems); i += 2 {
		params[got.elems[i].text] = got.elems[i+1].text
	}
	return params
}

// reset brings the server back to where the first conversation found it. A
// server that cannot be brought back is dead.
func (tg *target) reset(configured bool) error {
	if err := tg.tryReset(configured); err != nil {
		tg.dead = fmt.Errorf("%w\n%s", err, stuck())
	}
	return tg.dead
}

// stuck shows the goroutines of a server in this process that wait for a lock:
// mostly the reason why it answers no more.
func stuck() string {
	all := make([]byte, 1<<20)
	all = all[:runtime.Stack(all, true)]
	var b strings.Builder
	for _, g := range strings.Split(string(all), "\n\n") {
		if strings.Contains(g, ".Lock") && strings.Contains(g, "crema/server.") {
			b.WriteString(g + "\n\n")
		}
	}
	return b.String()
}

func (tg *target) tryReset(configured bool) error {
	if configured {
		for name, value := range tg.config() {
			if was := tg.baseline[name]; was != value {
				if got := tg.control.do("CONFIG", "SET", name, was).text(); got != "OK" {
					return fmt.Errorf("%s: CONFIG SET %s %q: %s", tg.name, name, was, got)
				}
			}
		}
	}
	for _, words := range [][]string{{"SCRIPT", "KILL"}, {"CLIENT", "UNPAUSE"}, {"DEBUG", "SET-ACTIVE-EXPIRE", "1"}, {"FLUSHALL"},
		{"SCRIPT", "FLUSH"}, {"SLOWLOG", "RESET"}, {"LATENCY", "RESET"}, {"CONFIG", "RESETSTAT"}} {
		if got := tg.control.do(words...); got.failure != "" {
			return fmt.Errorf("%s: %s: %s", tg.name, strings.Join(words, " "), got.failure)
		}
	}
	// The last conversation's clients are gone when the server says so.
	for deadline := time.Now().Add(patience); ; {
		list := tg.control.do("CLIENT", "LIST")
		if list.failure != "" {
			return fmt.Errorf("%s: CLIENT LIST: %s", tg.name, list.failure)
		}
		if list.frame.kind != '$' || strings.Count(list.frame.text, "\n") <= 1 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: clients that closed are still listed:\n%s", tg.name, list.frame.text)
		}
	}
}

// client is one connection.
type client struct {
	conn   net.Conn
	br     *bufio.Reader
	silent bool // a reply may still be on its way
}

func dial(addr string) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, br: bufio.NewReader(conn)}, nil
}

// outcome is what came of one step.
type outcome struct {
	frame   frame
	raw     []byte
	failure string // "(closed)", "(no reply in 20s)"; else a frame came
}

func (o outcome) text() string {
	if o.failure != "" {
		return o.failure
	}
	return o.frame.render()
}

func (c *client) send(b []byte) {
	c.conn.SetWriteDeadline(time.Now().Add(patience))
	c.conn.Write(b) // a failure shows when the reply is read
}

func (c *client) read() outcome {
	c.conn.SetReadDeadline(time.Now().Add(patience))
	var o outcome
	var err error
	o.frame, err = readFrame(c.br, &o.raw)
	switch {
	case err == nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		o.failure = fmt.Sprintf("(no reply in %s) %q", patience, o.raw)
	case errors.Is(err, io.EOF) || isReset(err):
		o.failure = "(closed)"
		if len(o.raw) > 0 {
			o.failure = fmt.Sprintf("(closed) after %q", o.raw)
		}
	default:
		o.failure = "(" + err.Error() + ")"
	}
	return o
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}

func (c *client) do(words ...string) outcome {
	c.send(encodeCommand(words))
	return c.read()
}

func encodeCommand(words []string) []byte {
	b := fmt.Appendf(nil, "*%d\r\n", len(words))
	for _, w := range words {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(w), w)
	}
	return b
}

// hold runs a conversation and gives the outcome of each step. With resp3
// every client opens with HELLO 3.
func (tg *target) hold(talk *conversation, resp3 bool) (outcomes []outcome, err error) {
	if tg.dead != nil {
		return nil, fmt.Errorf("%s is not asked: it failed before", tg.name)
	}
	clients := map[string]*client{}
	vars := map[string]string{}
	configured := false
	defer func() {
		unread := ""
		for name, c := range clients {
			if text := c.leave(); text != "" && unread == "" {
				unread = fmt.Sprintf("%s: client %q was left with a message that the conversation does not read:\n%s", tg.name, name, text)
			}
		}
		if errReset := tg.reset(configured); err == nil {
			err = errReset
		}
		if err == nil && unread != "" {
			err = errors.New(unread)
		}
	}()
	client := func(name string) (*client, error) {
		if c := clients[name]; c != nil {
			return c, nil
		}
		c, err := dial(tg.addr)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", tg.name, err)
		}
		clients[name] = c
		if resp3 || talk.resp3[name] {
			if o := c.do("HELLO", "3"); o.failure != "" || o.frame.kind != '%' {
				return nil, fmt.Errorf("%s: HELLO 3: %s", tg.name, o.text())
			}
		}
		return c, nil
	}
	for _, s := range talk.steps {
		var o outcome
		switch s.do {
		case "config":
			configured = true
			if got := tg.control.do("CONFIG", "SET", s.words[0], s.words[1]).text(); got != "OK" {
				return outcomes, fmt.Errorf("%s: line %d: CONFIG SET %s %q: %s", tg.name, s.line, s.words[0], s.words[1], got)
			}
		case "wait":
			d, _ := time.ParseDuration(s.words[0])
			<-time.After(d)
		case "wait-until-expired":
			if err := tg.awaitExpiry(s.words[0]); err != nil {
				return outcomes, err
			}
		case "close":
			if c := clients[s.words[0]]; c != nil {
				c.conn.Close()
				delete(clients, s.words[0])
			}
		default:
			c, err := client(s.client)
			if err != nil {
				return outcomes, err
			}
			if s.do == ">" && strings.EqualFold(s.words[0], "config") {
				configured = true
			}
			o = c.exchange(s, vars)
		}
		outcomes = append(outcomes, o)
		if strings.HasPrefix(o.failure, "(no reply") {
			return outcomes, nil
		}
	}
	return outcomes, nil
}

// exchange says one thing and hears the answer.
func (c *client) exchange(s *step, vars map[string]string) (o outcome) {
	if s.do == "<<" {
		return c.drain()
	}
	sent := s.raw
	words := slices.Clone(s.words)
	if s.do == ">" {
		for i, w := range words {
			words[i] = variables.ReplaceAllStringFunc(w, func(v string) string {
				if value, ok := vars[v[1:]]; ok {
					return value
				}
				return v
			})
		}
		sent = encodeCommand(words)
	}
	for deadline := time.Now().Add(patience); ; {
		if s.do != "<" {
			c.send(sent)
		}
		if s.rule.noReply {
			c.silent = true
			return outcome{}
		}
		o = c.read()
		c.silent = false
		if s.rule.while == "" || !strings.Contains(o.frame.words(), s.rule.while) || time.Now().After(deadline) {
			break
		}
	}
	if s.rule.scan && o.frame.kind == '*' && len(o.frame.elems) == 2 {
		seen := map[string]frame{}
		for {
			for _, e := range o.frame.elems[1].elems {
				seen[e.text] = e
			}
			if o.frame.elems[0].text == "0" || o.failure != "" {
				break
			}
			words[1] = o.frame.elems[0].text
			o = c.do(words...)
			if o.frame.kind != '*' || len(o.frame.elems) != 2 {
				return o
			}
		}
		o.frame.elems[1].elems = nil
		for _, e := range seen {
			o.frame.elems[1].elems = append(o.frame.elems[1].elems, e)
		}
	}
	if s.rule.let != "" && o.failure == "" {
		vars[s.rule.let] = o.frame.text
	}
	return o
}

// drain reads what came before the answer to a PING that is sent now.
func (c *client) drain() outcome {
	const last = "all-messages-have-come"
	all := outcome{frame: frame{kind: several}}
	c.send(encodeCommand([]string{"PING", last}))
	for {
		o := c.read()
		if o.failure != "" {
			return o
		}
		if strings.Contains(o.frame.words(), last) {
			return all
		}
		all.frame.elems = append(all.frame.elems, o.frame)
		all.raw = append(all.raw, o.raw...)
	}
}

// leave asks for one last answer, to see that nothing else was waiting, and
// closes. It gives what was waiting.
func (c *client) leave() string {
	defer c.conn.Close()
	if c.silent {
		return ""
	}
	const last = "nothing-else-was-waiting"
	o := c.do("PING", last)
	switch {
	case o.failure != "", strings.Contains(o.frame.words(), last), o.frame.text == "QUEUED":
		return ""
	case o.frame.kind == '-' && regexp.MustCompile("^(NOAUTH|NOPERM|BUSY) ").MatchString(o.frame.text):
		return ""
	}
	return o.frame.render()
}

// awaitExpiry returns when a key of database 0 is gone.
func (tg *target) awaitExpiry(key string) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		o := tg.control.do("PTTL", key)
		left, err := strconv.Atoi(o.frame.text)
		if err != nil {
			return fmt.Errorf("%s: PTTL %s: %s", tg.name, key, o.text())
		}
		if left == -2 {
			return nil
		}
		if left > 0 {
			<-time.After(time.Duration(left) * time.Millisecond)
		}
	}
	return fmt.Errorf("%s: key %q did not expire within %s", tg.name, key, patience)
}
