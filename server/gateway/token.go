package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"crema/resp"
)

// A browser's token is a JWT that the application's own server has signed with
// --events-secret, by HS256 and nothing else:
//
//	{"alg":"HS256"}.{"exp":1893456000,"channels":["batch:123","user:7:*"],"patterns":["job:*"]}
//
// exp is required. channels are globs of what the browser may name as a channel;
// patterns are what it may name as a pattern, word for word, and so are channels.
//
// It is read here because there is one way to write it: a library's choice of
// algorithms, keys and claims is what has gone wrong with such tokens, and what
// is left without it is one HMAC and one JSON object. The signature is looked at
// before anything else is.

const (
	maxTokenBytes = 8 << 10
	maxTokenNames = 256 // channels and patterns
	maxTokenGlob  = 1 << 10
	clockSkew     = 30 * time.Second // that nbf may be ahead of us: not exp, which the stream ends at

	// MinSecretBytes is as long as HS256's digest, which a key must not be shorter than.
	MinSecretBytes = sha256.Size
)

var errToken = errors.New("not a valid token")

// claims is what a token says.
type claims struct {
	Expires   float64  `json:"exp"` // unix s
	NotBefore float64  `json:"nbf"`
	Channels  []string `json:"channels"`
	Patterns  []string `json:"patterns"`

	expires time.Time
}

// readToken returns what a token says if it was signed with secret and its time
// has come and not passed.
func readToken(token string, secret []byte, now time.Time) (*claims, error) {
	if len(token) > maxTokenBytes || len(secret) == 0 {
		return nil, errToken
	}
	dot := strings.LastIndexByte(token, '.')
	if dot < 0 {
		return nil, errToken
	}
	signed := token[:dot]
	signature, err := base64.RawURLEncoding.Strict().DecodeString(token[dot+1:])
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(signed))
	if err != nil || !hmac.Equal(signature, mac.Sum(nil)) {
		return nil, errToken
	}
	first, second, ok := strings.Cut(signed, ".")
	var header struct {
		Algorithm string          `json:"alg"`
		Critical  json.RawMessage `json:"crit"` // what must be understood: nothing is
	}
	var c claims
	if !ok || readPart(first, &header) != nil || header.Algorithm != "HS256" || header.Critical != nil || readPart(second, &c) != nil {
		return nil, errToken
	}
	const year10000 = 253402300800
	if !(c.Expires > 0 && c.Expires < year10000) || math.IsNaN(c.NotBefore) || c.NotBefore > year10000 {
		return nil, fmt.Errorf("%w: exp", errToken)
	}
	c.expires = time.UnixMilli(int64(c.Expires * 1000))
	if !now.Before(c.expires) || c.NotBefore > float64(now.Add(clockSkew).Unix()) {
		return nil, fmt.Errorf("%w: its time has passed, or has not come", errToken)
	}
	if len(c.Channels)+len(c.Patterns) > maxTokenNames ||
		slices.ContainsFunc(slices.Concat(c.Channels, c.Patterns), func(glob string) bool { return len(glob) > maxTokenGlob }) {
		return nil, fmt.Errorf("%w: too many names", errToken)
	}
	return &c, nil
}

func readPart(text string, into any) error {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// allow tells whether all of this may be listened to, or what may not.
func (c *claims) allow(channels, patterns []string) (denied string, ok bool) {
	for _, name := range channels {
		if !slices.ContainsFunc(c.Channels, func(glob string) bool { return resp.Match([]byte(glob), []byte(name), false) }) {
			return name, false
		}
	}
	for _, pattern := range patterns {
		if !slices.Contains(c.Patterns, pattern) && !slices.Contains(c.Channels, pattern) {
			return pattern, false
		}
	}
	return "", true
}
