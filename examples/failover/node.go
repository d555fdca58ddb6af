package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"crema/resp"
)

// node is one crema process.
type node struct {
	id, address string
	args        []string
	log         *os.File
	cmd         *exec.Cmd
}

func startNodes(crema, dir string, port int) ([]*node, error) {
	const size = 3
	var peers []string
	nodes := make([]*node, size)
	for i := range nodes {
		id := fmt.Sprintf("n%d", i+1)
		nodes[i] = &node{id: id, address: fmt.Sprintf("127.0.0.1:%d", port+i)}
		peers = append(peers, fmt.Sprintf("%s=127.0.0.1:%d@%s", id, port+1000+i, nodes[i].address))
	}
	for i, n := range nodes {
		log, err := os.Create(filepath.Join(dir, n.id+".log"))
		if err != nil {
			return nil, err
		}
		n.log = log
		n.args = []string{
			crema, "--port", fmt.Sprint(port + i), "--node-id", n.id, "--cluster-port", fmt.Sprint(port + 1000 + i),
			"--peers", strings.Join(peers, ","), "--data-dir", filepath.Join(dir, n.id),
		}
		if err := n.start(); err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

func (n *node) start() error {
	n.cmd = exec.Command(n.args[0], n.args[1:]...)
	n.cmd.Stderr = n.log
	n.cmd.SysProcAttr = apart()
	if err := n.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", n.id, err)
	}
	return nil
}

// kill is kill -9.
func (n *node) kill() {
	if n.cmd != nil && n.cmd.Process != nil {
		n.cmd.Process.Kill()
		n.cmd.Wait()
	}
}

// leader is the node that says it leads, nil when none does.
func leader(nodes []*node) *node {
	for _, n := range nodes {
		if info, err := ask(n.address, "INFO", "raft"); err == nil && strings.Contains(info, "raft_state:leader") {
			return n
		}
	}
	return nil
}

// client is one connection.
type client struct {
	sock net.Conn
	in   *bufio.Reader
}

const answerFor = 5 * time.Second

func dial(address string) (*client, error) {
	sock, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return nil, err
	}
	return &client{sock, bufio.NewReader(sock)}, nil
}

// do sends one command. An error reply is an error, and the connection can be
// used further; refused tells it from a connection that broke.
func (c *client) do(words ...string) (reply resp.Reply, refused bool, err error) {
	request := make([]resp.Reply, len(words))
	for i, w := range words {
		request[i] = resp.BulkString(w)
	}
	c.sock.SetDeadline(time.Now().Add(answerFor))
	if _, err := c.sock.Write(resp.Append(nil, resp.Array(request...), 2)); err != nil {
		return resp.None, false, err
	}
	reply, err = resp.ReadReply(c.in)
	if err == nil && reply.IsError() {
		return reply, true, fmt.Errorf("%s", reply.Bytes)
	}
	return reply, false, err
}

// ask sends one command on a connection of its own.
func ask(address string, words ...string) (string, error) {
	c, err := dial(address)
	if err != nil {
		return "", err
	}
	defer c.sock.Close()
	reply, _, err := c.do(words...)
	return string(reply.Bytes), err
}
