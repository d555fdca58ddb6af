package server_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	rewrite = flag.Bool("rewrite", false, "write the oracle's replies into the conversations")
	against = flag.String("against", "", "talk to the server at this address instead of a crema of the test's own")
)

// Each file in testdata holds conversations about one family. Every one is
// held with a real redis-server and with crema, and both must answer the same
// bytes; what the file shows must be what was answered. Then all are held once
// more in RESP3, byte for byte as well.
func TestConversations(t *testing.T) {
	oracle := newTarget(t, "redis", startOracle(t))
	var targets []*target // compared with the oracle, one after the other
	if !*rewrite {
		targets = cremas(t)
	}
	reasons := readDifferences(t)
	used := map[string]bool{}

	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if filepath.Base(file) == "differences.txt" {
			continue
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tr, err := parseTranscript(file, text)
			if err != nil {
				t.Fatal(err)
			}
			for _, talk := range tr.talks {
				for _, s := range talk.steps {
					if id := s.rule.difference; id != "" {
						used[id] = true
						if reasons[id] == "" {
							t.Errorf("%s:%d: difference %q has no reason in differences.txt", file, s.line, id)
						}
					}
				}
				t.Run(talk.title, func(t *testing.T) { compare(t, file, talk, oracle, targets) })
			}
			if *rewrite {
				if printed := tr.print(); !bytes.Equal(printed, text) {
					if err := os.WriteFile(file, printed, 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
	for id := range reasons {
		if !used[id] && flag.Lookup("test.run").Value.String() == "" {
			t.Errorf("differences.txt: %s: no conversation shows it", id)
		}
	}
}

// compare holds one conversation with everybody. One that tells of time is held
// again if the replies differ: somebody may have stood still in the middle.
func compare(t *testing.T, file string, talk *conversation, oracle *target, targets []*target) {
	dead := func(tg *target) bool { return tg.dead != nil }
	for tries := 3; ; tries-- {
		wrong := differences(file, talk, oracle, targets)
		if len(wrong) > 0 && tries > 1 && talk.tellsOfTime() && !dead(oracle) && !slices.ContainsFunc(targets, dead) {
			t.Logf("held again:\n%s", strings.Join(wrong, "\n"))
			continue
		}
		for _, text := range wrong {
			t.Error(text)
		}
		return
	}
}

// tellsOfTime tells whether replies depend on how fast they come.
func (talk *conversation) tellsOfTime() bool {
	return slices.ContainsFunc(talk.steps, func(s *step) bool {
		return s.rule.approx > 0 || s.do == "wait" || s.do == "wait-until-expired"
	})
}

// differences is what was answered that should not have been.
func differences(file string, talk *conversation, oracle *target, targets []*target) (wrong []string) {
	differ := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	var fromOracle []outcome
	if !talk.cremaOnly {
		var err error
		if fromOracle, err = oracle.hold(talk, false); err != nil {
			differ("%v", err)
			return wrong
		}
		for i, s := range talk.steps[:len(fromOracle)] {
			if !s.speaks() {
				continue
			}
			shown := s.rule.show(fromOracle[i])
			if *rewrite {
				if !s.rule.near(shown, strings.Join(s.want, "\n")) {
					s.want = strings.Split(shown, "\n")
				}
			} else if !s.rule.near(shown, strings.Join(s.want, "\n")) {
				differ("%s:%d: %s\nredis answers\n%s\nbut the file says (go test -rewrite mends it)\n%s", file, s.line, s.text, shown, strings.Join(s.want, "\n"))
			}
		}
	}
	for _, crema := range targets {
		if crema.among && ofOneNode(file, talk) {
			continue
		}
		got, err := crema.hold(talk, false)
		for i, s := range talk.steps[:len(got)] {
			if !s.speaks() {
				continue
			}
			shown := s.rule.show(got[i])
			want := strings.Join(s.want, "\n")
			switch {
			case s.rule.difference != "" && !talk.cremaOnly:
				if declared := strings.Join(s.crema, "\n"); !s.rule.near(shown, declared) {
					differ("%s:%d: %s\n%s answers\n%s\nbut difference %s says\n%s", file, s.line, s.text, crema.name, shown, s.rule.difference, declared)
				} else if shown == want {
					differ("%s:%d: difference %s: there is none", file, s.line, s.rule.difference)
				}
			case talk.cremaOnly:
				if !s.rule.near(shown, want) {
					differ("%s:%d: %s\n%s answers\n%s\nwant\n%s", file, s.line, s.text, crema.name, shown, want)
				}
			case i < len(fromOracle):
				if text := s.rule.differ(fromOracle[i], got[i]); text != "" {
					differ("%s:%d: %s\n%s answers\n%s", file, s.line, s.text, crema.name, text)
				}
			}
		}
		if err != nil {
			differ("%s:%d: %v", file, talk.line, err)
			return wrong
		}
	}
	if *rewrite || talk.cremaOnly || talk.resp2Only || len(talk.resp3) > 0 || len(wrong) > 0 {
		return wrong
	}
	fromOracle, err := oracle.hold(talk, true)
	if err != nil {
		differ("RESP3: %v", err)
		return wrong
	}
	for _, crema := range targets {
		if crema.among && ofOneNode(file, talk) {
			continue
		}
		got, err := crema.hold(talk, true)
		for i, s := range talk.steps[:min(len(got), len(fromOracle))] {
			if !s.speaks() || s.rule.difference != "" {
				continue
			}
			if text := s.rule.differ(fromOracle[i], got[i]); text != "" {
				differ("%s:%d: %s\nin RESP3 %s answers\n%s", file, s.line, s.text, crema.name, text)
			}
		}
		if err != nil {
			differ("%s:%d: in RESP3: %v", file, talk.line, err)
			return wrong
		}
	}
	return wrong
}

// speaks tells whether a reply belongs to the step.
func (s *step) speaks() bool {
	return strings.ContainsAny(s.do, "<>") && !s.rule.noReply
}

// exact tells whether every byte counts.
func (r rule) exact() bool {
	return r.elems == nil && !r.sorted && !r.shape && !r.masked && !r.fields && r.has == nil && r.approx == 0
}

// differ is empty if two replies agree as far as they count.
func (r rule) differ(want, got outcome) string {
	if len(r.elems) > 0 && len(r.elems) == len(want.frame.elems) && len(r.elems) == len(got.frame.elems) {
		for i, elem := range r.elems {
			if text := elem.differ(outcome{frame: want.frame.elems[i]}, outcome{frame: got.frame.elems[i]}); text != "" {
				return fmt.Sprintf("element %d: %s", i+1, text)
			}
		}
		return ""
	}
	a, b := r.show(want), r.show(got)
	if !r.near(b, a) {
		return b + "\nwant\n" + a
	}
	if r.exact() && want.failure == "" && !bytes.Equal(want.raw, got.raw) {
		return fmt.Sprintf("%q\nwant\n%q", got.raw, want.raw)
	}
	return ""
}

// show renders what counts of a reply.
func (r rule) show(o outcome) string {
	if o.failure != "" {
		return o.failure
	}
	f := o.frame
	if f.kind == '-' {
		return f.render()
	}
	if r.masked {
		f = f.masked()
	}
	if r.sorted {
		f = f.sorted()
	}
	if r.shape {
		f = f.shape()
	}
	if r.has != nil {
		return "(with) " + strings.Join(having(f.words(), r.has), " ")
	}
	if r.fields {
		return "(fields) " + strings.Join(fieldNames(f.words()), " ")
	}
	return f.render()
}

// having lists those of the wanted words that open a field of text.
func having(text string, wanted []string) []string {
	var found []string
	fields := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' || r == ' ' })
	for _, w := range wanted {
		if slices.ContainsFunc(fields, func(f string) bool {
			return f == w || strings.HasPrefix(f, w) && strings.ContainsRune(":=,", rune(f[len(w)]))
		}) {
			found = append(found, w)
		}
	}
	return found
}

// fieldNames lists the names in "name=value name=value" or "name:value" lines.
func fieldNames(text string) []string {
	var names []string
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			names = append(names, strings.ReplaceAll(line, " ", ""))
		} else if name, _, ok := strings.Cut(line, ":"); ok && !strings.Contains(name, "=") {
			names = append(names, name)
		} else {
			for _, word := range strings.Fields(line) {
				name, _, _ := strings.Cut(word, "=")
				names = append(names, name)
			}
		}
	}
	return names
}

var integers = regexp.MustCompile(`-?\d+`)

// near compares two renderings, whose integers may be r.approx apart.
func (r rule) near(a, b string) bool {
	if a == b || r.approx == 0 {
		return a == b
	}
	as, bs := integers.FindAllString(a, -1), integers.FindAllString(b, -1)
	if len(as) != len(bs) || integers.ReplaceAllString(a, "#") != integers.ReplaceAllString(b, "#") {
		return false
	}
	for i := range as {
		x, _ := strconv.ParseInt(as[i], 10, 64)
		y, _ := strconv.ParseInt(bs[i], 10, 64)
		if x-y > r.approx || y-x > r.approx || (x < 0) != (y < 0) {
			return false
		}
	}
	return true
}

// readDifferences reads the places where crema differs from Redis on purpose:
// a name, a colon and the reason on each line.
func readDifferences(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("testdata/differences.txt")
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]string{}
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, reason, ok := strings.Cut(line, ": ")
		if !ok || reasons[id] != "" {
			t.Fatalf("differences.txt:%d: not a new \"name: reason\": %q", i+1, line)
		}
		reasons[id] = reason
	}
	return reasons
}

// cremas are the servers under test.
func cremas(t testing.TB) []*target {
	t.Helper()
	if *against != "" {
		return []*target{newTarget(t, *against, *against)}
	}
	follower := newTarget(t, "a follower of three", startGroup(t, 3, talkative).members[1].srv.Addr())
	follower.among = true
	return []*target{
		newTarget(t, "crema", startCrema(t, nil)),
		newTarget(t, "a durable crema", startCrema(t, durable(t.TempDir()))),
		follower,
	}
}

// oneNode is the conversations that cannot be held with any node of several: what
// they are about concerns the node alone, or reaches it later than a reply. A
// file stands for all of its.
var oneNode = map[string]string{
	"keyspace-events": "events come from the leader, behind its replies",
	"tracking":        "invalidations come from the leader, behind its replies; NOLOOP and undeclared keys of scripts are not known elsewhere",

	"A memory limit that is reached":        "it is the leader that refuses, at EXEC and not before",
	"READONLY and READWRITE":                "they mean something",
	"HELLO in MULTI":                        "the protocol changes behind EXEC",
	"The keyspace":                          "INFO tells of this node",
	"Hits, misses and what else is counted": "INFO tells of this node",
	"Expired keys are counted":              "INFO tells of this node",
	"Transactions and scripts":              "what is said inside scripts is shown on the leader alone",
	"The same without the wrong one":        "WAIT finds others",
}

func ofOneNode(file string, talk *conversation) bool {
	_, whole := oneNode[strings.TrimSuffix(filepath.Base(file), ".txt")]
	_, one := oneNode[talk.title]
	return whole || one
}
