package resp

import (
	"strings"
	"testing"
)

// endless sends the same bytes for ever.
type endless struct {
	sent []byte
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m := copy(p[n:], e.sent[e.at:])
		n += m
		e.at = (e.at + m) % len(e.sent)
	}
	return n, nil
}

func next(r *Reader) [][]byte {
	for {
		if words, ok, _ := r.Next(); ok {
			return words
		}
		if r.Fill() != nil {
			return nil
		}
	}
}

func TestReaderAllocations(t *testing.T) {
	pair := append(command("SET", "key:000000000001", strings.Repeat("v", 64)), command("GET", "key:000000000001")...)
	r := trusted(&endless{sent: append(pair, "GET key\r\n"...)})
	out := make([]byte, 0, 1<<10)
	reply := Array(Bulk([]byte("value")), Int(1), Nil, Double(1.5), Map(Bulk([]byte("k")), One), OK)
	for range 10_000 {
		next(r)
	}
	if n := testing.AllocsPerRun(10_000, func() {
		next(r)
		out = Append(out[:0], reply, 3)
		out = Append(out, reply, 2)
	}); n != 0 {
		t.Errorf("%v allocations per command", n)
	}
}

func benchmarkReader(b *testing.B, words ...string) {
	sent := command(words...)
	r := trusted(&endless{sent: sent})
	b.SetBytes(int64(len(sent)))
	b.ReportAllocs()
	for b.Loop() {
		next(r)
	}
}

func BenchmarkReaderGet(b *testing.B) { benchmarkReader(b, "GET", "key:000000000001") }

func BenchmarkReaderSet(b *testing.B) {
	benchmarkReader(b, "SET", "key:000000000001", strings.Repeat("v", 64))
}

func BenchmarkReaderSet1K(b *testing.B) {
	benchmarkReader(b, "SET", "key:000000000001", strings.Repeat("v", 1<<10))
}

func BenchmarkReaderSet1M(b *testing.B) {
	benchmarkReader(b, "SET", "key:000000000001", strings.Repeat("v", 1<<20))
}

func BenchmarkAppendBulk(b *testing.B) {
	reply := Bulk([]byte(strings.Repeat("v", 64)))
	out := make([]byte, 0, 128)
	b.ReportAllocs()
	for b.Loop() {
		out = Append(out[:0], reply, 2)
	}
}

func BenchmarkMatchExploding(b *testing.B) {
	pattern, text := []byte(strings.Repeat("a*", 30)+"b"), []byte(strings.Repeat("a", 10_000))
	for b.Loop() {
		if Match(pattern, text, false) {
			b.Fatal("no b there")
		}
	}
}
