package peer

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
)

func BenchmarkCall(b *testing.B) {
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			n1, _ := pair(b, nil, nil)
			request := bytes.Repeat([]byte("x"), 100)
			ctx := context.Background()
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for i := range callers {
				calls := b.N / callers
				if i < b.N%callers {
					calls++
				}
				wg.Go(func() {
					for range calls {
						if _, err := n1.Call(ctx, "n2", request); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func BenchmarkPost(b *testing.B) {
	heard := make(chan struct{}, 1)
	count := 0
	n1, _ := pair(b, nil, []option{withHear(func(string, []byte) {
		if count++; count == b.N {
			heard <- struct{}{}
		}
	})})
	frame := bytes.Repeat([]byte("x"), 100)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		for !n1.Post("n2", frame) { // the outbox is full
		}
	}
	<-heard
}

// The largest answer there is beside nothing else.
func BenchmarkLargeAnswer(b *testing.B) {
	answer := make([]byte, 100<<20)
	n1, _ := pair(b, nil, []option{withReply(func(string, []byte) []byte { return answer })})
	b.SetBytes(int64(len(answer)))
	b.ResetTimer()
	for range b.N {
		if _, err := n1.Call(context.Background(), "n2", nil); err != nil {
			b.Fatal(err)
		}
	}
}
