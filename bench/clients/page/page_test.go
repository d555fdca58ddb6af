// Package page looks at the server's page in Chromium (page.mjs).
package page

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestPage(t *testing.T) {
	binary := os.Getenv("CREMA_BIN")
	if binary == "" {
		binary = filepath.Join(t.TempDir(), "crema")
		build := exec.Command("go", "build", "-o", binary, "./cmd/crema")
		build.Dir = "../../.."
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build crema: %v\n%s", err, out)
		}
	}
	look := exec.CommandContext(t.Context(), "node", "page.mjs")
	look.Env = append(os.Environ(), "CREMA_BIN="+binary)
	out, err := look.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}
