package server

import "testing"

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "1b": 1, "1B": 1, "1k": 1000, "1kb": 1024, "2KB": 2048, "1m": 1e6, "512mb": 512 << 20,
		"1G": 1e9, "3gB": 3 << 30, "9223372036854775807": 1<<63 - 1,
	} {
		if got, err := ParseBytes(text); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "mb", "-1", "+1", "1.5gb", "1t", "50%", "1 mb", "9223372036854775808", "9007199254740992kb", "1kib"} {
		if got, err := ParseBytes(text); err == nil {
			t.Errorf("ParseBytes(%q) = %d, want an error", text, got)
		}
	}
}

func TestHumanBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 1023: "1023B", 1024: "1.00K", 1261816: "1.20M", 25276063744: "23.54G"} {
		if got := humanBytes(n); got != want {
			t.Errorf("humanBytes(%d) = %s, want %s", n, got, want)
		}
	}
}
