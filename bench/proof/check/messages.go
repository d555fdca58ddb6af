package check

import "fmt"

// Messages is what one subscriber heard.
type Messages struct {
	last map[string]int // publisher's connection: number of its latest message
}

// NewMessages of a subscriber that has heard nothing.
func NewMessages() *Messages { return &Messages{last: map[string]int{}} }

// Hear says what is wrong with a message, "" for nothing. Publishers number from
// 1; gaps are allowed.
func (m *Messages) Hear(publisher string, number int) string {
	last := m.last[publisher]
	m.last[publisher] = max(last, number)
	switch {
	case number == last:
		return fmt.Sprintf("message %d of %s came twice", number, publisher)
	case number < last:
		return fmt.Sprintf("message %d of %s came after %d", number, publisher, last)
	}
	return ""
}
