//go:build linux

package world

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	clientPort  = 6379
	clusterPort = 7379
	// The namespaces of two programs at once must not share addresses that the
	// clients' routes tell apart.
	firstSubnet, subnets = 64, 128
	prefix               = "cremaproof"
	namespaces           = "/run/netns" // where ip netns keeps them
)

// Config says what kind of world.
type Config struct {
	Binary    string
	Nodes     int
	Dir       string // logs, control files and mounts go here; it exists
	Seed      uint64
	DiskMB    int
	Break     []string // planted bugs, on every node from the start
	Arguments []string // further flags of every node
	// OnExit is told of a node that ended without having been asked.
	OnExit func(n *Node, state string)
}

// World is a few nodes and the network between them.
type World struct {
	Nodes   []*Node
	Network *Switch
	Clients int // the Switch's port of everybody who is not a node

	config  Config
	subnet  string   // first three bytes
	cleanup []func() // in reverse order
}

// New builds the network and the disks. No node runs yet.
func New(config Config) (w *World, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("namespaces need root")
	}
	sweep()
	w = &World{config: config, Clients: config.Nodes}
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	w.subnet = fmt.Sprintf("10.213.%d", firstSubnet+os.Getpid()%subnets)
	var ports []io.ReadWriteCloser
	defer func() {
		if w.Network == nil {
			for _, p := range ports {
				p.Close()
			}
		}
	}()
	for i := range config.Nodes + 1 {
		name := fmt.Sprintf("cp%d-%d", os.Getpid(), i)
		device, err := openTUN(name)
		if err != nil {
			return nil, err
		}
		ports = append(ports, device)
		if err := w.connect(name, i); err != nil {
			return nil, err
		}
	}
	w.Network = newSwitch(ports, config.Seed)
	for i := range config.Nodes {
		if err := w.addNode(i); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *World) address(port int) string { return fmt.Sprintf("%s.%d", w.subnet, port+1) }

func namespace(pid, node int) string { return fmt.Sprintf("%s-%d-n%d", prefix, pid, node+1) }

// connect gives the device its address, in the namespace of its node.
func (w *World) connect(device string, port int) error {
	var in []string // the last port stays where the clients are
	if port < w.config.Nodes {
		ns := namespace(os.Getpid(), port)
		if err := run("ip", "netns", "add", ns); err != nil {
			return err
		}
		w.cleanup = append(w.cleanup, func() { run("ip", "netns", "del", ns) })
		if err := run("ip", "link", "set", device, "netns", ns); err != nil {
			return err
		}
		in = []string{"-n", ns}
		if err := run("ip", append(in, "link", "set", "lo", "up")...); err != nil {
			return err
		}
	}
	if err := run("ip", append(in, "addr", "add", w.address(port)+"/24", "dev", device)...); err != nil {
		return err
	}
	return run("ip", append(in, "link", "set", device, "mtu", strconv.Itoa(mtu), "up")...)
}

func (w *World) addNode(i int) error {
	n := &Node{
		ID:      fmt.Sprintf("n%d", i+1),
		Address: fmt.Sprintf("%s:%d", w.address(i), clientPort),
		Port:    i,
		onExit:  w.config.OnExit,
	}
	n.LogFile = filepath.Join(w.config.Dir, n.ID+".log")
	n.control = filepath.Join(w.config.Dir, n.ID+".control")
	n.mount = filepath.Join(w.config.Dir, n.ID)
	n.Dir = filepath.Join(n.mount, "data")
	n.settings.Break = w.config.Break
	if err := n.settings.write(n.control); err != nil {
		return err
	}
	if err := os.MkdirAll(n.mount, 0o755); err != nil {
		return err
	}
	size := fmt.Sprintf("size=%dm", w.config.DiskMB)
	if err := syscall.Mount(prefix, n.mount, "tmpfs", 0, size); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", n.mount, err)
	}
	w.cleanup = append(w.cleanup, func() { syscall.Unmount(n.mount, syscall.MNT_DETACH) })
	if err := os.Mkdir(n.Dir, 0o755); err != nil {
		return err
	}
	// Not ip netns exec: it drops capabilities, and with that the node's promise
	// to die with this program.
	n.arguments = append([]string{"nsenter", "--net=" + filepath.Join(namespaces, namespace(os.Getpid(), i)), w.config.Binary}, w.flags(n)...)
	w.Nodes = append(w.Nodes, n)
	return nil
}

// flags of a node; all nodes get the same --peers.
func (w *World) flags(n *Node) []string {
	var peers []string
	for i := range w.config.Nodes {
		a := w.address(i)
		peers = append(peers, fmt.Sprintf("n%d=%s:%d@%s:%d", i+1, a, clusterPort, a, clientPort))
	}
	return append([]string{
		"--bind", "0.0.0.0", "--port", strconv.Itoa(clientPort), "--protected-mode", "no",
		"--data-dir", n.Dir, "--node-id", n.ID, "--cluster-port", strconv.Itoa(clusterPort),
		"--peers", strings.Join(peers, ","), "--cluster-secret", "the proof's own",
	}, w.config.Arguments...)
}

// Addresses are where the clients connect, in the order of the nodes.
func (w *World) Addresses() []string {
	var all []string
	for _, n := range w.Nodes {
		all = append(all, n.Address)
	}
	return all
}

// Close ends every process and removes everything New made, except the files in
// the Dir that are no mounts.
func (w *World) Close() {
	for _, n := range w.Nodes {
		n.Kill()
	}
	if w.Network != nil {
		w.Network.close()
	}
	for i := len(w.cleanup) - 1; i >= 0; i-- {
		w.cleanup[i]()
	}
	w.cleanup = nil
}

// sweep removes the namespaces of programs that were killed before they could.
func sweep() {
	entries, _ := os.ReadDir(namespaces) // absent when nobody ever made one
	for _, e := range entries {
		var pid, node int
		if _, err := fmt.Sscanf(e.Name(), prefix+"-%d-n%d", &pid, &node); err != nil {
			continue
		}
		if syscall.Kill(pid, 0) == syscall.ESRCH {
			run("ip", "netns", "del", e.Name())
		}
	}
	mounts, _ := os.ReadFile("/proc/mounts")
	for _, line := range strings.Split(string(mounts), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[0] != prefix || fields[2] != "tmpfs" {
			continue
		}
		var pid int
		for _, part := range strings.Split(fields[1], "/") {
			if _, err := fmt.Sscanf(part, prefix+"-%d", &pid); err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
				syscall.Unmount(fields[1], syscall.MNT_DETACH)
			}
		}
	}
}

// DirName is what the directory of a world must be called, so that the mounts in
// it can be found again when the program is killed.
func DirName() string { return fmt.Sprintf("%s-%d", prefix, os.Getpid()) }

func run(name string, arguments ...string) error {
	out, err := exec.Command(name, arguments...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(arguments, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
