package resp

import (
	"bufio"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
)

func TestReadReplyMalformed(t *testing.T) {
	for sent, want := range map[string]error{
		"":                               io.EOF,
		"+":                              io.ErrUnexpectedEOF,
		"$5\r\nab":                       io.ErrUnexpectedEOF,
		"*2\r\n+a\r\n":                   io.ErrUnexpectedEOF,
		"?\r\n":                          ErrBadReply,
		"\r\n":                           ErrBadReply,
		"+a\n":                           ErrBadReply,
		":x\r\n":                         ErrBadReply,
		"#x\r\n":                         ErrBadReply,
		",x\r\n":                         ErrBadReply,
		"$-2\r\n":                        ErrBadReply,
		"$1\r\nabc":                      ErrBadReply,
		"$1073741825\r\n":                ErrBadReply,
		"=2\r\nhi\r\n":                   ErrBadReply,
		"*16777217\r\n":                  ErrBadReply,
		"%8388609\r\n":                   ErrBadReply,
		"*9223372036854775807\r\n":       ErrBadReply,
		strings.Repeat("*1\r\n", 130):    ErrBadReply,
		"+" + strings.Repeat("a", 2<<20): ErrBadReply,
	} {
		if _, err := ReadReply(bufio.NewReader(strings.NewReader(sent))); !errors.Is(err, want) {
			t.Errorf("%.30q: %v, want %v", sent, err, want)
		}
	}
}

// An announced gigabyte that never comes costs next to nothing.
func TestReadReplyAnnouncement(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, sent := range []string{"$1073741824\r\nab", "*16777216\r\n:1\r\n"} {
		if _, err := ReadReply(bufio.NewReader(strings.NewReader(sent))); err != io.ErrUnexpectedEOF {
			t.Errorf("%q: %v", sent, err)
		}
	}
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 1<<20 {
		t.Errorf("%d bytes spent", after.TotalAlloc-before.TotalAlloc)
	}
}

func TestQuoted(t *testing.T) {
	got := string(AppendQuoted([]byte("> "), []byte("a\"\\\n\r\t\a\b\x00\x7f\xffz ~")))
	if want := `> "a\"\\\n\r\t\a\b\x00\x7f\xffz ~"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// What is quoted can be split again.
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	line := append(AppendQuoted(nil, all), " x"...)
	kept := string(line)
	words, ok := SplitLine(line)
	if !ok || len(words) != 2 || string(words[0]) != string(all) || string(words[1]) != "x" {
		t.Errorf("%q, %v", words, ok)
	}
	if string(line) != kept {
		t.Error("the line has been changed")
	}
}
