package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// model is the store as one would write it with nothing to gain.
type model struct {
	now int64
	dbs [NumDBs]map[string]modelEntry
}

type modelEntry struct {
	value    string
	deadline int64
	pinned   bool
}

func newModel(now int64) *model {
	m := &model{now: now}
	for i := range m.dbs {
		m.dbs[i] = map[string]modelEntry{}
	}
	return m
}

func (m *model) get(db int, k string) (modelEntry, bool) {
	e, ok := m.dbs[db][k]
	return e, ok && !expired(e.deadline, m.now)
}

func (m *model) live(db int) []string {
	var keys []string
	for k := range m.dbs[db] {
		if _, ok := m.get(db, k); ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

func (m *model) copy() *model {
	c := &model{now: m.now}
	for i := range m.dbs {
		c.dbs[i] = maps.Clone(m.dbs[i])
	}
	return c
}

// Random transactions of random length, some discarded, some latched, against
// the model; every read within them is compared, the store is checked after each.
func TestModel(t *testing.T) {
	seeds := []uint64{1, 2, 3, rand.Uint64()}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { runModel(t, seed) })
	}
}

func runModel(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	clk := newClock()
	s := newStore(t, clk.config())
	s.SetActiveExpire(false) // the clock stands still; sweep is called by hand
	m := newModel(clk.ms.Load())
	var tx Tx
	for step := range 1500 {
		if rng.IntN(10) == 0 {
			clk.pass(int64(rng.IntN(30)))
		}
		m.now = clk.ms.Load()
		after := m.copy()
		sc := Scope{Shards: AllShards, Latch: rng.IntN(4) == 0, PinAll: rng.IntN(6) == 0}
		if err := tx.Begin(s, m.now, rng.IntN(2), sc); err != nil {
			t.Fatal(err)
		}
		n := 1 + rng.IntN(4)
		if rng.IntN(8) == 0 {
			n = 60
		}
		for range n {
			modelStep(t, rng, &tx, after, sc.PinAll)
		}
		compare(t, &tx, after)
		if rng.IntN(6) != 0 {
			s.Apply(tx.Effects())
			m = after
			if rng.IntN(3) == 0 {
				s.Apply(effectsWithoutSwaps(tx.Effects())) // absolute: twice is once
			}
			if rng.IntN(3) == 0 {
				tx.Discard()
				compare(t, &tx, m)
			}
		}
		tx.End()
		if rng.IntN(20) == 0 {
			sweepNow(t, s)
		}
		if step%5 == 0 || n > 10 {
			check(t, s)
		}
		if t.Failed() {
			t.Fatalf("seed %d, step %d", seed, step)
		}
	}
}

// effectsWithoutSwaps is nothing when there is a swap: what follows it does not
// apply twice.
func effectsWithoutSwaps(all []Effect) []Effect {
	if len(all) > 0 && all[0].Op == OpSwap {
		return nil
	}
	return all
}

func sweepNow(t *testing.T, s *Store) {
	t.Helper()
	w := sweeper{s: s}
	if _, err := w.sweep(func() bool { return true }); err != nil {
		t.Fatal(err)
	}
}

func modelStep(t *testing.T, rng *rand.Rand, tx *Tx, m *model, pinAll bool) {
	db := tx.DB()
	k := fmt.Sprint("k", rng.IntN(40))
	key := []byte(k)
	old, live := m.get(db, k)
	deadline := int64(0)
	if rng.IntN(2) == 0 {
		deadline = m.now + int64(rng.IntN(40))
	}
	switch rng.IntN(14) {
	case 0, 1, 2, 3:
		v := fmt.Sprint(rng.IntN(1 << (1 + rng.IntN(40))))
		sure := rng.IntN(4) == 0
		tx.Put(key, Put{Value: []byte(v), Deadline: deadline, Sure: sure})
		m.dbs[db][k] = modelEntry{v, deadline, live && old.pinned || sure || pinAll || deadline == 0}
	case 4, 5:
		if got := tx.Delete(key); got != live {
			t.Errorf("Delete %s: %v, want %v", k, got, live)
		}
		delete(m.dbs[db], k)
	case 6, 7:
		if live {
			sure := deadline == 0
			tx.Expire(key, deadline, sure)
			m.dbs[db][k] = modelEntry{old.value, deadline, old.pinned || sure || pinAll}
		}
	case 8:
		to := rng.IntN(3)
		tx.PutIn(to, key, Put{Value: []byte("in"), Deadline: deadline})
		was, ok := m.get(to, k)
		m.dbs[to][k] = modelEntry{"in", deadline, ok && was.pinned || pinAll || deadline == 0}
	case 9:
		tx.Select(rng.IntN(3))
	case 10:
		if rng.IntN(10) == 0 {
			d := rng.IntN(4) - 1
			tx.Flush(d)
			for i := range m.dbs {
				if d < 0 || d == i {
					m.dbs[i] = map[string]modelEntry{}
				}
			}
		}
	case 11:
		if rng.IntN(4) == 0 {
			a, b := rng.IntN(3), rng.IntN(3)
			tx.Swap(a, b)
			m.dbs[a], m.dbs[b] = m.dbs[b], m.dbs[a]
		}
	default:
		e, ok := tx.Get(key)
		if ok != live || string(e.Value) != old.value && live || live && (e.Deadline != old.deadline || e.Pinned != old.pinned) {
			t.Errorf("Get %s: %+v %v, want %+v %v", k, e, ok, old, live)
		}
	}
}

// compare looks at every database as tx sees it, in every way there is.
func compare(t *testing.T, tx *Tx, m *model) {
	t.Helper()
	was := tx.DB()
	defer tx.Select(was)
	for db := range 3 {
		tx.Select(db)
		want := m.live(db)
		if n := tx.Len(); n != len(want) {
			t.Errorf("db %d: Len %d, want %d", db, n, len(want))
		}
		var each, scan []string
		tx.Each(func(k []byte, e Entry) bool {
			each = append(each, string(k))
			if w, _ := m.get(db, string(k)); w.value != string(e.Value) || w.deadline != e.Deadline || w.pinned != e.Pinned {
				t.Errorf("db %d: Each shows %s %+v, want %+v", db, k, e, w)
			}
			return true
		})
		for cursor, first := uint64(0), true; first || cursor != 0; first = false {
			cursor = tx.Scan(cursor, 7, func(k []byte, _ Entry) { scan = append(scan, string(k)) })
		}
		slices.Sort(each)
		slices.Sort(scan)
		if !slices.Equal(each, want) || !slices.Equal(slices.Compact(scan), want) {
			t.Errorf("db %d: Each %v, Scan %v, want %v", db, each, scan, want)
		}
		if k, ok := tx.RandomKey(); ok != (len(want) > 0) || ok && !slices.Contains(want, string(k)) {
			t.Errorf("db %d: RandomKey %s %v of %v", db, k, ok, want)
		}
	}
}
