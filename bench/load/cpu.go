package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const clockTick = 10 * time.Millisecond // of /proc's times, on Linux everywhere

// cpuTime is what processes have used so far, user and system.
func cpuTime(pids []int) time.Duration {
	sum := time.Duration(0)
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(b), ") ") // the name may hold blanks
		fields := strings.Fields(after)
		for _, f := range fields[11:13] {
			n, _ := strconv.Atoi(f)
			sum += time.Duration(n) * clockTick
		}
	}
	return sum
}

// pidsOf finds who listens on ports of this machine.
func pidsOf(nodes []string) (pids []int) {
	inodes := map[string]bool{}
	for _, table := range [...]string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, _ := os.ReadFile(table)
		for _, line := range strings.Split(string(b), "\n") {
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != "0A" { // listening
				continue
			}
			_, port, _ := strings.Cut(f[1], ":")
			n, _ := strconv.ParseUint(port, 16, 16)
			for _, node := range nodes {
				if _, p, _ := net.SplitHostPort(node); p == strconv.FormatUint(n, 10) {
					inodes["socket:["+f[9]+"]"] = true
				}
			}
		}
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
