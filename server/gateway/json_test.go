package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCommandReader(t *testing.T) {
	for in, want := range map[string]string{
		`[["get","k"]]`:                          `[["get" "k"]]`,
		` [ [ "a" , 1 ] , [ "b" ] ] ` + "\r\n\t": `[["a" "1"] ["b"]]`,
		`[]`:                                     `[]`,
		`[["a",-0,0.5,1e5,1E+5,1.25e-7]]`:        `[["a" "-0" "0.5" "1e5" "1E+5" "1.25e-7"]]`,
		`[["a",true,false]]`:                     `[["a" "true" "false"]]`,
		`[["",""]]`:                              `[["" ""]]`,
		`[["\"\\\/\b\f\n\r\t"]]`:                 `[["\"\\/\b\f\n\r\t"]]`,
		`[["\u00e4\u20AC\ud83d\ude00x"]]`:        `[["ä€😀x"]]`,
		`[["\ud800\u0041","\udc00","\ud800"]]`:   `[["` + "\ufffd" + `A" "` + "\ufffd" + `" "` + "\ufffd" + `"]]`,
		`[["\u0000"]]`:                           `[["\x00"]]`,
		"[[\"\xff\xfe\"]]":                       `[["\xff\xfe"]]`,

		``:                      errJSON.Error(),
		`[`:                     errJSON.Error(),
		`[[`:                    errJSON.Error(),
		`[["a"`:                 errJSON.Error(),
		`[["a"]`:                errJSON.Error(),
		`[["a",]]`:              errJSON.Error(),
		`[["a"],]`:              errJSON.Error(),
		`[,["a"]]`:              errJSON.Error(),
		`[["a" "b"]]`:           errJSON.Error(),
		`[["a]]`:                errJSON.Error(),
		`[["a\"]]`:              errJSON.Error(),
		`[["a\x"]]`:             errJSON.Error(),
		`[["a\u12"]]`:           errJSON.Error(),
		`[["a\u12g4"]]`:         errJSON.Error(),
		"[[\"a\nb\"]]":          errJSON.Error(),
		"[[\"a\\n\x01\"]]":      errJSON.Error(),
		`[["a",01]]`:            errJSON.Error(),
		`[["a",1.]]`:            errJSON.Error(),
		`[["a",.5]]`:            errJSON.Error(),
		`[["a",-]]`:             errJSON.Error(),
		`[["a",1e]]`:            errJSON.Error(),
		`[["a",+1]]`:            errJSON.Error(),
		`[["a",tru]]`:           errJSON.Error(),
		`[["a",nul]]`:           errJSON.Error(),
		`{"a":1}`:               errJSON.Error(),
		`["a"]`:                 errJSON.Error(),
		`[["a",null]]`:          errShape.Error(),
		`[["a",{}]]`:            errShape.Error(),
		`[["a",[1]]]`:           errShape.Error(),
		`[[]]`:                  errNoWords.Error(),
		`[["a"],[]]`:            errNoWords.Error(),
		`[["a"]]x`:              errTrailing.Error(),
		`[["a"]][["b"]]`:        errTrailing.Error(),
		strings.Repeat("[", 99): errShape.Error(),
	} {
		var p commandReader
		got, err := p.many([]byte(in), nil)
		text := fmt.Sprintf("%q", got)
		if err != nil {
			text = err.Error()
		}
		if text != want {
			t.Errorf("%q\ngot  %s\nwant %s", in, text, want)
		}
	}
}

// FuzzCommands compares with encoding/json, on whatever it takes for JSON.
func FuzzCommands(f *testing.F) {
	for _, s := range []string{`[["get","k"],["set","k",1.5e3,true]]`, `[["\u00e4\ud83d\ude00\ud800"]]`, `[[]]`, `[["a",null]]`, "[[\"\xff\"]]", `[["a"]] x`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var want [][]any
		d := json.NewDecoder(bytes.NewReader(in))
		d.UseNumber()
		err := d.Decode(&want)
		valid := err == nil && json.Valid(in) && want != nil
		for _, c := range want {
			valid = valid && len(c) > 0
			for _, w := range c {
				switch w.(type) {
				case string, bool, json.Number:
				default:
					valid = false
				}
			}
		}
		var p commandReader
		got, err := p.many(bytes.Clone(in), nil)
		if (err == nil) != valid {
			t.Fatalf("%q: %v, but valid is %v", in, err, valid)
		}
		if !valid || !utf8.Valid(in) {
			return
		}
		for i, c := range want {
			for j, w := range c {
				if text := fmt.Sprint(w); text != string(got[i][j]) {
					t.Fatalf("%q: %q, want %q", in, got[i][j], text)
				}
			}
		}
	})
}

// FuzzStrings compares what strings look like.
func FuzzStrings(f *testing.F) {
	f.Add([]byte("ä\xff\x00\"\\\n\u2028<>&\xed\xa0\x80"))
	f.Fuzz(func(t *testing.T, s []byte) {
		b := AppendJSONString([]byte("["), s)
		var got string
		if err := json.Unmarshal(b[1:], &got); err != nil {
			t.Fatalf("%q became %q: %v", s, b, err)
		}
		quoted, _ := json.Marshal(string(s))
		var want string
		if json.Unmarshal(quoted, &want); got != want {
			t.Fatalf("%q became %q, want %q", s, got, want)
		}
	})
}

func TestAnswers(t *testing.T) {
	long := strings.Repeat("aä☃😀", textChunk/3)
	for _, c := range []struct{ in, plain, encoded string }{
		{"+OK\r\n", `"OK"`, `"OK"`},
		{"$2\r\nOK\r\n", `"OK"`, `"OK"`},
		{"+PONG\r\n", `"PONG"`, `"UE9ORw=="`},
		{":-5\r\n", `-5`, `-5`},
		{"$-1\r\n", `null`, `null`},
		{"*-1\r\n", `null`, `null`},
		{"$0\r\n\r\n", `""`, `""`},
		{"*0\r\n", `[]`, `[]`},
		{"*3\r\n+OK\r\n*2\r\n$1\r\n\xff\r\n:1\r\n-ERR x\r\n", `["OK",["` + "\ufffd" + `",1],"ERR x"]`, `["T0s=",["/w==",1],"ERR x"]`},
		{fmt.Sprintf("$%d\r\n%s\r\n", len(long), long), `"` + long + `"`, `"` + base64.StdEncoding.EncodeToString([]byte(long)) + `"`},
	} {
		for i, want := range []string{c.plain, c.encoded} {
			w := httptest.NewRecorder()
			a := answerWriter{w: w, base64: i == 1}
			if rest := a.value([]byte(c.in+"rest"), true); string(rest) != "rest" {
				t.Errorf("%.40q: %q is left", c.in, rest)
			}
			if a.flush(); w.Body.String() != want {
				t.Errorf("%.40q: %.80s, want %.80s", c.in, w.Body, want)
			}
		}
	}
}

// A pipeline of one costs the reader nothing once its memory is there.
func BenchmarkCommandReader(b *testing.B) {
	in := []byte(`[["get","key:000000001"]]`)
	var p commandReader
	var commands [][][]byte
	b.ReportAllocs()
	for b.Loop() {
		commands, _ = p.many(in, commands)
	}
}
