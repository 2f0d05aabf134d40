// Command mongo-tools stands in for MongoDB's mongodump and mongorestore on air-gapped clusters, under either name.
//
// It reads and writes the public archive format of MongoDB's tools, takes the same options as far as it has them, and says
// the same lines. Where the real tools end well although documents failed, or a part of the archive is missing, it fails.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

const (
	version = "1.0.0"
	// memory is what Go's collector keeps to: much less than a pod's usual limit, whatever the database's size.
	memory = 80 << 20
	// patience is how long a signalled program may still tidy up.
	patience = 2 * time.Second
)

func main() {
	os.Exit(run(filepath.Base(os.Args[0]), os.Args[1:]))
}

// run does what the program called name does, and returns its exit code.
func run(name string, args []string) int {
	debug.SetMemoryLimit(memory)
	o, err := parse(name, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Print(help(name))
		return 0
	case err != nil:
		return failed(err)
	case o.version:
		fmt.Printf("%s version: %s\nTechShop's stand-in for MongoDB's %[1]s, not MongoDB's own; archive format %s\n",
			name, version, formatVersion)
		return 0
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go obey(cancel)
	work := dump
	if name == restoreName {
		work = restore
	}
	err = work(ctx, o)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause // what the signal broke off is no reason of its own
	}
	if err != nil {
		return failed(err)
	}
	return 0
}

// obey ends the program at the first signal: in order when that is quick, since a read or write may wait for ever.
func obey(cancel context.CancelCauseFunc) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	err := fmt.Errorf("ended by a signal: %v", <-signals)
	cancel(err)
	time.Sleep(patience)
	os.Exit(failed(err))
}

func failed(err error) int {
	line("Failed: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	return 1
}

// verbosity is how much is said: -1 nothing but failures, 0 what the real tools say, 1 and more what --verbose adds.
var verbosity int

func say(format string, args ...any) {
	if verbosity >= 0 {
		line(format, args...)
	}
}

func detail(format string, args ...any) {
	if verbosity > 0 {
		line(format, args...)
	}
}

// line writes a line as the real tools do, which scripts take apart at the tab.
func line(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s\t%s\n", time.Now().Format("2006-01-02T15:04:05.000-0700"), fmt.Sprintf(format, args...))
}

func counted(n int64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", more)
}
