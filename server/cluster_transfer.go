package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"
	"time"

	"crema/resp"
)

const (
	transferChunk = 1 << 20     // bytes in one answer of SAVE READ, and at most in one LOAD WRITE
	transferBytes = 64 << 30    // a whole snapshot
	transferIdle  = time.Minute // after which a transfer that nobody goes on with is dropped
)

// transfer is the one copy of the pinned keys that is on its way to or from an
// operator. It lives on the leader, in a file without a name.
type transfer struct {
	mu   sync.Mutex // guards what follows; Apply and BEGIN hold it for as long as they take
	id   string     // "" = none
	file *os.File
	size int64

	saving  bool
	loaded  int64 // bytes of size that have come
	sum     hash.Hash
	wantSum [sha256.Size]byte

	expiry *time.Timer // drops the transfer
}

var (
	errTransferBusy    = resp.Error("ERR another snapshot is on its way, try again in a minute")
	errTransferUnknown = resp.Error("ERR no such transfer: it was given up, or the leader has changed; begin again")
)

// begin makes a transfer; the caller holds mu.
func (t *transfer) begin(m Members) error {
	file, err := m.Scratch()
	if err != nil {
		return fmt.Errorf("make room for a snapshot: %w", err)
	}
	t.id, t.file = rand.Text(), file
	id := t.id
	t.expiry = time.AfterFunc(transferIdle, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.id == id {
			t.end()
		}
	})
	return nil
}

// end drops the transfer; the caller holds mu.
func (t *transfer) end() {
	t.expiry.Stop()
	t.file.Close()
	t.id, t.file, t.sum = "", nil, nil
}

// is tells whether the caller, who holds mu, goes on with the transfer there is.
func (t *transfer) is(id string, saving bool) bool {
	if t.id == "" || id != t.id || saving != t.saving {
		return false
	}
	t.expiry.Reset(transferIdle)
	return true
}

// save is CREMA SAVE BEGIN, READ and END.
func (t *transfer) save(m Members, a *resp.Args) resp.Reply {
	if !t.mu.TryLock() {
		return errTransferBusy
	}
	defer t.mu.Unlock()
	switch {
	case a.Left() == 1 && a.Match("BEGIN"):
		if t.id != "" {
			return errTransferBusy
		}
		return t.saveBegin(m)
	case a.Left() == 3 && a.Match("READ"):
		id, at := a.Text(), a.Int()
		if a.Failed() {
			return a.Err()
		}
		if !t.is(id, true) {
			return errTransferUnknown
		}
		if at < 0 || at > t.size {
			return resp.ErrOffset
		}
		chunk := make([]byte, min(transferChunk, t.size-at))
		if _, err := t.file.ReadAt(chunk, at); err != nil {
			return operatorError(fmt.Errorf("read snapshot: %w", err))
		}
		return resp.Bulk(chunk)
	case a.Left() == 2 && a.Match("END"):
		if !t.is(a.Text(), true) {
			return errTransferUnknown
		}
		t.end()
		return resp.OK
	}
	return resp.ErrSyntax
}

func (t *transfer) saveBegin(m Members) resp.Reply {
	if err := t.begin(m); err != nil {
		return operatorError(err)
	}
	t.saving = true
	sum := sha256.New()
	counted := &countingWriter{w: io.MultiWriter(t.file, sum)}
	index, err := m.WriteState(counted)
	if err != nil {
		t.end()
		return operatorError(fmt.Errorf("write snapshot: %w", err))
	}
	t.size = counted.n
	t.expiry.Reset(transferIdle)
	return resp.Map(
		resp.BulkString("transfer"), resp.BulkString(t.id),
		resp.BulkString("index"), resp.Int(int64(index)),
		resp.BulkString("bytes"), resp.Int(t.size),
		resp.BulkString("sha256"), resp.BulkString(hex.EncodeToString(sum.Sum(nil))),
	)
}

// load is CREMA LOAD BEGIN, WRITE, APPLY and END.
func (t *transfer) load(m Members, a *resp.Args) resp.Reply {
	if !t.mu.TryLock() {
		return errTransferBusy
	}
	defer t.mu.Unlock()
	switch {
	case a.Left() == 3 && a.Match("BEGIN"):
		size, sum := a.Int(), a.Text()
		if a.Failed() {
			return a.Err()
		}
		if t.id != "" {
			return errTransferBusy
		}
		return t.loadBegin(m, size, sum)
	case a.Left() == 4 && a.Match("WRITE"):
		id, at, chunk := a.Text(), a.Int(), a.Bytes()
		if a.Failed() {
			return a.Err()
		}
		if !t.is(id, false) {
			return errTransferUnknown
		}
		return t.write(at, chunk)
	case a.Left() == 2 && a.Match("APPLY"):
		if !t.is(a.Text(), false) {
			return errTransferUnknown
		}
		defer t.end()
		if err := t.apply(m); err != nil {
			return operatorError(err)
		}
		return resp.OK
	case a.Left() == 2 && a.Match("END"):
		if !t.is(a.Text(), false) {
			return errTransferUnknown
		}
		t.end()
		return resp.OK
	}
	return resp.ErrSyntax
}

func (t *transfer) loadBegin(m Members, size int64, sum string) resp.Reply {
	want, err := hex.DecodeString(sum)
	if size <= 0 || size > transferBytes || err != nil || len(want) != sha256.Size {
		return resp.Error("ERR LOAD BEGIN takes a size of at most 64 GiB and a SHA-256 in hexadecimal")
	}
	if err := t.begin(m); err != nil {
		return operatorError(err)
	}
	t.saving, t.size, t.loaded, t.sum = false, size, 0, sha256.New()
	copy(t.wantSum[:], want)
	return resp.BulkString(t.id)
}

// write takes the next chunk. One that came before is taken again without harm,
// for a caller that did not hear the answer.
func (t *transfer) write(at int64, chunk []byte) resp.Reply {
	end := at + int64(len(chunk))
	switch {
	case at >= 0 && end == t.loaded && len(chunk) > 0:
		return resp.Int(t.loaded)
	case at != t.loaded, len(chunk) > transferChunk, end > t.size:
		return resp.ErrOffset
	}
	if _, err := t.file.WriteAt(chunk, at); err != nil {
		return operatorError(fmt.Errorf("keep snapshot: %w", err))
	}
	t.sum.Write(chunk)
	t.loaded = end
	return resp.Int(t.loaded)
}

func (t *transfer) apply(m Members) error {
	if t.loaded != t.size || [sha256.Size]byte(t.sum.Sum(nil)) != t.wantSum {
		return errors.New("the snapshot did not arrive as it was sent")
	}
	ctx, cancel := context.WithTimeout(context.Background(), restoreFor)
	defer cancel()
	return m.Restore(ctx, io.NewSectionReader(t.file, 0, t.size), t.size)
}

// countingWriter counts what it passes on.
type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
