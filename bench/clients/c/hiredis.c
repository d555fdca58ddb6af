/* hiredis as Debian ships it (libhiredis-dev), blocking, RESP2.
 *
 * One line a scenario; the first expectation that fails ends the program. Every
 * command has a timeout of ten seconds. */
#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define BIG (8u << 20)

static const char *host;
static int port;
static char password[256];
static const char *scenario;

static void fail(const char *what, const char *got) {
    printf("FAILED hiredis %s\n", scenario);
    fprintf(stderr, "hiredis %s: %s, got %s\n", scenario, what, got ? got : "(null)");
    exit(1);
}

static void passed(void) {
    printf("ok hiredis %s\n", scenario);
    fflush(stdout);
}

static redisContext *dial(void) {
    struct timeval limit = {10, 0};
    redisContext *c = redisConnectWithTimeout(host, port, limit);
    if (c == NULL || c->err) fail("connect", c ? c->errstr : "no memory");
    redisSetTimeout(c, limit);
    return c;
}

static redisReply *checked(redisContext *c, redisReply *r) {
    if (r == NULL) fail("a reply", c->errstr);
    return r;
}

/* Sends one command, in redisCommand's format, and returns its reply. */
static redisReply *command(redisContext *c, const char *format, ...) {
    va_list args;
    va_start(args, format);
    redisReply *r = redisvCommand(c, format, args);
    va_end(args);
    return checked(c, r);
}

static redisReply *next(redisContext *c) {
    void *r = NULL;
    if (redisGetReply(c, &r) != REDIS_OK) fail("a reply", c->errstr);
    return r;
}

static void wantText(redisReply *r, int type, const char *text) {
    if (r->type != type || strcmp(r->str, text) != 0) fail(text, r->str);
    freeReplyObject(r);
}

static void wantOK(redisReply *r) { wantText(r, REDIS_REPLY_STATUS, "OK"); }

static void wantError(redisReply *r, const char *start) {
    if (r->type != REDIS_REPLY_ERROR || strncmp(r->str, start, strlen(start)) != 0) fail(start, r->str);
    freeReplyObject(r);
}

static void wantInteger(redisReply *r, long long n) {
    char got[32];
    snprintf(got, sizeof got, "type %d, %lld", r->type, r->integer);
    if (r->type != REDIS_REPLY_INTEGER || r->integer != n) fail("another integer", got);
    freeReplyObject(r);
}

static void wantNil(redisReply *r) {
    if (r->type != REDIS_REPLY_NIL) fail("nil", r->str);
    freeReplyObject(r);
}

static void wantBytes(redisReply *r, const char *bytes, size_t n) {
    if (r->type != REDIS_REPLY_STRING || r->len != n || memcmp(r->str, bytes, n) != 0) fail("the same bytes", "others");
    freeReplyObject(r);
}

/* An array of bulk strings, or of bulk strings and one integer at the end. */
static void wantWords(redisReply *r, int count, const char *const *words) {
    if (r->type != REDIS_REPLY_ARRAY || (int)r->elements < count) fail("an array", r->str);
    for (int i = 0; i < count; i++) {
        if (strcmp(r->element[i]->str, words[i]) != 0) fail(words[i], r->element[i]->str);
    }
    freeReplyObject(r);
}
#define WORDS(r, ...) \
    wantWords(r, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *[]){__VA_ARGS__})

static redisContext *login(void) {
    redisContext *c = dial();
    wantOK(command(c, "AUTH %s", password));
    return c;
}

/* redis://:PASSWORD@HOST:PORT */
static void readURL(void) {
    static char name[256];
    const char *url = getenv("REDIS_URL");
    if (url == NULL || sscanf(url, "redis://:%255[^@]@%255[^:]:%d", password, name, &port) != 3) {
        fprintf(stderr, "REDIS_URL is %s, want redis://:PASSWORD@HOST:PORT\n", url ? url : "not set");
        exit(2);
    }
    host = name;
}

static void connecting(void) {
    scenario = "connect-password";
    redisContext *c = dial();
    wantError(command(c, "PING"), "NOAUTH Authentication required.");
    wantError(command(c, "AUTH wrong"), "WRONGPASS ");
    wantOK(command(c, "AUTH %s", password));
    wantText(command(c, "PING"), REDIS_REPLY_STATUS, "PONG");
    passed();

    scenario = "connect-user";
    wantOK(command(c, "AUTH alice secret"));
    wantOK(command(c, "SET hiredis:alice here"));
    wantOK(command(c, "AUTH reader secret2"));
    wantText(command(c, "GET hiredis:alice"), REDIS_REPLY_STRING, "here");
    wantError(command(c, "SET hiredis:alice gone"), "NOPERM ");
    redisFree(c);
    passed();

    scenario = "connect-database";
    c = login();
    wantOK(command(c, "SET hiredis:db zero"));
    wantOK(command(c, "SELECT 3"));
    freeReplyObject(command(c, "DEL hiredis:db"));
    wantNil(command(c, "GET hiredis:db"));
    wantOK(command(c, "SET hiredis:db three"));
    wantOK(command(c, "SELECT 0"));
    wantText(command(c, "GET hiredis:db"), REDIS_REPLY_STRING, "zero");
    wantError(command(c, "SELECT 16"), "ERR DB index is out of range");
    wantText(command(c, "QUIT"), REDIS_REPLY_STATUS, "OK");
    redisFree(c);
    passed();
}

static void batches(redisContext *c, redisContext *other) {
    char text[64];
    scenario = "pipeline";
    for (int i = 0; i < 500; i++) {
        redisAppendCommand(c, "SET hiredis:pipe:%d v%d", i, i);
        redisAppendCommand(c, "GET hiredis:pipe:%d", i);
    }
    for (int i = 0; i < 500; i++) {
        wantOK(next(c));
        snprintf(text, sizeof text, "v%d", i);
        wantText(next(c), REDIS_REPLY_STRING, text);
    }
    passed();

    scenario = "transaction";
    wantOK(command(c, "MULTI"));
    wantText(command(c, "SET hiredis:tx 1"), REDIS_REPLY_STATUS, "QUEUED");
    wantText(command(c, "INCR hiredis:tx"), REDIS_REPLY_STATUS, "QUEUED");
    redisReply *r = command(c, "EXEC");
    if (r->type != REDIS_REPLY_ARRAY || r->elements != 2 || r->element[1]->integer != 2) fail("OK and 2", r->str);
    freeReplyObject(r);
    wantOK(command(c, "MULTI"));
    wantError(command(c, "NONSENSE"), "ERR unknown command");
    wantError(command(c, "EXEC"), "EXECABORT ");
    passed();

    scenario = "watch-conflict";
    wantOK(command(c, "WATCH hiredis:watched"));
    wantOK(command(other, "SET hiredis:watched 2"));
    wantOK(command(c, "MULTI"));
    wantText(command(c, "SET hiredis:watched 3"), REDIS_REPLY_STATUS, "QUEUED");
    wantNil(command(c, "EXEC"));
    wantText(command(c, "GET hiredis:watched"), REDIS_REPLY_STRING, "2");
    passed();

    scenario = "script";
    wantError(command(c, "EVALSHA ffffffffffffffffffffffffffffffffffffffff 0"), "NOSCRIPT No matching script. Please use EVAL.");
    for (int attempts = 0;; attempts++) {
        r = command(c, "SCRIPT LOAD %s", "return {KEYS[1], ARGV[1]}");
        redisReply *answer = command(c, "EVALSHA %s 1 hiredis:s a", r->str);
        freeReplyObject(r);
        /* Somebody may flush the scripts in between. */
        if (answer->type == REDIS_REPLY_ERROR && attempts < 100) {
            freeReplyObject(answer);
            continue;
        }
        WORDS(answer, "hiredis:s", "a");
        break;
    }
    WORDS(command(c, "EVAL %s 1 hiredis:s a", "return {KEYS[1], ARGV[1]}"), "hiredis:s", "a");
    passed();
}

static void messages(redisContext *c, redisContext *other) {
    redisContext *subscriber = login();
    scenario = "pubsub-channel";
    WORDS(command(subscriber, "SUBSCRIBE hiredis:one"), "subscribe", "hiredis:one");
    wantInteger(command(c, "PUBLISH hiredis:one first"), 1);
    wantInteger(command(c, "PUBLISH hiredis:other nobody"), 0);
    WORDS(next(subscriber), "message", "hiredis:one", "first");
    wantError(command(subscriber, "GET hiredis:one"), "ERR Can't execute 'get'");
    WORDS(command(subscriber, "PING hello"), "pong", "hello");
    WORDS(command(subscriber, "UNSUBSCRIBE"), "unsubscribe", "hiredis:one");
    wantText(command(subscriber, "PING"), REDIS_REPLY_STATUS, "PONG");
    passed();

    scenario = "pubsub-pattern";
    WORDS(command(subscriber, "PSUBSCRIBE hiredis:news:*"), "psubscribe", "hiredis:news:*");
    wantInteger(command(c, "PUBLISH hiredis:news:x hello"), 1);
    WORDS(next(subscriber), "pmessage", "hiredis:news:*", "hiredis:news:x", "hello");
    WORDS(command(subscriber, "PUNSUBSCRIBE"), "punsubscribe", "hiredis:news:*");
    redisFree(subscriber);
    passed();

    scenario = "reconnect";
    redisContext *victim = login();
    redisReply *id = command(victim, "CLIENT ID");
    wantInteger(command(other, "CLIENT KILL ID %lld", id->integer), 1);
    if (redisCommand(victim, "PING") != NULL) fail("a lost connection", "an answer");
    if (redisReconnect(victim) != REDIS_OK) fail("reconnect", victim->errstr);
    wantOK(command(victim, "AUTH %s", password));
    redisReply *now = command(victim, "CLIENT ID");
    if (now->integer <= id->integer) fail("a later id", "an earlier one");
    freeReplyObject(now);
    freeReplyObject(id);
    redisFree(victim);
    passed();
}

static void locks(redisContext *c, redisContext *other) {
    const char *release =
        "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";
    scenario = "lock";
    freeReplyObject(command(c, "DEL hiredis:lock"));
    wantOK(command(c, "SET hiredis:lock a NX PX 30000"));
    wantNil(command(other, "SET hiredis:lock b NX PX 30000"));
    wantInteger(command(other, "EVAL %s 1 hiredis:lock b", release), 0);
    wantInteger(command(c, "EVAL %s 1 hiredis:lock a", release), 1);
    wantOK(command(other, "SET hiredis:lock b NX PX 50"));
    for (int granted = 0; !granted;) { /* comes back when its time is up */
        redisReply *r = command(c, "SET hiredis:lock a NX PX 30000");
        granted = r->type == REDIS_REPLY_STATUS;
        freeReplyObject(r);
    }
    wantInteger(command(c, "DEL hiredis:lock"), 1);
    passed();
}

static void values(redisContext *c, redisContext *other) {
    scenario = "binary";
    char every[256 + 12];
    for (int i = 0; i < 256; i++) every[i] = (char)i;
    memcpy(every + 256, "\r\n$5\r\n*1\r\n:1", 12);
    wantOK(command(c, "SET hiredis:%b %b", every, sizeof every, every, sizeof every));
    wantBytes(command(c, "GET hiredis:%b", every, sizeof every), every, sizeof every);
    passed();

    scenario = "value-8mb";
    char *big = malloc(BIG);
    for (size_t i = 0; i < BIG; i++) big[i] = every[i % sizeof every];
    wantOK(command(c, "SET hiredis:big %b", big, (size_t)BIG));
    wantBytes(command(c, "GET hiredis:big"), big, BIG);
    wantInteger(command(c, "DEL hiredis:big"), 1);
    free(big);
    passed();

    scenario = "scan-10000";
    static char seen[10000];
    int distinct = 0;
    for (int i = 0; i < 10000; i++) redisAppendCommand(c, "SET hiredis:scan:%d x", i);
    for (int i = 0; i < 10000; i++) wantOK(next(c));
    char cursor[32] = "0";
    do {
        redisReply *r = command(c, "SCAN %s MATCH hiredis:scan:* COUNT 500", cursor);
        if (r->type != REDIS_REPLY_ARRAY || r->elements != 2) fail("cursor and keys", r->str);
        snprintf(cursor, sizeof cursor, "%s", r->element[0]->str);
        for (size_t i = 0; i < r->element[1]->elements; i++) {
            int n = atoi(r->element[1]->element[i]->str + strlen("hiredis:scan:"));
            distinct += !seen[n];
            seen[n] = 1;
        }
        freeReplyObject(r);
    } while (strcmp(cursor, "0") != 0);
    if (distinct != 10000) fail("10000 keys", "fewer");
    passed();

    scenario = "counters";
    freeReplyObject(command(c, "DEL hiredis:n"));
    for (int i = 1; i <= 100; i++) wantInteger(command(i % 2 ? c : other, "INCR hiredis:n"), i);
    wantInteger(command(c, "INCRBY hiredis:n 900"), 1000);
    wantInteger(command(c, "DECRBY hiredis:n 1001"), -1);
    wantText(command(c, "INCRBYFLOAT hiredis:n 1.5"), REDIS_REPLY_STRING, "0.5");
    wantError(command(c, "INCR hiredis:n"), "ERR value is not an integer or out of range");
    passed();

    scenario = "ttl";
    wantOK(command(c, "SET hiredis:t v EX 100"));
    wantInteger(command(c, "PERSIST hiredis:t"), 1);
    wantInteger(command(c, "TTL hiredis:t"), -1);
    wantInteger(command(c, "PEXPIRE hiredis:t 40"), 1);
    for (int gone = 0; !gone;) {
        redisReply *r = command(c, "GET hiredis:t");
        gone = r->type == REDIS_REPLY_NIL;
        freeReplyObject(r);
    }
    wantInteger(command(c, "TTL hiredis:t"), -2);
    passed();
}

int main(void) {
    readURL();
    connecting();
    redisContext *c = login(), *other = login();
    batches(c, other);
    messages(c, other);
    locks(c, other);
    values(c, other);
    redisFree(c);
    redisFree(other);
    return 0;
}
