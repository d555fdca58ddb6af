package store

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestSweeperIsPrompt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type gone struct {
			key string
			at  time.Time
		}
		events := make(chan gone, 1000)
		s := newStore(t, Config{Commit: telling(func(all []Event) {
			for _, e := range all {
				if e.Name != "expired" || e.DB != 3 || e.Class != ClassExpired {
					t.Errorf("event %+v", e)
				}
				events <- gone{string(e.Key), time.Now()}
			}
		})})
		s.WantEvents(ClassExpired)
		now := s.now()
		due := map[string]int64{}
		do(t, s, func(tx *Tx) {
			tx.Select(3)
			for i := range 300 {
				k := fmt.Sprint("k", i)
				due[k] = now + 30 + int64(i%7)*15
				tx.Put([]byte(k), Put{Deadline: due[k]})
			}
			tx.Put([]byte("moved"), Put{Deadline: now + 40})
			tx.Expire([]byte("moved"), now+200, false)
			tx.Put([]byte("kept"), Put{Deadline: now + 40})
			tx.Expire([]byte("kept"), 0, true)
			due["moved"] = now + 200
		})
		var latest time.Duration
		for len(due) > 0 {
			select {
			case e := <-events:
				late := e.at.Sub(time.UnixMilli(due[e.key]))
				if due[e.key] == 0 || late < time.Millisecond {
					t.Errorf("%s expired %v after its deadline", e.key, late)
				}
				latest = max(latest, late)
				delete(due, e.key)
			case <-time.After(10 * time.Second):
				t.Fatalf("%d keys never expired", len(due))
			}
		}
		t.Logf("the latest was %v late", latest)
		if latest > 10*time.Millisecond {
			t.Errorf("a key expired %v late", latest)
		}
		st := s.Stats()
		if st.Expired != 301 || st.DBs[3].Keys != 1 || st.DBs[3].Expires != 0 {
			t.Errorf("expired %d, left %+v", st.Expired, st.DBs[3])
		}
		check(t, s)
	})
}

// An earlier deadline than the one the sweeper sleeps for wakes it.
func TestSweeperWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := make(chan string, 10)
		s := newStore(t, Config{Commit: telling(func(all []Event) { events <- string(all[0].Key) })})
		s.WantEvents(ClassExpired)
		now := s.now()
		put(t, s, "late", "", now+60_000)
		synctest.Wait() // until it sleeps
		begun := time.Now()
		put(t, s, "early", "", s.now()+20)
		if k := <-events; k != "early" {
			t.Errorf("%s expired", k)
		}
		if d := time.Since(begun); d > 30*time.Millisecond {
			t.Errorf("early expired after %v", d)
		}
	})
}

func TestSweeperPassesLatchesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := make(chan string, 10)
		s := newStore(t, Config{Commit: telling(func(all []Event) { events <- string(all[0].Key) })})
		s.WantEvents(ClassExpired)
		other := "b"
		for s.ShardOf([]byte(other)) == s.ShardOf([]byte("a")) {
			other += "b"
		}
		now := s.now()
		put(t, s, "a", "", now+10)
		put(t, s, other, "", now+30)
		var script Tx
		if err := script.Begin(s, now, 0, Scope{Shards: s.ShardOf([]byte("a")), Latch: true}); err != nil {
			t.Fatal(err)
		}
		if k := <-events; k != other {
			t.Fatalf("%s expired while its shard was latched", k)
		}
		if _, ok := script.Get([]byte("a")); !ok {
			t.Error("a script's clock stands still, and yet a key expired")
		}
		script.End()
		if k := <-events; k != "a" {
			t.Errorf("%s expired", k)
		}
	})
}

func TestActiveExpireOff(t *testing.T) {
	clk := newClock()
	s := newStore(t, clk.config())
	s.SetActiveExpire(false)
	put(t, s, "k", "v", clk.in(5))
	clk.pass(5)
	if _, ok := get(t, s, "k"); !ok {
		t.Error("a key lives through the millisecond of its deadline")
	}
	clk.pass(1)
	// As a pass does that began before it was switched off.
	if _, err := (&sweeper{s: s}).sweep(func() bool { return false }); err != nil || s.Stats().Expired != 0 {
		t.Errorf("a pass went on: %v", err)
	}
	if _, ok := get(t, s, "k"); ok {
		t.Error("what has expired was served")
	}
	do(t, s, func(tx *Tx) {
		if n := tx.Len(); n != 0 {
			t.Errorf("Len counts %d", n)
		}
		if tx.Delete([]byte("k")) {
			t.Error("what has expired was deleted as if it lived")
		}
	})
	if st := s.Stats(); st.Expired != 1 || st.UsedBytes != 0 {
		t.Errorf("%+v", st)
	}
	check(t, s)
}

// telling is a Commit that applies at once and passes the events on.
func telling(tell func([]Event)) func(*Tx) *Pending {
	return func(tx *Tx) *Pending {
		tx.s.Apply(tx.Effects())
		if events := tx.Events(); len(events) > 0 {
			tell(events)
		}
		return nil
	}
}
