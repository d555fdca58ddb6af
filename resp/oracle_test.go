package resp

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// oracle is a real Redis that tells what the right bytes are.
type oracle struct {
	path string
	conn *oracleConn
}

type oracleConn struct {
	net.Conn
	br  *bufio.Reader
	t   testing.TB
	log []byte // bytes of the last reply
}

func startOracle(t testing.TB, args ...string) *oracle {
	t.Helper()
	server, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("needs redis-server to compare with")
	}
	path := filepath.Join(t.TempDir(), "s")
	cmd := exec.Command(server, append([]string{"--port", "0", "--unixsocket", path, "--save", ""}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for lines := bufio.NewScanner(out); ; {
		if !lines.Scan() {
			t.Fatal("redis-server ended")
		}
		if strings.Contains(lines.Text(), "ready to accept connections at") {
			break
		}
	}
	go func() { // keeps the pipe from filling up; ends with the server
		for buf := make([]byte, 4096); ; {
			if _, err := out.Read(buf); err != nil {
				return
			}
		}
	}()
	o := &oracle{path: path}
	o.conn = o.dial(t)
	return o
}

func (o *oracle) dial(t testing.TB) *oracleConn {
	t.Helper()
	conn, err := net.Dial("unix", o.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &oracleConn{Conn: conn, t: t}
	c.br = bufio.NewReader(&tee{c})
	return c
}

// tee keeps what it reads.
type tee struct{ c *oracleConn }

func (r *tee) Read(p []byte) (int, error) {
	n, err := r.c.Conn.Read(p)
	r.c.log = append(r.c.log, p[:n]...)
	return n, err
}

func command(words ...string) []byte { return Append(nil, Strings(words...), 2) }

func (c *oracleConn) do(words ...string) Reply {
	c.t.Helper()
	c.log = c.log[:0]
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := c.Write(command(words...)); err != nil {
		c.t.Fatal(err)
	}
	r, err := ReadReply(c.br)
	if err != nil {
		c.t.Fatalf("%q: %v", words, err)
	}
	return r
}

// answer is all that Redis says to some bytes on a new connection.
func (o *oracle) answer(t testing.TB, sent []byte) []byte {
	t.Helper()
	conn, err := net.Dial("unix", o.path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	conn.Write(sent)
	conn.(*net.UnixConn).CloseWrite()
	var got bytes.Buffer
	got.ReadFrom(conn) // a reset after the answer is no news
	return got.Bytes()
}

// answer is what a server with this package's Reader says to the same bytes.
func answer(sent []byte, trusted bool) []byte {
	r := NewReader(bytes.NewReader(sent))
	r.SetAuthenticated(trusted)
	var out []byte
	for {
		words, ok, err := r.Next()
		if protocol, is := err.(ProtocolError); is {
			return Append(out, protocol.Reply(), 2)
		}
		switch {
		case !ok:
			if r.Fill() != nil {
				return out
			}
		case EqualFold(words[0], "ECHO") && !trusted:
			out = Append(out, ErrNoAuth, 2)
		case EqualFold(words[0], "ECHO") && len(words) == 2:
			out = Append(out, Bulk(words[1]), 2)
		case EqualFold(words[0], "ECHO"):
			out = Append(out, ErrWrongArity("echo"), 2)
		default:
			out = Append(out, ErrUnknownCommand(words), 2)
		}
	}
}

func TestProtocolAsRedis(t *testing.T) {
	o := startOracle(t)
	echo := "*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n"
	long := strings.Repeat("x", 200)
	for _, sent := range []string{
		echo, echo + echo, "ECHO hi\r\n", "ECHO hi\n", "\r\n\n \r\n" + echo,
		"*0\r\n" + echo, "*-1\r\n" + echo, "*-2147483648\r\n" + echo, "*\r\n", "*1", "*+1\r\n", "*01\r\n", "*1 \r\n", "*a\r\n",
		"*9223372036854775807\r\n", "*9223372036854775808\r\n", "*2147483648\r\n", "*99999999999999999999999\r\n",
		"*1\r\n$-5\r\n", "*1\r\n$-1\r\n", "*1\r\n$abc\r\n", "*1\r\n$9223372036854775806\r\n", "*1\r\n$99999999999999999999\r\n",
		"*1\r\n$\r\n", "*1\r\n$01\r\nx\r\n", "*1\r\n$536870913\r\n", "*1\r\n$536870912\r\n", "*1\r\n$1 \r\n",
		"*1\r\nECHO\r\n", "*1\r\n\r\n", "*1\r\n\n\r\n", "*1\r\n+1\r\n", "*1\r\n\x80\r\n", "*2\r\n$4\r\nECHO\r\n:1\r\n",
		"*2\r\n$4\r\nECHOxx$2\r\nhi\r\n", "*2\rx$4\rxECHO..$0\r\n\r\n", "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n" + echo,
		"*1\r\n$0\r\n\r\n" + echo, "*1\x00\r\n", "ECHO a\x00b\r\n", "ECHO hi\r\nECHO \x00\r\n",
		"ECHO \"a\r\n", "ECHO 'a\r\n", "ECHO \"a\"b\r\n", "ECHO 'a'b\r\n", "ECHO a\"b c\"\r\n", "ECHO \"\\x41\\x4g\\n\\r\\t\\a\\b\\\"\\\\\\q\"\r\n",
		"ECHO '\\x41 \\' \\n'\r\n", "ECHO \"\"\r\n", "ECHO ''\r\n", "ECHO \"\\\"\r\n", "ECHO \v\fa\vb\fc\t\r\n", "  ECHO   hi  \r\n", "ECHO \"a\" \"b\"\r\n",
		"ECHO a\rb\r\n", "ECHO hi\r\r\n",
		long + " " + long + " b c\r\n", "foo " + strings.Repeat("ab ", 60) + "\r\n", "foo\r\n", "*2\r\n$3\r\na\r\n\r\n$2\r\n\r\n\r\n",
		"*3\r\n$4\r\na\x00bc\r\n$3\r\nd\x00e\r\n$1\r\nf\r\n",
		strings.Repeat("y", 70_000), "*" + strings.Repeat("1", 70_000), "*1\r\n$" + strings.Repeat("1", 70_000), "*1\r\n" + strings.Repeat("z", 70_000),
		"ECHO " + strings.Repeat("w", 60_000) + "\r\n", strings.Repeat("v", 1<<20),
	} {
		want, got := o.answer(t, []byte(sent)), answer([]byte(sent), true)
		if !bytes.Equal(want, got) {
			t.Errorf("%.80q: Redis says\n%.300q, we say\n%.300q", sent, want, got)
		}
	}
}

func TestInlineAsRedis(t *testing.T) {
	o := startOracle(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	const letters = "ab \"\"''\\\\x41n\t\v\r"
	for range 300 {
		line := []byte("ECHO ")
		for range rnd.IntN(12) {
			line = append(line, letters[rnd.IntN(len(letters))])
		}
		line = append(line, "\r\n"...)
		if want, got := o.answer(t, line), answer(line, true); !bytes.Equal(want, got) {
			t.Errorf("%q: Redis says %q, we say %q", line, want, got)
		}
	}
}

func TestStrangersAsRedis(t *testing.T) {
	o := startOracle(t, "--requirepass", "secret")
	for _, sent := range []string{
		"*10\r\n" + strings.Repeat("$1\r\na\r\n", 10), "*11\r\n", "*1\r\n$16384\r\n" + strings.Repeat("a", 16384) + "\r\n",
		"*1\r\n$16385\r\n", "*1\r\n$536870913\r\n", "*2147483648\r\n", "ECHO hi\r\n", "a 1 2 3 4 5 6 7 8 9 10 11 12\r\n",
	} {
		want, got := o.answer(t, []byte(sent)), answer([]byte(sent), false)
		if !bytes.Equal(want, got) {
			t.Errorf("%.80q: Redis says %q, we say %q", sent, want, got)
		}
	}
}

func TestGlobAsRedis(t *testing.T) {
	o := startOracle(t)
	rnd := rand.New(rand.NewPCG(3, 4))
	const letters = "aabbc-]^\\[*\xff\x01Z"
	word := func(letters string, n int) string {
		b := make([]byte, rnd.IntN(n+1))
		for i := range b {
			b[i] = letters[rnd.IntN(len(letters))]
		}
		return string(b)
	}
	keys := map[string]bool{"": true}
	for len(keys) < 300 {
		keys[word(letters, 6)] = true
	}
	for key := range keys {
		o.conn.do("SET", key, "")
	}
	check := func(pattern string) {
		t.Helper()
		found := map[string]bool{}
		for _, key := range o.conn.do("KEYS", pattern).Elems {
			found[string(key.Bytes)] = true
		}
		for key := range keys {
			// KEYS itself knows what a lone * means, without the glob.
			if got := Match([]byte(pattern), []byte(key), false); got != found[key] && pattern != "*" {
				t.Errorf("pattern %q, key %q: Redis says %v, we say %v", pattern, key, found[key], got)
			}
		}
	}
	for _, pattern := range []string{"", "*", "**", "a*", "*a", "*a*b*", "[", "[^", "[a", "[^a", "[]", "[^]", "[]a]", "[a-", "[a-]", "[a-c]", "[c-a]", "[a-\xff]", "[\\a]", "[\\", "\\", "*\\", "a\\", "[a\\]b]", "[^^]", "[\\]-a]", "???"} {
		check(pattern)
	}
	for range 1500 {
		check(word(letters+"**??[]", 8))
	}
}

func TestGlobWithoutCaseAsRedis(t *testing.T) {
	o := startOracle(t)
	var names []string
	for _, name := range o.conn.do("COMMAND", "LIST").Elems {
		names = append(names, string(name.Bytes))
	}
	for _, pattern := range []string{"G*", "[G-H]ET", "[g-H]et", "[\\G]ET", "*[^A-Z]*", "S[A-F]T", "[S]\\ET", "H?ET*", "?e[T]", "[^g]ET", "C*|[L-K]*", "[Z-a]*", "[a-Z]*"} {
		found := map[string]bool{}
		for _, name := range o.conn.do("COMMAND", "LIST", "FILTERBY", "PATTERN", pattern).Elems {
			found[string(name.Bytes)] = true
		}
		for _, name := range names {
			if got := Match([]byte(pattern), []byte(name), true); got != found[name] {
				t.Errorf("pattern %q, name %q: Redis says %v, we say %v", pattern, name, found[name], got)
			}
		}
	}
}

func TestAddFloatAsRedis(t *testing.T) {
	o := startOracle(t)
	rnd := rand.New(rand.NewPCG(5, 6))
	check := func(a, b string) {
		t.Helper()
		o.conn.do("SET", "k", a)
		want := o.conn.do("INCRBYFLOAT", "k", b)
		got, err := AddFloat([]byte(a), []byte(b))
		if err.Kind != KindNone {
			got = err.Bytes
		}
		if !bytes.Equal(got, want.Bytes) {
			t.Errorf("%q + %q: Redis says %q, we say %q", a, b, want.Bytes, got)
		}
	}
	odd := []string{"0", "-0", "+1", "1.", ".5", ".", "", " 1", "1 ", "1e5", "1E+5", "1e", "1e-", "e5", "0x10", "0X1P3", "0x.8", "0x1.8p-1", "0x", "0xg", "0x1p",
		"inf", "-inf", "+Infinity", "infinit", "nan", "NaN", "-nan", "nan(1)", "1_000", "0b1", "0o7", "1p3", "0x1e5", "1e4932", "-1e4932", "1.18e4932", "1.19e4932", "1.2e4932", "1e4933", "1e5000", "1e-4940", "1e-4951", "1e-4952", "1e-5000",
		"1e999999999", "1e-999999999", "1e9999999999", "0e999999999", "0e99999999999", "1e00000000000005", "0x0p99999999999", "-0x0.0", "-0e5", "1\x00", "--1", "+-1", "3.0e3", "5e-18", "1.5e-17", "2.5e-17", "1e-17", "-1e-18", "9223372036854775807", "18446744073709551616", "36893488147419103233", strings.Repeat("9", 5000), strings.Repeat("9", 5119), strings.Repeat("9", 5120)}
	for _, a := range odd {
		check(a, "0")
		check("1", a)
		check(a, a)
		check(a, "-1e4932")
	}
	number := func() string {
		switch rnd.IntN(5) {
		case 0:
			return strconv.Itoa(rnd.IntN(2000) - 1000)
		case 1:
			return strconv.FormatFloat(rnd.NormFloat64(), 'f', rnd.IntN(20), 64)
		case 2:
			return strconv.FormatFloat(math.Exp(rnd.NormFloat64()*20), 'e', rnd.IntN(20), 64)
		case 3:
			return fmt.Sprintf("%d.%d", rnd.IntN(100), rnd.IntN(100))
		}
		return fmt.Sprintf("-%d.%de%d", rnd.Uint64(), rnd.Uint64(), rnd.IntN(60)-40)
	}
	for range 4000 {
		check(number(), number())
	}
}

func TestDoubleAsRedis(t *testing.T) {
	o := startOracle(t)
	rnd := rand.New(rand.NewPCG(7, 8))
	floats := []float64{0, math.Copysign(0, -1), 1, -1, 0.1, 3.5, 100000, 1e16, 1e17, 123456789012345678, 1e-4, 1e-5, 1e300, 5e-324, math.MaxFloat64, math.Inf(1), math.Inf(-1), 1.0 / 3}
	for range 300 {
		floats = append(floats, math.Float64frombits(rnd.Uint64()), rnd.NormFloat64(), math.Round(rnd.NormFloat64()*1e6)/1e3)
	}
	for _, proto := range []int{2, 3} {
		c := o.dial(t)
		c.do("HELLO", strconv.Itoa(proto))
		for _, f := range floats {
			if math.IsNaN(f) {
				continue // where the sign differs on purpose
			}
			// struct.unpack makes the very bits, without a detour over text.
			bits := math.Float64bits(f)
			raw := make([]byte, 8)
			for i := range raw {
				raw[i] = byte(bits >> (8 * i))
			}
			c.do("EVAL", "return {double=struct.unpack('<d', ARGV[1])}", "0", string(raw))
			if got := Append(nil, Double(f), proto); !bytes.Equal(got, c.log) {
				t.Errorf("%v in RESP%d: Redis says %q, we say %q", f, proto, c.log, got)
			}
		}
	}
}

func TestShapesAsRedis(t *testing.T) {
	o := startOracle(t)
	for _, proto := range []int{2, 3} {
		c := o.dial(t)
		c.do("HELLO", strconv.Itoa(proto))
		for script, want := range map[string]Reply{
			"return redis.status_reply('a\\r\\nb\\n')":              Simple("a\r\nb\n"),
			"return {err='MY a\\r\\nb\\r\\n\\n'}":                   Error("MY a\r\nb\r\n\n"),
			"return {1,'a',{},{2}}":                                 Array(One, BulkString("a"), Empty, Array(Int(2))),
			"return {map={a=1}}":                                    Map(BulkString("a"), One),
			"return {set={a=true}}":                                 Set(BulkString("a")),
			"return {big_number='1234567890123456789012345'}":       BigInt([]byte("1234567890123456789012345")),
			"return {verbatim_string={format='txt',string='hi'}}":   Verbatim("txt", "hi"),
			"redis.setresp(3); return true":                         Bool(true),
			"redis.setresp(3); return false":                        Bool(false),
			"redis.setresp(3); return redis.call('get', 'nothing')": Nil,
		} {
			c.do("EVAL", script, "0")
			if got := Append(nil, want, proto); !bytes.Equal(got, c.log) {
				t.Errorf("%s in RESP%d: Redis says %q, we say %q", script, proto, c.log, got)
			}
		}
	}
}
