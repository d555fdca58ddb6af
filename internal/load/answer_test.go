package load

import (
	"slices"
	"strings"
	"testing"
)

func TestAnswers(t *testing.T) {
	large := strings.Repeat("x", 40<<10)
	all := "+OK\r\n:7\r\n$5\r\nhello\r\n$-1\r\n_\r\n*2\r\n$1\r\na\r\n*1\r\n:1\r\n>3\r\n+message\r\n+news\r\n$2\r\nhi\r\n%1\r\n+k\r\n+v\r\n-ERR no\r\n$40960\r\n" + large + "\r\n:8\r\n"
	want := []Answer{{'+', []byte("OK")}, {':', []byte("7")}, {'$', []byte("hello")}, {'_', nil}, {'_', nil}, {'*', []byte("1")},
		{'>', []byte("hi")}, {'%', []byte("v")}, {'-', []byte("ERR no")}, {'$', []byte(large)}, {':', []byte("8")}}
	for _, piece := range []int{1, 7, 1000, len(all)} { // as it may come
		var b []byte
		var got []Answer
		for rest := all; rest != ""; {
			n := min(piece, len(rest))
			b, rest = append(b, rest[:n]...), rest[n:]
			for {
				a, n, err := parseAnswer(b)
				if err != nil {
					t.Fatal(err)
				}
				if n == 0 {
					break
				}
				got, b = append(got, a), b[n:]
			}
		}
		if !slices.EqualFunc(got, want, func(a, b Answer) bool { return a.Kind == b.Kind && string(a.Text) == string(b.Text) }) {
			t.Errorf("in pieces of %d: %.500q", piece, got)
		}
	}
}

func TestAnswersOfNoServer(t *testing.T) {
	for _, b := range []string{"\n", "x\r\n", "$12345678901\r\n", "$-2\r\n", "*1000000000\r\n", "$1x\r\n", "HTTP/1.1 200 OK\r\n",
		strings.Repeat("*1\r\n", 20) + ":1\r\n", strings.Repeat("y", 1<<17)} {
		if _, _, err := parseAnswer([]byte(b)); err == nil {
			t.Errorf("%.20q is taken for an answer", b)
		}
	}
}

func TestTemplates(t *testing.T) {
	get := templateOf("EVALSHA", "abc", "2", "key:#", "lck:#", "x")
	want := AppendCommand(nil, "EVALSHA", "abc", "2", "key:000000000042", "lck:000000000042", "x")
	if got := get.put([]byte("before"), 42); string(got) != "before"+string(want) {
		t.Errorf("%q", got)
	}
	if got := get.put(nil, 0); !strings.Contains(string(got), "key:000000000000") {
		t.Errorf("%q: the template was written to", got)
	}
	j := &Job{TTL: 90e9}
	for _, sizes := range []string{"5", "5-5"} {
		var err error
		if j.Sizes, err = ParseSizes(sizes); err != nil {
			t.Fatal(err)
		}
		got := newSetter(j, 0, true).put(nil, 7)
		if want := AppendCommand(nil, "SET", "key:000000000007", "abcde", "EX", "90"); string(got) != string(want) {
			t.Errorf("%s: %q", sizes, got)
		}
	}
}
