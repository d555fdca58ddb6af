package load

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"crema/bench/proof/check"
)

//go:embed redlock.mjs
var redlockScript []byte

// redlock is a Node process with a few workers of its own. It prints a line for
// each grant when that grant is over.
type redlock struct {
	locks   *locks
	modules string
	grants  atomic.Int64
}

// redlockLine is a grant, or a failure to get one.
type redlockLine struct {
	check.Grant
	Index   int    `json:"index"` // of the lock
	Counted int64  `json:"counted"`
	Overran int64  `json:"overran"`
	Taken   bool   `json:"taken"`
	Error   string `json:"error"`
}

func (r *redlock) run(ctx context.Context) {
	if err := r.talk(ctx); err != nil {
		r.locks.env.Judge.Report("locks", "node-redlock: "+err.Error(), nil)
	}
}

func (r *redlock) talk(ctx context.Context) error {
	script := filepath.Join(r.locks.dir, "redlock.mjs")
	if err := os.WriteFile(script, redlockScript, 0o644); err != nil {
		return err
	}
	var names, files []string
	for i := range lockNames {
		names, files = append(names, r.locks.lock(i)), append(files, r.locks.file(i))
	}
	cmd := exec.Command("node", script)
	cmd.Env = append(os.Environ(),
		"MODULES="+filepath.Join(r.modules, "package.json"),
		"NODES="+strings.Join(r.locks.env.Addresses, ","),
		"NAMES="+strings.Join(r.locks.env.Names, ","),
		"LOCKS="+strings.Join(names, ","),
		"FILES="+strings.Join(files, ","),
	)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	// It ends when its input does; a holder may sit out its TTL first.
	stop := context.AfterFunc(ctx, func() {
		in.Close()
		time.AfterFunc(2*settleTimeout, func() { cmd.Process.Kill() })
	})
	defer stop()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var line redlockLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return fmt.Errorf("said %q: %w", lines.Text(), err)
		}
		r.hear(line)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, complaints.String())
	}
	return nil
}

func (r *redlock) hear(line redlockLine) {
	l := r.locks
	if line.Granted == 0 {
		var err error
		if !line.Taken {
			err = fmt.Errorf("node-redlock: %s", line.Error)
		}
		now := check.Now()
		l.note(now, now, err)
		return
	}
	l.note(line.Sent, line.Granted, nil)
	r.grants.Add(1)
	l.written[line.Index].Add(line.Counted)
	l.overruns[line.Index].Add(line.Overran)
	l.checker.Add(line.Grant)
}
