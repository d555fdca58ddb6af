<?php
// publish.php CHANNEL MESSAGE [CHANNEL MESSAGE ...] - publishes each message
// until somebody receives it, for a subscriber that blocks and cannot say when
// it is ready.
$at = parse_url(getenv('REDIS_URL'));
$redis = new Redis();
$redis->connect($at['host'], $at['port'], 10, null, 0, 10);
$redis->auth($at['pass']);
for ($i = 1; $i < $argc; $i += 2) {
    for ($deadline = hrtime(true) + 10e9; $redis->publish($argv[$i], $argv[$i + 1]) === 0;) {
        if (hrtime(true) > $deadline) {
            exit(1);
        }
    }
}
