package load

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"crema/bench/proof/check"
)

// startServer gives the address of one server that lasts as long as the test:
// the crema of CREMA_BIN, or one built here.
func startServer(t *testing.T) string {
	t.Helper()
	binary := os.Getenv("CREMA_BIN")
	if binary == "" {
		binary = filepath.Join(t.TempDir(), "crema")
		build := exec.Command("go", "build", "-o", binary, "./cmd/crema")
		build.Dir = "../../.."
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build crema: %v\n%s", err, out)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(address)
	cmd := exec.Command(binary, "--port", port)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	client := connect(address)
	defer client.Close()
	for deadline := time.Now().Add(10 * time.Second); client.Ping(context.Background()).Err() != nil; {
		if time.Now().After(deadline) {
			t.Fatal("the server does not answer")
		}
		time.Sleep(10 * time.Millisecond)
	}
	return address
}

// workAt runs all workloads for a while with one server in the place of a
// cluster, and does something in the middle.
func workAt(t *testing.T, address string, middle func()) (*check.Judge, map[string]string, []Workload) {
	t.Helper()
	var mu sync.Mutex
	said := map[string]string{} // the last violation of each workload
	judge := check.NewJudge(t.TempDir(), func(format string, arguments ...any) {
		mu.Lock()
		defer mu.Unlock()
		said[fmt.Sprint(arguments[1])] = fmt.Sprintf(format, arguments...)
	})
	env := &Env{
		Addresses: []string{address, address, address}, Names: []string{"n1", "n2", "n3"},
		Judge: judge, Outages: NewOutages(t.Logf), Seed: 1, Prefix: "test",
	}
	modules, err := filepath.Abs("../../clients/node")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "node_modules", "redlock5")); err != nil {
		modules = ""
	}
	all := []Workload{NewRegisters(env), NewCached(env), NewCounters(env), NewClaims(env), NewLocks(env, t.TempDir(), modules), NewMessages(env)}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(time.Second, func() {
		middle()
		time.AfterFunc(time.Second, cancel)
	})
	var working sync.WaitGroup
	for _, w := range all {
		working.Go(func() {
			w.Run(ctx)
			w.Settle(context.Background())
		})
	}
	working.Wait()
	mu.Lock()
	defer mu.Unlock()
	return judge, said, all
}

func TestSoundServer(t *testing.T) {
	unanswered := ""
	for range 3 { // a machine that stands still for a while has clients give up
		judge, said, all := workAt(t, startServer(t), func() {})
		if judge.Found() != 0 {
			t.Fatalf("violations at a server that does nothing wrong: %v", said)
		}
		unanswered = ""
		for _, w := range all {
			t.Logf("%-10s %s", w.Name(), w.Summary())
			if !strings.Contains(w.Summary(), " 0 not done, 0 in doubt") || strings.HasPrefix(w.Summary(), "0 done") {
				unanswered += w.Name() + " "
			}
		}
		if unanswered == "" {
			return
		}
	}
	t.Errorf("not all was done each time, at last of %s", unanswered)
}

func TestForgetfulServer(t *testing.T) {
	address := startServer(t)
	_, said, _ := workAt(t, address, func() {
		client := connect(address)
		defer client.Close()
		client.FlushAll(context.Background())
	})
	for _, workload := range []string{"registers", "counters", "claims"} {
		if said[workload] == "" {
			t.Errorf("%s did not notice that everything was lost: %v", workload, said)
		}
	}
	if said["cached"] != "" || said["messages"] != "" {
		t.Errorf("forgetting is allowed there: %v", said)
	}
}

func TestClassify(t *testing.T) {
	address := startServer(t)
	client := connect(address)
	defer client.Close()
	for script, want := range map[string]Outcome{
		"return 1":   Done,
		"return nil": Done,
		"return redis.error_reply('CLUSTERDOWN no')": NotDone,
		"return redis.error_reply('INDOUBT hm')":     InDoubt,
		"return redis.error_reply('ERR what')":       InDoubt,
	} {
		if got := Classify(client.Eval(context.Background(), script, nil).Err()); got != want {
			t.Errorf("%s: got %v, want %v", script, got, want)
		}
	}
	nobody := connect("127.0.0.1:1")
	defer nobody.Close()
	if err := nobody.Get(context.Background(), "k").Err(); Classify(err) != NotDone || kindOf(err) != "no connection" {
		t.Errorf("without a connection nothing has happened: %v", err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	hung := redis.NewClient(&redis.Options{Addr: silent.Addr().String(), MaxRetries: -1, ReadTimeout: 50 * time.Millisecond})
	defer hung.Close()
	if err := hung.Get(context.Background(), "k").Err(); Classify(err) != InDoubt || kindOf(err) != "timeout" {
		t.Errorf("without an answer it is in doubt: %v", err)
	}
}
