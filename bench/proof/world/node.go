//go:build linux

package world

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"crema/bench/proof/check"
)

// stopTimeout bounds how long a SIGTERM may take: ten seconds are promised.
const stopTimeout = 12 * time.Second

// Node is one process and what is its own.
type Node struct {
	ID      string
	Address string // clients connect here, from the program's own namespace
	Port    int    // of the Switch
	Dir     string // data directory, on its own tmpfs
	LogFile string

	arguments []string // the whole command, with what enters the namespace
	control   string
	mount     string
	onExit    func(n *Node, state string)

	mu       sync.Mutex
	process  *os.Process   // nil when it does not run
	exited   chan struct{} // closed when the process of the last Start is gone
	expected bool          // its end was asked for
	state    string        // how it ended
	settings Control
}

// Start starts the process; it does not wait until the node serves.
func (n *Node) Start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process != nil {
		return fmt.Errorf("start %s: it runs", n.ID)
	}
	log, err := os.OpenFile(n.LogFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	fmt.Fprintf(log, "--- start %s\n", time.Now().Format(time.RFC3339Nano))
	cmd := exec.Command(n.arguments[0], n.arguments[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "CREMA_TEST_CONTROL="+n.control)
	// A program that is killed takes its nodes with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", n.ID, err)
	}
	n.process, n.expected, n.exited = cmd.Process, false, make(chan struct{})
	go n.wait(cmd, n.exited)
	return nil
}

func (n *Node) wait(cmd *exec.Cmd, exited chan struct{}) {
	cmd.Wait()
	n.mu.Lock()
	n.process, n.state = nil, cmd.ProcessState.String()
	expected, state := n.expected, n.state
	n.mu.Unlock()
	close(exited)
	if !expected {
		n.onExit(n, state)
	}
}

// Running says whether the process is there, stopped or not.
func (n *Node) Running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process != nil
}

// end asks the process to end by sig and says when it has.
func (n *Node) end(sig syscall.Signal) <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process != nil {
		n.expected = true
		n.process.Signal(sig)
	}
	if n.exited == nil {
		gone := make(chan struct{})
		close(gone)
		return gone
	}
	return n.exited
}

// Kill ends the process at once, wherever it is.
func (n *Node) Kill() { <-n.end(syscall.SIGKILL) }

// Terminate asks the process to drain and end, and returns how long that took.
func (n *Node) Terminate() (time.Duration, error) {
	started := time.Now()
	patience, cancel := check.Patience(context.Background(), stopTimeout)
	defer cancel()
	select {
	case <-n.end(syscall.SIGTERM):
	case <-patience.Done():
		n.Kill()
		return time.Since(started), fmt.Errorf("%s ignored SIGTERM for %s", n.ID, stopTimeout)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state != "exit status 0" {
		return time.Since(started), fmt.Errorf("%s after SIGTERM: %s", n.ID, n.state)
	}
	return time.Since(started), nil
}

// Pause stops the process in the middle of whatever it does.
func (n *Node) Pause() { n.signal(syscall.SIGSTOP) }

// Resume lets it go on.
func (n *Node) Resume() { n.signal(syscall.SIGCONT) }

func (n *Node) signal(sig syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process != nil {
		n.process.Signal(sig)
	}
}

// Control changes what the process is told; it sees it within milliseconds.
func (n *Node) Control(change func(*Control)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(&n.settings)
	return n.settings.write(n.control)
}

const syncedSuffix = ".synced"

// LosePower ends the process and takes from its disk what was never synced: a
// node under a control file keeps, beside each file that it syncs, a copy of
// how that file was at the last sync.
func (n *Node) LosePower() error {
	n.Kill()
	return filepath.WalkDir(n.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != syncedSuffix {
			return err
		}
		file := path[:len(path)-len(syncedSuffix)]
		if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) { // it never had its name
			return os.Remove(path)
		}
		return os.Rename(path, file)
	})
}

// FillDisk leaves no room in the data directory's file system until EmptyDisk.
func (n *Node) FillDisk() error {
	f, err := os.Create(n.ballast())
	if err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			return nil
		}
		return err
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for size := len(block); size >= 4096; {
		if _, err := f.Write(block[:size]); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			return err
		}
	}
	return nil
}

// EmptyDisk gives the room back.
func (n *Node) EmptyDisk() error {
	err := os.Remove(n.ballast())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (n *Node) ballast() string { return filepath.Join(n.mount, "ballast") }

// LoseDisk ends the process and empties its data directory.
func (n *Node) LoseDisk() error {
	n.Kill()
	if err := os.RemoveAll(n.Dir); err != nil {
		return err
	}
	return os.Mkdir(n.Dir, 0o755)
}
