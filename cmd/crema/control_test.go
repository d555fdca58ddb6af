package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crema/cluster"
)

// The file is obeyed at the start and whenever it changes; what it cannot mean
// is refused.
func TestControlFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.json")
	faults := new(cluster.Faults)
	if err := os.WriteFile(path, []byte(`{"clock_offset_ms":-60000,"disk_full":true,"break":["barrier","verify"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := watchControl(path, faults, io.Discard); err != nil {
		t.Fatal(err)
	}
	if got := faults.ClockOffset(); got != -time.Minute {
		t.Errorf("the clock is ahead by %s", got)
	}
	if err := os.Remove(path); err != nil { // which asks for nothing
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); faults.ClockOffset() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the change was not noticed")
		}
	}
	for text, say := range map[string]string{
		`{"disk_fill":true}`:      "unknown field",
		`{"break":["guarantee"]}`: "guarantee",
		`{`:                       "read",
	} {
		if err := applyControl([]byte(text), faults); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
