// Package world is what the nodes of a proof live in: a network that can be
// broken link by link, disks that can be filled, processes that can be killed
// and stopped.
//
// Every node has a network namespace of its own with one TUN device in it. The
// other ends of all devices are file descriptors of this program, which carries
// the packets itself (Switch): it drops, delays or passes what each directed
// pair of ports sends, so one-way partitions, bridges, delay and loss need
// neither netem nor a firewall in the kernel. The clients are one more port, in
// the namespace the program was started in.
//
// Every node has a data directory on a tmpfs of limited size, and a control
// file that its process watches (clock, disk, planted bugs).
//
// Caveats: Linux and root. The names of everything made carry the program's
// pid; Close removes it all, and New sweeps what a killed program left behind.
package world
