<?php
// Scenarios by name, one after the other. One line each on standard output;
// status 1 at the end when one failed.

error_reporting(E_ALL & ~E_DEPRECATED); // Debian's Predis is older than its PHP
set_error_handler(function (int $level, string $text, string $file, int $line): bool {
    if ((error_reporting() & $level) === 0) {
        return false;
    }
    throw new ErrorException($text, 0, $level, $file, $line);
});

const READ_SECONDS = 10;
const RELEASE = <<<'LUA'
if redis.call("get", KEYS[1]) == ARGV[1] then
  return redis.call("del", KEYS[1])
else
  return 0
end
LUA;

// Every byte there is, then the bytes the protocol itself is made of.
function everyByte(): string
{
    return implode('', array_map('chr', range(0, 255))) . "\r\n$5\r\n*1\r\n";
}

function bigValue(): string
{
    return substr(str_repeat(everyByte(), intdiv(8 << 20, strlen(everyByte())) + 1), 0, 8 << 20);
}

// A script that no server has in its cache yet.
function newScript(): string
{
    return 'return {KEYS[1], ARGV[1], ' . hrtime(true) % 1_000_000_000 . '}';
}

function expect(mixed $got, mixed $want): void
{
    if ($got !== $want) {
        throw new Exception('got ' . substr(var_export($got, true), 0, 200)
            . ', want ' . substr(var_export($want, true), 0, 200));
    }
}

function refused(string $text, callable $call): void
{
    try {
        $call();
    } catch (Throwable $e) {
        if (!str_contains($e->getMessage(), $text)) {
            throw new Exception("refused, but not with $text", 0, $e);
        }
        return;
    }
    throw new Exception("not refused, want $text");
}

/** @param array<string, callable> $scenarios */
function run(string $client, array $scenarios): never
{
    $failed = 0;
    foreach ($scenarios as $name => $scenario) {
        try {
            $scenario();
            fwrite(STDOUT, "ok $client $name\n");
        } catch (Throwable $e) {
            $failed = 1;
            fwrite(STDOUT, "FAILED $client $name\n");
            fwrite(STDERR, "$client $name: $e\n");
        }
    }
    exit($failed);
}
