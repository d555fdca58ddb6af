<?php
// phpredis as Debian ships it (php-redis).
require __DIR__ . '/scenario.php';

function key_(string $k): string
{
    return "phpredis:$k";
}

// For phpredis any stream options at all mean TLS.
function connect(string $url, array $options = []): Redis
{
    $at = parse_url($url);
    $redis = new Redis();
    $host = $at['scheme'] === 'rediss' ? "tls://{$at['host']}" : $at['host'];
    $auth = ($at['user'] ?? '') === '' ? $at['pass'] : [$at['user'], $at['pass']];
    $settings = ['auth' => $auth, ...$options];
    if (!$redis->connect($host, $at['port'], READ_SECONDS, null, 0, READ_SECONDS, $settings)) {
        throw new Exception("no connection to {$at['host']}:{$at['port']}");
    }
    return $redis;
}

// Starts a publisher and returns what ends it: it must have been heard.
function publishFromOutside(string ...$words): callable
{
    $child = proc_open([PHP_BINARY, __DIR__ . '/publish.php', ...$words], [], $pipes);
    return fn () => expect(proc_close($child), 0);
}

$url = getenv('REDIS_URL');
$redis = connect($url);
$other = connect($url);

run('phpredis', [
    'connect-password' => fn () => expect($redis->ping(), true),

    'connect-wrong-password' => function () use ($url) {
        refused('no connection', fn () => connect(preg_replace('~:[^:@/]+@~', ':wrong@', $url)));
    },

    'connect-user' => function () {
        $alice = connect(getenv('REDIS_USER_URL'));
        expect($alice->set(key_('alice'), 'here'), true);
        expect($alice->get(key_('alice')), 'here');
    },

    'connect-readonly-user' => function () use ($redis) {
        $reader = connect(getenv('REDIS_READER_URL'));
        expect($reader->get(key_('alice')), 'here');
        refused('NOPERM', fn () => $reader->set(key_('alice'), 'gone'));
        expect($redis->get(key_('alice')), 'here');
    },

    'connect-tls' => function () use ($redis) {
        $tls = connect(getenv('REDIS_TLS_URL'), ['stream' => ['cafile' => getenv('REDIS_CA_FILE')]]);
        expect($tls->set(key_('tls'), 'sealed'), true);
        expect($redis->get(key_('tls')), 'sealed');
    },

    'connect-tls-unknown-ca' => function () {
        refused('certificate', fn () => connect(getenv('REDIS_TLS_URL')));
    },

    'connect-database' => function () use ($redis, $url) {
        $three = connect($url);
        expect($three->select(3), true);
        $redis->set(key_('db'), 'zero');
        $three->del(key_('db'));
        expect($three->get(key_('db')), false);
        $three->set(key_('db'), 'three');
        expect([$redis->get(key_('db')), $three->get(key_('db'))], ['zero', 'three']);
    },

    'connect-persistent' => function () use ($url) {
        $at = parse_url($url);
        $ids = [];
        for ($i = 0; $i < 2; $i++) {
            $pooled = new Redis();
            $pooled->pconnect($at['host'], $at['port'], READ_SECONDS, 'pool');
            $pooled->auth($at['pass']);
            $ids[] = $pooled->client('id');
            unset($pooled);
        }
        expect($ids[0], $ids[1]);
    },

    'pipeline' => function () use ($redis) {
        $pipe = $redis->pipeline();
        $want = [];
        for ($i = 0; $i < 500; $i++) {
            $pipe->set(key_("pipe:$i"), $i)->get(key_("pipe:$i"));
            array_push($want, true, (string) $i);
        }
        expect($pipe->exec(), $want);
    },

    'transaction' => function () use ($redis) {
        expect($redis->multi()->set(key_('tx'), 1)->incr(key_('tx'))->get(key_('tx'))->exec(), [true, 2, '2']);
        expect($redis->multi()->set(key_('tx'), 'word')->incr(key_('tx'))->exec(), [true, false]);
        expect($redis->get(key_('tx')), 'word');
        $redis->multi()->set(key_('tx'), 'never');
        expect($redis->discard(), true);
        expect($redis->get(key_('tx')), 'word');
    },

    'watch-conflict' => function () use ($redis, $other) {
        $redis->watch(key_('watched'));
        $other->set(key_('watched'), '2');
        expect($redis->multi()->set(key_('watched'), '3')->exec(), false);
        expect($redis->get(key_('watched')), '2');
        $redis->watch(key_('watched'));
        expect($redis->multi()->set(key_('watched'), '3')->exec(), [true]);
    },

    'script-eval' => function () use ($redis) {
        expect(
            $redis->eval('return {KEYS[1], ARGV[1], #ARGV, false}', [key_('s'), 'a'], 1),
            [key_('s'), 'a', 1, false],
        );
        refused('MINE own error', fn () => $redis->eval("return redis.error_reply('MINE own error')"));
    },

    'script-noscript-fallback' => function () use ($redis) {
        $script = newScript();
        expect($redis->evalSha(sha1($script), [key_('s'), 'a'], 1), false);
        expect(str_starts_with($redis->getLastError(), 'NOSCRIPT '), true);
        $redis->clearLastError();
        do {
            expect(array_slice($redis->eval($script, [key_('s'), 'a'], 1), 0, 2), [key_('s'), 'a']);
            $again = $redis->evalSha(sha1($script), [key_('s'), 'a'], 1); // unless somebody flushed
        } while ($again === false);
        expect(array_slice($again, 0, 2), [key_('s'), 'a']);
    },

    'pubsub-channel' => function () use ($url) {
        $subscriber = connect($url);
        $got = [];
        $done = publishFromOutside(key_('one'), 'first', key_('two'), "\r\n+OK\r\n");
        // Closing the connection is how this version's callback ends the loop.
        $listener = function ($r, $channel, $message) use (&$got) {
            $got[] = [$channel, $message];
            if (count($got) === 2) {
                $r->close();
            }
        };
        refused('Connection closed', fn () => $subscriber->subscribe([key_('one'), key_('two')], $listener));
        $done();
        expect($got, [[key_('one'), 'first'], [key_('two'), "\r\n+OK\r\n"]]);
    },

    'pubsub-pattern' => function () use ($url) {
        $subscriber = connect($url);
        $got = null;
        $done = publishFromOutside(key_('news:x'), 'hello');
        $listener = function ($r, $pattern, $channel, $message) use (&$got) {
            $got = [$pattern, $channel, $message];
            $r->close();
        };
        refused('Connection closed', fn () => $subscriber->psubscribe([key_('news:*')], $listener));
        $done();
        expect($got, [key_('news:*'), key_('news:x'), 'hello']);
    },

    'reconnect' => function () use ($other, $url) {
        $victim = connect($url);
        $victim->select(3);
        $victim->set(key_('survives'), 'yes');
        $id = $victim->client('id');
        expect($other->rawCommand('CLIENT', 'KILL', 'ID', $id), 1);
        try {
            $victim->ping();
        } catch (RedisException) {
            // The connection may be seen to end only by the command itself.
        }
        expect($victim->get(key_('survives')), 'yes'); // with password and database
        expect($victim->client('id') === $id, false);
    },

    'lock' => function () use ($redis, $other) {
        $lock = key_('lock');
        $redis->del($lock);
        expect($redis->set($lock, 'a', ['nx', 'px' => 30_000]), true);
        expect($other->set($lock, 'b', ['nx', 'px' => 30_000]), false);
        expect($other->eval(RELEASE, [$lock, 'b'], 1), 0);
        expect($redis->eval(RELEASE, [$lock, 'a'], 1), 1);
        expect($other->set($lock, 'b', ['nx', 'px' => 50]), true);
        while (!$redis->set($lock, 'a', ['nx', 'px' => 30_000])) {
            // comes back when its time is up
        }
        $redis->del($lock);
    },

    'session-handler-with-lock' => function () use ($redis, $url) {
        $at = parse_url($url);
        ini_set('session.save_handler', 'redis');
        ini_set('session.save_path', "tcp://{$at['host']}:{$at['port']}?auth={$at['pass']}&prefix=" . key_('sess:'));
        ini_set('redis.session.locking_enabled', '1');
        ini_set('session.use_cookies', '0');
        session_cache_limiter('');
        session_id('somebody');
        session_start();
        expect($redis->exists(key_('sess:somebody_LOCK')), 1);
        $_SESSION['visits'] = 1;
        session_write_close();
        expect($redis->exists(key_('sess:somebody_LOCK')), 0);
        $_SESSION = [];
        session_start();
        expect($_SESSION, ['visits' => 1]);
        session_destroy();
        expect($redis->exists(key_('sess:somebody')), 0);
    },

    'binary' => function () use ($redis) {
        $k = key_('binary:') . everyByte();
        expect($redis->set($k, everyByte()), true);
        expect($redis->get($k), everyByte());
        expect($redis->strlen($k), strlen(everyByte()));
    },

    'value-8mb' => function () use ($redis) {
        $big = bigValue();
        expect($redis->set(key_('big'), $big), true);
        expect($redis->get(key_('big')) === $big, true);
        expect($redis->del(key_('big')), 1);
    },

    'scan-10000' => function () use ($redis) {
        $all = [];
        for ($i = 0; $i < 10_000; $i++) {
            $all[key_("scan:$i")] = $i;
        }
        $redis->mset($all);
        $redis->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
        $seen = [];
        $cursor = null;
        while ($found = $redis->scan($cursor, key_('scan:*'), 500)) {
            foreach ($found as $k) {
                $seen[$k] = true;
            }
        }
        expect(count($seen), 10_000);
        expect($redis->unlink(array_keys($seen)), 10_000);
    },

    'counters' => function () use ($redis, $other) {
        $redis->del(key_('n'));
        for ($i = 0; $i < 100; $i++) {
            ($i % 2 ? $redis : $other)->incr(key_('n'));
        }
        expect($redis->incrBy(key_('n'), 900), 1000);
        expect($redis->decrBy(key_('n'), 1001), -1);
        expect($redis->incrByFloat(key_('n'), 1.5), 0.5);
        expect($redis->incr(key_('n')), false);
        expect(str_contains($redis->getLastError(), 'not an integer'), true);
    },

    'ttl' => function () use ($redis) {
        $redis->setex(key_('t'), 100, 'v');
        expect(in_array($redis->ttl(key_('t')), [99, 100], true), true);
        expect($redis->persist(key_('t')), true);
        expect($redis->ttl(key_('t')), -1);
        expect($redis->pexpire(key_('t'), 40), true);
        while ($redis->get(key_('t')) !== false) {
            // until its time is up
        }
        expect($redis->ttl(key_('t')), -2);
    },
]);
