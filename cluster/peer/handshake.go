package peer

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// The handshake, after TLS if there is any:
//
//	dialer                                       acceptor
//	magic, hello: purpose, from, to, cluster,
//	  addresses, nonce                        →
//	                                          ←  challenge: nonce
//	proof: MAC("dialer", hello, challenge)    →
//	                                          ←  welcome: node, cluster, addresses,
//	                                               MAC("acceptor", hello, challenge, welcome)
//
// The MAC is HMAC-SHA256 under the shared secret. Its role keeps one side's
// proof from serving as the other's, the nonces keep it from serving twice. The
// dialer proves itself first, so that a stranger who connects gets nothing he
// could guess the secret with. Where challenge or welcome are expected, a refusal
// with a sentence may come instead.
//
// Every part but the magic is preceded by its length in two bytes; it is at most
// maxPartBytes. Strings are preceded by their length in one.
const (
	magic        = "crema-peer\x00\x01" // the last byte is the version
	maxPartBytes = 4 << 10
	nonceBytes   = 32
	maxIDBytes   = 64 // of a node's and a cluster's id

	handshakeTimeout = 5 * time.Second
)

// purpose is what a connection is for.
type purpose byte

const (
	purposeRaft purpose = iota + 1
	purposeLink
	purposeAdmin
)

func (p purpose) String() string {
	switch p {
	case purposeRaft:
		return "raft"
	case purposeLink:
		return "link"
	case purposeAdmin:
		return "admin"
	}
	return fmt.Sprintf("purpose %d", byte(p))
}

const (
	saidRefusal   = 0
	saidChallenge = 1
	saidWelcome   = 2
)

// Address is where a node is reached, host:port each.
type Address struct {
	Peer, Client string
}

// hello is what the dialer says about the connection.
type hello struct {
	purpose  purpose
	from, to string // to may be "" for admin
	cluster  string
	address  Address
}

// remote is what has been proved about the other side.
type remote struct {
	node    string
	cluster string // "" while it belongs to none
	address Address
	purpose purpose
	told    string // the cluster we said that we belong to
}

// errRefused wraps what the other side said instead of going on. Nothing has
// proved that it was a node who said it.
var errRefused = errors.New("refused")

// errSecret is for a proof that does not fit.
var errSecret = errors.New("its secret is not ours")

// refusal is an error whose sentence the other side may hear.
type refusal string

func (r refusal) Error() string { return string(r) }

// introduce is the dialer's side.
func introduce(conn net.Conn, secret string, h hello) (remote, error) {
	var nonce [nonceBytes]byte
	rand.Read(nonce[:])
	said := []byte{byte(h.purpose)}
	for _, s := range []string{h.from, h.to, h.cluster, h.address.Peer, h.address.Client} {
		if len(s) > 255 {
			return remote{}, fmt.Errorf("%.20q… is longer than 255 bytes", s)
		}
		said = appendString(said, s)
	}
	said = append(said, nonce[:]...)
	if err := writePart(conn, magic, said); err != nil {
		return remote{}, err
	}
	challenge, err := readSaid(conn, saidChallenge)
	if err != nil {
		return remote{}, err
	}
	if len(challenge) != nonceBytes {
		return remote{}, fmt.Errorf("challenge of %d bytes", len(challenge))
	}
	if err := writePart(conn, "", proof(secret, "dialer", said, challenge)); err != nil {
		return remote{}, err
	}
	welcome, err := readSaid(conn, saidWelcome)
	if err != nil {
		return remote{}, err
	}
	if len(welcome) < sha256.Size {
		return remote{}, fmt.Errorf("welcome of %d bytes", len(welcome))
	}
	body, mac := welcome[:len(welcome)-sha256.Size], welcome[len(welcome)-sha256.Size:]
	if !hmac.Equal(mac, proof(secret, "acceptor", said, challenge, body)) {
		return remote{}, errSecret
	}
	r := remote{purpose: h.purpose, told: h.cluster}
	if !parseStrings(body, &r.node, &r.cluster, &r.address.Peer, &r.address.Client) {
		return remote{}, errors.New("malformed welcome")
	}
	if err := agree(h.purpose, h.to, h.cluster, r.node, r.cluster); err != nil {
		return remote{}, err
	}
	return r, nil
}

// receive is the acceptor's side. It returns who is there and has answered
// everything but the welcome; refuse or welcome end the handshake.
func receive(conn net.Conn, secret string) (hello, welcomer, error) {
	var first [len(magic)]byte
	if _, err := io.ReadFull(conn, first[:]); err != nil {
		return hello{}, welcomer{}, err
	}
	if n := len(magic) - 1; string(first[:n]) == magic[:n] && first[n] != magic[n] {
		return hello{}, welcomer{}, refusal(fmt.Sprintf("it speaks version %d of the peer protocol, this node version %d", first[n], magic[n]))
	} else if string(first[:]) != magic {
		return hello{}, welcomer{}, fmt.Errorf("not a node: it began with %q", first[:])
	}
	said, err := readPart(conn)
	if err != nil {
		return hello{}, welcomer{}, err
	}
	var h hello
	if len(said) < 1+nonceBytes || !parseStrings(said[1:len(said)-nonceBytes], &h.from, &h.to, &h.cluster, &h.address.Peer, &h.address.Client) {
		return hello{}, welcomer{}, errors.New("malformed hello")
	}
	h.purpose = purpose(said[0])

	challenge := make([]byte, nonceBytes)
	rand.Read(challenge)
	if err := writePart(conn, "", append([]byte{saidChallenge}, challenge...)); err != nil {
		return hello{}, welcomer{}, err
	}
	mac, err := readPart(conn)
	if err != nil {
		return hello{}, welcomer{}, err
	}
	if !hmac.Equal(mac, proof(secret, "dialer", said, challenge)) {
		return hello{}, welcomer{}, refusal(errSecret.Error())
	}
	if !validID(h.from) || len(h.cluster) > maxIDBytes {
		return hello{}, welcomer{}, errors.New("malformed hello")
	}
	return h, welcomer{conn, secret, said, challenge}, nil
}

// welcomer is an acceptor that knows who is there.
type welcomer struct {
	conn            net.Conn
	secret          string
	said, challenge []byte
}

func (w welcomer) welcome(node, cluster string, a Address) error {
	var body []byte
	for _, s := range []string{node, cluster, a.Peer, a.Client} {
		if len(s) > 255 {
			return fmt.Errorf("%.20q… is longer than 255 bytes", s)
		}
		body = appendString(body, s)
	}
	mac := proof(w.secret, "acceptor", w.said, w.challenge, body)
	return writePart(w.conn, "", append(append([]byte{saidWelcome}, body...), mac...))
}

// agree checks whether a connection for purpose to node to of cluster may be
// one with node of its cluster.
func agree(p purpose, to, cluster, node, nodeCluster string) error {
	switch {
	case (to != "" || p != purposeAdmin) && to != node:
		return refusal(fmt.Sprintf("this is node %s, not %s", node, to))
	case p != purposeAdmin && cluster != "" && nodeCluster != "" && cluster != nodeCluster:
		return refusal(fmt.Sprintf("node %s belongs to cluster %s, not to %s", node, nodeCluster, cluster))
	}
	return nil
}

// refuse says why, to somebody who may be a stranger: as far as it works.
func refuse(conn net.Conn, why refusal) {
	writePart(conn, "", append([]byte{saidRefusal}, why...))
}

func proof(secret, role string, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(appendString(nil, magic))
	mac.Write(appendString(nil, role))
	for _, p := range parts {
		mac.Write(binary.BigEndian.AppendUint16(nil, uint16(len(p))))
		mac.Write(p)
	}
	return mac.Sum(nil)
}

func validID(s string) bool {
	if s == "" || len(s) > maxIDBytes {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func writePart(conn net.Conn, prefix string, part []byte) error {
	b := binary.BigEndian.AppendUint16([]byte(prefix), uint16(len(part)))
	_, err := conn.Write(append(b, part...))
	return err
}

func readPart(conn net.Conn) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if n > maxPartBytes {
		return nil, fmt.Errorf("handshake of %d bytes", n)
	}
	part := make([]byte, n)
	_, err := io.ReadFull(conn, part)
	return part, err
}

// readSaid reads what the acceptor says next.
func readSaid(conn net.Conn, want byte) ([]byte, error) {
	part, err := readPart(conn)
	switch {
	case err != nil:
		return nil, err
	case len(part) > 0 && part[0] == want:
		return part[1:], nil
	case len(part) > 0 && part[0] == saidRefusal:
		return nil, fmt.Errorf("%w: %q", errRefused, part[1:min(len(part), 400)])
	}
	return nil, errors.New("not a node: it does not answer like one")
}

func appendString(b []byte, s string) []byte {
	return append(append(b, byte(len(s))), s...)
}

// parseStrings reads exactly as many strings as there are places for them.
func parseStrings(b []byte, to ...*string) bool {
	for _, s := range to {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return false
		}
		*s = string(b[1 : 1+b[0]])
		if bytes.IndexByte([]byte(*s), 0) >= 0 {
			return false
		}
		b = b[1+int(b[0]):]
	}
	return len(b) == 0
}
