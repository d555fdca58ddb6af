package script

import (
	"crypto/sha1"
	"encoding/hex"
	"strings"

	"crema/resp"

	lua "github.com/yuin/gopher-lua"
)

// Host is what a running script may ask of the server.
type Host interface {
	// Call runs one command for redis.call and redis.pcall. The words are fresh
	// copies, which the host may keep; their list it may not.
	Call(words [][]byte) resp.Reply
	// Log writes a line of redis.log; the levels are Redis's, 0 debug to 3 warning.
	Log(level int, text string)
	// SetProto tells of redis.setresp.
	SetProto(proto int)
}

// Checker is a Host that answers redis.acl_check_cmd.
type Checker interface {
	// Check tells whether the user may run a command, and whether there is
	// such a command with these arguments.
	Check(words [][]byte) (allowed, known bool)
}

// What redis.REDIS_VERSION says.
const (
	Version       = "7.0.15"
	versionNumber = 7<<16 | 15
)

var redisConstants = map[string]lua.LValue{
	"LOG_DEBUG":         lua.LNumber(0),
	"LOG_VERBOSE":       lua.LNumber(1),
	"LOG_NOTICE":        lua.LNumber(2),
	"LOG_WARNING":       lua.LNumber(3),
	"REDIS_VERSION":     lua.LString(Version),
	"REDIS_VERSION_NUM": lua.LNumber(versionNumber),
	"REPL_NONE":         lua.LNumber(0),
	"REPL_AOF":          lua.LNumber(1),
	"REPL_SLAVE":        lua.LNumber(2),
	"REPL_REPLICA":      lua.LNumber(2),
	"REPL_ALL":          lua.LNumber(3),
}

var redisFuncs = map[string]gofn{
	"acl_check_cmd":      redisCheck,
	"breakpoint":         func(c call) int { c.Push(lua.LFalse); return 1 },
	"call":               func(c call) int { return redisCall(c, true) },
	"debug":              func(call) int { return 0 },
	"error_reply":        redisErrorReply,
	"log":                redisLog,
	"pcall":              func(c call) int { return redisCall(c, false) },
	"replicate_commands": func(c call) int { c.Push(lua.LTrue); return 1 },
	"set_repl":           redisSetRepl,
	"setresp":            redisSetResp,
	"sha1hex":            redisSHA1,
	"status_reply":       redisStatusReply,
}

// errorTable is the error that a text of a reply makes: "-CODE text" with its
// code, any other with ERR.
func (c call) errorTable(text string) *lua.LTable {
	if rest, ok := strings.CutPrefix(text, "-"); ok {
		if code, message, ok := strings.Cut(rest, " "); ok {
			text = code + " " + strings.Trim(message, "\r\n")
		} else {
			text = "ERR " + strings.Trim(rest, "\r\n")
		}
	} else {
		text = "ERR " + strings.Trim(text, "\r\n")
	}
	t := c.CreateTable(0, 2)
	t.RawSetString("err", lua.LString(text))
	return t
}

// raiseText raises an error table with a text.
func (c call) raiseText(text string) { c.in.raise(c.LState, c.errorTable(text)) }

// words copies the arguments of redis.call.
func (c call) words() (list [][]byte, wrong string) {
	n := c.n()
	if n == 0 {
		return nil, "Please specify at least one argument for this redis lib call"
	}
	total := 0
	for i := 1; i <= n; i++ {
		switch v := c.Get(i).(type) {
		case lua.LString:
			total += len(v)
		case lua.LNumber:
			total += 32
		default:
			return nil, "Lua redis lib command arguments must be strings or integers"
		}
	}
	c.charge(total + n*24)
	in := c.in
	list = in.list[:0]
	if n > maxList {
		list = make([][]byte, 0, n)
	}
	if cap(in.room)-len(in.room) < total {
		in.room = make([]byte, 0, max(total, roomBytes))
	}
	buf := in.room
	for i := 1; i <= n; i++ {
		start := len(buf)
		switch v := c.Get(i).(type) {
		case lua.LString:
			buf = append(buf, v...)
		case lua.LNumber:
			buf = appendNumber(buf, float64(v), 17)
		}
		list = append(list, buf[start:len(buf):len(buf)])
	}
	in.room = buf
	if n <= maxList {
		in.list = list
	}
	return list, ""
}

const (
	roomBytes = 512 // for words; a larger command has a piece of memory of its own
	maxList   = 64  // words that an interpreter has a list for
)

func redisCall(c call, raise bool) int {
	list, wrong := c.words()
	var v lua.LValue
	failed := wrong != ""
	if failed {
		v = c.errorTable(wrong)
	} else {
		r := c.in.host.Call(list)
		c.in.guard.ticks += pollEvery / 8 // a command is worth more than an instruction
		v = c.fromReply(r, 0)
		failed = r.IsError()
	}
	if failed && raise {
		c.in.raise(c.LState, v)
	}
	c.Push(v)
	return 1
}

func redisCheck(c call) int {
	list, wrong := c.words()
	if wrong != "" {
		c.raiseText(wrong)
	}
	h, ok := c.in.host.(Checker)
	allowed, known := false, false
	if ok {
		allowed, known = h.Check(list)
	}
	if !known {
		c.raiseText("Invalid command passed to redis.acl_check_cmd()")
	}
	c.Push(lua.LBool(allowed))
	return 1
}

func (c call) oneText() (string, bool) {
	s, ok := c.Get(1).(lua.LString)
	return string(s), ok && c.n() == 1
}

func redisErrorReply(c call) int {
	s, ok := c.oneText()
	if !ok {
		c.Push(c.errorTable("wrong number or type of arguments"))
		return 1
	}
	c.Push(c.errorTable("-" + strings.TrimPrefix(s, "-")))
	return 1
}

func redisStatusReply(c call) int {
	s, ok := c.oneText()
	if !ok {
		c.Push(c.errorTable("wrong number or type of arguments"))
		return 1
	}
	t := c.CreateTable(0, 1)
	t.RawSetString("ok", lua.LString(s))
	c.Push(t)
	return 1
}

func redisLog(c call) int {
	if c.n() < 2 {
		c.raiseText("redis.log() requires two arguments or more.")
	}
	level, ok := toNumber(c.Get(1))
	if !ok {
		c.raiseText("First argument must be a number (log level).")
	}
	if level < 0 || level >= 4 {
		c.raiseText("Invalid debug level.")
	}
	var parts []string
	total := 0
	for i := 2; i <= c.n(); i++ {
		if s, ok := toText(c.Get(i)); ok {
			total += len(s)
			c.charge(total)
			parts = append(parts, s)
		}
	}
	c.in.host.Log(int(level), strings.Join(parts, " "))
	return 0
}

func redisSetRepl(c call) int {
	if c.n() != 1 {
		c.raiseText("redis.set_repl() requires two arguments.")
	}
	if f, _ := toNumber(c.Get(1)); truncate(f)&^3 != 0 {
		c.raiseText("Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.")
	}
	return 0
}

func redisSetResp(c call) int {
	if c.n() != 1 {
		c.raiseText("redis.setresp() requires one argument.")
	}
	switch c.integer(1) {
	case 2:
		c.in.proto = 2
	case 3:
		c.in.proto = 3
	default:
		c.raiseText("RESP version must be 2 or 3.")
	}
	c.in.host.SetProto(c.in.proto)
	return 0
}

func redisSHA1(c call) int {
	if c.n() != 1 {
		c.raiseText("wrong number of arguments")
	}
	s, _ := toText(c.Get(1))
	c.step(len(s) / 16)
	sum := sha1.Sum([]byte(s))
	c.pushText(hex.EncodeToString(sum[:]))
	return 1
}
