package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"strings"
	"testing"
	"time"
)

var testSecret = []byte("a secret of thirty-two bytes ....")

func sign(header, body string, secret []byte, with func() hash.Hash) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(body))
	mac := hmac.New(with, secret)
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func TestToken(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	const hs256 = `{"alg":"HS256","typ":"JWT"}`
	good := sign(hs256, `{"exp":1700000060,"channels":["batch:*"],"patterns":["job:*"],"sub":"x"}`, testSecret, sha256.New)
	c, err := readToken(good, testSecret, now)
	if err != nil || !c.expires.Equal(now.Add(time.Minute)) {
		t.Fatal(c, err)
	}
	for _, ask := range []struct {
		channels, patterns []string
		denied             string
	}{
		{[]string{"batch:1", "batch:"}, nil, ""},
		{nil, []string{"job:*", "batch:*"}, ""},
		{[]string{"batch:1", "job:1"}, nil, "job:1"},
		{[]string{"batch:1"}, []string{"batch:1*"}, "batch:1*"},
		{nil, []string{"*"}, "*"},
	} {
		if denied, ok := c.allow(ask.channels, ask.patterns); ok != (ask.denied == "") || denied != ask.denied {
			t.Errorf("%q %q: %q, %v", ask.channels, ask.patterns, denied, ok)
		}
	}
	if _, ok := (&claims{}).allow([]string{"x"}, nil); ok {
		t.Error("a token without names allows one")
	}
	// An example of RFC 7515, appendix A.1: made by another hand. Its time has passed.
	key, _ := base64.RawURLEncoding.DecodeString("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
	rfc := "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	if _, err := readToken(rfc, key, time.Unix(1300819379, 0)); err != nil {
		t.Error(err)
	}
	if _, err := readToken(rfc, key, now); err == nil {
		t.Error("a token of 2011 is valid")
	}

	body := `{"exp":1700000060}`
	names := strings.Repeat(`"x",`, 300)
	for name, token := range map[string]string{
		"another secret":    sign(hs256, body, []byte(strings.Repeat("x", 32)), sha256.New),
		"alg none":          sign(`{"alg":"none"}`, body, testSecret, sha256.New),
		"alg none, bare":    strings.TrimRight(strings.Join(strings.Split(sign(`{"alg":"none"}`, body, testSecret, sha256.New), ".")[:2], "."), ".") + ".",
		"HS512":             sign(`{"alg":"HS512"}`, body, testSecret, sha512.New),
		"HS512 as HS256":    sign(hs256, body, testSecret, sha512.New),
		"RS256":             sign(`{"alg":"RS256"}`, body, testSecret, sha256.New),
		"no alg":            sign(`{}`, body, testSecret, sha256.New),
		"crit":              sign(`{"alg":"HS256","crit":["b64"],"b64":false}`, body, testSecret, sha256.New),
		"no exp":            sign(hs256, `{}`, testSecret, sha256.New),
		"exp is text":       sign(hs256, `{"exp":"1700000060"}`, testSecret, sha256.New),
		"exp is negative":   sign(hs256, `{"exp":-1}`, testSecret, sha256.New),
		"exp is for ever":   sign(hs256, `{"exp":1e300}`, testSecret, sha256.New),
		"exp is now":        sign(hs256, `{"exp":1700000000}`, testSecret, sha256.New),
		"nbf is to come":    sign(hs256, `{"exp":1700000060,"nbf":1700000050}`, testSecret, sha256.New),
		"channels is text":  sign(hs256, `{"exp":1700000060,"channels":"*"}`, testSecret, sha256.New),
		"too many channels": sign(hs256, `{"exp":1700000060,"channels":[`+names+`"x"]}`, testSecret, sha256.New),
		"too long":          sign(hs256, `{"exp":1700000060,"sub":"`+strings.Repeat("x", 9000)+`"}`, testSecret, sha256.New),
		"not JSON":          sign(hs256, `exp`, testSecret, sha256.New),
		"two objects":       sign(hs256, body+body, testSecret, sha256.New),
		"padding":           good + "=",
		"cut":               good[:len(good)-1],
		"nothing":           "..",
		"one part":          "x",
		"four parts":        good + ".x",
		"another body":      strings.Replace(good, ".", ".e", 1),
	} {
		if c, err := readToken(token, testSecret, now); err == nil {
			t.Errorf("%s: valid: %+v", name, c)
		}
	}
	if _, err := readToken(sign(hs256, `{"exp":1700000060,"nbf":1700000020}`, testSecret, sha256.New), testSecret, now); err != nil {
		t.Error("a clock that is 20 s behind:", err)
	}
}

func FuzzToken(f *testing.F) {
	f.Add(`{"alg":"HS256"}`, `{"exp":1700000060,"channels":["a"]}`)
	f.Fuzz(func(t *testing.T, header, body string) {
		c, err := readToken(sign(header, body, testSecret, sha256.New), testSecret, time.Unix(1_700_000_000, 0))
		if err == nil && (c.Expires <= 1_700_000_000 || !strings.Contains(header, "HS256")) {
			t.Error(fmt.Sprint(header, body, c))
		}
		c, err = readToken(header+"."+body, testSecret, time.Unix(1_700_000_000, 0))
		if err == nil {
			t.Error("valid without a signature", c)
		}
	})
}
