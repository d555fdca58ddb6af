package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"crema/server"
)

// The binary is this test program: with the variable set it is crema.
const beCrema = "CREMA_TEST_BE_CREMA"

func TestMain(m *testing.M) {
	if os.Getenv(beCrema) != "" {
		main()
	}
	os.Exit(m.Run())
}

// command is crema as its own process.
func command(t testing.TB, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), beCrema+"=1"), env...)
	return cmd
}

// start runs `crema args…` until the test ends, and returns its process and
// the address it printed.
func start(t testing.TB, env []string, args ...string) (*exec.Cmd, string) {
	t.Helper()
	cmd := command(t, env, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "REDIS_URL=redis://")
	if err != nil || !ok {
		t.Fatalf("crema printed %q, %v", line, err)
	}
	return cmd, url[strings.LastIndex(url, "@")+1:]
}

// talk sends inline commands and returns everything answered until the end.
func talk(t testing.TB, addr string, lines ...string) string {
	t.Helper()
	sock, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	sock.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(sock, strings.Join(append(lines, "QUIT"), "\r\n")+"\r\n")
	b, err := io.ReadAll(sock)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestServesWhatItPrints(t *testing.T) {
	_, addr := start(t, nil, "--port", "0")
	if got := talk(t, addr, "SET k v", "GET k"); got != "+OK\r\n$1\r\nv\r\n+OK\r\n" {
		t.Errorf("answered %q", got)
	}
}

func TestFlagsAndEnvironment(t *testing.T) {
	env := []string{"CREMA_REQUIREPASS=fromenv", "CREMA_MAXMEMORY=100mb", "CREMA_USER=a:1 b:2:readonly", "CREMA_MAXCLIENTS=7"}
	_, addr := start(t, env, "serve", "--port=0", "--maxclients", "9", "--maxmemory-policy", "allkeys-lfu", "--pin", "p:*")
	for _, exchange := range [][2]string{
		{"PING", "-NOAUTH Authentication required.\r\n"},
		{"AUTH fromenv", "+OK\r\n"},
		{"CONFIG GET maxmemory", "*2\r\n$9\r\nmaxmemory\r\n$9\r\n104857600\r\n"},
		{"CONFIG GET maxclients", "*2\r\n$10\r\nmaxclients\r\n$1\r\n9\r\n"},
		{"CONFIG GET maxmemory-policy", "*2\r\n$16\r\nmaxmemory-policy\r\n$11\r\nallkeys-lfu\r\n"},
		{"AUTH a 1", "+OK\r\n"},
		{"SET k v", "+OK\r\n"},
		{"AUTH b 2", "+OK\r\n"},
	} {
		want := exchange[1] + "+OK\r\n"
		lines := []string{"AUTH fromenv", exchange[0]}
		if exchange[0] == "PING" {
			lines = lines[1:]
		} else {
			want = "+OK\r\n" + want
		}
		if got := talk(t, addr, lines...); got != want {
			t.Errorf("%s: answered %q, not %q", exchange[0], got, want)
		}
	}
	if got := talk(t, addr, "AUTH b 2", "SET k w"); !strings.Contains(got, "-NOPERM") {
		t.Errorf("a read-only user may write: %q", got)
	}
}

func TestRefusesToStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := filepath.Join(t.TempDir(), "data")
	for _, c := range []struct {
		args []string
		say  string
	}{
		{[]string{"--no-such-flag"}, "no-such-flag"},
		{[]string{"--maxmemory", "12xb"}, "maxmemory"},
		{[]string{"--maxmemory-policy", "sometimes"}, "maxmemory-policy"},
		{[]string{"--port", "70000"}, "port"},
		{[]string{"--user", "nameonly"}, "NAME:PASSWORD"},
		{[]string{"--tls-port", "0", "--tls-auth-clients", "perhaps"}, "tls-auth-clients"},
		{[]string{"--port", "0", "--tls-port", "7000"}, "tls-cert-file"},
		{[]string{"--unixsocket", filepath.Join(t.TempDir(), "no", "such", "dir")}, "unix socket"},
		{[]string{"--bind", "127.0.0.1", "--port", strings.TrimPrefix(taken.Addr().String(), "127.0.0.1:")}, "in use"},
		{[]string{"--log-format", "xml"}, "log-format"},
		{[]string{"--rest-token", "t"}, "http-port"},
		{[]string{"--events-secret", strings.Repeat("s", 32)}, "http-port"},
		{[]string{"--events-secret", "s", "--http-port", "7002"}, "32 bytes"},
		{[]string{"--history", "batch:*"}, "GLOB=MESSAGES,AGE"},
		{[]string{"--history", "batch:*=10,1h,1gb"}, "256mb"},
		{[]string{"--history-memory", "1kb"}, "history-memory"},
		{[]string{"--http-tls-port", "7001"}, "tls-cert-file"},
		{[]string{"--loglevel", "loud"}, "loglevel"},
		{[]string{"--client-output-buffer-limit", "pubsub:1"}, "CLASS:HARD:SOFT:SECONDS"},
		{[]string{"--peers", "n1=127.0.0.1:7379", "--node-id", "n1"}, "--node-id needs a --data-dir"},
		{[]string{"--read-consistency", "lease"}, "--read-consistency needs a --data-dir"},
		{[]string{"--cluster-secret", "s", "--data-dir", dir}, "--cluster-secret needs --peers"},
		{[]string{"--peers", "n1=127.0.0.1:7379", "--data-dir", dir}, "need a --node-id"},
		{[]string{"--peers", "n1=a:1,n2=b:1", "--node-id", "n3", "--data-dir", dir}, "names no node n3"},
		{[]string{"--peers", "n1=a:1,n1=b:1", "--node-id", "n1", "--data-dir", dir}, "n1 is given twice"},
		{[]string{"--peers", "n1=a:1,n2=a:1", "--node-id", "n1", "--data-dir", dir}, "the same address"},
		{[]string{"--peers", "n1=a,n2=b:1", "--node-id", "n1", "--data-dir", dir}, "not HOST:PORT"},
		{[]string{"--peers", "n1=a:1@b,n2=b:1", "--node-id", "n1", "--data-dir", dir}, "not HOST:PORT"},
		{[]string{"--peers", "n1=0.0.0.0:1,n2=b:1", "--node-id", "n1", "--data-dir", dir}, "no address that others can connect to"},
		{[]string{"--peers", "n1:a:1", "--node-id", "n1", "--data-dir", dir}, "ID=HOST:PORT"},
		{[]string{"--node-id", "n 1", "--data-dir", dir}, "node id"},
		{[]string{"--cluster-port", "0"}, "cluster-port"},
		{[]string{"--join", "a:1", "--peers", "n1=b:1,n2=c:1", "--node-id", "n1", "--data-dir", dir}, "exclude each other"},
		{[]string{"--join", "a:1", "--node-id", "n1", "--data-dir", dir}, "--cluster-announce"},
		{[]string{"--join", "a:1", "--node-id", "n1", "--cluster-announce", "a:1", "--data-dir", dir}, "itself"},
		{[]string{"--peers", "n1=127.0.0.1:1", "--node-id", "n1", "--cluster-tls", "yes", "--data-dir", dir}, "--tls-ca-cert-file"},
		{[]string{"--read-consistency", "mostly"}, "read-consistency"},
		{[]string{"serve", "more"}, "more"},
		{[]string{"dance"}, "dance"},
	} {
		out, err := command(t, nil, c.args...).CombinedOutput()
		if code := exitCode(err); code != exitUsage || !strings.Contains(string(out), c.say) || bytes.Count(out, []byte("\n")) != 1 {
			t.Errorf("%q ended with %d and said %q", c.args, code, out)
		}
	}
}

func exitCode(err error) int {
	if exit, ok := err.(*exec.ExitError); ok {
		return exit.ExitCode()
	}
	return 0
}

// A SIGTERM lets what is in flight finish: the reply to a command that was
// sent arrives, the exit code is 0.
func TestSIGTERMDrains(t *testing.T) {
	cmd, addr := start(t, nil, "--port", "0")
	busy, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	idle, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	io.WriteString(busy, "PING\r\n")
	replies := bufio.NewReader(busy)
	if line, err := replies.ReadString('\n'); line != "+PONG\r\n" {
		t.Fatalf("%q %v", line, err)
	}
	const turns = 20_000
	script := func(turns int) string {
		return fmt.Sprintf("EVAL \"local t = {} for i = 1, %d do t[i %% 100] = i end return 'done'\" 0", turns)
	}
	began := time.Now()
	talk(t, addr, script(turns))
	each := time.Since(began) / turns
	io.WriteString(busy, script(int(200*time.Millisecond/each))+"\r\n") // a fifth of what a script is given
	for !strings.Contains(talk(t, addr, "CLIENT LIST"), "cmd=eval") {
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if line, err := replies.ReadString('\n'); line != "$4\r\n" {
		t.Errorf("the script in flight answered %q, %v", line, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("still running after 10 s")
	}
}

func TestShutdownCommand(t *testing.T) {
	cmd, addr := start(t, nil, "--port", "0")
	talk(t, addr, "SHUTDOWN NOSAVE")
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestCheck(t *testing.T) {
	_, addr := start(t, nil, "--port", "0", "--requirepass", "pw", "--user", "probe:pw2")
	for url, want := range map[string]int{
		"redis://:pw@" + addr:       exitOK,
		"redis://probe:pw2@" + addr: exitOK,
		"redis://:wrong@" + addr:    exitFailed,
		"redis://" + addr:           exitFailed,
		"redis://127.0.0.1:1":       exitFailed,
		"http://" + addr:            exitUsage,
	} {
		var stdout, stderr bytes.Buffer
		noEnv := func(string) string { return "" }
		if code := run(context.Background(), []string{"check", "-u", url}, noEnv, &stdout, &stderr); code != want {
			t.Errorf("check -u %s ended with %d, not %d: %s%s", url, code, want, stdout.String(), stderr.String())
		}
	}
}

func TestVersionAndHelp(t *testing.T) {
	var out bytes.Buffer
	noEnv := func(string) string { return "" }
	if code := run(context.Background(), []string{"version"}, noEnv, &out, io.Discard); code != exitOK || !strings.Contains(out.String(), "crema ") {
		t.Errorf("version ended with %d and said %q", code, out.String())
	}
	out.Reset()
	if code := run(context.Background(), []string{"--help"}, noEnv, &out, io.Discard); code != exitOK || !strings.Contains(out.String(), "--maxmemory-policy") {
		t.Errorf("--help ended with %d and said %q", code, out.String())
	}
}

// Client 10 001 is told why and turned away; the ten thousand are served.
func TestTenThousandAndOneClients(t *testing.T) {
	const limit = 10_000
	_, addr := start(t, nil, "--port", "0")
	socks := make([]net.Conn, 0, limit)
	defer func() {
		for _, sock := range socks {
			sock.Close()
		}
	}()
	for len(socks) < limit {
		sock, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatalf("after %d clients: %v", len(socks), err)
		}
		socks = append(socks, sock)
		if len(socks)%1000 == 0 || len(socks) == limit {
			answer(t, sock, "PING\r\n", "+PONG\r\n")
		}
	}
	extra, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer extra.Close()
	answer(t, extra, "", "-ERR max number of clients reached\r\n")
	answer(t, socks[0], "PING\r\n", "+PONG\r\n")
	answer(t, socks[limit-1], fmt.Sprintf("ECHO %d\r\n", limit), "$5\r\n10000\r\n")
}

func answer(t testing.TB, sock net.Conn, send, want string) {
	t.Helper()
	sock.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(sock, send)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(sock, got); err != nil || string(got) != want {
		t.Fatalf("%q answered %q, %v", send, got, err)
	}
}

// A durable node killed in the middle of everything has every pinned write that
// it acknowledged, the locks among them; what was cached is gone.
func TestDataDirSurvivesKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	cmd, addr := start(t, nil, "--port", "0", "--data-dir", dir)
	if got := talk(t, addr, "SET lock:1 token NX PX 100000", "SET cached v EX 100", "INCR visits", "MSET a 1 b 2", "DEL a"); got != "+OK\r\n+OK\r\n:1\r\n+OK\r\n:1\r\n+OK\r\n" {
		t.Fatalf("answered %q", got)
	}
	if info := talk(t, addr, "INFO raft"); !strings.Contains(info, "raft_state:leader\r\n") || !strings.Contains(info, "raft_leader:n1\r\n") {
		t.Errorf("INFO raft: %q", info)
	}
	// Writers that note what was acknowledged, until the process is gone.
	const writers = 8
	acknowledged := make(chan int, writers)
	for w := range writers {
		sock, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer sock.Close()
			n, replies := 0, bufio.NewReader(sock)
			for {
				fmt.Fprintf(sock, "SET w%d:%d x\r\n", w, n)
				if line, err := replies.ReadString('\n'); err != nil || line != "+OK\r\n" {
					acknowledged <- n
					return
				}
				n++
			}
		}()
	}
	for !strings.Contains(talk(t, addr, "EXISTS w0:100"), ":1") {
	}
	cmd.Process.Kill()
	cmd.Wait()
	_, addr = start(t, nil, "--port", "0", "--data-dir", dir)
	if got := talk(t, addr, "GET lock:1", "SET lock:1 other NX PX 100", "EXISTS cached", "GET visits", "EXISTS a", "GET b"); got !=
		"$5\r\ntoken\r\n$-1\r\n:0\r\n$1\r\n1\r\n:0\r\n$1\r\n2\r\n+OK\r\n" {
		t.Errorf("after the restart: %q", got)
	}
	total := 0
	for range writers {
		total += <-acknowledged
	}
	var kept int
	for line := range strings.SplitSeq(talk(t, addr, "DBSIZE"), "\r\n") {
		if n, ok := strings.CutPrefix(line, ":"); ok {
			fmt.Sscan(n, &kept)
		}
	}
	// lock:1, visits and b; a write may have been kept and not acknowledged.
	if kept -= 3; kept < total || kept > total+writers {
		t.Errorf("%d writes were acknowledged, %d are there", total, kept)
	}
}

func TestDataDirRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	cmd, addr := start(t, nil, "--port", "0", "--data-dir", dir)
	talk(t, addr, "SET k v")
	out, err := command(t, nil, "--port", "0", "--data-dir", dir).CombinedOutput()
	if code := exitCode(err); code != exitUsage || !strings.Contains(string(out), "in use by another process") {
		t.Errorf("a second process ended with %d and said %q", code, out)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "log", "0000000000000001.seg")
	log, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(log, []byte("k"))
	log[at] ^= 1
	if err := os.WriteFile(file, log, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = command(t, nil, "--port", "0", "--loglevel", "error", "--data-dir", dir).CombinedOutput()
	if code := exitCode(err); code != exitUsage || !strings.Contains(string(out), "is damaged") || bytes.Count(out, []byte("\n")) != 1 {
		t.Errorf("a damaged log: ended with %d and said %q", code, out)
	}
	if out, err := command(t, nil, "--port", "0", "--data-dir", file).CombinedOutput(); exitCode(err) != exitUsage {
		t.Errorf("a file as data directory: %v, %q", err, out)
	}
}

// docs/configuration.md has every flag.
func TestFlagsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range serveSettings(&server.Config{}, &clusterFlags{}, io.Discard) {
		if !bytes.Contains(page, []byte("`--"+st.name+" ")) {
			t.Errorf("--%s is not documented", st.name)
		}
	}
}

// What is printed for REST clients is what they need; no log has the token.
func TestPrintsWhatRESTClientsNeed(t *testing.T) {
	_, port, _ := net.SplitHostPort(freeAddr(t))
	for _, given := range []string{"", "chosen"} {
		cmd := command(t, []string{"CREMA_REST_TOKEN=" + given}, "--port", "0", "--http-port", port, "--loglevel", "debug")
		var logged strings.Builder
		cmd.Stderr = &logged
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		env := map[string]string{}
		lines := bufio.NewScanner(out)
		for len(env) < 5 && lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), "=")
			env[name] = value
		}
		url, token := env["UPSTASH_REDIS_REST_URL"], env["UPSTASH_REDIS_REST_TOKEN"]
		if url != "http://127.0.0.1:"+port || env["KV_REST_API_URL"] != url || env["KV_REST_API_TOKEN"] != token {
			t.Errorf("printed %v", env)
		}
		if token == "" || given != "" && token != given {
			t.Errorf("token %q, given %q", token, given)
		}
		res, err := http.Get(url + "/ping?_token=" + token)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if string(body) != `{"result":"PONG"}` {
			t.Errorf("%s", body)
		}
		http.Get(url + "/ping?_token=wrong")
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		if token != "" && strings.Contains(logged.String(), token) {
			t.Errorf("logged: %s", &logged)
		}
	}
}
