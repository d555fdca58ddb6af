package clients

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A script checks its own waits; this only ends one that is stuck.
const scriptTimeout = 60 * time.Second

var target *server

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "crema-clients-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if target, err = startServer(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := target.stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func TestNode(t *testing.T) {
	if _, err := os.Stat("node/node_modules"); err != nil {
		t.Fatal("node/node_modules is not there: run install.sh")
	}
	for _, argv := range [][]string{
		{"ioredis.mjs", "5"},
		{"ioredis.mjs", "6"},
		{"node-redis.mjs", "4"},
		{"node-redis.mjs", "5"},
		{"node-redis.mjs", "6"},
		{"redlock.mjs", "4"},
		{"redlock.mjs", "5"},
		{"connect-redis.mjs"},
		{"keyv.mjs"},
		{"rate-limiter.mjs"},
		{"socket.io.mjs", "classic"},
		{"socket.io.mjs", "sharded"},
		{"graphql.mjs"},
	} {
		t.Run(strings.ReplaceAll(strings.Join(argv, ""), ".mjs", ""), func(t *testing.T) {
			t.Parallel()
			runScript(t, "node", append([]string{"node", argv[0]}, argv[1:]...)...)
		})
	}
}

func TestNodeREST(t *testing.T) {
	if target.restURL == "" {
		t.Skip(target.name + " has no REST API")
	}
	t.Parallel()
	runScript(t, "node", "node", "upstash.mjs")
}

func TestPython(t *testing.T) {
	t.Parallel()
	// Debian's interpreter: another one on the PATH has not Debian's packages.
	runScript(t, "python", "/usr/bin/python3", "redis-py.py")
}

func TestRuby(t *testing.T) {
	t.Parallel()
	runScript(t, "ruby", "/usr/bin/ruby", "redis-rb.rb")
}

func TestPHP(t *testing.T) {
	for _, script := range []string{"phpredis.php", "predis.php"} {
		t.Run(strings.TrimSuffix(script, ".php"), func(t *testing.T) {
			t.Parallel()
			runScript(t, "php", "/usr/bin/php", script)
		})
	}
}

func TestC(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "hiredis")
	out, err := exec.Command("gcc", "-O1", "-Wall", "-o", program, "c/hiredis.c", "-lhiredis").CombinedOutput()
	if err != nil {
		t.Fatalf("compile c/hiredis.c: %v\n%s", err, out)
	}
	runScript(t, "c", program)
}

// runScript runs one script in its language's directory and passes its lines
// on as they come.
func runScript(t *testing.T, dir string, argv ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), scriptTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = target.environment()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (install.sh installs what these tests need)", err)
	}
	passed := 0
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		fmt.Println(lines.Text())
		if strings.HasPrefix(lines.Text(), "ok ") {
			passed++
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: %v\n%s", strings.Join(argv, " "), err, complaints.String())
	}
	if passed == 0 {
		t.Errorf("%s: no scenario passed", strings.Join(argv, " "))
	}
}
