package check

import "fmt"

// Claim is one key that several clients tried to SET NX.
type Claim struct {
	Key     string
	Owner   string // who got OK, "" as long as nobody knows
	Refused bool   // somebody was told that it is taken
	Tried   []string
	// Expires is a TTL after the first try was sent: until then, and only until
	// then, what is said here must hold. 0 is for ever.
	Expires int64
}

// Binding tells whether an answer that came at that time can be held against it.
func (c *Claim) Binding(back int64) bool { return c.Expires == 0 || back < c.Expires }

// Granted notes an OK; it says what is wrong with it.
func (c *Claim) Granted(to string) string {
	if c.Owner != "" && c.Owner != to {
		return fmt.Sprintf("%s was granted to %s and to %s", c.Key, c.Owner, to)
	}
	c.Owner = to
	return ""
}

// Read notes a read that began after everything noted so far had returned, and
// says what is wrong with it.
func (c *Claim) Read(value string) string {
	switch {
	case c.Owner != "" && value != c.Owner:
		return fmt.Sprintf("%s was granted to %s and reads %q", c.Key, c.Owner, value)
	case c.Refused && value == "":
		return fmt.Sprintf("%s was refused as taken and is absent", c.Key)
	case value != "":
		for _, who := range c.Tried {
			if who == value {
				c.Owner = value // in doubt until now
				return ""
			}
		}
		return fmt.Sprintf("%s reads %q, which nobody wrote", c.Key, value)
	}
	return ""
}
