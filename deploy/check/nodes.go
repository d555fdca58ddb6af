package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// node is one container to be.
type node struct {
	name     string
	image    image
	group    int  // of the volume; 0: it belongs to the user
	readOnly bool // the root

	alive, ready string // paths of probes, if it has them

	address   string // in the network of this run
	namespace string
	root      string
	running   *exec.Cmd
	output    bytes.Buffer
	ended     chan struct{} // closed when it has ended
	failed    error         // how, then
}

const (
	startFor = 30 * time.Second // until the nodes have met and elected one
	stopFor  = 10 * time.Second // what a node says it needs at most
)

// runNodes gives each node what a container would give it: a root with the
// binary and nothing else, a user without privileges, a network address and a
// volume. Then it uses them, and ends them.
func runNodes(crema string, nodes []node) (err error) {
	dir, err := os.MkdirTemp("", "deploy-check-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // others have to get at their roots
		return err
	}
	id := os.Getpid()
	bridge := fmt.Sprintf("cb%d", id)
	if err := do("ip", "link", "add", bridge, "type", "bridge"); err != nil {
		return err
	}
	defer do("ip", "link", "del", bridge)
	if err := errors.Join(do("ip", "addr", "add", "10.213.7.1/24", "dev", bridge), do("ip", "link", "set", bridge, "up")); err != nil {
		return err
	}
	defer func() { // when all have ended
		for i := range nodes {
			if err != nil {
				err = fmt.Errorf("%w\n%s said:\n%s", err, nodes[i].name, nodes[i].output.String())
			}
		}
	}()
	hosts := "127.0.0.1 localhost\n"
	for i := range nodes {
		n := &nodes[i]
		n.address, n.namespace = fmt.Sprintf("10.213.7.%d", i+2), fmt.Sprintf("cn%d-%d", id, i)
		n.root = filepath.Join(dir, fmt.Sprint(i))
		hosts += n.address + " " + n.name + "\n"
	}
	for i := range nodes {
		n := &nodes[i]
		link := fmt.Sprintf("cv%d-%d", id, i)
		defer do("ip", "netns", "del", n.namespace)
		defer do("ip", "link", "del", link) // the namespace's end would remove it, but later
		if err := n.join(bridge, link); err != nil {
			return err
		}
		if err := n.furnish(crema, hosts); err != nil {
			return err
		}
		if err := n.start(); err != nil {
			return err
		}
		defer n.kill()
	}
	ctx, cancel := context.WithTimeout(context.Background(), startFor)
	defer cancel()
	for i := range nodes {
		if err := nodes[i].await(ctx); err != nil {
			return fmt.Errorf("%s: %w", nodes[i].name, err)
		}
	}
	// What one takes, all have.
	if err := nodes[0].command(ctx, `["SET","deployed","yes"]`, "OK"); err != nil {
		return err
	}
	for i := range nodes {
		if err := nodes[i].command(ctx, `["GET","deployed"]`, "yes"); err != nil {
			return err
		}
	}
	for i := range nodes {
		if err := nodes[i].stop(); err != nil {
			return fmt.Errorf("%s: %w", nodes[i].name, err)
		}
	}
	return nil
}

// join makes the node's network.
func (n *node) join(bridge, link string) error {
	if err := do("ip", "netns", "add", n.namespace); err != nil {
		return err
	}
	return errors.Join(
		do("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", n.namespace),
		do("ip", "link", "set", link, "master", bridge, "up"),
		do("ip", "-n", n.namespace, "addr", "add", n.address+"/24", "dev", "eth0"),
		do("ip", "-n", n.namespace, "link", "set", "eth0", "up"),
		do("ip", "-n", n.namespace, "link", "set", "lo", "up"))
}

// furnish makes the node's root and its volume.
func (n *node) furnish(crema, hosts string) error {
	var uid, gid int
	if _, err := fmt.Sscanf(n.image.user, "%d:%d", &uid, &gid); err != nil {
		return fmt.Errorf("user %q: %w", n.image.user, err)
	}
	volume := n.root + ".volume"
	binary, err := os.ReadFile(crema)
	if err != nil {
		return err
	}
	for _, made := range []string{n.root, n.root + "/etc", n.root + "/proc", n.root + "/data", volume} {
		if err := os.Mkdir(made, 0o755); err != nil {
			return err
		}
	}
	mode := os.FileMode(0o700)
	if n.group != 0 {
		uid, gid, mode = 0, n.group, 0o775|os.ModeSetgid // what fsGroup makes of a volume
	}
	return errors.Join(
		os.WriteFile(n.root+"/crema", binary, 0o755),
		os.WriteFile(n.root+"/etc/hosts", []byte(hosts), 0o644),
		os.Chown(volume, uid, gid),
		os.Chmod(volume, mode))
}

// inside is a command in the node's network and root, as its user.
func (n *node) inside(ctx context.Context, words ...string) *exec.Cmd {
	// Each of these becomes the next one, so a signal reaches the last.
	root := `mount --bind "$0" "$0" && mount --bind "$0.volume" "$0/data" && mount -t proc -o ro proc "$0/proc" && `
	if n.readOnly {
		root += `mount -o remount,bind,ro "$0" && `
	}
	root += `exec setpriv --no-new-privs --bounding-set=-all,+sys_chroot,+setuid,+setgid chroot --userspec="$CHECK_USER" --groups= "$0" "$@"`
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", n.namespace, "unshare", "--mount", "sh", "-c", root, n.root}, words...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "CHECK_USER=" + n.image.user}
	for name, value := range n.image.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

func (n *node) start() error {
	n.running = n.inside(context.Background(), n.image.entrypoint...)
	n.running.Stdout, n.running.Stderr = &n.output, &n.output
	if err := n.running.Start(); err != nil {
		return err
	}
	n.ended = make(chan struct{})
	go func() { // until it ends, at the latest by kill
		n.failed = n.running.Wait()
		close(n.ended)
	}()
	return nil
}

func (n *node) kill() {
	n.running.Process.Kill() // an error: it has ended
	<-n.ended
}

// await asks as Docker or Kubernetes would until the node is ready.
func (n *node) await(ctx context.Context) error {
	for {
		err := n.healthy(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-n.ended:
			return fmt.Errorf("it ended: %v", n.failed)
		case <-ctx.Done():
			return fmt.Errorf("it is not ready: %w", err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (n *node) healthy(ctx context.Context) error {
	if n.ready == "" {
		out, err := n.inside(ctx, n.image.healthcheck...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	for _, path := range []string{n.alive, n.ready} {
		if _, err := n.ask(ctx, "GET", path, ""); err != nil {
			return err
		}
	}
	return nil
}

// command runs one over HTTP, from outside, and again until ctx ends: another node may
// come to lead meanwhile.
func (n *node) command(ctx context.Context, words, want string) error {
	for {
		body, err := n.ask(ctx, "POST", "/", words)
		var answer struct{ Result string }
		if err == nil {
			err = json.Unmarshal(body, &answer)
		}
		if err == nil && answer.Result == want {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s: %s answered %s, %v", n.name, words, body, err)
		}
	}
}

func (n *node) ask(ctx context.Context, method, path, body string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+n.address+":"+n.image.env["CREMA_HTTP_PORT"]+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if method == "POST" {
		r.Header.Set("Authorization", "Bearer "+n.image.env["CREMA_REST_TOKEN"])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, res.Status, answer)
	}
	return answer, err
}

// stop ends the node as Docker and Kubernetes do, and wants it gone by itself.
func (n *node) stop() error {
	if err := n.running.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-n.ended:
		if n.failed != nil {
			return fmt.Errorf("after SIGTERM: %w", n.failed)
		}
		return nil
	case <-time.After(stopFor):
		return fmt.Errorf("it ignored SIGTERM for %s", stopFor)
	}
}

func do(words ...string) error {
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, out)
	}
	return nil
}
