package server_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// grammar makes commands: a line a rule, a rule's alternatives behind its
// equals sign. $name is a rule, $name? perhaps one, $name* any number. An
// alternative that stands twice is twice as likely.
const grammar = `
line     = $string | $string | $string | $key | $key | $expiry | $expiry | $many | $db | $server | $tx | $script | $script | $wrong

string   = GET $k | GET $k | SET $k $v $setopt* | SET $k $v $setopt* | SET $k $v $setopt* | SET $k $v | SETNX $k $v | GETSET $k $v | GETDEL $k
string   = SETEX $k $secs $v | PSETEX $k $ms $v | GETEX $k $getexopt? $getexopt? | APPEND $k $v | STRLEN $k | GETRANGE $k $idx $idx | SUBSTR $k $idx $idx
string   = SETRANGE $k $off $v | INCR $k | INCR $k | DECR $k | INCRBY $k $int | DECRBY $k $int | INCRBYFLOAT $k $float | INCRBYFLOAT $k $float
string   = LCS $k $k $lcsopt*
setopt   = NX | XX | GET | GET | KEEPTTL | KEEPTTL | EX $secs | PX $ms | EXAT $setat | PXAT ${future}250 | nx | xx | ex $secs | PERSIST | FOO | EX
getexopt = PERSIST | EX $secs | PX $ms | EXAT $at | PXAT $atms | NX | EX
lcsopt   = LEN | IDX | IDX | MINMATCHLEN $idx | WITHMATCHLEN | FOO

key      = DEL $k $k* | UNLINK $k $k* | EXISTS $k $k* | TOUCH $k $k* | TYPE $k | RENAME $k $k | RENAMENX $k $k | COPY $k $k $copyopt* | OBJECT ENCODING $k
key      = KEYS $pat | KEYS * | SCAN 0 COUNT 10000 $scanopt? | RANDOMKEY | DBSIZE
copyopt  = REPLACE | REPLACE | DB $dbn | FOO
scanopt  = MATCH $pat | TYPE string | TYPE hash | FOO

expiry   = EXPIRE $k $secs $exopt* | PEXPIRE $k $ms $exopt* | EXPIREAT $k $at $exopt* | PEXPIREAT $k $atms $exopt* | PERSIST $k | PERSIST $k
expiry   = TTL $k | PTTL $k | EXPIRETIME $k | PEXPIRETIME $k | TTL $k
exopt    = NX | XX | GT | LT | gt | FOO

many     = MGET $k $k* | MGET $k $k $k | MSET $k $v $pair* | MSETNX $k $v $pair* | MSET $k $v $k
pair     = $k $v

db       = SELECT $dbn | SELECT $dbn | SELECT 0 | MOVE $k $dbn | SWAPDB $dbn $dbn | FLUSHDB | COPY $k $k DB $dbn | FLUSHALL
dbn      = 0 | 0 | 1 | 1 | 2 | 15 | 16 | -1 | x

server   = PING | PING $v | ECHO $v | PUBLISH $k $v | TYPE $k | COMMAND GETKEYS SET $k $v | WAIT 0 0 | PUBSUB NUMSUB $k

tx       = MULTI | MULTI | EXEC | EXEC | EXEC | DISCARD | WATCH $k $k* | WATCH $k | UNWATCH

script   = EVAL $get 1 $k | EVAL $set 1 $k $v | EVAL $setpx 1 $k $v $ms | EVAL $unlock 1 $k $v | EVAL $many2 2 $k $k $v | EVAL $incr 1 $k $int | EVAL $half 2 $k $k $v
script   = EVAL $any 0 $inner | EVAL $any 0 $inner | EVAL $anyp 0 $inner | EVAL_RO $any 0 $inner | EVAL_RO $get 1 $k | EVAL $wild 0 $k $v | EVAL $ttl 1 $k | EVAL $float2 0 $float
script   = EVAL $lockall 2 $k $k $v $ms | EVAL $holdall 2 $k $k $v $ms | EVAL $freeall 2 $k $k $v | EVAL $free 1 $k $v | EVAL $hold 1 $k $v $ms
script   = EVAL $take 1 $k $v $ms | EVAL $longer 1 $k $v $ms 0 | EVAL $longer 1 $k $v $ms 1 | EVAL $add 1 $k $v $secs
inner    = $string | $string | $key | $expiry | $many | $db | $server | $wrong
get      = "return redis.call('get', KEYS[1])"
set      = "return redis.call('set', KEYS[1], ARGV[1])"
setpx    = "return redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX')"
unlock   = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end"
lockall  = "for i, key in ipairs(KEYS) do if redis.call('exists', key) == 1 then return 0 end end for i, key in ipairs(KEYS) do redis.call('set', key, ARGV[1], 'PX', ARGV[2]) end return #KEYS"
holdall  = "for i, key in ipairs(KEYS) do if redis.call('get', key) ~= ARGV[1] then return 0 end end for i, key in ipairs(KEYS) do redis.call('set', key, ARGV[1], 'PX', ARGV[2]) end return #KEYS"
freeall  = "local n = 0 for i, key in ipairs(KEYS) do if redis.call('get', key) == ARGV[1] then redis.pcall('del', key) n = n + 1 end end return n"
free     = "local v = redis.call('GET', KEYS[1]) if v == ARGV[1] then return redis.call('DEL', KEYS[1]) elseif v == false then return -1 else return 0 end"
hold     = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) elseif redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX') then return 1 else return 0 end"
take     = "return redis.call('set', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])"
longer   = "local t = redis.call('get', KEYS[1]) if not t or t ~= ARGV[1] then return 0 end local e = redis.call('pttl', KEYS[1]) if not e then e = 0 end if e < 0 then return 0 end local n = ARGV[2] if ARGV[3] == '0' then n = ARGV[2] + e end redis.call('pexpire', KEYS[1], n) return 1"
add      = "return redis.call('exists', KEYS[1]) < 1 and redis.call('setex', KEYS[1], ARGV[2], ARGV[1])"
many2    = "redis.call('mset', KEYS[1], ARGV[1], KEYS[2], ARGV[1]) redis.call('append', KEYS[2], 'x') return redis.call('mget', KEYS[1], KEYS[2], 'none')"
incr     = "local n = redis.call('incrby', KEYS[1], ARGV[1]) return {n, tostring(n), redis.call('exists', KEYS[1])}"
half     = "redis.call('set', KEYS[1], ARGV[1]) redis.call('incr', KEYS[2]) return redis.call('get', KEYS[1])"
any      = "return redis.call(unpack(ARGV))"
anyp     = "local r = redis.pcall(unpack(ARGV)) if type(r) == 'table' and r.err then return {'failed', r.err} end return {type(r), r}"
wild     = "redis.call('set', ARGV[1], ARGV[2]) redis.call('rename', ARGV[1], 'k2') return {redis.call('dbsize'), redis.call('exists', ARGV[1], 'k2')}"
ttl      = "return {redis.call('persist', KEYS[1]), redis.call('ttl', KEYS[1])}"
float2   = "return {tostring(tonumber(ARGV[1])), tonumber(ARGV[1])}"

wrong    = GET | SET $k | INCRBY $k | EXPIRE $k | HSET $k f $v | LPUSH $k $v | NOSUCH $v | EVAL "return" | MSET $k | RENAME $k | OBJECT FOO $k | SELECT | EVALSHA $v 0 | EXEC $v

k        = k1 | k1 | k1 | k2 | k2 | k3 | k3 | k4 | k5 | "" | "k\x00\n"
v        = a | b | "" | 0 | 1 | 10 | -5 | 3.5 | 1e2 | " 1" | 007 | 9223372036854775807 | -9223372036854775808 | hello | ohmytext | mynewtext | "\x00\xff\r\n"
v        = aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | inf | nan
int      = 0 | 1 | 2 | -1 | 10 | 100 | 9223372036854775807 | -9223372036854775808 | 9223372036854775808 | x | 1.5 | "" | 01 | +1
float    = 1 | 0.1 | -0.1 | 1.5 | 3.0e2 | -2.25 | 1e17 | 0.000001 | 5e-3 | inf | x | "" | 100000000000000000000 | 1e-20 | nan | 12345678.125
idx      = 0 | 1 | 2 | 3 | 5 | 10 | -1 | -2 | -3 | -10 | 100 | 9223372036854775807 | x
off      = 0 | 1 | 2 | 5 | 10 | 60 | -1 | x | 536870912
secs     = $apart | $apart | $apart | $apart | 0 | -1 | x | 9223372036854775807 | 1.5
ms       = ${apart}000 | ${apart}000 | ${apart}000 | 0 | -1 | x | 9223372036854775807
setat    = $future | $future | 0 | -1 | 99999999999 | x | 9223372036854775807
at       = $future | $future | $future | 1 | 0 | -1 | 99999999999 | x | 9223372036854775807
atms     = ${future}000 | ${future}500 | 1 | 0 | -1 | 99999999999123 | x | 9223372036854775807
session  = SUBSCRIBE $ch $ch* | SUBSCRIBE $ch | PSUBSCRIBE $chpat $chpat* | SSUBSCRIBE $ch | SSUBSCRIBE $ch $ch
session  = UNSUBSCRIBE $ch $ch* | UNSUBSCRIBE $ch | PUNSUBSCRIBE $chpat | SUNSUBSCRIBE $ch | SUNSUBSCRIBE $ch $ch
session  = PUBLISH $ch $v | PUBLISH $ch $v | PUBLISH $ch $v | PUBLISH $ch $v | SPUBLISH $ch $v | SPUBLISH $ch $v
session  = PUBSUB CHANNELS | PUBSUB CHANNELS $chpat | PUBSUB NUMSUB $ch $ch* | PUBSUB NUMPAT | PUBSUB SHARDCHANNELS | PUBSUB SHARDNUMSUB $ch $ch*
session  = GET $k | SET $k $v | DEL $k | SELECT $dbn | PING | PING $v | ECHO $v | RESET | HELLO 3 | HELLO 2 | HELLO 3 | HELLO 4 | HELLO 3 SETNAME $v
session  = CLIENT SETNAME $v | CLIENT GETNAME | CLIENT ID
session  = CLIENT TRACKINGINFO | MGET $k $k | INCR $k | EXPIRE $k $secs
session  = EVAL "return redis.call('publish', KEYS[1], ARGV[1])" 1 $ch $v | EVAL "return redis.call('spublish', KEYS[1], ARGV[1])" 1 $ch $v
session  = SUBSCRIBE | PUBLISH $ch | PUBSUB FOO | NOSUCH | AUTH x y | READONLY | CLIENT GETREDIR | EVAL "return 1" 0 | CLIENT FOO
ch       = c1 | c1 | c1 | c2 | c2 | c3 | "" | __keyspace@0__:k1 | __keyevent@0__:set
chpat    = c* | * | c? | c[12] | "" | __key*
pat      = * | k* | k? | k[12] | k[^1] | \k1 | "" | *1 | k[1-3] | [ | z
`

// rules is the grammar, read.
var rules = func() map[string][]string {
	rules := map[string][]string{}
	for _, line := range strings.Split(strings.TrimSpace(grammar), "\n") {
		if name, body, ok := strings.Cut(line, "="); ok {
			name = strings.TrimSpace(name)
			rules[name] = append(rules[name], alternatives(body)...)
		}
	}
	return rules
}()

// alternatives splits at bars outside of quotes.
func alternatives(body string) []string {
	var alts []string
	for i, part := range strings.Split(body, `"`) {
		if i%2 == 1 {
			alts[len(alts)-1] += `"` + part + `"`
			continue
		}
		for j, alt := range strings.Split(part, " | ") {
			if i > 0 && j == 0 {
				alts[len(alts)-1] += alt
			} else {
				alts = append(alts, alt)
			}
		}
	}
	for i := range alts {
		alts[i] = strings.TrimSpace(alts[i])
	}
	return alts
}

// generator speaks the grammar.
type generator struct {
	rng    *rand.Rand
	apart  int64 // how far from the middle the latest time to live was, s
	future int64 // a unix time some hours away, the same throughout a sequence
}

func newGenerator(seed, sequence uint64) *generator {
	return &generator{rng: rand.New(rand.NewPCG(seed, sequence)), future: time.Now().Unix()/86400*86400 + 10*86400}
}

// words derives the words of one command from a rule.
func (g *generator) words(rule string) []string {
	alts := rules[rule]
	if alts == nil {
		panic("no rule " + rule)
	}
	var words []string
	for _, token := range splitTokens(alts[g.rng.IntN(len(alts))]) {
		switch {
		case strings.HasPrefix(token, `"`):
			text, err := strconv.Unquote(token)
			if err != nil {
				panic(fmt.Sprintf("%s: %v", token, err))
			}
			words = append(words, text)
		case strings.HasPrefix(token, "${future}"):
			words = append(words, strconv.FormatInt(g.future, 10)+token[len("${future}"):])
		case strings.HasPrefix(token, "$apart"), strings.HasPrefix(token, "${apart}"):
			// No two alike: whether GT and LT find the same time to live the
			// same deadline depends on the millisecond.
			g.apart += 7 + int64(g.rng.IntN(100))
			seconds := 50_000 + g.apart*(1-2*int64(g.rng.IntN(2)))
			_, behind, _ := strings.Cut(token, "}")
			words = append(words, strconv.FormatInt(seconds, 10)+behind)
		case token == "$future":
			words = append(words, strconv.FormatInt(g.future+int64(g.rng.IntN(3)*100), 10))
		case strings.HasPrefix(token, "$"):
			n := 1
			name := strings.TrimRight(token[1:], "*?")
			switch token[len(token)-1] {
			case '?':
				n = g.rng.IntN(2)
			case '*':
				n = max(0, g.rng.IntN(5)-2) // mostly none
			}
			for range n {
				words = append(words, g.words(name)...)
			}
		default:
			words = append(words, token)
		}
	}
	return words
}

// splitTokens splits at spaces outside of quotes.
func splitTokens(alt string) []string {
	if strings.HasPrefix(alt, `"`) {
		return []string{alt} // a word of its own, with escaped quotes perhaps
	}
	var tokens []string
	for i, part := range strings.Split(alt, `"`) {
		if i%2 == 1 {
			tokens = append(tokens, `"`+part+`"`)
		} else {
			tokens = append(tokens, strings.Fields(part)...)
		}
	}
	return tokens
}
