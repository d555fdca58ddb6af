package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"crema/resp"
	"crema/store"
)

const (
	operatorFor = 45 * time.Second // one change; the server gives up before
	transferFor = 15 * time.Minute // a snapshot or a restore, as a whole
	chunkBytes  = 1 << 20          // of a snapshot, in one command
)

// clusterVerb is one `crema cluster` command.
type clusterVerb struct {
	name, words, help string
	min, max          int // words beside flags
	run               func(op operator, words []string) error
}

// operator is a connection to one node on behalf of whoever looks after all.
type operator struct {
	*client
	out io.Writer
}

var clusterVerbs = []clusterVerb{
	{"status", "", "who the members are and how far each is", 0, 0, operator.status},
	{"add", "ID HOST:PORT[@HOST:PORT]", "let a node belong to the cluster; it votes when it has caught up", 2, 2, operator.add},
	{"remove", "ID", "let a node belong to the cluster no more", 1, 1, operator.remove},
	{"promote", "ID", "let a learner vote now", 1, 1, operator.promote},
	{"transfer", "[ID]", "make another node the leader", 0, 1, operator.transfer},
	{"snapshot", "FILE", "take a copy of all pinned keys", 1, 1, operator.snapshot},
	{"restore", "FILE", "put a copy in the place of all keys", 1, 1, operator.restore},
}

// clusterCommand is `crema cluster`: one command, by way of any node.
func clusterCommand(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("crema cluster", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	read := targetFlags(fs, env)
	words, err := parseMixed(fs, args)
	if errors.Is(err, flag.ErrHelp) || err == nil && (len(words) == 0 || words[0] == "help") {
		return clusterUsage(stdout)
	}
	usage := func(err error) int {
		fmt.Fprintf(stderr, "crema cluster: %v\n", err)
		return exitUsage
	}
	if err != nil {
		return usage(err)
	}
	i := slices.IndexFunc(clusterVerbs, func(v clusterVerb) bool { return v.name == words[0] })
	if i < 0 {
		return usage(fmt.Errorf("there is no command %q; 'crema cluster help' lists them", words[0]))
	}
	verb, words := clusterVerbs[i], words[1:]
	if len(words) < verb.min || len(words) > verb.max {
		return usage(errors.New(strings.TrimSpace(fmt.Sprintf("it is 'crema cluster %s %s", verb.name, verb.words)) + "'"))
	}
	t, err := read()
	if err != nil {
		return usage(err)
	}
	if err := t.operate(ctx, verb, words, stdout); err != nil {
		fmt.Fprintf(stderr, "crema cluster %s: %s: %v\n", verb.name, t.url.Host, err)
		return exitFailed
	}
	return exitOK
}

// parseMixed reads flags and words in any order.
func parseMixed(fs *flag.FlagSet, args []string) (words []string, err error) {
	for {
		if err := fs.Parse(args); err != nil || fs.NArg() == 0 {
			return words, err
		}
		words, args = append(words, fs.Arg(0)), fs.Args()[1:]
	}
}

func (t target) operate(ctx context.Context, verb clusterVerb, words []string, out io.Writer) error {
	dialing, cancel := context.WithTimeout(ctx, checkFor)
	defer cancel()
	c, err := t.dial(dialing)
	if err != nil {
		return err
	}
	defer c.close()
	defer context.AfterFunc(ctx, c.close)() // a signal ends what is under way
	allowed := operatorFor
	if verb.name == "snapshot" || verb.name == "restore" {
		allowed = transferFor
	}
	c.sock.SetDeadline(time.Now().Add(allowed))
	return verb.run(operator{c, out}, words)
}

func (op operator) add(words []string) error {
	if _, _, err := parseAddresses(words[1]); err != nil {
		return err
	}
	if _, err := op.do("CREMA", "ADD", words[0], words[1]); err != nil {
		return err
	}
	fmt.Fprintf(op.out, "%s is a member, without a vote yet\n", words[0])
	return nil
}

func (op operator) remove(words []string) error {
	if _, err := op.do("CREMA", "REMOVE", words[0]); err != nil {
		return err
	}
	fmt.Fprintf(op.out, "%s is no member any more\n", words[0])
	return nil
}

func (op operator) promote(words []string) error {
	if _, err := op.do("CREMA", "PROMOTE", words[0]); err != nil {
		return err
	}
	fmt.Fprintf(op.out, "%s votes\n", words[0])
	return nil
}

func (op operator) transfer(words []string) error {
	if _, err := op.do(append([]string{"CREMA", "TRANSFER"}, words...)...); err != nil {
		return err
	}
	status, err := op.do("CREMA", "STATUS")
	if err != nil {
		return err
	}
	fmt.Fprintf(op.out, "%s leads\n", fieldsOf(status)["leader"])
	return nil
}

func (op operator) status([]string) error {
	r, err := op.do("CREMA", "STATUS")
	if err != nil {
		return err
	}
	f := fieldsOf(r)
	leader := f["leader"]
	if leader == "" {
		leader = "none"
	}
	fmt.Fprintf(op.out, "node %s, %s   leader %s   term %s   committed %s   applied %s\n\n",
		f["node_id"], f["state"], leader, f["term"], f["commit_index"], f["applied_index"])
	lag := f["members_known_by"] == "leader"
	if !lag {
		fmt.Fprintln(op.out, "The leader does not answer: how far the others are is not known.")
	}
	table := tabwriter.NewWriter(op.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "NODE\tROLE\tLINKED\tHAS\tLAG\tPEERS AT\tCLIENTS AT")
	for i := 0; i+1 < len(r.Elems); i += 2 {
		if string(r.Elems[i].Bytes) != "members" {
			continue
		}
		for _, member := range r.Elems[i+1].Elems {
			m := fieldsOf(member)
			role := m["role"]
			if m["leader"] == "yes" {
				role = "leader"
			}
			if !lag {
				m["match"], m["lag"] = "-", "-"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m["id"], role, m["linked"], m["match"], m["lag"], m["peer"], m["client"])
		}
	}
	return table.Flush()
}

// snapshot reads a copy of the leader's pinned keys into a file, which appears
// under its name when it is complete.
func (op operator) snapshot(words []string) (err error) {
	path := words[0]
	r, err := op.do("CREMA", "SAVE", "BEGIN")
	if err != nil {
		return err
	}
	f := fieldsOf(r)
	defer op.do("CREMA", "SAVE", "END", f["transfer"]) // which would end by itself, later
	size, err := strconv.ParseInt(f["bytes"], 10, 64)
	if err != nil {
		return errors.New("SAVE BEGIN answered no size")
	}
	file, err := os.OpenFile(path+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		file.Close()
		if err != nil {
			os.Remove(path + ".tmp")
		}
	}()
	sum := sha256.New()
	for at := int64(0); at < size; {
		chunk, err := op.do("CREMA", "SAVE", "READ", f["transfer"], strconv.FormatInt(at, 10))
		if err != nil {
			return err
		}
		if len(chunk.Bytes) == 0 {
			return errors.New("the snapshot ended early")
		}
		sum.Write(chunk.Bytes)
		if _, err := file.Write(chunk.Bytes); err != nil {
			return err
		}
		at += int64(len(chunk.Bytes))
	}
	if hex.EncodeToString(sum.Sum(nil)) != f["sha256"] {
		return errors.New("the snapshot did not arrive as it was sent")
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		dir.Sync()
		dir.Close()
	}
	fmt.Fprintf(op.out, "%s: %d bytes, the pinned keys as of entry %s\n", path, size, f["index"])
	return nil
}

// restore sends a file to the leader, which puts it in the place of everything.
func (op operator) restore(words []string) error {
	file, err := os.Open(words[0])
	if err != nil {
		return err
	}
	defer file.Close()
	// Whether it is a snapshot is found out here, before the cluster is bothered.
	sum := sha256.New()
	trial := store.New(store.Config{})
	err = trial.Restore(io.TeeReader(bufio.NewReaderSize(file, chunkBytes), sum))
	trial.Close()
	if err != nil {
		return fmt.Errorf("%s: %w", words[0], err)
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	r, err := op.do("CREMA", "LOAD", "BEGIN", strconv.FormatInt(size, 10), hex.EncodeToString(sum.Sum(nil)))
	if err != nil {
		return err
	}
	transfer := string(r.Bytes)
	defer op.do("CREMA", "LOAD", "END", transfer) // if it is not applied
	chunk := make([]byte, chunkBytes)
	for at := int64(0); at < size; {
		n, err := file.ReadAt(chunk, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if _, err := op.do("CREMA", "LOAD", "WRITE", transfer, strconv.FormatInt(at, 10), string(chunk[:n])); err != nil {
			return err
		}
		at += int64(n)
	}
	if _, err := op.do("CREMA", "LOAD", "APPLY", transfer); err != nil {
		return err
	}
	fmt.Fprintf(op.out, "the cluster holds what %s does: %d bytes\n", words[0], size)
	return nil
}

// fieldsOf is a map of texts and numbers as texts.
func fieldsOf(r resp.Reply) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(r.Elems); i += 2 {
		text := string(r.Elems[i+1].Bytes)
		if r.Elems[i+1].Kind == resp.KindInt {
			text = strconv.FormatInt(r.Elems[i+1].Int, 10)
		}
		m[string(r.Elems[i].Bytes)] = text
	}
	return m
}

func clusterUsage(w io.Writer) int {
	fmt.Fprint(w, "crema cluster looks at a cluster and changes it, by way of any of its nodes.\n\n")
	for _, v := range clusterVerbs {
		fmt.Fprintf(w, "  crema cluster %-36s %s\n", v.name+" "+v.words, v.help)
	}
	fmt.Fprint(w, `
  -u redis://USER:PW@HOST:PORT   a node (default REDIS_URL, or redis://127.0.0.1:6379); rediss:// for TLS
  --tls-ca-cert-file F           CA of its certificate
`)
	return exitOK
}
