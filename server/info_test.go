package server_test

import (
	"slices"
	"strings"
	"testing"

	"crema/server"
)

// An INFO has every field that Redis 7.0's has, under the same section, so that
// whatever reads one reads the other. absentFields are about what we do not have.
func TestInfoHasRedisFields(t *testing.T) {
	oracle, crema := connect(t, startOracle(t)), connect(t, startCrema(t, nil))
	want, got := sections(oracle.do("INFO", "everything").frame.text), sections(crema.do("INFO", "everything").frame.text)
	for section, names := range want {
		if section == "Commandstats" || section == "Latencystats" || section == "Errorstats" {
			continue
		}
		for _, name := range names {
			if !slices.Contains(got[section], name) && !slices.Contains(absentFields, name) {
				t.Errorf("# %s has no %s", section, name)
			}
		}
	}
	plain := sections(crema.do("INFO").frame.text)
	if plain["Commandstats"] != nil || plain["Crema"] == nil || plain["Keyspace"] == nil {
		t.Errorf("a plain INFO has the sections %v", plain)
	}
	if some := sections(crema.do("INFO", "cluster", "SERVER").frame.text); len(some) != 2 {
		t.Errorf("INFO of two sections has %v", some)
	}
}

var absentFields = []string{
	"atomicvar_api", "gcc_version", "total_reads_processed", "total_writes_processed", "io_threaded_reads_processed",
	"io_threaded_writes_processed", "reply_buffer_shrinks", "reply_buffer_expands", "used_cpu_sys_main_thread", "used_cpu_user_main_thread",
}

// sections is the names of the fields of an INFO by section.
func sections(info string) map[string][]string {
	found := map[string][]string{}
	section := ""
	for _, line := range strings.Split(info, "\r\n") {
		if title, ok := strings.CutPrefix(line, "# "); ok {
			section = title
			found[section] = []string{}
		} else if name, _, ok := strings.Cut(line, ":"); ok {
			found[section] = append(found[section], name)
		}
	}
	return found
}

// INFO and what else counts in the shards is answered inside MULTI, where the
// connection holds shards itself.
func TestInfoInsideExec(t *testing.T) {
	c := connect(t, startCrema(t, nil))
	c.do("MULTI")
	queue := [][]string{{"SET", "a", "1"}, {"INFO"}, {"MEMORY", "STATS"}, {"MEMORY", "DOCTOR"}, {"CONFIG", "RESETSTAT"},
		{"CONFIG", "SET", "maxmemory", "0"}, {"CLIENT", "LIST"}, {"DBSIZE"}, {"DEBUG", "SET-ACTIVE-EXPIRE", "1"}, {"COMMAND"}}
	for _, words := range queue {
		c.wants(t, "QUEUED", words...)
	}
	if got := c.do("EXEC"); len(got.frame.elems) != len(queue) || got.failure != "" {
		t.Fatalf("EXEC answered %s", got.text())
	}
	c.wants(t, `"1"`, "GET", "a")
}

// A password is kept out of SLOWLOG.
func TestSlowlogKeepsNoSecrets(t *testing.T) {
	c := connect(t, serving(t, server.Config{RequirePass: "hunter1"}).Addr())
	c.do("AUTH", "hunter1")
	c.do("CONFIG", "SET", "slowlog-log-slower-than", "0", "requirepass", "hunter2")
	c.do("AUTH", "hunter2")
	c.do("AUTH", "default", "hunter2")
	c.do("HELLO", "3", "AUTH", "default", "hunter2")
	if log := c.do("SLOWLOG", "GET", "-1").frame.words(); strings.Contains(log, "hunter") || !strings.Contains(log, "requirepass") {
		t.Errorf("SLOWLOG holds\n%s", log)
	}
}
