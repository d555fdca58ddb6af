package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

const (
	dialFor   = 2 * time.Second
	answerFor = 10 * time.Second
)

// conn is one connection that counts answers and does not keep them.
type conn struct {
	sock net.Conn
	in   *bufio.Reader
	out  []byte
}

func dial(address string) (*conn, error) {
	sock, err := net.DialTimeout("tcp", address, dialFor)
	if err != nil {
		return nil, err
	}
	return &conn{sock: sock, in: bufio.NewReaderSize(sock, 16<<10)}, nil
}

// request appends one command to what the next flush sends.
func (c *conn) request(words ...string) { c.out = appendCommand(c.out, words...) }

func appendCommand(b []byte, words ...string) []byte {
	b = append(b, '*')
	b = strconv.AppendInt(b, int64(len(words)), 10)
	b = append(b, "\r\n"...)
	for _, w := range words {
		b = append(b, '$')
		b = strconv.AppendInt(b, int64(len(w)), 10)
		b = append(b, "\r\n"...)
		b = append(b, w...)
		b = append(b, "\r\n"...)
	}
	return b
}

func (c *conn) flush() error {
	c.sock.SetDeadline(time.Now().Add(answerFor))
	_, err := c.sock.Write(c.out)
	c.out = c.out[:0]
	return err
}

// answer reads one answer: its first byte and the rest of its first line, and
// the text of a bulk string in the line's place. Elements of an array are read
// over.
func (c *conn) answer() (kind byte, text []byte, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	if len(line) < 3 {
		return 0, nil, fmt.Errorf("an answer of %q", line)
	}
	kind, text = line[0], line[1:len(line)-2]
	switch kind {
	case '+', '-', ':', '_', '#', ',', '(':
		return kind, text, nil
	}
	n, err := strconv.Atoi(string(text))
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("an answer of %q", line)
	case n < 0:
		return '_', nil, nil
	case kind == '$':
		if n+2 > c.in.Size() {
			_, err = io.CopyN(io.Discard, c.in, int64(n+2))
			return kind, nil, err
		}
		text, err = c.in.Peek(n + 2)
		if err == nil {
			c.in.Discard(n + 2)
			text = text[:n]
		}
		return kind, text, err
	}
	for range n {
		if _, _, err := c.answer(); err != nil {
			return 0, nil, err
		}
	}
	return kind, nil, nil
}

// do sends one command and reads its answer.
func (c *conn) do(words ...string) (kind byte, text string, err error) {
	c.request(words...)
	if err := c.flush(); err != nil {
		return 0, "", err
	}
	kind, b, err := c.answer()
	return kind, string(b), err
}

// ask is do on a connection of its own.
func ask(address string, words ...string) (string, error) {
	c, err := dial(address)
	if err != nil {
		return "", err
	}
	defer c.sock.Close()
	kind, text, err := c.do(words...)
	if err == nil && kind == '-' {
		err = fmt.Errorf("%s", text)
	}
	return text, err
}
