package load

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

const (
	dialFor   = 5 * time.Second
	answerFor = 30 * time.Second // of one answer where nothing is measured
)

// Target is where a server is and how to be let in.
type Target struct {
	Address string // host:port, or the path of a unix socket
	TLS     *tls.Config
	User    string
	Pass    string
	DB      string
}

// ParseTarget reads redis://, rediss:// and unix:// URLs, and host:port.
func ParseTarget(s string) (Target, error) {
	if !strings.Contains(s, "://") {
		s = "redis://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return Target{}, errors.New("a server is redis://…, rediss://…, unix://… or HOST:PORT") // the URL itself may hold a password
	}
	t := Target{Address: u.Host, User: u.User.Username()}
	t.Pass, _ = u.User.Password()
	switch u.Scheme {
	case "unix":
		t.Address = u.Path
		return t, nil
	case "redis", "rediss":
	default:
		return Target{}, fmt.Errorf("%s:// is no scheme of a server: there are redis, rediss and unix", u.Scheme)
	}
	if u.Hostname() == "" {
		return Target{}, errors.New("a server is redis://…, rediss://…, unix://… or HOST:PORT")
	}
	if u.Port() == "" {
		t.Address = net.JoinHostPort(u.Hostname(), "6379")
	}
	if u.Scheme == "rediss" {
		t.TLS = &tls.Config{ServerName: u.Hostname()}
	}
	t.DB = strings.Trim(u.Path, "/")
	return t, nil
}

// Targets are servers at host:port that ask for nothing.
func Targets(addresses ...string) []Target {
	targets := make([]Target, len(addresses))
	for i, a := range addresses {
		targets[i] = Target{Address: a}
	}
	return targets
}

// Conn is one connection that asks one thing after the other.
type Conn struct {
	net.Conn
	in       []byte
	from, to int
}

// Dial connects, and says who it is if the target has names for it.
func (t Target) Dial() (_ *Conn, err error) {
	network := "tcp"
	if strings.HasPrefix(t.Address, "/") {
		network = "unix"
	}
	sock, err := net.DialTimeout(network, t.Address, dialFor)
	if err != nil {
		return nil, err
	}
	if t.TLS != nil {
		sock = tls.Client(sock, t.TLS)
	}
	c := &Conn{Conn: sock, in: make([]byte, 4<<10)}
	defer func() {
		if err != nil {
			sock.Close()
		}
	}()
	if t.Pass != "" {
		words := []string{"AUTH", t.User, t.Pass}
		if t.User == "" {
			words = []string{"AUTH", t.Pass}
		}
		if _, err := c.Do(words...); err != nil {
			return nil, fmt.Errorf("AUTH: %w", err)
		}
	}
	if t.DB != "" && t.DB != "0" {
		if _, err := c.Do("SELECT", t.DB); err != nil {
			return nil, fmt.Errorf("SELECT %s: %w", t.DB, err)
		}
	}
	return c, nil
}

// Refused is an error that a server answered with.
type Refused string

func (r Refused) Error() string { return string(r) }

// Do sends one command and returns the text of its answer.
func (c *Conn) Do(words ...string) (string, error) {
	a, err := c.Send(AppendCommand(nil, words...), 1)
	if err == nil && a.Kind == '-' {
		err = Refused(a.Text)
	}
	return string(a.Text), err
}

// Send writes requests and returns the last of their n answers, or the first error
// among them.
func (c *Conn) Send(requests []byte, n int) (last Answer, err error) {
	c.SetDeadline(time.Now().Add(answerFor))
	if _, err := c.Write(requests); err != nil {
		return last, err
	}
	for range n {
		a, err := c.next()
		if err != nil {
			return a, err
		}
		if last = a; a.Kind == '-' {
			return a, nil
		}
	}
	return last, nil
}

func (c *Conn) next() (Answer, error) {
	for {
		a, n, err := parseAnswer(c.in[c.from:c.to])
		c.from += n
		if n > 0 || err != nil {
			return a, err
		}
		c.to = copy(c.in, c.in[c.from:c.to])
		c.from = 0
		if c.to == len(c.in) {
			c.in = append(c.in, make([]byte, len(c.in))...)
		}
		n, err = c.Read(c.in[c.to:])
		c.to += n
		if n == 0 && err != nil {
			return Answer{}, err
		}
	}
}

// Ask is Do on a connection of its own.
func (t Target) Ask(words ...string) (string, error) {
	c, err := t.Dial()
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.Do(words...)
}
