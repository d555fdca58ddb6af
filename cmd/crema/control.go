package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"crema/cluster"
)

// control is what the file that CREMA_TEST_CONTROL names may ask for. It is how
// tests make real processes meet bad clocks and bad disks, and switch off one
// by one what the tests are there to prove necessary.
type control struct {
	ClockOffsetMS int64    `json:"clock_offset_ms"`
	DiskDelayMS   int64    `json:"disk_delay_ms"`
	DiskFull      bool     `json:"disk_full"`
	Break         []string `json:"break"`
}

const (
	controlEvery = 20 * time.Millisecond
	maxControl   = 64 << 10 // bytes of the file
)

// watchControl applies the file now, and from then on whenever it changes, for
// as long as the process lives. A file that is not there asks for nothing.
func watchControl(path string, faults *cluster.Faults, stderr io.Writer) error {
	fmt.Fprintf(stderr, "crema: CREMA_TEST_CONTROL lets %s break this server: for tests only\n", path)
	text, err := readControl(path)
	if err == nil {
		err = applyControl(text, faults)
	}
	if err != nil {
		return fmt.Errorf("CREMA_TEST_CONTROL: %w", err)
	}
	go func() {
		for range time.Tick(controlEvery) {
			fresh, err := readControl(path)
			if err != nil || bytes.Equal(fresh, text) {
				continue
			}
			text = fresh
			if err := applyControl(text, faults); err != nil { // half written, perhaps: what was in force stays
				fmt.Fprintf(stderr, "crema: CREMA_TEST_CONTROL: %v\n", err)
			}
		}
	}()
	return nil
}

func readControl(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return []byte("{}"), nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxControl))
}

func applyControl(text []byte, faults *cluster.Faults) error {
	var c control
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return fmt.Errorf("read %q: %w", text, err)
	}
	broken, err := cluster.ParseBreak(c.Break)
	if err != nil {
		return err
	}
	faults.Set(time.Duration(c.ClockOffsetMS)*time.Millisecond, time.Duration(c.DiskDelayMS)*time.Millisecond, c.DiskFull, broken)
	return nil
}
