package cluster

import (
	"fmt"
	"os"
)

// Scratch is an empty file on the data directory's disk. It has no name, so it is
// gone when it is closed, and after a crash.
func (n *Node) Scratch() (*os.File, error) {
	f, err := os.CreateTemp(n.dir.path, "scratch-*.tmp")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("take the name from %s: %w", f.Name(), err)
	}
	return f, nil
}
