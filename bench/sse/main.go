// Command sse measures how long a message takes from PUBLISH to the browsers that
// listen.
//
// It starts one crema, opens streams of /events, publishes at a
// steady rate over RESP, each message with the time by one monotonic clock, and
// reads every stream as a browser would. Client and server share the machine.
//
// Caveats: the machine is shared, so the slowest deliveries are as much this
// program's as the server's: it says how late a timer of its own was meanwhile.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type options struct {
	crema    string
	streams  int
	rate     int
	duration time.Duration
	payload  int
	history  bool
	channels int
	flags    string // of the server, beside its own
}

func main() {
	var o options
	flag.StringVar(&o.crema, "crema", "../bin/crema", "the server's program")
	flag.IntVar(&o.streams, "streams", 1000, "event streams")
	flag.IntVar(&o.channels, "channels", 1, "channels that they are spread over")
	flag.IntVar(&o.rate, "rate", 20, "messages a second, on one channel after the other")
	flag.StringVar(&o.flags, "flags", "", "flags of the server, beside its own")
	flag.DurationVar(&o.duration, "for", 10*time.Second, "how long messages are published")
	flag.IntVar(&o.payload, "payload", 128, "bytes of a message, 32 or more")
	flag.BoolVar(&o.history, "history", true, "the channel has a history")
	flag.Parse()
	if err := o.run(); err != nil {
		fmt.Fprintln(os.Stderr, "sse:", err)
		os.Exit(1)
	}
}

var began = time.Now() // of the monotonic clock

func (o *options) run() error {
	args := []string{"--port", "0", "--http-port", "0", "--rest-token", "T", "--loglevel", "error"}
	args = append(args, strings.Fields(o.flags)...)
	if o.history {
		args = append(args, "--history", "batch:*=1000,1h")
	}
	http, err := freePort()
	if err != nil {
		return err
	}
	args[3] = http
	cmd := exec.Command(o.crema, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", o.crema, err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	line, err := bufio.NewReader(out).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "REDIS_URL=redis://")
	if !ok {
		return fmt.Errorf("it printed %q, %v", line, err)
	}

	streams := make([]*stream, o.streams)
	for i := range streams {
		if streams[i], err = open("127.0.0.1:"+http, i%o.channels); err != nil {
			return fmt.Errorf("open stream %d: %w", i, err)
		}
		defer streams[i].conn.Close()
	}
	messages := int(o.duration.Seconds()*float64(o.rate)) / o.channels * o.channels
	var readers sync.WaitGroup
	var failed atomic.Int64
	for _, s := range streams {
		readers.Add(1)
		go func() {
			defer readers.Done()
			if err := s.read(messages / o.channels); err != nil {
				failed.Add(1)
				fmt.Fprintln(os.Stderr, "sse: a stream:", err)
			}
		}()
	}
	var late atomic.Int64 // of a timer, ns
	stop := make(chan struct{})
	go lateness(&late, stop)
	used := cpu(cmd.Process.Pid)
	if err := publish(address, o, messages); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { readers.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		return errors.New("not every stream has heard everything")
	}
	close(stop)
	used = cpu(cmd.Process.Pid) - used
	if failed.Load() > 0 {
		return errors.New("a stream ended early")
	}
	var all []time.Duration
	for _, s := range streams {
		all = append(all, s.took...)
	}
	slices.Sort(all)
	at := func(share float64) time.Duration {
		return all[int(share*float64(len(all)-1))].Round(10 * time.Microsecond)
	}
	fmt.Printf("machine   %d cores, %s\n", runtime.NumCPU(), runtime.Version())
	fmt.Printf("command   sse -streams %d -channels %d -rate %d -for %v -payload %d -history=%v\n", o.streams, o.channels, o.rate, o.duration, o.payload, o.history)
	fmt.Printf("events    %d, of %d messages to %d streams each; nothing lost, all in order\n", len(all), messages, len(streams)/o.channels)
	fmt.Printf("latency   p50 %v  p90 %v  p99 %v  p99.9 %v  max %v, from PUBLISH to the reader\n", at(.5), at(.9), at(.99), at(.999), at(1))
	fmt.Printf("server    %.2f µs of CPU an event\n", float64(used.Microseconds())/float64(len(all)))
	fmt.Printf("client    a timer of 1 ms was up to %v late meanwhile\n", time.Duration(late.Load()).Round(10*time.Microsecond))
	return nil
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// stream is what one browser has.
type stream struct {
	conn net.Conn
	body *bufio.Reader
	took []time.Duration
}

func open(address string, channel int) (*stream, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(conn, "GET /events?channel=batch:%d&token=T HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n\r\n", channel, address)
	res, err := http.ReadResponse(bufio.NewReaderSize(conn, 1024), nil)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	s := &stream{conn: conn, body: bufio.NewReaderSize(res.Body, 1024)}
	for { // it listens from its first id on
		line, err := s.body.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(line, "id: ") {
			return s, nil
		}
	}
}

// read takes the time of every message.
func (s *stream) read(messages int) error {
	s.took = make([]time.Duration, 0, messages)
	for len(s.took) < messages {
		line, err := s.body.ReadSlice('\n')
		if err != nil {
			return err
		}
		data, ok := bytes.CutPrefix(line, []byte("data: "))
		if !ok {
			continue
		}
		now := time.Since(began)
		number, sent, _ := strings.Cut(strings.TrimRight(string(data), " \n"), " ")
		if number != strconv.Itoa(len(s.took)) {
			return fmt.Errorf("message %s came as number %d", number, len(s.took))
		}
		ns, err := strconv.ParseInt(sent, 10, 64)
		if err != nil {
			return err
		}
		s.took = append(s.took, now-time.Duration(ns))
	}
	return nil
}

// publish sends messages at the times they are due.
func publish(address string, o *options, messages int) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	replies := bufio.NewReader(conn)
	first := time.Now()
	for i := range messages {
		time.Sleep(time.Until(first.Add(time.Duration(i) * time.Second / time.Duration(o.rate))))
		channel := fmt.Sprint("batch:", i%o.channels)
		text := fmt.Sprintf("%d %d", i/o.channels, time.Since(began).Nanoseconds())
		text += strings.Repeat(" ", max(o.payload-len(text), 0))
		fmt.Fprintf(conn, "*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(channel), channel, len(text), text)
		line, err := replies.ReadString('\n')
		if err != nil || line != fmt.Sprintf(":%d\r\n", o.streams/o.channels) {
			return fmt.Errorf("PUBLISH was answered %q, %w", line, err)
		}
	}
	return nil
}

// lateness keeps how late a timer was at most.
func lateness(most *atomic.Int64, stop chan struct{}) {
	for {
		at := time.Now().Add(time.Millisecond)
		select {
		case <-time.After(time.Millisecond):
		case <-stop:
			return
		}
		most.Store(max(most.Load(), int64(time.Since(at))))
	}
}

// cpu is what a process has used, from /proc in ticks of 10 ms.
func cpu(pid int) time.Duration {
	f, err := os.Open(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	b, _ := io.ReadAll(f)
	_, rest, _ := bytes.Cut(b, []byte(") "))
	fields := strings.Fields(string(rest))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
