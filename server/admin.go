package server

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"crema/resp"
)

func adminRows() []command {
	rows := []command{
		{"time", 1, loading | stale | fast, noKeys, session(cmdTime)},
		{"lastsave", 1, loading | stale | fast | catAdmin | catDangerous, noKeys, session(cmdLastSave)},
		{"wait", 3, noScript | catConnection, noKeys, session(cmdWait)},
		{"lolwut", -1, readonly | fast, noKeys, session(cmdLolwut)},
		{"debug", -2, admin | noScript | loading | stale | protected, noKeys, session(cmdDebug)},
		{"shutdown", -1, admin | noScript | loading | stale | noMulti | allowBusy, noKeys, session(cmdShutdown)},
		{"readonly", 1, loading | stale | fast | catConnection, noKeys, session(cmdReadOnly)},
		{"readwrite", 1, loading | stale | fast | catConnection, noKeys, session(cmdReadWrite)},
	}
	return append(rows, clusterRow())
}

// TIME
func cmdTime(c *conn, _ *resp.Args) resp.Reply {
	us := c.clock.micros()
	return resp.Strings(strconv.FormatInt(us/1e6, 10), strconv.FormatInt(us%1e6, 10))
}

// LASTSAVE
//
// Nothing is ever saved to a file of its own, so the time is the one that Redis
// answers before its first save: when the server started.
func cmdLastSave(c *conn, _ *resp.Args) resp.Reply { return resp.Int(c.srv.started.Unix()) }

// WAIT replicas milliseconds
//
// Without other nodes none will ever have the writes: it answers at once instead
// of letting the time pass.
func cmdWait(c *conn, a *resp.Args) resp.Reply {
	wanted := a.Int()
	timeout := a.Bytes()
	if a.Failed() {
		return a.Err()
	}
	ms, bad := milliseconds(timeout)
	if bad.IsError() {
		return bad
	}
	if c.srv.cluster == nil {
		return resp.Zero
	}
	return c.waitShared(wanted, time.Duration(ms)*time.Millisecond)
}

// READONLY
//
// Where another node leads, reads of this connection are answered from what this
// one has.
func cmdReadOnly(c *conn, _ *resp.Args) resp.Reply { return c.readOwn(true) }

// READWRITE
func cmdReadWrite(c *conn, _ *resp.Args) resp.Reply { return c.readOwn(false) }

func (c *conn) readOwn(yes bool) resp.Reply {
	if c.srv.alone() {
		return errNoCluster
	}
	c.ownReads = yes
	return resp.OK
}

// LOLWUT [VERSION version]
func cmdLolwut(_ *conn, a *resp.Args) resp.Reply {
	if a.Match("VERSION") && a.More() {
		if a.Int(); a.Failed() {
			return a.Err()
		}
	}
	return resp.Verbatim("txt", cup+"Redis ver. "+RedisVersion+", crema "+Version+"\n")
}

const cup = `
      ) ) )
     ( ( (
   ._______.
   |~~~~~~~|]
   \       /
    '-----'
`

// maxDebugSleep bounds DEBUG SLEEP.
const maxDebugSleep = time.Hour

// DEBUG SLEEP seconds
// DEBUG SET-ACTIVE-EXPIRE 0|1
//
// SLEEP holds up this connection alone, for there is no single thread that all
// wait for.
func cmdDebug(c *conn, a *resp.Args) resp.Reply {
	sub := a.Peek()
	switch {
	case a.Left() == 2 && a.Match("SLEEP"):
		seconds, err := strconv.ParseFloat(a.Text(), 64)
		if err != nil || !(seconds > 0) { // Redis reads what is no number as 0
			return resp.OK
		}
		c.detach()
		timer := time.NewTimer(time.Duration(min(seconds, maxDebugSleep.Seconds()) * float64(time.Second)))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.done:
		case <-c.srv.stop:
		}
		return resp.OK
	case a.Left() == 2 && a.Match("SET-ACTIVE-EXPIRE"):
		n, _ := resp.ParseInt(a.Bytes())
		c.srv.store.SetActiveExpire(n != 0)
		return resp.OK
	case a.Left() == 1 && a.Match("HELP"):
		return helpReply("DEBUG",
			"SET-ACTIVE-EXPIRE <0|1>",
			"    Setting it to 0 disables expiring keys in background when they are not",
			"    accessed (otherwise the Redis behavior). Setting it to 1 reenables back the",
			"    default.",
			"SLEEP <seconds>",
			"    Stop the connection for <seconds>. Decimals allowed.")
	}
	return resp.ErrSubcommandSyntax("debug", sub)
}

// allowsDebug tells whether enable-debug-command lets the client use DEBUG.
func (s *Server) allowsDebug(c *conn) bool {
	switch s.settings().debugCommand {
	case "yes":
		return true
	case "local":
		return c.isLocal()
	}
	return false
}

// SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [ABORT]
//
// SAVE has nothing to save and nothing can fail, so what is left of the words
// is their grammar. The server drains as it does on a signal; the client gets
// no answer but the end of its connection.
func cmdShutdown(c *conn, a *resp.Args) resp.Reply {
	save, nosave, abort := false, false, false
	words := a.Left()
	for a.More() {
		switch {
		case a.Match("SAVE"):
			save = true
		case a.Match("NOSAVE"):
			nosave = true
		case a.Match("ABORT"):
			abort = true
		case a.Match("NOW"), a.Match("FORCE"):
		default:
			return resp.ErrSyntax
		}
	}
	if save && nosave || abort && words > 1 {
		return resp.ErrSyntax
	}
	if abort {
		return resp.ErrNotStopped // one that has begun closes the connections first
	}
	c.srv.log.Warn("a client asked for shutdown", "id", c.id, "addr", c.addr)
	c.closing = true
	c.srv.requestShutdown()
	return resp.None
}

var errNoCluster = resp.Error("ERR This instance has cluster support disabled")

// cmdNoCluster answers whatever concerns a Redis Cluster.
func cmdNoCluster(*conn, *resp.Args) resp.Reply { return errNoCluster }

// clusterRow is CLUSTER with every subcommand of Redis 7.0, each refused as a
// Redis without cluster support refuses it: clients read the refusal as "not a
// cluster" and go on.
func clusterRow() command {
	const (
		ask     = stale
		inspect = stale | admin
		change  = stale | admin | noAsyncLoading
	)
	row := command{"cluster", -2, 0, noKeys, body{}}
	for _, sub := range []struct {
		flags flags
		names string // name:arity
	}{
		{ask, "countkeysinslot:3 getkeysinslot:4 info:2 keyslot:3 links:2 myid:2 nodes:2 shards:2 slots:2"},
		{ask | loading, "help:2"},
		{inspect, "count-failure-reports:3 replicas:3 slaves:3"},
		{inspect | noScript, "reset:-2"},
		{change, "addslots:-3 addslotsrange:-4 bumpepoch:2 delslots:-3 delslotsrange:-4 failover:-2 flushslots:2 " +
			"forget:3 meet:-4 replicate:3 saveconfig:2 set-config-epoch:3 setslot:-4"},
	} {
		for _, text := range strings.Fields(sub.names) {
			name, arity, _ := strings.Cut(text, ":")
			n, err := strconv.Atoi(arity)
			if err != nil {
				panic(fmt.Sprintf("arity of cluster %s: %v", name, err))
			}
			row.subs = append(row.subs, command{name, n, sub.flags, noKeys, session(cmdNoCluster)})
		}
	}
	return row
}
