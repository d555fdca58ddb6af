package server

import (
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"crema/resp"
	"crema/store"
)

// param is one parameter of CONFIG. Its names and the spelling of its values
// are Redis's.
type param struct {
	name string
	get  func(s *Server, set *settings) string
	set  func(set *settings, value string) (reason string) // "" if it worked; nil: can't be changed
}

// params is every parameter there is. Those that cannot be changed and have
// one value only are what clients ask for to learn what they talk to.
var params = []param{
	numberParam("busy-reply-threshold", 0, math.MaxInt64, func(set *settings) number { return millis{&set.busyAfter} }),
	fixedParam("bind", func(s *Server) string { return strings.Join(s.cfg.Bind, " ") }),
	fixedParam("cache", func(s *Server) string { return strings.Join(s.cfg.Cache, " ") }),
	{"client-output-buffer-limit",
		func(_ *Server, set *settings) string { return set.outboxLimits() },
		func(set *settings, value string) string { return set.setOutboxLimits(value) }},
	bytesParam("client-query-buffer-limit", 1<<20, func(set *settings) *int64 { return &set.limits.MaxQueryBytes }),
	fixedParam("cluster-enabled", func(*Server) string { return "no" }),
	fixedParam("databases", func(*Server) string { return strconv.Itoa(store.NumDBs) }),
	{"appendonly", func(*Server, *settings) string { return "no" }, onlyParam("no")},
	{"enable-debug-command", func(_ *Server, set *settings) string { return set.debugCommand }, nil},
	fixedParam("http-port", func(s *Server) string { return strconv.Itoa(max(s.cfg.HTTPPort, 0)) }),
	fixedParam("http-tls-port", func(s *Server) string { return strconv.Itoa(max(s.cfg.HTTPTLSPort, 0)) }),
	boolParam("latency-tracking", func(set *settings) *bool { return &set.latencyTrack }),
	numberParam("latency-monitor-threshold", 0, math.MaxInt64, func(set *settings) number { return millis{&set.latencyAfter} }),
	{"loglevel", func(_ *Server, set *settings) string { return redisLogLevel(set.logLevel) }, setLogLevel},
	numberParam("lua-time-limit", 0, math.MaxInt64, func(set *settings) number { return millis{&set.busyAfter} }),
	numberParam("maxclients", 1, math.MaxUint32, func(set *settings) number { return count{&set.maxClients} }),
	bytesParam("maxmemory", 0, func(set *settings) *int64 { return &set.maxMemory }),
	{"maxmemory-policy", func(_ *Server, set *settings) string { return set.policy.String() }, setPolicy},
	{"notify-keyspace-events", func(_ *Server, set *settings) string { return eventLetters(set.events) }, setEvents},
	fixedParam("pin", func(s *Server) string { return strings.Join(s.cfg.Pin, " ") }),
	fixedParam("port", func(s *Server) string { return strconv.Itoa(max(s.cfg.Port, 0)) }),
	boolParam("protected-mode", func(set *settings) *bool { return &set.protected }),
	bytesParam("proto-max-bulk-len", 1<<20, func(set *settings) *int64 { return &set.limits.MaxBulkBytes }),
	fixedParam("replica-read-only", func(*Server) string { return "yes" }),
	{"requirepass",
		func(_ *Server, set *settings) string { return set.requirepass },
		func(set *settings, value string) string { set.requirepass = value; return "" }},
	{"save", func(*Server, *settings) string { return "" }, onlyParam("")},
	fixedParam("slave-read-only", func(*Server) string { return "yes" }),
	numberParam("slowlog-log-slower-than", -1, math.MaxInt64, func(set *settings) number { return micros{&set.slowlogAfter} }),
	numberParam("slowlog-max-len", 0, math.MaxInt64, func(set *settings) number { return count{&set.slowlogMaxLen} }),
	numberParam("tcp-keepalive", 0, math.MaxInt32, func(set *settings) number { return seconds{&set.tcpKeepalive} }),
	numberParam("timeout", 0, math.MaxInt32, func(set *settings) number { return seconds{&set.timeout} }),
	fixedParam("tls-port", func(s *Server) string { return strconv.Itoa(max(s.cfg.TLSPort, 0)) }),
	numberParam("tracking-table-max-keys", 0, math.MaxInt64/itemsPerKey, func(set *settings) number { return count{&set.trackingMaxKeys} }),
	fixedParam("unixsocket", func(s *Server) string { return s.cfg.UnixSocket }),
}

// fixedParam was decided when the server started.
func fixedParam(name string, get func(*Server) string) param {
	return param{name, func(s *Server, _ *settings) string { return get(s) }, nil}
}

// onlyParam accepts the one value that is true.
func onlyParam(value string) func(*settings, string) string {
	return func(_ *settings, wanted string) string {
		if wanted != value {
			return "this server saves nothing to files of its own"
		}
		return ""
	}
}

func boolParam(name string, at func(*settings) *bool) param {
	return param{name,
		func(_ *Server, set *settings) string {
			if *at(set) {
				return "yes"
			}
			return "no"
		},
		func(set *settings, value string) string {
			yes := strings.EqualFold(value, "yes")
			if !yes && !strings.EqualFold(value, "no") {
				return "argument must be 'yes' or 'no'"
			}
			*at(set) = yes
			return ""
		}}
}

func bytesParam(name string, least int64, at func(*settings) *int64) param {
	return param{name,
		func(_ *Server, set *settings) string { return strconv.FormatInt(*at(set), 10) },
		func(set *settings, value string) string {
			n, err := ParseBytes(value)
			if err != nil && value != "" { // which Redis reads as 0
				return "argument must be a memory value"
			}
			if n < least {
				return outOfRange(least, math.MaxInt64)
			}
			*at(set) = n
			return ""
		}}
}

// number is a setting that is written as an integer.
type number interface {
	load() int64
	store(n int64)
}

type (
	count   struct{ at *int }
	seconds struct{ at *time.Duration }
	millis  struct{ at *time.Duration }
	micros  struct{ at *time.Duration }
)

func (n count) load() int64   { return int64(*n.at) }
func (n seconds) load() int64 { return int64(*n.at / time.Second) }
func (n millis) load() int64  { return int64(*n.at / time.Millisecond) }
func (n micros) load() int64  { return int64(*n.at / time.Microsecond) }

func (n count) store(v int64)   { *n.at = int(v) }
func (n seconds) store(v int64) { *n.at = times(v, time.Second) }
func (n millis) store(v int64)  { *n.at = times(v, time.Millisecond) }
func (n micros) store(v int64)  { *n.at = times(v, time.Microsecond) }

// times is n units, or the longest time there is.
func times(n int64, unit time.Duration) time.Duration {
	if n > math.MaxInt64/int64(unit) {
		return math.MaxInt64
	}
	return time.Duration(n) * unit
}

func numberParam(name string, least, most int64, at func(*settings) number) param {
	return param{name,
		func(_ *Server, set *settings) string { return strconv.FormatInt(at(set).load(), 10) },
		func(set *settings, value string) string {
			n, ok := resp.ParseInt([]byte(value))
			if !ok {
				return "argument couldn't be parsed into an integer"
			}
			if n < least || n > most {
				return outOfRange(least, most)
			}
			at(set).store(n)
			return ""
		}}
}

func outOfRange(least, most int64) string {
	return fmt.Sprintf("argument must be between %d and %d inclusive", least, most)
}

func oneOf(names string) string { return "argument(s) must be one of the following: " + names }

func setPolicy(set *settings, value string) string {
	p, err := store.ParsePolicy(value)
	if err != nil {
		return oneOf("volatile-lfu, allkeys-lfu, noeviction")
	}
	set.policy = p
	return ""
}

// The log's levels, by Redis's names and by the flag's.
var logLevels = []struct {
	name, flag string
	level      slog.Level
}{
	{"debug", "debug", slog.LevelDebug},
	{"verbose", "", slog.LevelDebug + 2},
	{"notice", "info", slog.LevelInfo},
	{"warning", "warn", slog.LevelWarn},
	{"", "error", slog.LevelError},
}

// ParseLogLevel reads a level by Redis's name or by the flag's.
func ParseLogLevel(name string) (slog.Level, error) {
	for _, l := range logLevels {
		if name != "" && (strings.EqualFold(name, l.name) || strings.EqualFold(name, l.flag)) {
			return l.level, nil
		}
	}
	return 0, fmt.Errorf("loglevel must be debug, info, warn or error, not %q", name)
}

// slogLevel is a level that has been read before.
func slogLevel(name string) slog.Level {
	level, _ := ParseLogLevel(name)
	return level
}

// redisLogLevel is what CONFIG GET calls a level.
func redisLogLevel(name string) string {
	for _, l := range logLevels {
		if l.flag == name && l.name != "" {
			return l.name
		}
	}
	return name
}

func setLogLevel(set *settings, value string) string {
	for _, l := range logLevels {
		if l.name != "" && strings.EqualFold(value, l.name) {
			set.logLevel = l.name
			return ""
		}
	}
	return oneOf("debug, verbose, notice, warning")
}

// outboxLimits is client-output-buffer-limit as CONFIG GET shows it.
func (set *settings) outboxLimits() string {
	show := func(l outboxLimit) string { return fmt.Sprintf("%d %d %d", l.hard, l.soft, l.seconds) }
	return "normal " + show(set.outboxNormal) + " slave " + show(set.outboxReplica) + " pubsub " + show(set.outboxPubsub)
}

// setOutboxLimits reads "class hard soft seconds", for as many classes as are
// given. It changes nothing unless all of them are right.
func (set *settings) setOutboxLimits(text string) (reason string) {
	words := strings.Fields(text)
	if len(words)%4 != 0 {
		return "Wrong number of arguments in buffer limit configuration."
	}
	next := *set
	for ; len(words) > 0; words = words[4:] {
		var class *outboxLimit
		switch strings.ToLower(words[0]) {
		case "normal":
			class = &next.outboxNormal
		case "slave", "replica":
			class = &next.outboxReplica
		case "pubsub":
			class = &next.outboxPubsub
		default:
			return "Invalid client class specified in buffer limit configuration."
		}
		hard, badHard := ParseBytes(words[1])
		soft, badSoft := ParseBytes(words[2])
		secs, badSecs := strconv.ParseInt(words[3], 10, 32)
		if badHard != nil || badSoft != nil || badSecs != nil || secs < 0 {
			return "Error in hard, soft or soft_seconds setting in buffer limit configuration."
		}
		*class = outboxLimit{hard, soft, int(secs)}
	}
	*set = next
	return ""
}

// eventModule is the letter d. No module is there to send its events; the
// letter is kept because A stands for it too.
const eventModule store.EventClass = 1 << 29

// eventClasses are the letters of notify-keyspace-events in the order in which
// CONFIG GET shows them.
var eventClasses = []struct {
	letter byte
	class  store.EventClass
}{
	{'g', store.ClassGeneric}, {'$', store.ClassString}, {'l', store.ClassList}, {'s', store.ClassSet},
	{'h', store.ClassHash}, {'z', store.ClassZset}, {'x', store.ClassExpired}, {'e', store.ClassEvicted},
	{'t', store.ClassStream}, {'d', eventModule}, {'n', store.ClassNew},
	{'K', eventKeyspace}, {'E', eventKeyevent}, {'m', store.ClassKeyMiss},
}

// eventsA is the letter A: every class but n and m.
const eventsA = store.ClassGeneric | store.ClassString | store.ClassList | store.ClassSet | store.ClassHash |
	store.ClassZset | store.ClassExpired | store.ClassEvicted | store.ClassStream | eventModule

// eventLetters spells classes as Redis does: with A, n is not shown.
func eventLetters(events store.EventClass) string {
	var letters []byte
	hidden := store.EventClass(0)
	if events&eventsA == eventsA {
		letters, hidden = append(letters, 'A'), eventsA|store.ClassNew
	}
	for _, c := range eventClasses {
		if events&c.class&^hidden != 0 {
			letters = append(letters, c.letter)
		}
	}
	return string(letters)
}

func setEvents(set *settings, value string) string {
	var events store.EventClass
next:
	for i := range len(value) {
		if value[i] == 'A' {
			events |= eventsA
			continue
		}
		for _, c := range eventClasses {
			if c.letter == value[i] {
				events |= c.class
				continue next
			}
		}
		return "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."
	}
	set.events = events
	return ""
}
