package wal

import (
	"os"
	"syscall"
)

// datasync is fsync without what no reader needs, such as the time of the change.
func datasync(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
