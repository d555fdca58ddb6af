package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stream is what one browser has.
type stream struct {
	file *os.File
	part []byte // of a line
	took []time.Duration
}

func open(address string, channel int) (*stream, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /events?channel=batch:%d&token=T HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n\r\n", channel, address)
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, errors.New(res.Status)
	}
	body := bufio.NewReader(res.Body)
	for { // it listens from its first id on
		line, err := body.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(line, "id: ") {
			break
		}
	}
	file, err := conn.(*net.TCPConn).File() // which is not the runtime's to wait for
	return &stream{file: file}, err
}

// readAll takes the times of so many messages of each stream.
func readAll(streams []*stream, messages int) error {
	runtime.LockOSThread() // for good: it waits in the kernel
	poll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	fds := make([]int, len(streams))
	for i, s := range streams {
		fds[i] = int(s.file.Fd())
		s.took = make([]time.Duration, 0, messages)
		if err := syscall.SetNonblock(fds[i], true); err != nil {
			return err
		}
		if err := syscall.EpollCtl(poll, syscall.EPOLL_CTL_ADD, fds[i], &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(i)}); err != nil {
			return err
		}
	}
	events := make([]syscall.EpollEvent, 256)
	room := make([]byte, 64<<10)
	for left := len(streams) * messages; left > 0; {
		n, err := syscall.EpollWait(poll, events, -1)
		if err != nil && err != syscall.EINTR {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			n, err := syscall.Read(fds[e.Fd], room)
			if err != nil || n == 0 {
				return fmt.Errorf("a stream ended: %w", err)
			}
			got, err := streams[e.Fd].hear(room[:n])
			if err != nil {
				return err
			}
			left -= got
		}
	}
	return nil
}

// hear takes the time of each message in b. The lines in between that begin the
// chunks of the body are no events.
func (s *stream) hear(b []byte) (messages int, err error) {
	now := time.Since(began)
	for {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		if !whole {
			s.part = append(s.part, line...)
			return messages, nil
		}
		b = rest
		if len(s.part) > 0 {
			line = append(s.part, line...)
			s.part = s.part[:0]
		}
		data, ok := bytes.CutPrefix(line, []byte("data: "))
		if !ok {
			continue
		}
		number, sent, _ := strings.Cut(strings.TrimRight(string(data), " "), " ")
		if number != strconv.Itoa(len(s.took)) {
			return messages, fmt.Errorf("message %s came as number %d", number, len(s.took))
		}
		ns, err := strconv.ParseInt(sent, 10, 64)
		if err != nil {
			return messages, err
		}
		s.took = append(s.took, now-time.Duration(ns))
		messages++
	}
}
