package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"testing"
)

// goldenEffects is one of everything, as they come back from their bytes.
var goldenEffects = []Effect{
	{Op: OpSwap, DB: 1, DB2: 2},
	{Op: OpFlush, DB: AllDBs},
	{Op: OpFlush, DB: 3},
	{Op: OpPut, DB: 0, Key: []byte("lock"), Value: []byte("token"), Deadline: 1_700_000_030_000, Pinned: true},
	{Op: OpPut, DB: 15, Key: []byte{}, Value: []byte{}, Pinned: true},
	{Op: OpPut, DB: 0, Key: []byte("n"), Value: []byte("12"), Encoding: Raw, Pinned: true},
	{Op: OpPut, DB: 0, Key: []byte("e"), Value: []byte("12"), Deadline: -1, Encoding: Embstr, Pinned: true},
	{Op: OpExpire, DB: 0, Key: []byte("k"), Deadline: 1, Pinned: true},
	{Op: OpExpire, DB: 0, Key: []byte("k"), Pinned: true},
	{Op: OpDelete, DB: 0, Key: []byte("gone")},
}

// The bytes of now are read for ever: a test here may be added, never changed.
const (
	goldenEntry = "0101" +
		"05100102" + // swap 1 2
		"0400ff" + // flush all
		"040003" + // flush 3
		"010700046c6f636b05746f6b656ee0f4aefef962" + // put lock
		"01030f0000" + // put ""
		"010b00016e02313201" + // put n, raw
		"010f0001650231320102" + // put e, embstr
		"020500016b02" + // expire k at 1
		"020100016b" + // persist k
		"03010004676f6e65" + // delete gone
		"e563196f"
	goldenClock = "0102a0a1abfef962f02e35bc4544"
)

func TestGoldenEntries(t *testing.T) {
	for _, c := range []struct {
		name, want string
		got        []byte
	}{
		{"effects", goldenEntry, AppendEffects(nil, goldenEffects)},
		{"clock", goldenClock, AppendClock(nil, Clock{Now: 1_700_000_000_080, Extend: 6000})},
		{"nothing", "0101a66ca810", AppendEffects(nil, nil)},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s:\n%s, want\n%s", c.name, got, c.want)
		}
	}
	b, _ := hex.DecodeString(goldenEntry)
	got, err := DecodeEffects(b)
	if err != nil || !reflect.DeepEqual(got, goldenEffects) {
		t.Errorf("%+v %v", got, err)
	}
	b, _ = hex.DecodeString(goldenClock)
	if c, err := DecodeClock(b); err != nil || c != (Clock{1_700_000_000_080, 6000}) {
		t.Errorf("%+v %v", c, err)
	}
}

// What is written is what the other nodes have to know.
func TestEntryIsForOthers(t *testing.T) {
	k := []byte("k")
	batch := [][]Effect{
		{{Op: OpPut, Key: k, Value: k, Local: true}, {Op: OpDelete, Key: k, Local: true}},
		{{Op: OpPut, Key: k, Value: k, Deadline: 5}, {Op: OpExpire, Key: k, Deadline: 5}},
		{{Op: OpPut, Key: k, Value: k, Pinned: true}},
	}
	prefix := []byte("before")
	b := AppendBatch(bytes.Clone(prefix), batch)
	got, err := DecodeEffects(b[len(prefix):])
	gone := Effect{Op: OpDelete, Key: k}
	want := []Effect{gone, gone, {Op: OpPut, Key: k, Value: k, Pinned: true}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	if Replicated(batch[0]) || !Replicated(batch[1]) || Replicated(nil) {
		t.Error("which batches go through the log")
	}
}

func TestBadEntries(t *testing.T) {
	body := func(b ...byte) []byte { return seal(append([]byte{1, 1}, b...), 0) }
	whole := AppendEffects(nil, goldenEffects)
	for _, c := range []struct {
		name  string
		entry []byte
		err   error
	}{
		{"empty", nil, ErrTruncated},
		{"short", []byte{1, 1, 0, 0, 0}, ErrTruncated},
		{"cut", whole[:len(whole)-1], ErrDamaged},
		{"flipped", append([]byte{whole[0] ^ 4}, whole[1:]...), ErrDamaged},
		{"version 0", seal([]byte{0, 1}, 0), ErrMalformed},
		{"version 2", seal([]byte{2, 1}, 0), ErrNewer},
		{"no kind", seal([]byte{1, 0}, 0), ErrMalformed},
		{"kind 3", seal([]byte{1, 3}, 0), ErrNewer},
		{"a clock", AppendClock(nil, Clock{}), ErrMalformed},
		{"op 0", body(0, 0, 0), ErrMalformed},
		{"op 6", body(6, 0, 0), ErrNewer},
		{"field 32", body(3, 33, 0, 0), ErrNewer},
		{"field too many", body(3, 3, 0, 0, 0), ErrMalformed},
		{"field missing", body(1, 1, 0, 0), ErrMalformed},
		{"database 16", body(4, 0, 16), ErrMalformed},
		{"delete in all", body(3, 1, 255, 0), ErrMalformed},
		{"swap with itself", body(5, 16, 1, 1), ErrMalformed},
		{"swap with 16", body(5, 16, 1, 16), ErrMalformed},
		{"half an effect", body(4, 0), ErrMalformed},
		{"key too long", body(3, 1, 0, 9, 'k'), ErrMalformed},
		{"key of 2^63", body(3, 1, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 'k'), ErrMalformed},
		{"endless number", body(3, 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1), ErrMalformed},
		{"roundabout number", body(3, 1, 0, 0x81, 0, 'k'), ErrMalformed},
		{"deadline 0", body(2, 5, 0, 0, 0), ErrMalformed},
		{"encoding 0", body(1, 11, 0, 0, 0, 0), ErrMalformed},
		{"encoding 3", body(1, 11, 0, 0, 0, 3), ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := DecodeEffects(c.entry); !errors.Is(err, c.err) {
				t.Errorf("%v, want %v", err, c.err)
			}
		})
	}
	for _, clock := range [][]byte{{}, {0}, {0, 0, 0}, {0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}} {
		if _, err := DecodeClock(seal(append([]byte{1, 2}, clock...), 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("clock % x: %v", clock, err)
		}
	}
	if _, err := DecodeClock(whole); !errors.Is(err, ErrMalformed) {
		t.Errorf("effects as a clock: %v", err)
	}
	if _, err := DecodeClock(AppendClock(nil, Clock{math.MinInt64, math.MaxInt64})); err != nil {
		t.Error(err)
	}
}

// What is read is written back as the same bytes: there is one way to write it.
func FuzzDecodeEffects(f *testing.F) {
	f.Add(AppendEffects(nil, goldenEffects))
	for i := range goldenEffects {
		f.Add(AppendEffects(nil, goldenEffects[i:i+1]))
	}
	f.Add(AppendClock(nil, Clock{1_700_000_000_000, 1}))
	f.Add([]byte{1, 1, 1, 3, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		// A mutation hardly ever has the right checksum: give it one.
		for _, b := range [][]byte{b, seal(bytes.Clone(b), 0)} {
			if effects, err := DecodeEffects(b); err == nil {
				if again := AppendEffects(nil, effects); !bytes.Equal(again, b) {
					t.Errorf("% x becomes % x", b, again)
				}
			} else if effects != nil {
				t.Errorf("effects and %v", err)
			}
			if c, err := DecodeClock(b); err == nil && !bytes.Equal(AppendClock(nil, c), b) {
				t.Errorf("% x becomes % x", b, AppendClock(nil, c))
			}
		}
	})
}

func BenchmarkAppendEffects(b *testing.B) {
	effects := []Effect{{Op: OpPut, Key: []byte("key:000000000001"), Value: make([]byte, 64), Pinned: true}}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendEffects(buf[:0], effects)
	}
}
