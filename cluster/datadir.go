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
	"sync"
	"syscall"

	"crema/cluster/wal"
	"crema/store"
)

// dataDir is one node's directory, locked.
type dataDir struct {
	path string
	lock *os.File

	mu   sync.Mutex // guards cluster and phase of meta, once the node runs
	meta meta
}

// meta is what a directory says about itself.
type meta struct {
	node    string
	cluster string // hex, the same on all nodes; "" of a node that has always been alone
	phase   phase
	formed  bool // phase.formed()
}

// phase is how far a node has come in being a member of a cluster.
type phase string

const (
	phaseNew        phase = "new"        // nothing is here
	phaseFounding   phase = "founding"   // all of --peers are to begin cluster together; no log yet
	phaseJoining    phase = "joining"    // to be added to cluster, which exists; a log that is here counts for nothing
	phaseJoined     phase = "joined"     // added, and to be promoted; the configuration came from the leader
	phaseFormed     phase = "formed"     // what the log says
	phaseRecovering phase = "recovering" // peers.json is being put in the place of what the log says
)

// formed is false until the first start is complete. Nothing was acknowledged
// before, so whatever there is may be thrown away.
func (s phase) formed() bool {
	return s == phaseJoined || s == phaseFormed || s == phaseRecovering
}

func (s phase) known() bool {
	return s.formed() || s == phaseNew || s == phaseFounding || s == phaseJoining
}

const (
	lockFile    = "lock"
	metaFile    = "meta"
	logFile     = "log"
	termFile    = "term"
	tailFile    = "log.tail"
	snapshotDir = "snapshots"
	probeFile   = "room.tmp"

	olderLogFile = "log.bolt" // of layouts 1 and 2

	metaVersion = 3
	maxMeta     = 4 << 10
	probeBytes  = 4 * maxEntryBytes

	maxClusterID = 64
	noCluster    = "none" // in meta
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
	if err := d.settle(); err != nil {
		return nil, fmt.Errorf("sync data directory: %w", err)
	}
	switch b, err := readMeta(d.file(metaFile)); {
	case errors.Is(err, fs.ErrNotExist):
		if err := d.mustBeEmpty(); err != nil {
			return nil, err
		}
		d.meta = meta{node: node, phase: phaseNew}
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
		for _, name := range [...]string{logFile, termFile, tailFile, snapshotDir} {
			if err := os.RemoveAll(d.file(name)); err != nil {
				return nil, fmt.Errorf("clear what an interrupted first start left: %w", err)
			}
		}
	}
	return d, nil
}

// settle puts names on disk: the directory's own, and those within that a process
// gave which was killed before it could. Else a vote that is found now could be
// forgotten after a loss of power, and another one given.
func (d *dataDir) settle() error {
	if err := wal.SyncDir(filepath.Dir(d.path)); err != nil &&
		!errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) { // whoever made it has seen to it then
		return err
	}
	return wal.SyncDir(d.path)
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
		case logFile, olderLogFile, termFile, tailFile, snapshotDir:
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
func (d *dataDir) form() error { return d.become(phaseFormed, d.cluster()) }

// become is on disk when it returns, and is said of this node only then.
func (d *dataDir) become(to phase, cluster string) error {
	m := meta{node: d.meta.node, cluster: cluster, phase: to, formed: to.formed()}
	if err := writeFileSynced(d.file(metaFile), m.text()); err != nil {
		return fmt.Errorf("write %s: %w", d.file(metaFile), err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.meta.cluster, d.meta.phase, d.meta.formed = m.cluster, m.phase, m.formed
	return nil
}

func (d *dataDir) cluster() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.meta.cluster
}

func (d *dataDir) phase() phase {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.meta.phase
}

func (d *dataDir) writeMeta() error { return d.become(d.meta.phase, d.meta.cluster) }

func (m meta) text() []byte {
	cluster := m.cluster
	if cluster == "" {
		cluster = noCluster
	}
	text := fmt.Sprintf("crema data %d\nnode %s\ncluster %s\nstate %s\n", metaVersion, m.node, cluster, m.phase)
	return []byte(text + sumLine(text))
}

// sumLine is the last line of meta in every version: the checksum of those before.
func sumLine(text string) string {
	return fmt.Sprintf("sum %08x\n", crc32.Checksum([]byte(text), castagnoli))
}

func readMeta(path string) ([]byte, error) { return readSmall(path, maxMeta) }

// checkSum returns what stands before a sumLine that is right.
func checkSum(b []byte) (string, error) {
	text := string(b[:1+bytes.LastIndex(b, []byte("\nsum "))])
	if text == "" || text+sumLine(text) != string(b) {
		return "", errors.New("the checksum is wrong")
	}
	return text, nil
}

func parseMeta(b []byte) (m meta, err error) {
	text, err := checkSum(b)
	if err != nil {
		return m, err
	}
	lines := strings.Split(text, "\n")
	var version int
	if _, err := fmt.Sscanf(lines[0], "crema data %d", &version); err == nil && version > metaVersion {
		return m, fmt.Errorf("layout %d: %w", version, store.ErrNewer)
	}
	if version >= 1 && version < metaVersion {
		return m, fmt.Errorf("layout %d: %w", version, errOlder)
	}
	if len(lines) != 5 {
		return m, errors.New("it has not got its lines")
	}
	m.node = strings.TrimPrefix(lines[1], "node ")
	m.cluster = strings.TrimPrefix(lines[2], "cluster ")
	m.phase = phase(strings.TrimPrefix(lines[3], "state "))
	m.formed = m.phase.formed()
	if version < 1 || m.node == "" || !m.phase.known() || len(m.cluster) > maxClusterID {
		return m, errors.New("its lines are not those of a data directory")
	}
	if m.cluster == noCluster {
		m.cluster = ""
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
		err = wal.SyncDir(filepath.Dir(path))
	}
	return err
}
