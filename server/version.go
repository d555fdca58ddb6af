package server

// RedisVersion is the Redis whose commands and answers are ours: what clients
// gate their features on.
const RedisVersion = "7.0.15"

// Version is crema's own.
const Version = "0.1.0"
