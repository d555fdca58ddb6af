//go:build linux

package faults

import (
	"context"
	"fmt"
	"time"

	"crema/bench/proof/check"
	"crema/bench/proof/world"
)

// fault breaks a node, waits and mends it.
type fault struct {
	name string
	all  bool // it breaks every node; do is given the first
	do   func(ctx context.Context, l *lane, node *world.Node) error
}

var list = []fault{
	{"kill", false, kill},
	{"pause", false, stall},
	{"isolate", false, isolate},
	{"oneway", false, oneWay},
	{"bridge", false, bridge},
	{"degrade", false, degrade},
	{"clients", false, degradeClients},
	{"clock", false, clock},
	{"diskfull", false, diskFull},
	{"diskslow", false, diskSlow},
	{"term", false, terminate},
	{"rolling", true, rolling},
	{"power", true, power},
	{"unplug", false, unplug},
	{"transfer", false, transfer},
	{"lostdisk", false, lostDisk},
}

func kill(ctx context.Context, l *lane, node *world.Node) error {
	l.killing(node, "kill -9", node.Kill)
	l.sleep(ctx, 0, 3*time.Second)
	return node.Start()
}

func stall(ctx context.Context, l *lane, node *world.Node) error {
	d := l.between(500*time.Millisecond, 3*time.Second)
	l.say(node, "SIGSTOP for %s", d)
	node.Pause()
	defer node.Resume()
	l.sleep(ctx, d, d)
	return nil
}

// isolate cuts a node off from the other nodes; clients still reach it.
func isolate(ctx context.Context, l *lane, node *world.Node) error {
	d := l.between(time.Second, 5*time.Second)
	l.say(node, "isolated for %s", d)
	cut := l.cutter()
	defer cut.mend()
	for _, other := range l.World.Nodes {
		if other != node {
			cut.between(node, other)
			cut.between(other, node)
		}
	}
	l.sleep(ctx, d, d)
	return nil
}

// oneWay drops what the node sends, or what it is sent, by one or by all.
func oneWay(ctx context.Context, l *lane, node *world.Node) error {
	d := l.between(time.Second, 5*time.Second)
	outgoing, one := l.rng.IntN(2) == 0, l.rng.IntN(2) == 0
	words := map[bool]string{true: "does not reach", false: "hears nothing of"}
	whom := "the others"
	others := l.others(node)
	if one {
		others = others[:1]
		whom = others[0].ID
	}
	l.say(node, "%s %s for %s", words[outgoing], whom, d)
	cut := l.cutter()
	defer cut.mend()
	for _, other := range others {
		if outgoing {
			cut.between(node, other)
		} else {
			cut.between(other, node)
		}
	}
	l.sleep(ctx, d, d)
	return nil
}

// bridge cuts one pair; everybody else sees both.
func bridge(ctx context.Context, l *lane, node *world.Node) error {
	d := l.between(time.Second, 5*time.Second)
	other := l.others(node)[0]
	l.say(node, "and %s do not see each other for %s", other.ID, d)
	cut := l.cutter()
	defer cut.mend()
	cut.between(node, other)
	cut.between(other, node)
	l.sleep(ctx, d, d)
	return nil
}

// degrade delays and drops packets between a node and the others.
func degrade(ctx context.Context, l *lane, node *world.Node) error {
	return l.degradeLinks(ctx, node, "the others", l.others(node), 0)
}

// degradeClients does it to the clients of a node.
func degradeClients(ctx context.Context, l *lane, node *world.Node) error {
	return l.degradeLinks(ctx, node, "its clients", nil, l.World.Clients)
}

func (l *lane) degradeLinks(ctx context.Context, node *world.Node, whom string, others []*world.Node, port int) error {
	d := l.between(2*time.Second, 6*time.Second)
	q := world.Quality{
		Delay:  l.between(0, 60*time.Millisecond),
		Jitter: l.between(0, 60*time.Millisecond),
		Loss:   float64(l.rng.IntN(20)) / 100,
	}
	l.say(node, "and %s: delay %s to %s, loss %.0f%% for %s", whom, q.Delay, q.Delay+q.Jitter, 100*q.Loss, d)
	ports := []int{port}
	if others != nil {
		ports = nil
		for _, other := range others {
			ports = append(ports, other.Port)
		}
	}
	set := func(q world.Quality) {
		for _, p := range ports {
			l.World.Network.Degrade(node.Port, p, q)
			l.World.Network.Degrade(p, node.Port, q)
		}
	}
	set(q)
	defer set(world.Quality{})
	l.sleep(ctx, d, d)
	return nil
}

// clock jumps and, sooner or later, jumps back.
func clock(ctx context.Context, l *lane, node *world.Node) error {
	jump := time.Minute
	if l.rng.IntN(2) == 0 {
		jump = -jump
	}
	d := l.between(time.Second, 8*time.Second)
	l.say(node, "clock jumps by %s for %s", jump, d)
	if err := node.Control(func(c *world.Control) { c.ClockOffsetMillis = jump.Milliseconds() }); err != nil {
		return err
	}
	l.sleep(ctx, d, d)
	return node.Control(func(c *world.Control) { c.ClockOffsetMillis = 0 })
}

// diskFull leaves no byte on the node's file system.
func diskFull(ctx context.Context, l *lane, node *world.Node) error {
	d := l.between(2*time.Second, 5*time.Second)
	l.say(node, "disk full for %s", d)
	err := node.FillDisk()
	l.sleep(ctx, d, d)
	if empty := node.EmptyDisk(); err == nil {
		err = empty
	}
	return err
}

// diskSlow makes every sync take long, or hang for seconds.
func diskSlow(ctx context.Context, l *lane, node *world.Node) error {
	delay := l.between(20*time.Millisecond, 500*time.Millisecond)
	if l.rng.IntN(2) == 0 {
		delay = l.between(3*time.Second, 6*time.Second)
	}
	d := l.between(2*time.Second, 6*time.Second)
	l.say(node, "disk takes %s more for %s", delay, d)
	if err := node.Control(func(c *world.Control) { c.DiskDelayMillis = delay.Milliseconds() }); err != nil {
		return err
	}
	l.sleep(ctx, d, d)
	return node.Control(func(c *world.Control) { c.DiskDelayMillis = 0 })
}

func terminate(ctx context.Context, l *lane, node *world.Node) error {
	l.say(node, "SIGTERM")
	took, err := node.Terminate()
	l.Say("fault: %s ended in %.2fs", node.ID, took.Seconds())
	if err == nil {
		l.sleep(ctx, 0, time.Second)
	}
	if starting := node.Start(); err == nil {
		err = starting
	}
	return err
}

// rolling restarts one node after the other, as an upgrade does.
func rolling(ctx context.Context, l *lane, _ *world.Node) error {
	for _, node := range l.World.Nodes {
		if err := terminate(ctx, l, node); err != nil {
			return err
		}
		if err := l.await(node); err != nil {
			return err
		}
	}
	return nil
}

// rejoinTimeout is generous: other faults may go on meanwhile.
const rejoinTimeout = 30 * time.Second

// await waits until a node that was started has caught up with the leader.
func (l *lane) await(node *world.Node) error {
	patience, cancel := check.Patience(context.Background(), rejoinTimeout)
	defer cancel()
	for patience.Err() == nil {
		leader := Leader(l.World)
		if leader != nil {
			its, err := Ask(leader)
			own, other := Ask(node)
			if err == nil && other == nil && own.Leader == leader.ID && own.Applied >= its.Applied {
				return nil
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("%s has not caught up within %s", node.ID, rejoinTimeout)
}

// power ends all nodes at one moment, and what was not synced is gone.
func power(ctx context.Context, l *lane, _ *world.Node) error {
	l.Say("fault: power fails everywhere")
	failed := make(chan error)
	for _, node := range l.World.Nodes {
		go func() { failed <- node.LosePower() }()
	}
	var err error
	for range l.World.Nodes {
		if e := <-failed; e != nil {
			err = e
		}
	}
	l.sleep(ctx, 0, time.Second)
	for _, node := range l.World.Nodes {
		if e := node.Start(); err == nil {
			err = e
		}
	}
	return err
}

// unplug is power for one node.
func unplug(ctx context.Context, l *lane, node *world.Node) error {
	var err error
	l.killing(node, "loses power", func() { err = node.LosePower() })
	l.sleep(ctx, 0, 3*time.Second)
	if starting := node.Start(); err == nil {
		err = starting
	}
	return err
}

func transfer(ctx context.Context, l *lane, node *world.Node) error {
	l.say(node, "is asked to change the leader")
	if err := Transfer(node); err != nil {
		l.Say("fault: %s would not: %v", node.ID, err)
	}
	return nil
}

// lostDisk brings a node back with nothing.
func lostDisk(ctx context.Context, l *lane, node *world.Node) error {
	var err error
	l.killing(node, "loses its disk", func() { err = node.LoseDisk() })
	l.sleep(ctx, 0, time.Second)
	if starting := node.Start(); err == nil {
		err = starting
	}
	if err != nil {
		return err
	}
	return l.await(node)
}

// others in random order.
func (l *lane) others(node *world.Node) []*world.Node {
	var all []*world.Node
	for _, i := range l.rng.Perm(len(l.World.Nodes)) {
		if other := l.World.Nodes[i]; other != node {
			all = append(all, other)
		}
	}
	return all
}

// cutter remembers what it cut.
type cutter struct {
	network *world.Switch
	cuts    [][2]int
}

func (l *lane) cutter() *cutter { return &cutter{network: l.World.Network} }

func (c *cutter) between(from, to *world.Node) {
	c.network.Cut(from.Port, to.Port)
	c.cuts = append(c.cuts, [2]int{from.Port, to.Port})
}

func (c *cutter) mend() {
	for _, pair := range c.cuts {
		c.network.Mend(pair[0], pair[1])
	}
}
