package world

import (
	"encoding/json"
	"os"
)

// Control is what a node's process is told through its control file.
type Control struct {
	ClockOffsetMillis int64    `json:"clock_offset_ms,omitempty"`
	DiskDelayMillis   int64    `json:"disk_delay_ms,omitempty"`
	DiskFull          bool     `json:"disk_full,omitempty"`
	Break             []string `json:"break,omitempty"`
}

// write replaces the file in one step: its reader never sees half of it.
func (c Control) write(path string) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
