package load

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// cpuTime is what processes have used so far, user and system, to the nanosecond:
// each has a clock of its own, that anybody may read.
func cpuTime(pids []int) time.Duration {
	sum := time.Duration(0)
	for _, pid := range pids {
		const whole = 2 // CPUCLOCK_SCHED, of the process and not of one thread
		var ts syscall.Timespec
		clock := uintptr(uint32(^pid<<3 | whole))
		if _, _, e := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&ts)), 0); e == 0 {
			sum += time.Duration(ts.Nano())
		}
	}
	return sum
}

// Resident is the memory that processes have now, and the most they ever had, bytes.
func Resident(pids []int) (now, peak int64) {
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		for _, line := range strings.Split(string(b), "\n") {
			var kb int64
			if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
				now += kb << 10
			}
			if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
				peak += kb << 10
			}
		}
	}
	return now, peak
}

// Listeners finds who listens on ports of this machine. It finds nobody whose
// process is somebody else's.
func Listeners(nodes []Target) (pids []int) {
	inodes := map[string]bool{}
	for _, node := range nodes {
		host, port, err := net.SplitHostPort(node.Address)
		if err != nil || !here(host) {
			continue
		}
		for _, table := range [...]string{"/proc/net/tcp", "/proc/net/tcp6"} {
			b, _ := os.ReadFile(table)
			for _, line := range strings.Split(string(b), "\n") {
				f := strings.Fields(line)
				if len(f) < 10 || f[3] != "0A" { // listening
					continue
				}
				_, hex, _ := strings.Cut(f[1], ":")
				if n, _ := strconv.ParseUint(hex, 16, 16); strconv.FormatUint(n, 10) == port {
					inodes["socket:["+f[9]+"]"] = true
				}
			}
		}
	}
	if len(inodes) == 0 {
		return nil
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	seen := map[int]bool{}
	for _, fd := range fds {
		to, err := os.Readlink(fd)
		if err != nil || !inodes[to] {
			continue
		}
		pid, _ := strconv.Atoi(strings.Split(fd, "/")[2])
		if !seen[pid] {
			seen[pid] = true
			pids = append(pids, pid)
		}
	}
	return pids
}

// here says whether that is this machine.
func here(host string) bool {
	ips, err := net.LookupIP(host)
	return err == nil && len(ips) > 0 && ips[0].IsLoopback()
}
