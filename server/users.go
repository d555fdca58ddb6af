package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"sync"

	"crema/resp"
)

// User is somebody who may connect with a name and a password.
type User struct {
	Name     string
	Password string
	ReadOnly bool // may read and subscribe, but not write, publish or administer
}

// user is a User as the server keeps it: the password only as a hash. It never
// changes; a new password makes a new user.
type user struct {
	name     string
	hash     [sha256.Size]byte
	noPass   bool // the default user when requirepass is empty: everybody is let in
	readOnly bool
	noWalk   bool // nor ask for keys whose names it does not know, or touch others' scripts
}

// defaultUser is whom AUTH with one word, and a connection without AUTH, means.
const defaultUser = "default"

type users struct {
	mu     sync.RWMutex // guards byName; taken after no other lock
	byName map[string]*user
}

func newUsers(list []User, requirepass string) *users {
	us := &users{byName: map[string]*user{}}
	for _, u := range list {
		us.byName[u.Name] = &user{name: u.Name, hash: sha256.Sum256([]byte(u.Password)), readOnly: u.ReadOnly}
	}
	us.setDefaultPassword(requirepass)
	return us
}

// setDefaultPassword is requirepass; empty lets everybody in.
func (us *users) setDefaultPassword(pw string) {
	us.mu.Lock()
	defer us.mu.Unlock()
	if old := us.byName[defaultUser]; old != nil && old.is(pw) && old.noPass == (pw == "") {
		return
	}
	us.byName[defaultUser] = &user{name: defaultUser, hash: sha256.Sum256([]byte(pw)), noPass: pw == ""}
}

func (us *users) get(name string) *user {
	us.mu.RLock()
	defer us.mu.RUnlock()
	return us.byName[name]
}

// anonymous is the user a new connection starts as: the default user while it
// has no password, else nobody.
func (us *users) anonymous() *user {
	if u := us.get(defaultUser); u.noPass {
		return u
	}
	return nil
}

// authenticate returns the user whose name and password these are, or nil.
// It takes as long for a name that nobody has.
func (us *users) authenticate(name, password []byte) *user {
	u := us.get(string(name))
	if u == nil {
		(&user{}).is(string(password))
		return nil
	}
	if u.noPass || u.is(string(password)) {
		return u
	}
	return nil
}

func (u *user) is(password string) bool {
	hash := sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(hash[:], u.hash[:]) == 1
}

// may tells whether the user may run a command. Scripts are let through: each
// command inside is asked about for itself.
func (u *user) may(row *command) bool {
	if !u.readOnly || row.flags&runsScript != 0 {
		return true
	}
	if u.noWalk && (row.flags&allShards != 0 || strings.HasPrefix(row.name, "script|")) {
		return false
	}
	return row.flags&(write|admin|mayReplicate|protected) == 0
}

// login makes the connection that user's.
func (c *conn) login(u *user) {
	c.user.Store(u)
	if c.in != nil {
		c.in.SetAuthenticated(u != nil)
	}
}

// authenticate is AUTH's and HELLO's shared part: the error, or resp.None.
func (c *conn) authenticate(name, password []byte) resp.Reply {
	u := c.srv.users.authenticate(name, password)
	if u == nil {
		c.srv.stats.authFails.Add(1)
		if c.srv.authLog.allow() {
			c.srv.log.Warn("authentication failed", "id", c.id, "addr", c.addr, "failures", c.srv.stats.authFails.Load())
		}
		return resp.ErrWrongPass
	}
	c.login(u)
	return resp.None
}
