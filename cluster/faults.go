package cluster

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Faults is what tests make a node suffer, and which of its safeguards they
// leave out to see that something notices. Nil is a node in good health.
type Faults struct {
	// PowerLoss keeps beside each file of the log what a loss of power would leave
	// of it, under its name and syncedSuffix. It counts at the start.
	PowerLoss bool

	clockOffset, diskDelay atomic.Int64 // ns
	diskFull               atomic.Bool
	left                   atomic.Uint32 // a set of Break
}

// Break is a set of safeguards that are left out.
type Break uint32

const (
	BreakQuorum  Break = 1 << iota // answer before a majority has the entry
	BreakFsync                     // do not sync the log, but now and then; it counts at the start
	BreakBarrier                   // lead without having applied what was committed before
	BreakVerify                    // believe to lead, without asking
	BreakCache                     // keep the cached side at a change of leader
	BreakExpiry                    // delete what has expired by one's own clock, without leading
)

var breakNames = []string{"quorum", "fsync", "barrier", "verify", "cache", "expiry"}

// ParseBreak reads the names of safeguards.
func ParseBreak(names []string) (set Break, err error) {
	for _, name := range names {
		i := slices.Index(breakNames, name)
		if i < 0 {
			return 0, fmt.Errorf("there is no safeguard %q; there are %s", name, strings.Join(breakNames, ", "))
		}
		set |= 1 << i
	}
	return set, nil
}

// Set says what is suffered from now on: by how much the wall clock is ahead, how
// much longer each sync of the log takes, and whether the disk is full.
func (f *Faults) Set(clockOffset, diskDelay time.Duration, diskFull bool, broken Break) {
	f.clockOffset.Store(int64(clockOffset))
	f.diskDelay.Store(int64(diskDelay))
	f.diskFull.Store(diskFull)
	f.left.Store(uint32(broken))
}

// ClockOffset is for NewClock.
func (f *Faults) ClockOffset() time.Duration { return time.Duration(f.clockOffset.Load()) }

func (f *Faults) broken(b Break) bool { return f != nil && Break(f.left.Load())&b != 0 }

// write is suffered before each write to the log.
func (f *Faults) write(path string) error {
	if f != nil && f.diskFull.Load() {
		return &fs.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}
	}
	return nil
}
