package load

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"sync"
)

// keyBytes is how long every key is: four letters and twelve digits.
const keyBytes = 16

// template is a command whose keys and last argument change. A command of fixed
// length is one copy and twelve digits.
type template struct {
	text []byte
	keys []int // where the digits of keys go
}

// templateOf builds one; a word that ends in "#" is a key with that prefix of four
// letters.
func templateOf(words ...string) template {
	t := template{text: appendHead(nil, len(words))}
	for _, w := range words {
		t.word(w)
	}
	return t
}

func (t *template) word(w string) {
	if len(w) == keyBytes-digits+1 && w[len(w)-1] == '#' {
		w = w[:len(w)-1] + "000000000000"
		t.text = appendBulk(t.text, w)
		t.keys = append(t.keys, len(t.text)-2-digits)
		return
	}
	t.text = appendBulk(t.text, w)
}

const digits = 12

// put appends the command with key in its place.
func (t *template) put(b []byte, key int64) []byte {
	at := len(b)
	b = append(b, t.text...)
	for _, k := range t.keys {
		putDigits(b[at+k:at+k+digits], key)
	}
	return b
}

func putDigits(b []byte, n int64) {
	for i := len(b) - 1; i >= 0 && n > 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
}

func appendHead(b []byte, words int) []byte {
	b = append(b, '*')
	b = strconv.AppendInt(b, int64(words), 10)
	return append(b, "\r\n"...)
}

func appendBulk[T string | []byte](b []byte, word T) []byte {
	b = append(b, '$')
	b = strconv.AppendInt(b, int64(len(word)), 10)
	b = append(b, "\r\n"...)
	b = append(b, word...)
	return append(b, "\r\n"...)
}

// AppendCommand appends one command to b.
func AppendCommand(b []byte, words ...string) []byte {
	b = appendHead(b, len(words))
	for _, w := range words {
		b = appendBulk(b, w)
	}
	return b
}

// setter writes values of changing size: SET key value, with a TTL if there is one.
type setter struct {
	sizes  Sizes
	random *rand.Rand
	filler []byte
	whole  template // when all values are as long
	head   template // up to the value
	tail   []byte   // after it
}

func newSetter(j *Job, number int, ttl bool) *setter {
	words := []string{"SET", "key:#"}
	var after []string
	if ttl {
		after = []string{"EX", strconv.Itoa(max(1, int(j.TTL.Seconds())))}
	}
	s := &setter{sizes: j.Sizes, random: rand.New(rand.NewPCG(uint64(number), j.Seed+7<<32)), filler: filler()}
	if s.sizes.fixed() {
		s.whole = templateOf(append(append(words, string(s.filler[:s.sizes.min])), after...)...)
		return s
	}
	s.head.text = appendHead(nil, len(words)+1+len(after))
	for _, w := range words {
		s.head.word(w)
	}
	for _, w := range after {
		s.tail = appendBulk(s.tail, w)
	}
	return s
}

func (s *setter) put(b []byte, key int64) []byte {
	if s.sizes.fixed() {
		return s.whole.put(b, key)
	}
	b = s.head.put(b, key)
	b = appendBulk(b, s.filler[:s.sizes.next(s.random)])
	return append(b, s.tail...)
}

// filler is what values are made of. It is made when it is first needed: the
// package is linked into the server.
var filler = sync.OnceValue(func() []byte { return bytes.Repeat([]byte("abcdefghijklmnop"), maxValueBytes/16) })
