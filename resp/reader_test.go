package resp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unsafe"
	"weak"
)

// chunks is a connection whose Reads bring the given bytes in pieces.
type chunks struct {
	left  []byte
	sizes []byte // of the pieces, in turn; none: as much as fits
	turn  int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.left) == 0 {
		return 0, io.EOF
	}
	n := len(p)
	if len(c.sizes) > 0 {
		n = min(n, 1+int(c.sizes[c.turn%len(c.sizes)]))
		c.turn++
	}
	n = copy(p[:n], c.left)
	c.left = c.left[n:]
	return n, nil
}

// readAll is every command as "word|word" and how the stream ended.
func readAll(r *Reader) (commands []string, err error) {
	for {
		words, ok, err := r.Next()
		if err != nil {
			return commands, err
		}
		if ok {
			commands = append(commands, string(bytes.Join(words, []byte("|"))))
			continue
		}
		if err := r.Fill(); err != nil {
			return commands, err
		}
	}
}

func trusted(src io.Reader) *Reader {
	r := NewReader(src)
	r.SetAuthenticated(true)
	return r
}

func TestReaderChunks(t *testing.T) {
	big := strings.Repeat("v", 300_000)
	sent := string(command("SET", "k", "v")) + "PING\r\n*0\r\n\r\n" + string(command("SET", "", big)) + string(command("GET", "k", "", "x")) + "echo \"a b\" c\n"
	want := []string{"SET|k|v", "PING", "SET||" + big, "GET|k||x", "echo|a b|c"}
	for _, sizes := range [][]byte{nil, {0}, {1}, {6}, {0, 250}, {255}} {
		got, err := readAll(trusted(&chunks{left: []byte(sent), sizes: sizes}))
		if err != io.EOF || !reflect.DeepEqual(got, want) {
			t.Errorf("pieces %v: %.200q, %v", sizes, got, err)
		}
	}
}

// A reader that is filled before it is emptied moves what is left of it.
func TestReaderFilledEarly(t *testing.T) {
	var sent, want []byte
	for i := range 3000 {
		key := fmt.Sprint(i)
		sent = append(sent, command("GET", key)...)
		want = append(want, key...)
	}
	r := trusted(&chunks{left: sent, sizes: []byte{255, 3, 80}})
	var got []byte
	for {
		words, ok, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			got = append(got, words[1]...)
		}
		if err := r.Fill(); err != nil && !ok {
			break
		}
	}
	if !bytes.Equal(got, want) {
		t.Error("commands were lost or changed")
	}
}

// Each of these is stopped at once, whatever else it would have brought.
func TestReaderAttacks(t *testing.T) {
	for sent, want := range map[string]string{
		"*2147483647\r\n":                           "Protocol error: invalid multibulk length",
		"*1048577\r\n":                              "Protocol error: invalid multibulk length",
		"*1\r\n$-5\r\n":                             "Protocol error: invalid bulk length",
		"*1\r\n$9223372036854775806\r\n":            "Protocol error: invalid bulk length",
		"*1\r\n$abc\r\n":                            "Protocol error: invalid bulk length",
		"*1\r\nPING\r\n":                            "Protocol error: expected '$', got 'P'",
		"SET \"k\r\n":                               "Protocol error: unbalanced quotes in request",
		strings.Repeat("a", 1<<20):                  "Protocol error: too big inline request",
		strings.Repeat("a", 1<<20) + "\r\n":         "Protocol error: too big inline request",
		"\x00" + strings.Repeat("\n", 1<<20):        "Protocol error: too big inline request",
		"*" + strings.Repeat("1", 1<<20):            "Protocol error: too big mbulk count string",
		"*1\r\n$" + strings.Repeat("\x00\r", 1<<19): "Protocol error: too big bulk count string",
	} {
		for _, sizes := range [][]byte{nil, {1}, {200}} {
			r := trusted(&chunks{left: []byte(sent), sizes: sizes})
			commands, err := readAll(r)
			var protocol ProtocolError
			if !errors.As(err, &protocol) || err.Error() != want || len(commands) > 0 {
				t.Errorf("%.30q in pieces %v: %q, %v", sent, sizes, commands, err)
			}
			if _, _, again := r.Next(); again != err {
				t.Errorf("%.30q: then %v", sent, again)
			}
			if used := r.MemoryUsage(); used > 256<<10 {
				t.Errorf("%.30q: %d bytes used", sent, used)
			}
		}
	}
}

// An announcement costs nothing until it is followed.
func TestReaderAnnouncement(t *testing.T) {
	for _, sent := range []string{"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n", "*1048576\r\n", "*1048576\r\n$536870912\r\nx"} {
		r := trusted(strings.NewReader(sent))
		if commands, err := readAll(r); err != io.EOF || len(commands) > 0 {
			t.Errorf("%q: %q, %v", sent, commands, err)
		}
		if used := r.MemoryUsage(); used > 64<<10 {
			t.Errorf("%q: %d bytes used", sent, used)
		}
	}
}

// A big word needs little more memory than has arrived of it, and what has
// arrived is copied a bounded number of times.
func TestReaderBigWord(t *testing.T) {
	const size = 32 << 20
	sent := command("SET", "k", strings.Repeat("v", size))
	src := &chunks{left: sent}
	r := trusted(src)
	for {
		words, ok, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			if len(words) != 3 || len(words[2]) != size || string(words[1]) != "k" {
				t.Fatal("not the command that was sent")
			}
			break
		}
		if err := r.Fill(); err != nil {
			t.Fatal(err)
		}
		if arrived := len(sent) - len(src.left); r.MemoryUsage() > max(64<<10, 4*arrived) {
			t.Fatalf("%d bytes used for %d that have arrived", r.MemoryUsage(), arrived)
		}
	}
	if r.MemoryUsage() > size+64<<10 {
		t.Errorf("%d bytes used", r.MemoryUsage())
	}
	big := weak.Make(unsafe.SliceData(r.buf))
	r.Release()
	if r.MemoryUsage() > 64<<10 {
		t.Errorf("%d bytes used after Release", r.MemoryUsage())
	}
	runtime.GC()
	if big.Value() != nil {
		t.Error("something still points into the buffer after Release")
	}
	runtime.KeepAlive(r)
}

func TestReaderManyWords(t *testing.T) {
	words := make([]string, 1<<20)
	for i := range words {
		words[i] = "w"
	}
	r := trusted(&chunks{left: command(words...), sizes: []byte{255, 100}})
	grown := 0 // each time copies everything, so it must happen rarely
	for {
		got, ok, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			if len(got) != len(words) || string(got[0]) != "w" || string(got[len(got)-1]) != "w" {
				t.Fatalf("%d words", len(got))
			}
			break
		}
		size := len(r.buf)
		if err := r.Fill(); err != nil {
			t.Fatal(err)
		}
		if len(r.buf) != size {
			grown++
		}
	}
	if grown > 12 {
		t.Errorf("the buffer grew %d times", grown)
	}
	if used := r.MemoryUsage(); used > 80<<20 {
		t.Errorf("%d bytes used", used)
	}
	if r.Release(); r.MemoryUsage() > 64<<10 {
		t.Errorf("%d bytes used after Release", r.MemoryUsage())
	}
}

func TestReaderQueryTooBig(t *testing.T) {
	limits := DefaultLimits
	limits.MaxQueryBytes = 1 << 20
	r := trusted(bytes.NewReader(command(strings.Repeat("a", 600_000), strings.Repeat("b", 600_000))))
	r.SetLimits(limits)
	if commands, err := readAll(r); err != ErrQueryTooBig || len(commands) > 0 {
		t.Errorf("%d commands, %v", len(commands), err)
	}
	if used := r.MemoryUsage(); used > 1<<20+1<<10 {
		t.Errorf("%d bytes used", used)
	}
}

// A stranger who has been let in may send more, from the next command on.
func TestReaderAuthenticated(t *testing.T) {
	many := command("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k")
	r := NewReader(bytes.NewReader(append(command("AUTH", "pw"), many...)))
	if err := r.Fill(); err != nil {
		t.Fatal(err)
	}
	if words, ok, err := r.Next(); !ok || err != nil || string(words[0]) != "AUTH" {
		t.Fatal(words, ok, err)
	}
	r.SetAuthenticated(true)
	if words, ok, err := r.Next(); !ok || err != nil || len(words) != 11 {
		t.Fatal(words, ok, err)
	}
}

// The buffer follows what is sent: small for single commands, larger for pipelines.
func TestReaderBufferSize(t *testing.T) {
	src := &chunks{}
	r := trusted(src)
	send := func(commands, rounds int) int {
		for range rounds {
			for range commands {
				src.left = append(src.left, command("SET", "key:000000000001", strings.Repeat("v", 64))...)
			}
			for len(src.left) > 0 {
				r.Release()
				if err := r.Fill(); err != nil {
					t.Fatal(err)
				}
				for {
					_, ok, err := r.Next()
					if err != nil {
						t.Fatal(err)
					}
					if !ok {
						break
					}
				}
			}
		}
		return len(r.buf)
	}
	for _, step := range []struct{ commands, want int }{{1, smallBuffer}, {16, smallBuffer}, {64, mediumBuffer}, {400, largeBuffer}, {100, mediumBuffer}, {1, smallBuffer}, {5000, largeBuffer}, {1, smallBuffer}} {
		if got := send(step.commands, 50); got != step.want {
			t.Errorf("%d commands at once: a buffer of %d bytes, want %d", step.commands, got, step.want)
		}
	}
}

func TestReaderSourceError(t *testing.T) {
	broken := errors.New("broken")
	r := trusted(io.MultiReader(strings.NewReader("PING\r\nPI"), errReader{broken}))
	commands, err := readAll(r)
	if err != broken || !reflect.DeepEqual(commands, []string{"PING"}) {
		t.Errorf("%q, %v", commands, err)
	}
	if r.Buffered() != 2 {
		t.Errorf("%d bytes buffered", r.Buffered())
	}
}

type errReader struct{ err error }

func (r errReader) Read(p []byte) (int, error) { return 0, r.err }
