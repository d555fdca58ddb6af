package cluster

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crema/store"
)

// Bytes flipped anywhere in any file are found, or were of no use.
func TestFlippedBytes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir, want := written(t)
	rounds := 60
	if testing.Short() || raceEnabled {
		rounds = 15
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == lockFile {
			return err
		}
		whole, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		var used []int // where there is something: the log is mostly zeros
		for i, b := range whole {
			if b != 0 {
				used = append(used, i)
			}
		}
		refusals := 0
		for range rounds {
			at := used[random.IntN(len(used))]
			bit := byte(1) << random.IntN(8)
			flipped := copyDir(t, dir)
			b := append([]byte(nil), whole...)
			b[at] ^= bit
			if err := os.WriteFile(filepath.Join(flipped, name), b, 0o600); err != nil {
				return err
			}
			if !wholeOrRefused(t, flipped, want, name) {
				refusals++
			}
			if t.Failed() {
				t.Fatalf("%s, byte %d, bit %#x", name, at, bit)
			}
		}
		t.Logf("%s: %d of %d refused", name, refusals, rounds)
		if name != tailFile && refusals == 0 {
			t.Errorf("%s: nothing was refused", name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestMissingFiles(t *testing.T) {
	dir, _ := written(t)
	for _, name := range []string{metaFile, logFile, termFile, snapshotDir} {
		without := copyDir(t, dir)
		if err := os.RemoveAll(filepath.Join(without, name)); err != nil {
			t.Fatal(err)
		}
		if err := refused(t, without, ErrDamaged); !strings.Contains(err.Error(), filepath.Join(without, name)) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	without := copyDir(t, dir)
	inside, _ := filepath.Glob(filepath.Join(without, snapshotDir, "*"))
	for _, path := range inside {
		os.RemoveAll(path)
	}
	err := refused(t, without, ErrDamaged)
	t.Log(err)
}

func TestNewerLayout(t *testing.T) {
	dir, _ := written(t)
	text := "crema data 4\nnode n1\nstate formed\n"
	text += sumLine(text)
	if err := os.WriteFile(filepath.Join(dir, metaFile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := refused(t, dir, store.ErrNewer); errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}

// The first start was interrupted before anything could be acknowledged.
func TestInterruptedFirstStart(t *testing.T) {
	dir := t.TempDir()
	d, err := openDir(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	d.close()
	if err := os.WriteFile(filepath.Join(dir, logFile), []byte("half a log"), 0o600); err != nil {
		t.Fatal(err)
	}
	n, st := open(t, Config{Dir: dir})
	mustSet(t, n, st, "k", "v")
	n.Close()
	_, st = open(t, Config{Dir: dir})
	wants(t, st, "k", "v")
}
