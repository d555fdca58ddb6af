package server

import (
	"strings"

	"crema/resp"
)

// trackingSubs are CLIENT's subcommands for client-side caching.
func trackingSubs() []command {
	const own = noScript | loading | stale | catConnection
	return []command{
		{"caching", 3, own, noKeys, session(cmdClientCaching)},
		{"getredir", 2, own, noKeys, session(cmdClientGetRedir)},
		{"tracking", -3, own, noKeys, session(cmdClientTracking)},
		{"trackinginfo", 2, own, noKeys, session(cmdClientTrackingInfo)},
	}
}

// CLIENT TRACKING ON|OFF [REDIRECT id] [PREFIX prefix [PREFIX prefix …]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]
func cmdClientTracking(c *conn, a *resp.Args) resp.Reply {
	on, known := onOff(a)
	if !known {
		a.Bytes() // Redis complains of the options first
	}
	var mode trackingMode
	var target *conn
	var prefixes []string
	for a.More() {
		switch {
		case a.Left() > 1 && a.Match("REDIRECT"):
			if target != nil {
				return resp.Error("ERR A client can only redirect to a single other client")
			}
			id := a.Int()
			if a.Failed() {
				return a.Err()
			}
			if target = c.srv.clients.id(id); target == nil {
				return resp.Error("ERR The client ID you want redirect to does not exist")
			}
		case a.Match("BCAST"):
			mode.bcast = true
		case a.Match("OPTIN"):
			mode.optin = true
		case a.Match("OPTOUT"):
			mode.optout = true
		case a.Match("NOLOOP"):
			mode.noloop = true
		case a.Left() > 1 && a.Match("PREFIX"):
			prefixes = append(prefixes, a.Text())
		default:
			return resp.ErrSyntax
		}
	}
	switch {
	case !known:
		return resp.ErrSyntax
	case !on:
		c.srv.tracking.stop(c)
		return resp.OK
	case c.sock == nil:
		return resp.ErrNoPushDoor
	}
	if bad := refuseTracking(c.trackerOn(), mode, prefixes); bad.IsError() {
		return bad
	}
	c.srv.tracking.join(c, mode, target, prefixes)
	if !c.open { // else before the first read is sent
		c.srv.tracking.agree(c)
	}
	return resp.OK
}

// refuseTracking says why a connection may not track like this, or resp.None.
// t is its tracker, nil if it has none yet.
func refuseTracking(t *tracker, mode trackingMode, prefixes []string) resp.Reply {
	var old trackingMode
	var there []string
	if t != nil {
		old, there = t.mode, t.prefixes
	}
	switch {
	case !mode.bcast && len(prefixes) > 0:
		return resp.Error("ERR PREFIX option requires BCAST mode to be enabled")
	case t != nil && old.bcast != mode.bcast:
		return resp.Error("ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.")
	case mode.bcast && (mode.optin || mode.optout):
		return resp.Error("ERR OPTIN and OPTOUT are not compatible with BCAST")
	case mode.optin && mode.optout:
		return resp.Error("ERR You can't specify both OPTIN mode and OPTOUT mode")
	case mode.optin && old.optout || mode.optout && old.optin:
		return resp.Error("ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.")
	case len(there)+len(prefixes) > maxPrefixes:
		return resp.Error("ERR too many prefixes for one client")
	}
	for i, prefix := range prefixes {
		for _, other := range there {
			if overlap(prefix, other) {
				return resp.Error("ERR Prefix '" + prefix + "' overlaps with an existing prefix '" + other + "'. Prefixes for a single client must not overlap.")
			}
		}
		for _, other := range prefixes[i+1:] {
			if overlap(prefix, other) {
				return resp.Error("ERR Prefix '" + prefix + "' overlaps with another provided prefix '" + other + "'. Prefixes for a single client must not overlap.")
			}
		}
	}
	return resp.None
}

// overlap tells whether some keys have both prefixes.
func overlap(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }

// CLIENT CACHING YES|NO
func cmdClientCaching(c *conn, a *resp.Args) resp.Reply {
	t := c.trackerOn()
	if t == nil {
		return resp.Error("ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled")
	}
	switch {
	case a.Match("YES"):
		if !t.mode.optin {
			return resp.Error("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
		}
	case a.Match("NO"):
		if !t.mode.optout {
			return resp.Error("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
		}
	default:
		return resp.ErrSyntax
	}
	t.caching = true
	return resp.OK
}

// CLIENT GETREDIR
func cmdClientGetRedir(c *conn, _ *resp.Args) resp.Reply { return resp.Int(c.redirection()) }

// redirection is whom the connection's invalidations go to: 0 for itself, -1
// when it does not track. Any goroutine may ask.
func (c *conn) redirection() int64 {
	t := c.trackerOn()
	if t == nil {
		return -1
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.redirect
}

// trackingState is what CLIENT LIST shows of a connection's tracking. Any
// goroutine may ask.
func (c *conn) trackingState() (on, broken, bcast bool) {
	t := c.trackerOn()
	if t == nil {
		return false, false, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return true, t.broken, t.mode.bcast
}

// CLIENT TRACKINGINFO
func cmdClientTrackingInfo(c *conn, _ *resp.Args) resp.Reply {
	flags := []string{"off"}
	var prefixes []string
	if t := c.trackerOn(); t != nil {
		_, broken, _ := c.trackingState()
		flags, prefixes = []string{"on"}, t.prefixes
		for _, f := range []struct {
			name string
			is   bool
		}{
			{"bcast", t.mode.bcast},
			{"optin", t.mode.optin}, {"caching-yes", t.mode.optin && t.caching},
			{"optout", t.mode.optout}, {"caching-no", t.mode.optout && t.caching},
			{"noloop", t.mode.noloop}, {"broken_redirect", broken},
		} {
			if f.is {
				flags = append(flags, f.name)
			}
		}
	}
	return resp.Map(
		resp.BulkString("flags"), resp.Set(bulks(flags...)...),
		resp.BulkString("redirect"), resp.Int(c.redirection()),
		resp.BulkString("prefixes"), resp.Strings(prefixes...))
}
