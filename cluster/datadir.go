package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"crema/store"
)

// dataDir is one node's directory, locked.
type dataDir struct {
	path string
	lock *os.File
	meta meta
}

// meta is what a directory says about itself.
type meta struct {
	node string
	// formed is false until the first start is complete. Nothing was
	// acknowledged before, so whatever there is may be thrown away.
	formed bool
}

const (
	lockFile    = "lock"
	metaFile    = "meta"
	logFile     = "log.bolt"
	tailFile    = "log.tail"
	snapshotDir = "snapshots"
	probeFile   = "room.tmp"

	metaVersion = 1
	maxMeta     = 4 << 10
	probeBytes  = 4 * maxEntryBytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (d *dataDir) file(name string) string { return filepath.Join(d.path, name) }

// openDir makes or opens a directory and takes its lock. A new one, and one
// whose first start was not completed, comes back empty and not formed.
func openDir(path, node string) (_ *dataDir, err error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	d := &dataDir{path: path}
	if err := d.takeLock(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	switch b, err := readMeta(d.file(metaFile)); {
	case errors.Is(err, fs.ErrNotExist):
		if err := d.mustBeEmpty(); err != nil {
			return nil, err
		}
		d.meta = meta{node: node}
		if node == "" {
			d.meta.node = defaultNodeID
		}
		return d, d.writeMeta()
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", d.file(metaFile), err)
	default:
		if d.meta, err = parseMeta(b); err != nil {
			return nil, damaged(d.file(metaFile), err)
		}
	}
	if node != "" && node != d.meta.node {
		return nil, fmt.Errorf("data directory %s belongs to node %s, not to %s: start with --node-id %s, or with an empty --data-dir",
			path, d.meta.node, node, d.meta.node)
	}
	if !d.meta.formed {
		for _, name := range [...]string{logFile, tailFile, snapshotDir} {
			if err := os.RemoveAll(d.file(name)); err != nil {
				return nil, fmt.Errorf("clear what an interrupted first start left: %w", err)
			}
		}
	}
	return d, nil
}

func (d *dataDir) takeLock() error {
	f, err := os.OpenFile(d.file(lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open lock of the data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("%w: %s: end the other one, or give each its own --data-dir", ErrInUse, d.path)
		}
		return fmt.Errorf("lock %s: %w", d.file(lockFile), err)
	}
	d.lock = f
	return nil
}

// mustBeEmpty refuses to begin anew beside what somebody may still want.
func (d *dataDir) mustBeEmpty() error {
	files, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("read data directory: %w", err)
	}
	for _, f := range files {
		switch f.Name() {
		case logFile, tailFile, snapshotDir:
			return damaged(d.file(metaFile), fmt.Errorf("%w, and %s is there", errMissing, f.Name()))
		}
	}
	return nil
}

func (d *dataDir) close() { d.lock.Close() } // which unlocks it

// probe takes as much room as some entries need, for a moment.
func (d *dataDir) probe() error {
	path := d.file(probeFile)
	defer os.Remove(path)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, probeBytes)); err != nil {
		return err
	}
	return f.Sync()
}

// form notes that the first start is complete.
func (d *dataDir) form() error {
	d.meta.formed = true
	return d.writeMeta()
}

func (d *dataDir) writeMeta() error {
	if err := writeFileSynced(d.file(metaFile), d.meta.text()); err != nil {
		return fmt.Errorf("write %s: %w", d.file(metaFile), err)
	}
	return nil
}

func (m meta) text() []byte {
	state := "new"
	if m.formed {
		state = "formed"
	}
	text := fmt.Sprintf("crema data %d\nnode %s\nstate %s\n", metaVersion, m.node, state)
	return []byte(text + sumLine(text))
}

// sumLine is the last line of meta in every version: the checksum of those before.
func sumLine(text string) string {
	return fmt.Sprintf("sum %08x\n", crc32.Checksum([]byte(text), castagnoli))
}

func readMeta(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxMeta {
		return nil, fmt.Errorf("%d bytes are too many", info.Size())
	}
	return os.ReadFile(path)
}

func parseMeta(b []byte) (m meta, err error) {
	text := string(b[:1+bytes.LastIndex(b, []byte("\nsum "))])
	if text+sumLine(text) != string(b) {
		return m, errors.New("the checksum is wrong")
	}
	lines := strings.Split(text, "\n")
	if len(lines) != 4 {
		return m, errors.New("it has not got its four lines")
	}
	var version int
	if _, err := fmt.Sscanf(lines[0], "crema data %d", &version); err == nil && version > metaVersion {
		return m, fmt.Errorf("layout %d: %w", version, store.ErrNewer)
	}
	m.node = strings.TrimPrefix(lines[1], "node ")
	m.formed = lines[2] == "state formed"
	if string(m.text()) != string(b) {
		return m, errors.New("the checksum is wrong")
	}
	return m, nil
}

// writeFileSynced replaces a file: after a crash there is the old or the new one.
func writeFileSynced(path string, b []byte) error {
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	return err
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
