package resp

import (
	"bufio"
	"bytes"
	"io"
	"reflect"
	"strings"
	"testing"
)

// Any bytes in any pieces are the same commands and the same end, without a
// panic and with memory bounded by what arrived.
func FuzzReader(f *testing.F) {
	for _, sent := range []string{
		"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", "PING\r\nECHO \"a\\x41\" 'b'\r\n", "*0\r\n*-1\r\n\r\n", "*2147483647\r\n", "*1\r\n$-5\r\n", "*1\r\n$9223372036854775806\r\n",
		"*1\r\n$abc\r\n", "*3\r\n$0\r\n\r\n$0\r\n\r\n$1\r\nx\r\n", "ECHO \"a\r\n", "a\x00b\r\n", "*1\r\nx\r\n", "*1\rx$1\rxaxx", "*11\r\n", "*1\r\n$20000\r\n", "$5\r\n", "*1\r\n\r\n",
	} {
		f.Add([]byte(sent), []byte{0}, true)
		f.Add([]byte(sent), []byte{3, 0, 7}, false)
	}
	f.Fuzz(func(t *testing.T, sent, sizes []byte, authenticated bool) {
		limits := Limits{MaxBulkBytes: 1 << 20, MaxArgs: 100, MaxInlineBytes: 100, MaxQueryBytes: 1 << 20}
		whole := NewReader(&chunks{left: sent})
		whole.SetLimits(limits)
		whole.SetAuthenticated(authenticated)
		want, wantErr := readAll(whole)
		pieces := NewReader(&chunks{left: sent, sizes: sizes})
		pieces.SetLimits(limits)
		pieces.SetAuthenticated(authenticated)
		got, err := readAll(pieces)
		if !reflect.DeepEqual(got, want) || err != wantErr {
			t.Fatalf("at once %q, %v; in pieces %q, %v", want, wantErr, got, err)
		}
		for _, r := range []*Reader{whole, pieces} {
			if used := r.MemoryUsage(); used > 64<<10+4*len(sent)+100*24*2 {
				t.Fatalf("%d bytes used for %d", used, len(sent))
			}
			if r.Buffered() > len(sent) || r.Buffered() < 0 {
				t.Fatalf("%d bytes buffered of %d", r.Buffered(), len(sent))
			}
		}
	})
}

// naiveMatch is Redis's own recursion, without the shortcut that keeps it from exploding.
func naiveMatch(pattern, s []byte, nocase bool) bool {
	for len(pattern) > 0 && len(s) > 0 {
		if pattern[0] == '*' {
			for len(pattern) > 1 && pattern[1] == '*' {
				pattern = pattern[1:]
			}
			if len(pattern) == 1 {
				return true
			}
			for ; len(s) > 0; s = s[1:] {
				if naiveMatch(pattern[1:], s, nocase) {
					return true
				}
			}
			return false
		}
		next, ok := matchOne(pattern, 0, s[0], nocase)
		if !ok {
			return false
		}
		pattern, s = pattern[next:], s[1:]
		if len(s) == 0 {
			pattern = bytes.TrimLeft(pattern, "*")
		}
	}
	return len(pattern) == 0 && len(s) == 0
}

func FuzzGlob(f *testing.F) {
	for _, pattern := range []string{"", "*", "a*", "*a*b", "a*a*a*b", "[a-c]?", "[^a]*", "[", "[a", "\\", "[\\", "*[^]", "h[ae]llo", "**\\**"} {
		for _, s := range []string{"", "a", "aaab", "hello", "*", "]"} {
			f.Add([]byte(pattern), []byte(s), true)
			f.Add([]byte(pattern), []byte(s), false)
		}
	}
	f.Fuzz(func(t *testing.T, pattern, s []byte, nocase bool) {
		pattern, s = pattern[:min(len(pattern), 12)], s[:min(len(s), 12)]
		if want, got := naiveMatch(pattern, s, nocase), Match(pattern, s, nocase); want != got {
			t.Fatalf("pattern %q, text %q: %v, want %v", pattern, s, got, want)
		}
	})
}

// What can be read can be written and read again, to the same bytes.
func FuzzDecode(f *testing.F) {
	everything := Array(OK, Error("ERR no"), Int(-5), Bulk([]byte("a\r\nb")), Nil, Map(One, Set(Bool(true))), Push(Double(1.5)), BigInt([]byte("12")), Verbatim("txt", "hi"), Empty)
	f.Add(Append(nil, everything, 3))
	f.Add(Append(nil, everything, 2))
	for _, sent := range []string{"|1\r\n+a\r\n:1\r\n+b\r\n", "!5\r\nERR x\r\n", "*-1\r\n", "$-1\r\n", ",nan\r\n", ",-inf\r\n", "=3\r\ntxt\r\n", "*1000000\r\n", "$1073741825\r\n", "%16777216\r\n", ":\r\n", strings.Repeat("*1\r\n", 200)} {
		f.Add([]byte(sent))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		first, err := ReadReply(bufio.NewReader(bytes.NewReader(sent)))
		if err != nil {
			return
		}
		wire := Append(nil, first, 3)
		second, err := ReadReply(bufio.NewReader(bytes.NewReader(wire)))
		if err != nil {
			t.Fatalf("%q was read, but not %q: %v", sent, wire, err)
		}
		if again := Append(nil, second, 3); !bytes.Equal(again, wire) {
			t.Fatalf("%q, then %q", wire, again)
		}
		old := bufio.NewReader(bytes.NewReader(Append(nil, first, 2)))
		if _, err := ReadReply(old); err != nil {
			t.Fatalf("%q as RESP2 is unreadable: %v", wire, err)
		}
		if _, err := old.ReadByte(); err != io.EOF {
			t.Fatalf("%q as RESP2 is more than one reply", wire)
		}
	})
}
