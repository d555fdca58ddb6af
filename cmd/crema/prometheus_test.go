package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	deployed     = "../../deploy/"
	scrapeToken  = "reads-metrics"
	writingToken = "does-everything"
)

// tool is a program of the Debian package prometheus.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not installed: apt-get install prometheus", name)
		}
		t.Skipf("%s is not installed", name)
	}
	return path
}

// The alerts are well formed, and fire when they should and not before.
func TestAlertRules(t *testing.T) {
	promtool := tool(t, "promtool")
	for _, words := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		cmd := exec.Command(promtool, words...)
		cmd.Dir = deployed + "prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(words, " "), err, out)
		}
	}
}

// Every alert has its paragraph in docs/operations.md and its test.
func TestAlertsAreExplained(t *testing.T) {
	page, tests := read(t, "../../docs/operations.md"), read(t, deployed+"prometheus/alerts_test.yml")
	for _, m := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(read(t, deployed+"prometheus/alerts.yml"), -1) {
		if !strings.Contains(page, "`"+m[1]+"`") {
			t.Errorf("docs/operations.md does not say what to do about %s", m[1])
		}
		if !strings.Contains(tests, "alertname: "+m[1]+"\n") {
			t.Errorf("alerts_test.yml does not test %s", m[1])
		}
	}
}

// A real Prometheus with the files of deploy/ scrapes a cluster: everything that
// the dashboard shows is there, and so is everything that the alerts look at.
func TestPrometheusScrapesCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for scrapes")
	}
	path := tool(t, "prometheus")
	nodes := newNodes(t, "n1", "n2", "n3")
	var targets []string
	for _, n := range nodes {
		at := freeAddr(t)
		_, port, _ := net.SplitHostPort(at)
		n.flags = []string{"--peers", peersOf(nodes...), "--http-port", port, "--rest-token", writingToken, "--rest-readonly-token", scrapeToken}
		n.run(t)
		targets = append(targets, at)
	}
	for _, at := range targets {
		awaitReady(t, at, http.StatusOK, `{"status":"ready"}`)
	}
	traffic(t, nodes, targets)
	p := scrape(t, path, targets)

	for _, expr := range dashboardQueries(t) {
		eventually(t, func() (bool, string) {
			n, err := p.query(expr)
			return n > 0, fmt.Sprintf("the dashboard asks %s: %d series, %v", expr, n, err)
		})
	}
	alerts := read(t, deployed+"prometheus/alerts.yml")
	for _, name := range metricNames(alerts) {
		eventually(t, func() (bool, string) { // a scrape that took too long has nothing
			n, err := p.query("count(" + name + ")")
			return n > 0, fmt.Sprintf("an alert looks at %s, which is not there: %v", name, err)
		})
	}
	p.documented(t)
	wellNamed(t, targets[0])
	eventually(t, func() (bool, string) {
		bad := p.unhealthyRules(t)
		return bad == "", bad
	})

	// Two of three are gone: the third says so, and the alert begins to count.
	nodes[0].kill()
	nodes[1].kill()
	awaitReady(t, targets[2], http.StatusServiceUnavailable, `{"status":"unavailable","reason":"`)
	if code, body := get(t, "http://"+targets[2]+"/healthz"); code != http.StatusOK {
		t.Errorf("/healthz without a leader: %d %s", code, body)
	}
	eventually(t, func() (bool, string) {
		n, err := p.query(`ALERTS{alertname="CremaNoLeader"}`)
		return n == 1, fmt.Sprintf("%d alerts, %v", n, err)
	})
}

// prometheus is a running one.
type prometheus struct{ url string }

// scrape runs Prometheus with what deploy/ has, as fast as a test wants it.
func scrape(t *testing.T, path string, targets []string) prometheus {
	t.Helper()
	dir := t.TempDir()
	quoted := fmt.Sprintf("%q", targets)
	config := strings.NewReplacer(
		"scrape_interval: 5s", "scrape_interval: 250ms",
		"evaluation_interval: 5s", "evaluation_interval: 500ms",
		`["crema1:8079", "crema2:8079", "crema3:8079"]`, strings.ReplaceAll(quoted, " ", ", "),
	).Replace(read(t, deployed+"prometheus/prometheus.yml"))
	for name, text := range map[string]string{
		"prometheus.yml": config,
		"token":          scrapeToken,
		"alerts.yml":     read(t, deployed+"prometheus/alerts.yml"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := freeAddr(t)
	cmd := exec.Command(path, "--config.file", filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", at, "--log.level", "warn")
	said := new(lockedBuffer)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus said:\n%s", said)
		}
	})
	p := prometheus{"http://" + at}
	eventually(t, func() (bool, string) {
		n, err := p.query(`up{job="crema"} == 1`)
		return n == len(targets), fmt.Sprintf("%d targets are up, %v, and Prometheus said:\n%s", n, err, said)
	})
	return p
}

// query is how many series an expression has now that are numbers.
func (p prometheus) query(expr string) (n int, err error) {
	var answer struct {
		Error string
		Data  struct{ Result []struct{ Value [2]any } }
	}
	if err := p.get("/api/v1/query?query="+url.QueryEscape(expr), &answer); err != nil {
		return 0, err
	}
	if answer.Error != "" {
		return 0, fmt.Errorf("%s", answer.Error)
	}
	for _, series := range answer.Data.Result {
		if series.Value[1] != "NaN" {
			n++
		}
	}
	return n, nil
}

func (p prometheus) get(path string, into any) error {
	res, err := http.Get(p.url + path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(into)
}

// unhealthyRules names the rules that could not be evaluated, or were not yet.
func (p prometheus) unhealthyRules(t *testing.T) (bad string) {
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	if err := p.get("/api/v1/rules", &answer); err != nil {
		return err.Error()
	}
	seen := 0
	for _, group := range answer.Data.Groups {
		for _, rule := range group.Rules {
			seen++
			if rule.Health != "ok" {
				bad += fmt.Sprintf("%s is %s: %s\n", rule.Name, rule.Health, rule.LastError)
			}
		}
	}
	if seen == 0 {
		return "there are no rules"
	}
	return bad
}

// documented compares what is scraped with the table of docs/operations.md.
func (p prometheus) documented(t *testing.T) {
	var answer struct {
		Data map[string][]struct{ Type, Help string }
	}
	if err := p.get("/api/v1/metadata", &answer); err != nil {
		t.Fatal(err)
	}
	page := read(t, "../../docs/operations.md")
	for name := range answer.Data {
		if strings.HasPrefix(name, "crema_") && !strings.Contains(page, "`"+name+"`") && !strings.Contains(page, "`"+name+"{") {
			t.Errorf("docs/operations.md does not have %s", name)
		}
	}
	for _, m := range regexp.MustCompile("`((crema|process|go)_[a-z_]+)").FindAllStringSubmatch(page, -1) {
		name := m[1]
		if _, there := answer.Data[name]; !there {
			t.Errorf("docs/operations.md has %s, which is not scraped", name)
		}
	}
}

// wellNamed has promtool look at names, types and help of a node of a cluster.
func wellNamed(t *testing.T, at string) {
	t.Helper()
	req, _ := http.NewRequest("GET", "http://"+at+"/metrics", nil)
	req.SetBasicAuth("anybody", scrapeToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	cmd := exec.Command(tool(t, "promtool"), "check", "metrics")
	cmd.Stdin = res.Body
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// metricNames are the metrics that a text names.
func metricNames(text string) []string {
	names := regexp.MustCompile(`\b(crema|process|go)_[a-z_]+\b`).FindAllString(text, -1)
	slices.Sort(names)
	return slices.Compact(names)
}

// dashboardQueries is what the dashboard asks, for all nodes.
func dashboardQueries(t *testing.T) (all []string) {
	t.Helper()
	type panel struct {
		Title   string
		Targets []struct{ Expr string }
	}
	var board struct{ Panels []panel }
	if err := json.Unmarshal([]byte(read(t, deployed+"grafana/crema.json")), &board); err != nil {
		t.Fatal(err)
	}
	variables := strings.NewReplacer("$job", "crema", "$instance", ".+", "$__rate_interval", "10s")
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			all = append(all, variables.Replace(target.Expr))
		}
	}
	if len(all) < 20 {
		t.Fatalf("the dashboard asks for %d things", len(all))
	}
	return all
}

// traffic is a little of everything that is measured, until the test ends.
func traffic(t *testing.T, nodes []*testNode, targets []string) {
	t.Helper()
	ended := make(chan struct{})
	var wait sync.WaitGroup
	t.Cleanup(func() { close(ended); wait.Wait() })
	stream, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+targets[0]+"/subscribe/news", nil)
	if err != nil {
		t.Fatal(err)
	}
	stream.Header.Set("Authorization", "Bearer "+writingToken)
	res, err := http.DefaultClient.Do(stream)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("event stream: %v, %v", res, err)
	}
	wait.Go(func() {
		defer res.Body.Close()
		io.Copy(io.Discard, res.Body)
	})
	for i, n := range nodes {
		sock, err := net.Dial("tcp", n.client)
		if err != nil {
			t.Fatal(err)
		}
		wait.Go(func() {
			defer sock.Close()
			in := bufio.NewReader(sock)
			for turn := 0; ; turn++ {
				fmt.Fprintf(sock, "SET cached:%d v EX 100\r\nSET pinned:%d v\r\nGET cached:%d\r\nGET nothing\r\nINCR pinned:%d\r\nGET\r\nPSETEX gone:%d 1 v\r\nPUBLISH news x\r\n", i, i, i, i, i)
				sock.SetDeadline(time.Now().Add(soon))
				for lines := 9; lines > 0; lines-- { // of eight replies, one in two lines
					if _, err := in.ReadSlice('\n'); err != nil {
						return // the node was killed
					}
				}
				select {
				case <-ended:
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
}

func awaitReady(t *testing.T, at string, code int, begins string) {
	t.Helper()
	eventually(t, func() (bool, string) {
		got, body := get(t, "http://"+at+"/readyz")
		return got == code && strings.HasPrefix(body, begins), fmt.Sprintf("/readyz of %s: %d %s", at, got, body)
	})
}

func get(t *testing.T, url string) (code int, body string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
