<?php
// Predis as Debian ships it (php-predis).
require __DIR__ . '/scenario.php';
require 'Predis/autoload.php';

use Predis\Client;

function key_(string $k): string
{
    return "predis:$k";
}

function connect(string $url, array $parameters = []): Client
{
    $at = parse_url($url);
    return new Client([
        'scheme' => $at['scheme'] === 'rediss' ? 'tls' : 'tcp',
        'host' => $at['host'],
        'port' => $at['port'],
        'password' => $at['pass'] ?? null,
        'timeout' => READ_SECONDS,
        'read_write_timeout' => READ_SECONDS,
        ...$parameters,
    ]);
}

// Debian's Predis knows passwords, not users: log in by hand.
function connectAs(string $url): Client
{
    $at = parse_url($url);
    $client = connect($url, ['password' => null]);
    expect((string) $client->executeRaw(['AUTH', $at['user'], $at['pass']]), 'OK');
    return $client;
}

$url = getenv('REDIS_URL');
$redis = connect($url);
$other = connect($url);

run('predis', [
    'connect-password' => fn () => expect((string) $redis->ping(), 'PONG'),

    'connect-url' => fn () => expect((string) (new Client($url))->ping(), 'PONG'),

    'connect-wrong-password' => function () use ($url) {
        refused('WRONGPASS', fn () => connect($url, ['password' => 'wrong'])->ping());
    },

    'connect-user' => function () {
        $alice = connectAs(getenv('REDIS_USER_URL'));
        $alice->set(key_('alice'), 'here');
        expect($alice->get(key_('alice')), 'here');
    },

    'connect-readonly-user' => function () use ($redis) {
        $reader = connectAs(getenv('REDIS_READER_URL'));
        expect($reader->get(key_('alice')), 'here');
        refused('NOPERM', fn () => $reader->set(key_('alice'), 'gone'));
        expect($redis->get(key_('alice')), 'here');
    },

    'connect-tls' => function () use ($redis) {
        $tls = connect(getenv('REDIS_TLS_URL'), ['ssl' => ['cafile' => getenv('REDIS_CA_FILE')]]);
        $tls->set(key_('tls'), 'sealed');
        expect($redis->get(key_('tls')), 'sealed');
    },

    'connect-database' => function () use ($redis, $url) {
        $three = connect($url, ['database' => 3]);
        $redis->set(key_('db'), 'zero');
        $three->del(key_('db'));
        expect($three->get(key_('db')), null);
        $three->set(key_('db'), 'three');
        expect([$redis->get(key_('db')), $three->get(key_('db'))], ['zero', 'three']);
    },

    'pipeline' => function () use ($redis) {
        $replies = $redis->pipeline(function ($pipe) {
            for ($i = 0; $i < 500; $i++) {
                $pipe->set(key_("pipe:$i"), $i);
                $pipe->get(key_("pipe:$i"));
            }
        });
        expect(count($replies), 1000);
        for ($i = 0; $i < 500; $i++) {
            expect([(string) $replies[2 * $i], $replies[2 * $i + 1]], ['OK', (string) $i]);
        }
    },

    'transaction' => function () use ($redis) {
        $replies = $redis->transaction(function ($tx) {
            $tx->set(key_('tx'), 1);
            $tx->incr(key_('tx'));
            $tx->get(key_('tx'));
        });
        expect([(string) $replies[0], $replies[1], $replies[2]], ['OK', 2, '2']);
    },

    'watch-conflict' => function () use ($redis, $other) {
        $attempts = 0;
        $conflicting = function ($tx) use ($other, &$attempts) {
            $tx->get(key_('watched')); // the first command sends WATCH before itself
            $other->set(key_('watched'), '2');
            $attempts++;
            $tx->multi();
            $tx->set(key_('watched'), '3');
        };
        $options = ['cas' => true, 'watch' => key_('watched'), 'retry' => 2];
        refused('aborted', fn () => $redis->transaction($options, $conflicting));
        expect([$attempts, $redis->get(key_('watched'))], [3, '2']);
        $redis->transaction($options, function ($tx) {
            $tx->multi();
            $tx->set(key_('watched'), '3');
        });
        expect($redis->get(key_('watched')), '3');
    },

    'script-eval' => function () use ($redis) {
        expect(
            $redis->eval('return {KEYS[1], ARGV[1], #ARGV, false}', 1, key_('s'), 'a'),
            [key_('s'), 'a', 1, null],
        );
        refused('MINE own error', fn () => $redis->eval("return redis.error_reply('MINE own error')", 0));
    },

    'script-noscript-fallback' => function () use ($url) {
        // A command defined by a script sends EVALSHA and, after NOSCRIPT, EVAL.
        $echoes = new class extends Predis\Command\ScriptCommand {
            public static string $script;

            public function getKeysCount()
            {
                return 1;
            }

            public function getScript()
            {
                return self::$script;
            }
        };
        $echoes::$script = newScript();
        $client = connect($url);
        refused('NOSCRIPT ', fn () => $client->evalsha(sha1($echoes::$script), 0));
        $client->getProfile()->defineCommand('echoes', get_class($echoes));
        for ($i = 0; $i < 2; $i++) {
            expect(array_slice($client->echoes(key_('s'), 'a'), 0, 2), [key_('s'), 'a']);
        }
    },

    'pubsub' => function () use ($redis, $url) {
        $loop = connect($url)->pubSubLoop();
        $loop->subscribe(key_('one'));
        $loop->psubscribe(key_('news:*'));
        $got = [];
        foreach ($loop as $event) {
            switch ($event->kind) {
                case 'subscribe':
                    expect($redis->publish(key_('one'), everyByte()), 1);
                    break;
                case 'psubscribe':
                    expect($redis->publish(key_('news:x'), 'hello'), 1);
                    break;
                case 'message':
                    $got[] = [$event->channel, $event->payload];
                    $loop->unsubscribe(key_('one'));
                    break;
                case 'pmessage':
                    $got[] = [$event->pattern, $event->channel, $event->payload];
                    $loop->punsubscribe(key_('news:*'));
                    break;
            }
        }
        unset($loop);
        sort($got);
        expect($got, [[key_('one'), everyByte()], [key_('news:*'), key_('news:x'), 'hello']]);
        expect($redis->publish(key_('one'), 'late'), 0);
    },

    'reconnect' => function () use ($other, $url) {
        $victim = connect($url, ['database' => 3]);
        $victim->set(key_('survives'), 'yes');
        $id = $victim->executeRaw(['CLIENT', 'ID']);
        expect($other->executeRaw(['CLIENT', 'KILL', 'ID', $id]), 1);
        // Predis reports the loss once and connects again for the next command.
        refused('', fn () => $victim->ping());
        expect($victim->get(key_('survives')), 'yes');
        expect($victim->executeRaw(['CLIENT', 'ID']) === $id, false);
    },

    'lock' => function () use ($redis, $other) {
        $lock = key_('lock');
        $redis->del($lock);
        expect((string) $redis->set($lock, 'a', 'PX', 30_000, 'NX'), 'OK');
        expect($other->set($lock, 'b', 'PX', 30_000, 'NX'), null);
        expect($other->eval(RELEASE, 1, $lock, 'b'), 0);
        expect($redis->eval(RELEASE, 1, $lock, 'a'), 1);
        expect((string) $other->set($lock, 'b', 'PX', 50, 'NX'), 'OK');
        while ($redis->set($lock, 'a', 'PX', 30_000, 'NX') === null) {
            // comes back when its time is up
        }
        $redis->del($lock);
    },

    'binary' => function () use ($redis) {
        $k = key_('binary:') . everyByte();
        $redis->set($k, everyByte());
        expect($redis->get($k), everyByte());
        expect($redis->strlen($k), strlen(everyByte()));
    },

    'value-8mb' => function () use ($redis) {
        $big = bigValue();
        $redis->set(key_('big'), $big);
        expect($redis->get(key_('big')) === $big, true);
        expect($redis->del(key_('big')), 1);
    },

    'scan-10000' => function () use ($redis) {
        $all = [];
        for ($i = 0; $i < 10_000; $i++) {
            $all[key_("scan:$i")] = $i;
        }
        $redis->mset($all);
        $seen = [];
        foreach (new Predis\Collection\Iterator\Keyspace($redis, key_('scan:*'), 500) as $k) {
            $seen[$k] = true;
        }
        expect(count($seen), 10_000);
        expect($redis->del(array_keys($seen)), 10_000);
    },

    'counters' => function () use ($redis, $other) {
        $redis->del(key_('n'));
        for ($i = 0; $i < 100; $i++) {
            ($i % 2 ? $redis : $other)->incr(key_('n'));
        }
        expect($redis->incrby(key_('n'), 900), 1000);
        expect($redis->decrby(key_('n'), 1001), -1);
        expect($redis->incrbyfloat(key_('n'), 1.5), '0.5');
        refused('not an integer', fn () => $redis->incr(key_('n')));
    },

    'ttl' => function () use ($redis) {
        $redis->setex(key_('t'), 100, 'v');
        expect(in_array($redis->ttl(key_('t')), [99, 100], true), true);
        expect($redis->persist(key_('t')), 1);
        expect($redis->ttl(key_('t')), -1);
        expect($redis->pexpire(key_('t'), 40), 1);
        while ($redis->get(key_('t')) !== null) {
            // until its time is up
        }
        expect($redis->ttl(key_('t')), -2);
    },
]);
