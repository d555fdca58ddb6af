package check

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRegister(t *testing.T) {
	for _, c := range []struct {
		name    string
		cached  bool
		want    Verdict
		history []Op
	}{
		{"reads what was written", false, Right, []Op{
			{Kind: Set, Value: "a", Call: 1, Return: 2},
			{Kind: Get, Got: "a", Call: 3, Return: 4}}},
		{"a stale read", false, Wrong, []Op{
			{Kind: Set, Value: "a", Call: 1, Return: 2},
			{Kind: Set, Value: "b", Call: 3, Return: 4},
			{Kind: Get, Got: "a", Call: 5, Return: 6}}},
		{"an acknowledged write is lost", false, Wrong, []Op{
			{Kind: Set, Value: "a", Call: 1, Return: 2},
			{Kind: Get, Call: 3, Return: 4}}},
		{"a cached key is forgotten", true, Right, []Op{
			{Kind: Set, Value: "a", Call: 1, Return: 2},
			{Kind: Get, Call: 3, Return: 4},
			{Kind: Delete, Call: 5, Return: 6}}},
		{"a cached key comes back", true, Wrong, []Op{
			{Kind: Set, Value: "a", Call: 1, Return: 2},
			{Kind: Get, Call: 3, Return: 4},
			{Kind: Get, Got: "a", Call: 5, Return: 6}}},
		{"a cached key is stale after a delete", true, Wrong, []Op{
			{Kind: Set, Value: "a", Call: 1, Return: 2},
			{Kind: Delete, Did: true, Call: 3, Return: 4},
			{Kind: Get, Got: "a", Call: 5, Return: 6}}},
		{"in doubt and late", false, Right, []Op{
			{Kind: Set, Value: "a", InDoubt: true, Call: 1, Return: 2},
			{Kind: Get, Call: 3, Return: 4},
			{Kind: Get, Got: "a", Call: 5, Return: 6}}},
		{"in doubt and twice", false, Wrong, []Op{
			{Kind: Set, Value: "a", InDoubt: true, Call: 1, Return: 2},
			{Kind: Get, Got: "a", Call: 3, Return: 4},
			{Kind: Delete, Did: true, Call: 5, Return: 6},
			{Kind: Get, Got: "a", Call: 7, Return: 8}}},
		{"not done", false, Right, []Op{
			{Kind: Set, Value: "a", NotDone: "CLUSTERDOWN", Call: 1, Return: 2},
			{Kind: Get, Call: 3, Return: 4}}},
		{"done although it was not", false, Wrong, []Op{
			{Kind: Set, Value: "a", NotDone: "CLUSTERDOWN", Call: 1, Return: 2},
			{Kind: Get, Got: "a", Call: 3, Return: 4}}},
		{"set twice if absent", false, Wrong, []Op{
			{Kind: SetNX, Value: "a", Did: true, Call: 1, Return: 4},
			{Kind: SetNX, Value: "b", Did: true, Call: 2, Return: 3}}},
		{"a swap from what was not there", false, Wrong, []Op{
			{Kind: Set, Value: "a", Call: 1, Return: 2},
			{Kind: Set, Value: "b", Call: 3, Return: 4},
			{Kind: Swap, Old: "a", Value: "c", Did: true, Call: 5, Return: 6}}},
		{"two swaps from one value", false, Wrong, []Op{
			{Kind: Set, Value: "a", Call: 1, Return: 2},
			{Kind: Swap, Old: "a", Value: "b", Did: true, Call: 3, Return: 6},
			{Kind: Swap, Old: "a", Value: "c", Did: true, Call: 4, Return: 7}}},
		{"an exchange that missed a write", false, Wrong, []Op{
			{Kind: Set, Value: "a", Call: 1, Return: 2},
			{Kind: Exchange, Value: "b", Call: 3, Return: 4}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Register(c.history, c.cached, time.Second); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	refused := Op{Kind: Set, Value: "b", NotDone: "CLUSTERDOWN", Call: 3, Return: 4}
	read := Op{Kind: Get, Got: "b", Call: 5, Return: 6}
	got := Explain([]Op{{Kind: Set, Value: "a", Call: 1, Return: 2}, refused, read}, false)
	if !strings.Contains(got, `with the answer of [0.0–0.0 ms at : get   → "b"`) || !strings.Contains(got, "done, unlike it was said") {
		t.Errorf("a write that was done after all: %s", got)
	}
	got = Explain([]Op{
		{Kind: Set, Value: "a", Call: 1, Return: 4},
		{Kind: Set, Value: "b", Call: 5, Return: 6},
		{Kind: Get, Got: "a", Call: 7, Return: 8}}, false)
	if !strings.Contains(got, "done twice: [0.0–0.0 ms at : set  a") {
		t.Errorf("a write that was done twice: %s", got)
	}
}

func TestLocks(t *testing.T) {
	for _, c := range []struct {
		name string
		want int
		held []Grant
	}{
		{"one after the other", 0, []Grant{
			{Sent: 1, Granted: 2, Until: 10, Released: 5},
			{Sent: 4, Granted: 6, Until: 14}}},
		{"two at once", 1, []Grant{
			{Sent: 1, Granted: 2, Until: 10},
			{Sent: 3, Granted: 4, Until: 13, Released: 6}}},
		{"granted before the TTL was over, told late", 1, []Grant{
			{Sent: 6, Granted: 9, Until: 20},
			{Sent: 1, Granted: 2, Until: 10}}},
		{"after the TTL", 0, []Grant{
			{Sent: 1, Granted: 2, Until: 10},
			{Sent: 9, Granted: 10, Until: 20}}},
		{"a grant that arrived when it was over", 0, []Grant{
			{Sent: 1, Granted: 12, Until: 10},
			{Sent: 9, Granted: 11, Until: 20}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			judge := NewJudge(t.TempDir(), t.Logf)
			locks := NewLocks(judge)
			for _, g := range c.held {
				g.Lock = "l"
				locks.Add(g)
			}
			if judge.Found() != c.want {
				t.Errorf("found %d, want %d", judge.Found(), c.want)
			}
		})
	}
	judge := NewJudge(t.TempDir(), t.Logf)
	locks := NewLocks(judge)
	locks.Add(Grant{Lock: "a", Granted: 1, Until: 9})
	locks.Add(Grant{Lock: "b", Granted: 1, Until: 9})
	locks.Forget(10)
	locks.Add(Grant{Lock: "a", Granted: 2, Until: 9})
	if judge.Found() != 0 {
		t.Error("other locks and forgotten grants do not count")
	}
}

func TestCounter(t *testing.T) {
	three := []Increment{{Value: 1, Call: 1, Return: 2}, {Value: 2, Call: 1, Return: 3}, {InDoubt: true, Call: 3}}
	for _, c := range []struct {
		name       string
		increments []Increment
		final      int64
		wrong      bool
	}{
		{"not done", three, 2, false},
		{"done", three, 3, false},
		{"lost", three, 1, true},
		{"done twice", three, 4, true},
		{"one value twice", []Increment{{Value: 1, Call: 1, Return: 2}, {Value: 1, Call: 3, Return: 4}}, 2, true},
		{"back in time", []Increment{{Value: 2, Call: 1, Return: 2}, {Value: 1, Call: 3, Return: 4}}, 2, true},
		{"more than there is", []Increment{{Value: 3, Call: 1, Return: 2}, {InDoubt: true}}, 2, true},
	} {
		if got := Counter(c.increments, c.final); (got != "") != c.wrong {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

func TestClaims(t *testing.T) {
	c := Claim{Key: "k", Tried: []string{"a", "b"}}
	if c.Read("") != "" || c.Granted("a") != "" || c.Read("a") != "" {
		t.Error("a claim that was granted and is there")
	}
	if c.Granted("b") == "" || c.Read("") == "" || c.Read("b") == "" {
		t.Error("granted twice, lost, changed")
	}
	c = Claim{Key: "k", Tried: []string{"a"}, Refused: true}
	if c.Read("") == "" || c.Read("x") == "" {
		t.Error("refused and absent, or from nobody")
	}
	if c.Read("a") != "" || c.Owner != "a" || c.Read("") == "" {
		t.Error("a claim in doubt is settled by the first read of it")
	}
}

func TestClaimWithTTL(t *testing.T) {
	c := Claim{Expires: 10}
	if !c.Binding(9) || c.Binding(10) || !(&Claim{}).Binding(Never-1) {
		t.Error("binding until it expires, or for ever")
	}
}

func TestMessages(t *testing.T) {
	m := NewMessages()
	if m.Hear("p", 1) != "" || m.Hear("p", 3) != "" || m.Hear("q", 1) != "" {
		t.Error("gaps and other publishers are allowed")
	}
	if m.Hear("p", 3) == "" || m.Hear("p", 2) == "" {
		t.Error("twice, or late")
	}
}

func TestEvidence(t *testing.T) {
	dir := t.TempDir()
	judge := NewJudge(dir, t.Logf)
	judge.Report("registers", "wrong", []Op{{Kind: Get}})
	select {
	case <-judge.First():
	default:
		t.Error("nobody was told")
	}
	if _, err := os.Stat(filepath.Join(dir, "violation-registers-01.json")); err != nil {
		t.Error(err)
	}
}
