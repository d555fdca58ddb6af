package server_test

import (
	"os"
	"strings"
	"testing"

	"crema/resp"
	"crema/server"
)

// The transcript on the README's first screen is what crema answers.
func TestReadmeTranscript(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	const prompt = "127.0.0.1:6379> "
	c := connect(t, serving(t, server.Config{}).Addr())
	said := 0
	lines := strings.Split(string(readme), "\n")
	for i, line := range lines {
		command, ok := strings.CutPrefix(line, prompt)
		if !ok {
			continue
		}
		split, ok := resp.SplitLine([]byte(command))
		if !ok {
			t.Fatalf("README.md:%d: unbalanced quotes", i+1)
		}
		words := make([]string, len(split))
		for j, w := range split {
			words[j] = string(w)
		}
		c.wants(t, lines[i+1], words...)
		said++
	}
	if said < 5 {
		t.Errorf("the README shows %d commands", said)
	}
}
