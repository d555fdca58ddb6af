package server

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"

	"crema/resp"
	"crema/server/gateway"
)

// restTokens are the two tokens that the server was given; users' tokens follow
// from their passwords.
type restTokens struct {
	all, readOnly *restToken // nil: there is none
}

type restToken struct {
	hash [sha256.Size]byte
	user *user
}

func newRESTToken(token string, u *user) *restToken {
	if token == "" {
		return nil
	}
	return &restToken{sha256.Sum256([]byte(token)), u}
}

// is compares in a time that does not depend on the token.
func (t *restToken) is(hash *[sha256.Size]byte) bool {
	return t != nil && subtle.ConstantTimeCompare(hash[:], t.hash[:]) == 1
}

// randomToken is a token for a server that was given none.
func randomToken() string {
	var b [32]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// User is gateway.Door's.
func (d *httpDoor) User(token string) gateway.User {
	hash := sha256.Sum256([]byte(token))
	switch {
	case d.tokens.all.is(&hash):
		return d.tokens.all.user
	case d.tokens.readOnly.is(&hash):
		return d.tokens.readOnly.user
	}
	if u := d.s.users.ofToken(token); u != nil {
		return u
	}
	d.s.stats.authFails.Add(1)
	return nil
}

// Name is gateway.User's.
func (u *user) Name() string { return u.name }

// A user's token is the name and a code that only the password's hash makes: it
// is the same on every node, outlives restarts, and is void when the password
// changes. It says nothing of a good password; a bad one can be guessed from it.

const tokenPrefix = "user_"

// token is the user's; empty for one without a password, whose code anybody
// could make.
func (u *user) token() string {
	if u.noPass {
		return ""
	}
	return tokenPrefix + hex.EncodeToString([]byte(u.name)) + "_" + hex.EncodeToString(u.tokenCode())
}

func (u *user) tokenCode() []byte {
	mac := hmac.New(sha256.New, u.hash[:])
	mac.Write([]byte("REST token of " + u.name))
	return mac.Sum(nil)
}

// ofToken returns the user whose token it is, or nil.
func (us *users) ofToken(token string) *user {
	rest, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok {
		return nil
	}
	hexName, code, _ := strings.Cut(rest, "_")
	name, err := hex.DecodeString(hexName)
	if err != nil {
		return nil
	}
	u := us.get(string(name))
	known := u != nil && !u.noPass
	if !known {
		u = &user{}
	}
	if given, err := hex.DecodeString(code); err != nil || !hmac.Equal(given, u.tokenCode()) || !known {
		return nil
	}
	return u
}

func aclRows() []command {
	const quiet = noScript | loading | stale | catConnection
	return []command{{"acl", -2, 0, noKeys, container(
		command{"help", 2, loading | stale | catConnection, noKeys, session(cmdACLHelp)},
		command{"resttoken", 4, quiet | secret, noKeys, session(cmdACLRESTToken)},
	)}}
}

// ACL RESTTOKEN user password
func cmdACLRESTToken(c *conn, a *resp.Args) resp.Reply {
	name, password := a.Bytes(), a.Bytes()
	u := c.srv.users.authenticate(name, password)
	if u == nil {
		c.srv.stats.authFails.Add(1)
		return resp.Error("ERR Wrong password or user \"" + string(name[:min(len(name), longestName)]) + "\" does not exist")
	}
	token := u.token()
	if token == "" {
		return resp.Error("ERR user \"" + u.name + "\" has no password and so no token")
	}
	return resp.BulkString(token)
}

// ACL HELP
func cmdACLHelp(*conn, *resp.Args) resp.Reply {
	return helpReply("ACL",
		"RESTTOKEN <username> <password>",
		"    Return the token with which HTTP requests are made as the user.")
}
