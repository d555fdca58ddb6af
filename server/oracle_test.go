package server_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// absent are the commands of Redis 7.0 that crema does not have. The oracle
// runs without them too, so that it gives the unknown-command errors which
// crema owes, and lists the same commands.
const absent = `acl asking bgrewriteaof bgsave bitcount bitfield bitfield_ro bitop bitpos blmove blmpop blpop brpop
brpoplpush bzmpop bzpopmax bzpopmin dump failover fcall fcall_ro function geoadd geodist geohash geopos georadius
georadius_ro georadiusbymember georadiusbymember_ro geosearch geosearchstore getbit hdel hexists hget hgetall hincrby
hincrbyfloat hkeys hlen hmget hmset hrandfield hscan hset hsetnx hstrlen hvals lindex linsert llen lmove lmpop lpop
lpos lpush lpushx lrange lrem lset ltrim migrate module pfadd pfcount pfdebug pfmerge pfselftest psync replconf
replicaof restore restore-asking role rpop rpoplpush rpush rpushx sadd save scard sdiff sdiffstore setbit sinter
sintercard sinterstore sismember slaveof smembers smismember smove sort sort_ro spop srandmember srem sscan sunion
sunionstore sync xack xadd xautoclaim xclaim xdel xgroup xinfo xlen xpending xrange xread xreadgroup xrevrange xsetid
xtrim zadd zcard zcount zdiff zdiffstore zincrby zinter zintercard zinterstore zlexcount zmpop zmscore zpopmax zpopmin
zrandmember zrange zrangebylex zrangebyscore zrangestore zrank zrem zremrangebylex zremrangebyrank zremrangebyscore
zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunion zunionstore`

// startOracle runs a redis-server that ends with the test and gives its
// address.
func startOracle(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is not installed: these tests compare with it (apt-get install redis-server)")
		}
		t.Skip("redis-server is not installed: nothing to compare with")
	}
	version, err := exec.Command(path, "--version").Output()
	if err != nil || !bytes.Contains(version, []byte("v=7.0.")) {
		t.Fatalf("%s is not Redis 7.0, whose answers the conversations hold: %s%v", path, version, err)
	}

	dir := t.TempDir()
	port := freePort(t)
	var conf strings.Builder
	fmt.Fprintf(&conf, "port %d\nbind 127.0.0.1\ndir %s\nsave \"\"\nappendonly no\nloglevel warning\nlogfile %s\n",
		port, dir, filepath.Join(dir, "log"))
	conf.WriteString("enable-debug-command yes\nlatency-tracking yes\n")
	conf.WriteString("user alice on >secret ~* &* +@all\nuser reader on >secret2 ~* &* +@all -@write -@admin -@dangerous +keys -publish -spublish\n")
	for _, name := range strings.Fields(absent) {
		fmt.Fprintf(&conf, "rename-command %s \"\"\n", name)
	}
	file := filepath.Join(dir, "redis.conf")
	if err := os.WriteFile(file, []byte(conf.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, file)
	cmd.Dir = dir
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { cmd.Wait(); close(exited) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-exited })

	addr := fmt.Sprintf("127.0.0.1:%d", port)
	for deadline := time.Now().Add(20 * time.Second); ; {
		if pong(addr) {
			return addr
		}
		select {
		case <-exited:
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Fatalf("redis-server ended at its start:\n%s%s", output.Bytes(), log)
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("redis-server did not answer PING within 20 s:\n%s", output.Bytes())
		}
	}
}

// pong tells whether a server answers at addr.
func pong(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	var reply [7]byte
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	c.Read(reply[:])
	return string(reply[:]) == "+PONG\r\n"
}

// freePort is a port that nobody listens on at this moment.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
