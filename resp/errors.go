package resp

import (
	"bytes"
	"strings"
)

// Every error text that a client can see: Redis 7.0's, byte for byte, but for
// the last group of variables, which Redis has no words for.

// What is wrong with a word or a value.
var (
	ErrSyntax        = Error("ERR syntax error")
	ErrNotInteger    = Error("ERR value is not an integer or out of range")
	ErrNotInt32      = Error("ERR value is out of range, value must between -2147483648 and 2147483647")
	ErrNotPositive   = Error("ERR value is out of range, must be positive")
	ErrNotFloat      = Error("ERR value is not a valid float")
	ErrWrongType     = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
	ErrNoSuchKey     = Error("ERR no such key")
	ErrSameObject    = Error("ERR source and destination objects are the same")
	ErrIncrOverflow  = Error("ERR increment or decrement would overflow")
	ErrDecrOverflow  = Error("ERR decrement would overflow") // DECRBY of the smallest integer
	ErrNaN           = Error("ERR increment would produce NaN or Infinity")
	ErrOffset        = Error("ERR offset is out of range")
	ErrStringTooLong = Error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
	ErrCursor        = Error("ERR invalid cursor")

	ErrDelExCondition = Error("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE") // Redis 8.4's
)

// Databases.
var (
	ErrDBIndex      = Error("ERR DB index is out of range")
	ErrInvalidDBOne = Error("ERR invalid first DB index")
	ErrInvalidDBTwo = Error("ERR invalid second DB index")
)

// Options that do not go together, or not with this key.
var (
	ErrTimeout       = Error("ERR timeout is not an integer or out of range")
	ErrTimeoutNeg    = Error("ERR timeout is negative")
	ErrExpireNX      = Error("ERR NX and XX, GT or LT options at the same time are not compatible")
	ErrExpireGTLT    = Error("ERR GT and LT options at the same time are not compatible")
	ErrLCSTwoOptions = Error("ERR If you want both the length and indexes, please just use IDX.")
	ErrLCSTooLong    = Error("ERR String too long for LCS")
	ErrLCSMemory     = Error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
	ErrLCSNotStrings = Error("ERR The specified keys must contain string values")
	ErrNotLFU        = Error("ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.")
	ErrIsLFU         = Error("ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.")
)

// The server's state.
var (
	ErrOOM        = Error("OOM command not allowed when used memory > 'maxmemory'.")
	ErrMaxClients = Error("ERR max number of clients reached")
	ErrProtected  = Error("DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user. In this mode connections are only accepted from the loopback interface. If you want to connect from external computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode sending the command 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the same host the server is running, however MAKE SURE Redis is not publicly accessible from internet if you do so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable the protected mode by editing the Redis configuration file, and setting the protected mode option to 'no', and then restarting the server. 3) If you started the server manually just for testing, restart it with the '--protected-mode no' option. 4) Setup a an authentication password for the default user. NOTE: You only need to do one of the above things in order for the server to start accepting connections from the outside.")
	ErrNotStopped = Error("ERR No shutdown in progress.")
)

// Who is talking.
var (
	ErrNoAuth         = Error("NOAUTH Authentication required.")
	ErrNoAuthHello    = Error("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time")
	ErrWrongPass      = Error("WRONGPASS invalid username-password pair or user is disabled.")
	ErrNoPassword     = Error("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")
	ErrNoPermKeys     = Error("NOPERM this user has no permissions to access one of the keys used as arguments")
	ErrNoPermChannels = Error("NOPERM this user has no permissions to access one of the channels used as arguments")
	ErrNoProto        = Error("NOPROTO unsupported protocol version")
	ErrProtoVersion   = Error("ERR Protocol version is not an integer or out of range")
)

// Transactions.
var (
	ErrNestedMulti         = Error("ERR MULTI calls can not be nested")
	ErrExecWithoutMulti    = Error("ERR EXEC without MULTI")
	ErrDiscardWithoutMulti = Error("ERR DISCARD without MULTI")
	ErrWatchInMulti        = Error("ERR WATCH inside MULTI is not allowed")
	ErrNotInMulti          = Error("ERR Command not allowed inside a transaction")
	ErrNoPermInExec        = Error("NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: no permission to execute the command")
	ErrExecAbort           = Error("EXECABORT Transaction discarded because of previous errors.")
)

// Scripts.
var (
	ErrNoScript        = Error("NOSCRIPT No matching script. Please use EVAL.")
	ErrBusy            = Error("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.")
	ErrNotBusy         = Error("NOTBUSY No scripts in execution right now.")
	ErrReadonlyScript  = Error("ERR Write commands are not allowed from read-only scripts.")
	ErrNotFromScript   = Error("ERR This Redis command is not allowed from script")
	ErrUnknownInScript = Error("ERR Unknown Redis command called from script")
	ErrArityInScript   = Error("ERR Wrong number of args calling Redis command from script")
	ErrKeysNegative    = Error("ERR Number of keys can't be negative")
	ErrKeysTooMany     = Error("ERR Number of keys can't be greater than number of args")
	ErrWriteScriptRO   = Error("ERR Can not execute a script with write flag using *_ro command.")
	ErrScriptOOM       = Error("OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'")
	ErrNoPermInScript  = Error("ERR The user executing the script can't run this command or subcommand")
	ErrScriptFlush     = Error("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
)

// CLIENT, CONFIG, COMMAND, SLOWLOG and their like.
var (
	ErrClientName        = Error("ERR Client names cannot contain spaces, newlines or special characters.")
	ErrNoSuchClient      = Error("ERR No such client")
	ErrClientID          = Error("ERR Invalid client ID")
	ErrClientIDPositive  = Error("ERR client-id should be greater than 0")
	ErrPauseMode         = Error("ERR CLIENT PAUSE mode must be WRITE or ALL")
	ErrUnblockReason     = Error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
	ErrDebugDisabled     = Error("ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.")
	ErrNoConfigFile      = Error("ERR The server is running without a config file")
	ErrCountNegative     = Error("ERR count should be greater than or equal to -1")
	ErrInvalidCommand    = Error("ERR Invalid command specified")
	ErrNoKeyArguments    = Error("ERR The command has no key arguments")
	ErrInvalidNumberArgs = Error("ERR Invalid number of arguments specified for command")
	ErrInvalidArgs       = Error("ERR Invalid arguments specified for command")
)

// What Redis has no words for.
var (
	ErrPatternTooLong = Error("ERR pattern is too long")
	ErrNoPushDoor     = Error("ERR messages need a connection: this door has none")
	ErrScriptMemory   = Error("ERR script reached its memory limit and was stopped; it has changed nothing")
	ErrScriptTooBig   = Error("ERR script wrote more than one transaction may hold and was stopped; it has changed nothing")
	ErrInternal       = Error("ERR internal error")
)

// What only a server with a log answers. Clients retry CLUSTERDOWN by themselves;
// INDOUBT is for the program: the change may have happened or not.
var (
	ErrClusterDown = Error("CLUSTERDOWN The change did not reach the log, nothing has happened")
	ErrInDoubt     = Error("INDOUBT The change may have happened or not")
)

// ErrWrongArity is the error for a command's number of words. The name is the
// table's, "client|kill" for a subcommand.
func ErrWrongArity(name string) Reply {
	return Error("ERR wrong number of arguments for '" + name + "' command")
}

// ErrInvalidExpire is the error for a time to live that is not positive or too far away.
func ErrInvalidExpire(name string) Reply {
	return Error("ERR invalid expire time in '" + name + "' command")
}

// ErrUnknownCommand names a command that nobody knows and the words behind it,
// 128 bytes of the one and a little more than 128 of the others.
func ErrUnknownCommand(words [][]byte) Reply {
	var text, args []byte
	for _, word := range words[1:] {
		if len(args) >= 128 {
			break
		}
		args = append(append(append(args, '\''), cut(word, 128-len(args))...), "' "...)
	}
	text = append(text, "ERR unknown command '"...)
	text = append(text, cut(words[0], 128)...)
	text = append(text, "', with args beginning with: "...)
	return Reply{Kind: KindError, Bytes: append(text, args...)}
}

// ErrUnknownSubcommand names a subcommand that a known command does not have.
func ErrUnknownSubcommand(command string, sub []byte) Reply {
	return Error("ERR unknown subcommand '" + string(cut(sub, 128)) + "'. Try " + strings.ToUpper(command) + " HELP.")
}

// ErrSubcommandSyntax is for a subcommand that is known with other words.
func ErrSubcommandSyntax(command string, sub []byte) Reply {
	return Error("ERR unknown subcommand or wrong number of arguments for '" + string(cut(sub, 128)) + "'. Try " + strings.ToUpper(command) + " HELP.")
}

// ErrScriptKilled is what the client of a script is told that SCRIPT KILL stopped.
func ErrScriptKilled(sha string) Reply {
	return Error("ERR Script killed by user with SCRIPT KILL... script: " + sha + ", on @user_script:1.")
}

// ErrNoPerm is for a command that a user may not run. Redis 7.0 does not say
// who the user is.
func ErrNoPerm(_, command string) Reply {
	return Error("NOPERM this user has no permissions to run the '" + command + "' command")
}

// ErrSubscribed is for a command that a RESP2 connection with subscriptions may not run.
func ErrSubscribed(command string) Reply {
	return Error("ERR Can't execute '" + command + "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context")
}

// ErrExecAbortedBy is EXEC's own failure, for the reason that err gives.
func ErrExecAbortedBy(err Reply) Reply {
	return Error("EXECABORT Transaction discarded because of: " + strings.TrimPrefix(string(err.Bytes), "ERR "))
}

// ErrHelloOption is for a word that HELLO does not know.
func ErrHelloOption(word []byte) Reply {
	return Error("ERR Syntax error in HELLO option '" + string(cut(word, len(word))) + "'")
}

// ErrExpireOption is for a word that EXPIRE and its like do not know.
func ErrExpireOption(word []byte) Reply {
	return Error("ERR Unsupported option " + string(cut(word, len(word))))
}

// ErrClientType is for a TYPE that CLIENT LIST and CLIENT KILL do not know.
func ErrClientType(word []byte) Reply {
	return Error("ERR Unknown client type '" + string(cut(word, len(word))) + "'")
}

// ErrNoSuchUser is for CLIENT KILL USER.
func ErrNoSuchUser(word []byte) Reply {
	return Error("ERR No such user '" + string(cut(word, len(word))) + "'")
}

// ErrConfigSet is for a CONFIG SET that changed nothing because of one parameter.
func ErrConfigSet(parameter []byte, reason string) Reply {
	return Error("ERR CONFIG SET failed (possibly related to argument '" + string(parameter) + "') - " + reason)
}

// ErrConfigUnknown is for a parameter that CONFIG SET does not know.
func ErrConfigUnknown(parameter []byte) Reply {
	return Error("ERR Unknown option or number of arguments for CONFIG SET - '" + string(parameter) + "'")
}

// ProtocolError is what makes a connection unreadable: the server answers
// "-ERR " and its text, and closes.
type ProtocolError string

func (e ProtocolError) Error() string { return string(e) }

// Reply is the connection's last answer.
func (e ProtocolError) Reply() Reply { return Error("ERR " + string(e)) }

// What a Reader may find. Its ErrQueryTooBig is no ProtocolError, for Redis
// closes such a connection without a word.
const (
	errMultibulkLength ProtocolError = "Protocol error: invalid multibulk length"
	errMultibulkAuth   ProtocolError = "Protocol error: unauthenticated multibulk length"
	errMultibulkHeader ProtocolError = "Protocol error: too big mbulk count string"
	errBulkLength      ProtocolError = "Protocol error: invalid bulk length"
	errBulkAuth        ProtocolError = "Protocol error: unauthenticated bulk length"
	errBulkHeader      ProtocolError = "Protocol error: too big bulk count string"
	errInlineTooBig    ProtocolError = "Protocol error: too big inline request"
	errUnbalanced      ProtocolError = "Protocol error: unbalanced quotes in request"
)

// errNotBulk is for a word that does not begin with its length.
func errNotBulk(got byte) ProtocolError {
	return ProtocolError("Protocol error: expected '$', got '" + string([]byte{got}) + "'")
}

// cut is at most n bytes of a word and nothing from its first NUL on: Redis
// prints words as C strings.
func cut(word []byte, n int) []byte {
	word = word[:min(n, len(word))]
	if nul := bytes.IndexByte(word, 0); nul >= 0 {
		word = word[:nul]
	}
	return word
}

// ErrDenyBlocking is for SSUBSCRIBE inside MULTI.
func ErrDenyBlocking(upper string) Reply {
	return Error("ERR " + upper + " isn't allowed for a DENY BLOCKING client")
}
