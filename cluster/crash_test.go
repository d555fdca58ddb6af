package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crema/store"
)

const (
	crashDir     = "CREMA_TEST_CRASH_DIR"
	crashWriters = 16
)

// TestMain is also the child of TestKilled: it writes until it is killed, and
// says what was acknowledged.
func TestMain(m *testing.M) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	st := store.New(store.Config{})
	n, err := Open(Config{Dir: dir, SnapshotEntries: 100}, st)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	writers(crashWriters, func(w int) {
		key := fmt.Sprint("k", w)
		var tx store.Tx
		var i int
		if err := tx.Begin(st, time.Now().UnixMilli(), 0, store.Scope{Shards: st.ShardOf([]byte(key))}); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		if e, ok := tx.Get([]byte(key)); ok {
			fmt.Sscan(string(e.Value), &i)
		}
		tx.End()
		for {
			i++
			if err := set(n, st, key, fmt.Sprint(i)); err != nil {
				fmt.Println("error", err)
				os.Exit(1)
			}
			fmt.Println(key, i) // one write(2): it is out before the next set
		}
	})
}

// A node is killed again and again in the middle of writing, of snapshots and of
// starting. What it acknowledged is there the next time; what is there is that, or
// the one write after it that nobody was told of. What a start found is then as
// good as acknowledged: the next one finds it too.
func TestKilled(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	lasting := map[string]int{} // by key, what was acknowledged or found
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	for round := range rounds {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), crashDir+"="+dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		left := random.IntN(4000)
		if round%2 == 1 {
			left = random.IntN(20) // some keys are not acknowledged once in this round
		}
		for ; lines.Scan(); left-- {
			var key string
			var i int
			if _, err := fmt.Sscan(lines.Text(), &key, &i); err != nil {
				t.Fatalf("child: %s", lines.Text())
			}
			lasting[key] = i
			if left == 0 {
				child.Process.Kill()
			}
		}
		if err := child.Wait(); left > 0 {
			t.Fatalf("the child ended by itself: %v", err)
		}

		st := store.New(store.Config{})
		n, err := Open(Config{Dir: dir}, st)
		if err != nil {
			t.Fatal(err)
		}
		for w := range crashWriters {
			key := fmt.Sprint("k", w)
			got, _ := get(t, st, key)
			var found int
			fmt.Sscan(got, &found)
			if i := lasting[key]; found != i && found != i+1 {
				t.Errorf("round %d: %s is %q, and %d was acknowledged or found before", round, key, got, i)
			}
			lasting[key] = found
		}
		n.Close()
		st.Close()
	}
	t.Logf("in the end: %v", lasting)
}

// What a loss of power leaves of the write that it interrupts: any of its sectors.
func TestTornTail(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	n, st := open(t, Config{Dir: dir})
	for i := range 200 {
		mustSet(t, n, st, fmt.Sprint("k", i%50), fmt.Sprint(i))
	}
	before := copyDir(t, dir)
	want := state(t, st)
	mustSet(t, n, st, "k0", strings.Repeat("the interrupted write ", 200))
	written := state(t, st)
	old := readFile(t, lastSegment(t, before))
	young := readFile(t, lastSegment(t, copyDir(t, dir)))
	const sector = 512
	torn, whole := 0, 0
	for round := range 40 {
		file := append([]byte(nil), old...)
		if grown := len(young) - len(file); grown > 0 {
			file = append(file, make([]byte, grown)...)
		}
		for at := 0; at < len(young); at += sector {
			if to := min(at+sector, len(young)); round == 0 || random.IntN(4) > 0 {
				copy(file[at:to], young[at:to])
			}
		}
		interrupted := copyDir(t, before)
		if err := os.WriteFile(lastSegment(t, interrupted), file, 0o600); err != nil {
			t.Fatal(err)
		}
		n, st := open(t, Config{Dir: interrupted})
		switch string(state(t, st)) {
		case string(want):
			torn++
		case string(written):
			whole++
		default:
			t.Errorf("round %d: the state is neither the one before nor after", round)
		}
		n.Close()
	}
	if torn == 0 || whole == 0 {
		t.Errorf("%d torn, %d whole", torn, whole)
	}
}

// lastSegment is the file that the log in dir ends in.
func lastSegment(t *testing.T, dir string) string {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dir, logFile, "*.seg"))
	if err != nil || len(segments) == 0 {
		t.Fatal("no segment in", dir, err)
	}
	return segments[len(segments)-1]
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// copyDir copies a data directory as it is at this moment.
func copyDir(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// A loss of power takes what was not synced: nothing that was acknowledged, as
// long as syncing is not left out.
func TestPowerLoss(t *testing.T) {
	for _, broken := range []Break{0, BreakFsync} {
		faults := &Faults{PowerLoss: true}
		faults.Set(0, 0, false, broken)
		dir := t.TempDir()
		n, _ := open(t, Config{Dir: dir, Faults: faults})
		n.Close()
		n, st := open(t, Config{Dir: dir, Faults: faults}) // which syncs in any case
		mustSet(t, n, st, "k", "v")
		after := copyDir(t, dir)
		if err := os.Rename(lastSegment(t, after)+syncedSuffix, lastSegment(t, after)); err != nil {
			t.Fatal(err)
		}
		n, st = open(t, Config{Dir: after})
		if _, there := get(t, st, "k"); there != (broken == 0) {
			t.Errorf("left out %b: there is %v", broken, there)
		}
		n.Close()
	}
}

// A file that was cut ends the start or has lost nothing.
func TestTruncated(t *testing.T) {
	dir, want := written(t)
	whole := readFile(t, lastSegment(t, dir))
	opened := 0
	for cut := len(whole); cut >= 0; cut -= max(1, len(whole)/60) {
		damagedDir := copyDir(t, dir)
		if err := os.Truncate(lastSegment(t, damagedDir), int64(cut)); err != nil {
			t.Fatal(err)
		}
		if wholeOrRefused(t, damagedDir, want, fmt.Sprintf("log cut to %d of %d", cut, len(whole))) {
			opened++
		}
	}
	t.Logf("%d of about 60 cuts hit nothing but zeros", opened)
}

// written is a closed directory with a snapshot and entries behind it, and its state.
func written(t *testing.T) (dir string, want []byte) {
	t.Helper()
	dir = t.TempDir()
	n, st := open(t, Config{Dir: dir})
	for i := range 120 {
		mustSet(t, n, st, fmt.Sprint("k", i), strings.Repeat(fmt.Sprint(i), 20))
		if i == 80 {
			if err := n.Snapshot(); err != nil {
				t.Fatal(err)
			}
		}
	}
	want = state(t, st)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, want
}

// wholeOrRefused opens a directory that was tampered with: there is everything,
// or there is the sentence.
func wholeOrRefused(t *testing.T, dir string, want []byte, what string) (opened bool) {
	t.Helper()
	st := store.New(store.Config{})
	defer st.Close()
	n, err := Open(Config{Dir: dir}, st)
	if err != nil {
		text := err.Error()
		if !errors.Is(err, ErrDamaged) || !strings.Contains(text, dir) || !strings.Contains(text, "--data-dir") {
			t.Errorf("%s: not the sentence: %v", what, err)
		}
		return false
	}
	defer n.Close()
	if string(state(t, st)) != string(want) {
		t.Errorf("%s: it started, with another state", what)
	}
	return true
}
