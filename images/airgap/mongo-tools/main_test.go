package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	mongooptions "go.mongodb.org/mongo-driver/v2/mongo/options"
)

// asTool makes this test's own program the tool of that name.
const asTool = "RUN_AS_TOOL"

func TestMain(m *testing.M) {
	if name := os.Getenv(asTool); name != "" {
		os.Exit(run(name, os.Args[1:]))
	}
	code := m.Run()
	for _, s := range servers {
		s.stop()
	}
	os.Exit(code)
}

// ended is how a run of a tool ended.
type ended struct {
	code   int
	said   string
	out    []byte
	memory int64 // in bytes
}

func (e ended) last() string {
	lines := strings.Split(strings.TrimSpace(e.said), "\n")
	_, text, _ := strings.Cut(lines[len(lines)-1], "\t")
	return text
}

func command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asTool+"="+name)
	return cmd
}

func finished(t testing.TB, cmd *exec.Cmd) ended {
	t.Helper()
	var said, out bytes.Buffer
	cmd.Stderr, cmd.Stdout = &said, &out
	check(t, cmd.Start())
	memory, over := int64(0), make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() { // what the system counts at the end begins with this program's own memory
		for tick := time.Tick(20 * time.Millisecond); ; {
			memory = max(memory, peak(cmd.Process.Pid))
			select {
			case <-tick:
			case <-over:
				return
			}
		}
	})
	err := cmd.Wait()
	close(over)
	watcher.Wait()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatal(err)
	}
	return ended{cmd.ProcessState.ExitCode(), said.String(), out.Bytes(), memory}
}

func peak(pid int) (kilobytes int64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	fmt.Sscan(rest, &kilobytes)
	return kilobytes << 10
}

// good runs a tool that must succeed.
func good(t testing.TB, name string, args ...string) ended {
	t.Helper()
	e := finished(t, command(name, args...))
	if e.code != 0 {
		t.Fatalf("%s %q ended with %d:\n%s", name, args, e.code, e.said)
	}
	return e
}

// bad runs a tool that must fail, and say why in its last line.
func bad(t testing.TB, why, name string, args ...string) ended {
	t.Helper()
	e := finished(t, command(name, args...))
	if e.code != 1 || !strings.HasPrefix(e.last(), "Failed: ") || !strings.Contains(e.last(), why) {
		t.Fatalf("%s %q ended with %d, not with %q:\n%s", name, args, e.code, why, e.said)
	}
	return e
}

// server is a mongod that is a replica set of one.
type server struct {
	*mongo.Client
	address, folder string
	process         *exec.Cmd
}

var (
	servers []*server
	once    sync.Mutex
	shared  = map[string]*server{}
)

func (s *server) stop() {
	s.process.Process.Kill()
	s.process.Wait()
	os.RemoveAll(s.folder)
}

func (s *server) uri() string {
	return "mongodb://" + s.address
}

// source and target are two servers, which all tests share: each has them empty.
func servants(t testing.TB) (source, target *server) {
	t.Helper()
	return empty(t, "source"), empty(t, "target")
}

func empty(t testing.TB, name string) *server {
	t.Helper()
	once.Lock()
	defer once.Unlock()
	if shared[name] == nil {
		shared[name] = start(t)
	}
	s := shared[name]
	names := must(s.ListDatabaseNames(t.Context(), bson.D{}))(t)
	for _, db := range names {
		if db != "admin" && db != "local" && db != "config" {
			check(t, s.Database(db).Drop(t.Context()))
		}
	}
	check(t, s.Database("admin").RunCommand(t.Context(), bson.D{{Key: "dropAllUsersFromDatabase", Value: 1}}).Err())
	check(t, s.Database("admin").RunCommand(t.Context(), bson.D{{Key: "dropAllRolesFromDatabase", Value: 1}}).Err())
	return s
}

// start runs a mongod; MONGOD names the program.
func start(t testing.TB, more ...string) *server {
	t.Helper()
	s := launch(t, more...)
	config := bson.D{{Key: "_id", Value: "rs0"}, {Key: "members", Value: bson.A{bson.D{
		{Key: "_id", Value: 0}, {Key: "host", Value: s.address}}}}}
	check(t, s.Database("admin").RunCommand(t.Context(), bson.D{{Key: "replSetInitiate", Value: config}}).Err())
	s.await(t, "isWritablePrimary")
	return s
}

func launch(t testing.TB, more ...string) *server {
	t.Helper()
	program := os.Getenv("MONGOD")
	if program == "" {
		t.Skip("MONGOD names no mongod")
	}
	folder := must(os.MkdirTemp("", "mongo-tools-"))(t)
	listener := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	address := listener.Addr().String()
	listener.Close()
	_, port, _ := strings.Cut(address, ":")
	args := append([]string{"--replSet", "rs0", "--dbpath", folder, "--port", port, "--bind_ip", "127.0.0.1",
		"--nounixsocket", "--wiredTigerCacheSizeGB", "0.5",
		"--setParameter", "diagnosticDataCollectionEnabled=false", "--logpath", filepath.Join(folder, "log")}, more...)
	s := &server{address: address, folder: folder, process: exec.Command(program, args...)}
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	check(t, s.process.Start())
	servers = append(servers, s)
	client := mongooptions.Client().ApplyURI(s.uri()).SetDirect(true).SetServerSelectionTimeout(20 * time.Second)
	s.Client = must(mongo.Connect(client))(t)
	return s
}

func (s *server) await(t testing.TB, state string) {
	t.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(100 * time.Millisecond) {
		var said bson.M
		err := s.Database("admin").RunCommand(t.Context(), bson.D{{Key: "hello", Value: 1}}).Decode(&said)
		if _, there := said[state]; err == nil && there && said[state] != false {
			return
		}
	}
	log, _ := os.ReadFile(filepath.Join(s.folder, "log"))
	t.Fatalf("%s doesn't become %s:\n%s", s.address, state, log[max(0, len(log)-3000):])
}

// must ends the test when a call failed.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		check(t, err)
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *server) run(t testing.TB, db string, command bson.D) {
	t.Helper()
	if err := s.Database(db).RunCommand(t.Context(), command).Err(); err != nil {
		t.Fatalf("%v: %v", command, err)
	}
}

func (s *server) insert(t testing.TB, db, name string, documents ...any) {
	t.Helper()
	must(s.Database(db).Collection(name).InsertMany(t.Context(), documents))(t)
}

func (s *server) count(t testing.TB, db, name string) int64 {
	t.Helper()
	return must(s.Database(db).Collection(name).CountDocuments(t.Context(), bson.D{}))(t)
}

// state is everything in a database: documents in the order of their _id, options and indexes, as text.
func (s *server) state(t testing.TB, db string) map[string]string {
	t.Helper()
	ctx := context.Background()
	found := map[string]string{}
	cursor := must(s.Database(db).ListCollections(ctx, bson.D{}))(t)
	for cursor.Next(ctx) {
		name := cursor.Current.Lookup("name").StringValue()
		kind := cursor.Current.Lookup("type").StringValue()
		found[name] = fmt.Sprintln(kind, cursor.Current.Lookup("options"))
		if kind == view || name == "system.views" {
			continue
		}
		if !strings.HasPrefix(name, bucketPrefix) {
			var indexes []bson.Raw
			check(t, must(s.Database(db).Collection(name).Indexes().List(ctx))(t).All(ctx, &indexes))
			for _, index := range indexes {
				found[name+" "+index.Lookup("name").StringValue()] = index.String()
			}
		}
		sorted := mongooptions.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetHint(bson.D{{Key: "$natural", Value: 1}})
		var documents []bson.Raw
		check(t, must(s.Database(db).Collection(name).Find(ctx, bson.D{}, sorted.SetAllowDiskUse(true)))(t).All(ctx, &documents))
		for _, document := range documents {
			found[name] += fmt.Sprintf("%x\n", []byte(document))
		}
	}
	return found
}

// same fails unless the databases of both servers are equal.
func equal(t testing.TB, source, target *server, db string) {
	t.Helper()
	differ(t, source.state(t, db), target.state(t, db))
}

func differ(t testing.TB, want, have map[string]string) {
	t.Helper()
	for name, text := range want {
		if have[name] != text {
			t.Errorf("%s differs: want\n%.2000s\nhave\n%.2000s", name, text, have[name])
		}
	}
	for name := range have {
		if _, is := want[name]; !is {
			t.Errorf("%s is there, and shouldn't be", name)
		}
	}
}
