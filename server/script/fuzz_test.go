package script

import (
	"context"
	"errors"
	"testing"
	"time"
)

// fuzzDecoder feeds a decoder; whatever comes, the script ends in time and in
// its memory, with an answer or an error of Lua.
func fuzzDecoder(f *testing.F, source string) {
	e := New(Limits{MaxMemoryBytes: 16 << 20})
	s, err := e.Load([]byte(source))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, err := e.Run(ctx, s, nil, [][]byte{a, b}, &fakeHost{}); err != nil && !errors.Is(err, ErrMemory) {
			t.Fatal(err)
		}
	})
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,null,true,"\u00e9\ud83d\ude00"]}`, `[[[]]]`, `"\`, `-`, `nan`, `0x1p`, `[1,2`, "\x00"} {
		f.Add([]byte(s), []byte(nil))
	}
	fuzzDecoder(f, `local v=cjson.decode(ARGV[1]) return cjson.decode(cjson.encode(v))`)
}

func FuzzMessagePack(f *testing.F) {
	for _, s := range []string{"\x93\x01\xa1x\xc3", "\xdd\xff\xff\xff\xff", "\x81\xa1a\x91\xca\x3f\xc0\x00\x00", "\xc1", "\x81\xce\x03\xff\xff\xf0\x01"} {
		f.Add([]byte(s), []byte(nil))
	}
	fuzzDecoder(f, `return cmsgpack.pack(cmsgpack.unpack(ARGV[1]))`)
}

func FuzzStruct(f *testing.F) {
	for _, s := range [][2]string{{">I2i4", "\x00\x01\x00\x00\x00\x02"}, {"!8bdc0s", "\x01\x02\x03"}, {"Bc0", "\x03abc"}, {"i33", ""}, {"c99999999999", ""}} {
		f.Add([]byte(s[0]), []byte(s[1]))
	}
	fuzzDecoder(f, `struct.size(ARGV[1]) return {struct.unpack(ARGV[1],ARGV[2])}`)
}

func FuzzPattern(f *testing.F) {
	for _, s := range [][2]string{{"(a*(.)%w(%s*))", "aab c"}, {"%b()", "(())"}, {"%f[%a]", "x y"}, {"[^]a-z%-]", "]"}, {"%", ""}, {"(()", ""}} {
		f.Add([]byte(s[0]), []byte(s[1]))
	}
	fuzzDecoder(f, `pcall(string.gsub,ARGV[2],ARGV[1],'%1') return {string.find(ARGV[2],ARGV[1])}`)
}

func FuzzScript(f *testing.F) {
	for seed := range uint64(5) {
		f.Add([]byte(program(seed)))
	}
	f.Add([]byte(lockScript))
	e := New(Limits{MaxMemoryBytes: 16 << 20, MaxScriptBytes: 64 << 10})
	f.Fuzz(func(t *testing.T, source []byte) {
		s, err := e.Prepare(source)
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		e.Run(ctx, s, nil, nil, &fakeHost{})
	})
}
