package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestDocument(t *testing.T) {
	for _, c := range []struct {
		args  []string
		file  string
		inner bool
	}{
		{[]string{"--log", "x", "create", "--bundle", "/b", "--pid-file", "p", "id"}, "/b/config.json", true},
		{[]string{"create", "--bundle=/b", "id"}, "/b/config.json", true},
		{[]string{"run", "-b", "/b", "id"}, "/b/config.json", true},
		{[]string{"run", "id"}, "config.json", true},
		{[]string{"--root", "/r", "exec", "--process", "/tmp/p.json", "id"}, "/tmp/p.json", false},
		{[]string{"exec", "-p", "/tmp/p.json", "id"}, "/tmp/p.json", false},
		{[]string{"exec", "id", "run"}, "", false},
		{[]string{"delete", "--force", "create"}, "", false},
		{[]string{"--root", "/run/create", "state", "run"}, "", false},
	} {
		if file, inner := document(c.args); file != c.file || inner != c.inner {
			t.Errorf("%q: got %q %v, want %q %v", c.args, file, inner, c.file, c.inner)
		}
	}
}

func TestNarrowKeepsAllElse(t *testing.T) {
	had, err := bounding()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "config.json")
	before := `{"big": 18446744073709551615, "process": {"args": ["a"], "capabilities": {"bounding": ["CAP_CHOWN", "CAP_NONE"]}}}`
	if err := os.WriteFile(file, []byte(before), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := narrow(file, true); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var after struct {
		Big     json.Number
		Process struct {
			Args         []string
			Capabilities map[string][]string
		}
	}
	if err := json.Unmarshal(text, &after); err != nil {
		t.Fatal(err)
	}
	want := []string{}
	if had["CAP_CHOWN"] {
		want = append(want, "CAP_CHOWN")
	}
	if got := after.Process.Capabilities["bounding"]; !reflect.DeepEqual(got, want) {
		t.Errorf("capabilities: got %q, want %q", got, want)
	}
	if after.Big != "18446744073709551615" || !reflect.DeepEqual(after.Process.Args, []string{"a"}) {
		t.Errorf("something else changed: %s", text)
	}
	if info, _ := os.Stat(file); info.Mode() != 0o640 {
		t.Errorf("mode: %v", info.Mode())
	}
}

func TestNarrowSaysWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.json")
	if narrow(file, true) == nil {
		t.Error("a missing file is no error")
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if narrow(file, true) == nil {
		t.Error("a broken file is no error")
	}
}
