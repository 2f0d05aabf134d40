// Command runc-bounded is runc for a machine whose root lacks some capabilities.
//
// `docker run --privileged` asks for every capability there is, and runc fails when one can't be had. Before "create",
// "run" and "exec", this program takes out of the OCI document what is not in its own bounding set; then it becomes runc.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// capabilities in the order of their bits.
var capabilities = strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP
LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT
SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE
AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF
CHECKPOINT_RESTORE`)

func main() {
	if file, inner := document(os.Args[1:]); file != "" {
		if err := narrow(file, inner); err != nil {
			fail(err)
		}
	}
	runc, err := exec.LookPath("runc")
	if err != nil {
		runc = "/usr/sbin/runc"
	}
	fail(syscall.Exec(runc, append([]string{"runc"}, os.Args[1:]...), os.Environ()))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "runc-bounded:", err)
	os.Exit(1)
}

// valued are runc's global options that take the next argument.
var valued = map[string]bool{"--root": true, "--log": true, "--log-format": true, "--criu": true, "--rootless": true}

// document finds, in runc's arguments, the file that names capabilities, and whether they are inside its "process".
func document(args []string) (file string, inner bool) {
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		if valued[args[0]] && len(args) > 1 {
			args = args[1:]
		}
		args = args[1:]
	}
	if len(args) == 0 {
		return "", false
	}
	switch args[0] {
	case "create", "run":
		return filepath.Join(option(args[1:], "--bundle", "-b", "."), "config.json"), true
	case "exec":
		return option(args[1:], "--process", "-p", ""), false
	}
	return "", false
}

// option returns the value of an option that has a long and a short name.
func option(args []string, long, short, unset string) string {
	for i, arg := range args {
		name, value, joined := strings.Cut(arg, "=")
		if name != long && name != short {
			continue
		}
		if !joined && i+1 < len(args) {
			value = args[i+1]
		}
		return value
	}
	return unset
}

// narrow rewrites the document with only those capabilities that can be had.
func narrow(file string, inner bool) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var doc map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&doc); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	process := doc
	if inner {
		process, _ = doc["process"].(map[string]any)
	}
	had, err := bounding()
	if err != nil {
		return err
	}
	sets, _ := process["capabilities"].(map[string]any)
	for set, value := range sets {
		asked, _ := value.([]any)
		kept := []any{}
		for _, name := range asked {
			if text, _ := name.(string); had[text] {
				kept = append(kept, name)
			}
		}
		sets[set] = kept
	}
	if text, err = json.Marshal(doc); err != nil {
		return err
	}
	return os.WriteFile(file, text, info.Mode())
}

// bounding returns the capabilities of this process's bounding set.
func bounding() (map[string]bool, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil, err
	}
	had := map[string]bool{}
	for line := range strings.Lines(string(status)) {
		value, found := strings.CutPrefix(line, "CapBnd:")
		if !found {
			continue
		}
		mask, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil {
			return nil, err
		}
		for bit, name := range capabilities {
			if mask&(1<<bit) != 0 {
				had["CAP_"+name] = true
			}
		}
	}
	return had, nil
}
