package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

func TestOptionsInAllSpellings(t *testing.T) {
	for _, args := range [][]string{
		{"--uri=mongodb://a", "--archive=x", "--gzip", "--drop", "-j=2", "--oplogReplay", "--oplogLimit", "5:7"},
		{"--uri", "mongodb://a", "--archive=x", "--gzip=true", "--drop", "-j", "2", "--oplogReplay", "--oplogLimit=5:7"},
		{"-uri", "mongodb://a", "-archive=x", "--gzip", "--drop", "--numParallelCollections", "2", "--oplogReplay",
			"--oplogLimit=5:7"},
	} {
		o, err := parse(restoreName, args)
		check(t, err)
		want := &options{tool: restoreName, uri: "mongodb://a", archive: "x", gzip: true, drop: true, parallel: 2,
			oplogReplay: true, oplogLimit: bson.Timestamp{T: 5, I: 7}, workers: 1}
		if !reflect.DeepEqual(o, want) {
			t.Errorf("%q: %+v", args, o)
		}
	}
	o, err := parse(dumpName, []string{"--archive", "-d", "shop", "-c=a"})
	if check(t, err); o.archive != "-" || o.db != "shop" || o.collection != "a" || o.parallel != 4 {
		t.Errorf("%+v", o)
	}
	if o, err = parse(dumpName, []string{"--archive", "-vv", "--verbose"}); err != nil || verbosity != 2 {
		t.Error(verbosity, err)
	}
	verbosity = 0
}

func TestWrongOptionsAreRefusedInASentence(t *testing.T) {
	for line, why := range map[string]string{
		"mongodump --archive --nonsense=1":                            "mongodump has no option --nonsense",
		"mongodump --archive --drop":                                  "mongodump has no option --drop",
		"mongorestore --archive --oplog":                              "mongorestore has no option --oplog",
		"mongodump":                                                   "no folders of files",
		"mongodump --out=dump -d a -c b":                              "no folders of files",
		"mongodump --archive --out=-":                                 "--out not allowed",
		"mongodump --out=- -d a":                                      "only dump a single collection",
		"mongodump --out=- -d a -c b --gzip":                          "compression can't be used",
		"mongodump --archive --query {}":                              "without a specified collection",
		"mongorestore --out=-":                                        "mongorestore has no option --out",
		"mongodump --archive file":                                    "positional arguments not allowed",
		"mongodump --archive --uri mongodb://a --host b":              "leave --host",
		"mongodump --archive -j 0":                                    "must be positive",
		"mongodump --archive -j x":                                    "invalid value",
		"mongodump --archive -c x":                                    "--collection needs --db",
		"mongodump --archive --oplog --db x":                          "--oplog mode only supported on full dumps",
		"mongodump --archive --dumpDbUsersAndRoles":                   "need --db",
		"mongodump --archive -d x -c system.buckets.y":                "name the time series itself",
		"mongodump --archive --config /none.yaml":                     "no such file",
		"mongorestore --archive --preserveUUID":                       "can't keep UUIDs",
		"mongorestore --archive --oplogLimit 5":                       "without --oplogReplay",
		"mongorestore --archive --oplogReplay --oplogLimit 5:x":       "is not SECONDS",
		"mongorestore --archive --oplogReplay --nsInclude a.b":        "with includes specified",
		"mongorestore --archive --oplogReplay --nsExclude a.b":        "with excludes specified",
		"mongorestore --archive --oplogReplay --nsFrom a --nsTo b":    "with namespace renames",
		"mongorestore --archive --numInsertionWorkersPerCollection 0": "must be positive",
		"mongorestore --archive --restoreDbUsersAndRoles --db admin":  "anyway",
		"other --archive":                                             "is called mongodump or mongorestore",
	} {
		words := strings.Fields(line)
		if _, err := parse(words[0], words[1:]); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", line, err)
		}
	}
	bad(t, "mongodump has no option --nonsense", dumpName, "--nonsense")
	bad(t, "error parsing uri", dumpName, "--archive=x", "--uri=nonsense")
	bad(t, "both --username and the connection string", dumpName, "--archive=x", "-u=a", "-p=b", "--uri=mongodb://c:d@e")
	bad(t, "only the name of a mode", dumpName, "--archive=x", "--readPreference={mode: 1}")
	bad(t, "--db says a, and the connection string b", dumpName, "--archive=x", "--uri=mongodb://localhost/b", "--db=a")
	bad(t, "only supported on full dumps", dumpName, "--archive=x", "--uri=mongodb://localhost/b", "--oplog")
}

func TestTheToolsSayWhatTheyAre(t *testing.T) {
	for _, name := range []string{dumpName, restoreName} {
		if said := string(good(t, name, "--version").out); !strings.HasPrefix(said, name+" version: ") ||
			!strings.Contains(said, "TechShop's stand-in for MongoDB's "+name) {
			t.Error(said)
		}
		if said := string(good(t, name, "--help").out); !strings.Contains(said, "--archive") {
			t.Error(said)
		}
	}
}

func TestTheConfigurationFile(t *testing.T) {
	o, err := parse(dumpName, []string{"--archive", config(t, "uri: mongodb://a\npassword: 12345\nsslPEMKeyPassword: x\n")})
	if check(t, err); o.uri != "mongodb://a" || o.password != "12345" || o.keyPassword != "x" {
		t.Errorf("%+v", o)
	}
	o, err = parse(dumpName, []string{"--archive", "--uri=mongodb://b", config(t, "uri: mongodb://a\n")})
	if check(t, err); o.uri != "mongodb://b" {
		t.Errorf("%+v", o)
	}
	if _, err = parse(dumpName, []string{"--archive", config(t, "passwort: x\n")}); err == nil ||
		!strings.Contains(err.Error(), "passwort") {
		t.Error(err)
	}
	_, err = parse(dumpName, []string{"--archive", config(t, "")})
	check(t, err)
}

func TestTheConnectionString(t *testing.T) {
	for want, o := range map[string]*options{
		"mongodb://localhost/":                                   {},
		"mongodb://h:5/":                                         {host: "h", port: "5"},
		"mongodb://a:1,b:5,[::1]:5/?replicaSet=rs0":              {host: "rs0/a:1,b,[::1]", port: "5"},
		"mongodb://u:p%40%20%2B@h/?authSource=admin":             {host: "h", username: "u", password: "p@ +"},
		"mongodb://u:p@h/?authSource=x":                          {host: "h", username: "u", password: "p", db: "x"},
		"mongodb://u:p@h/?authSource=y":                          {host: "h", username: "u", password: "p", db: "x", authenticationDB: "y"},
		"mongodb://u:p@h,i/db?w=1":                               {uri: "mongodb://u@h,i/db?w=1", password: "p"},
		"mongodb://u:q@h/?w=1":                                   {uri: "mongodb://u:q@h?w=1", password: "p"},
		"mongodb://h/?tls=true&tlsInsecure=true&tlsCAFile=%2Fca": {host: "h", ssl: true, anyHost: true, caFile: "/ca"},
		"mongodb+srv://u@h/?tlsCertificateKeyFile=k":             {uri: "mongodb+srv://u@h", keyFile: "k"},
	} {
		if have, err := o.connectionString(); err != nil || have != want {
			t.Errorf("%s, not %s: %v", have, want, err)
		}
	}
}

func TestPatternsOfNamespaces(t *testing.T) {
	for _, c := range []struct{ from, into, namespace, want string }{
		{"a.*", "b.*", "a.c.d", "b.c.d"}, {"a.*", "b.*", "aa.c", "aa.c"}, {`a.\*`, "b.c", "a.*", "b.c"},
		{`a.\*`, "b.c", "a.x", "a.x"}, {"$x$.$y$", "$y$.$x$", "a.b", "b.a"}, {"a.x$n$", "$n$.$n$", "a.xy", "y.y"},
		{"a.b", "c.$", "a.b", "c.$"}, {"a.(b|c)", "x.y", "a.b", "a.b"},
	} {
		s, err := newSelection(&options{renameFrom: []string{c.from}, renameInto: []string{c.into}})
		check(t, err)
		db, name, _ := strings.Cut(c.namespace, ".")
		if db, name = s.target(db, name); db+"."+name != c.want {
			t.Errorf("%+v: %s.%s", c, db, name)
		}
	}
	for from, into := range map[string]string{"a.*": "b", "$a.b": "c", "$x$.b": "$y$.b", "a.b": "c.*"} {
		if _, err := newSelection(&options{renameFrom: []string{from}, renameInto: []string{into}}); err == nil {
			t.Errorf("%s to %s is taken", from, into)
		}
	}
	if _, err := newSelection(&options{renameFrom: []string{"a"}}); err == nil {
		t.Error("--nsFrom without --nsTo is taken")
	}
	if _, err := newSelection(&options{include: []string{"$a$"}}); err == nil {
		t.Error("variables are taken")
	}
}

func TestASignalEndsADumpThatNobodyReads(t *testing.T) {
	source := empty(t, "source")
	pad(t, source, "shop")
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		pipe := filepath.Join(t.TempDir(), "pipe")
		check(t, makePipe(pipe))
		cmd := command(dumpName, "--uri", source.uri(), "--archive="+pipe)
		go func() {
			in, _ := os.OpenFile(pipe, os.O_RDWR, 0)
			in.Read(make([]byte, 4096))        // then it has begun,
			time.Sleep(500 * time.Millisecond) // and now it waits for a reader
			cmd.Process.Signal(signal)
			time.Sleep(time.Minute)
			in.Close()
		}()
		began := time.Now()
		e := finished(t, cmd)
		if e.code != 1 || e.last() != fmt.Sprint("Failed: ended by a signal: ", signal) || time.Since(began) > 20*time.Second {
			t.Errorf("%v: %d after %v: %s", signal, e.code, time.Since(began), e.said)
		}
	}
}

// TestMemoryStaysBounded takes MEGABYTES of documents; what it says are figures.
func TestMemoryStaysBounded(t *testing.T) {
	source, target := servants(t)
	megabytes := 192
	fmt.Sscan(os.Getenv("MEGABYTES"), &megabytes)
	text := make([]byte, 2<<20)
	for i := range text {
		text[i] = byte('a' + (i*i>>7+i*7)%26)
	}
	total := 0
	for n := 0; total < megabytes<<20; n++ {
		var batch []any
		for i := range 200 {
			size := 300 + (n*200+i)*37%2000
			at := (n*200 + i) * 101 % (1 << 20)
			batch = append(batch, d("_id", n*200+i, "text", string(text[at:at+size])))
			total += size
		}
		source.insert(t, "shop", fmt.Sprint("small", n%4), batch...)
	}
	for i := range 8 {
		source.insert(t, "shop", fmt.Sprint("large", i%4), d("_id", i, "text", strings.Repeat(string(text), 7)))
		total += 14 << 20
	}
	for _, gzip := range []string{"--gzip=false", "--gzip"} {
		file := filepath.Join(t.TempDir(), "archive")
		began := time.Now()
		dumped := good(t, dumpName, "--uri", source.uri(), "--archive="+file, gzip, "--oplog")
		middle := time.Now()
		restored := good(t, restoreName, "--uri", target.uri(), "--archive="+file, gzip, "--oplogReplay", "--drop")
		rate := func(since time.Duration) float64 { return float64(total) / since.Seconds() / 1e6 }
		t.Logf("%s: %d MB: dump %.0f MB/s in %d MiB, restore %.0f MB/s in %d MiB", gzip, total/1e6,
			rate(middle.Sub(began)), dumped.memory>>20, rate(time.Since(middle)), restored.memory>>20)
		if dumped.memory > 128<<20 || restored.memory > 128<<20 {
			t.Errorf("%d and %d MiB are too much", dumped.memory>>20, restored.memory>>20)
		}
	}
	for i := range 4 {
		for _, name := range []string{"small", "large"} {
			name = fmt.Sprint(name, i)
			if have, want := target.count(t, "shop", name), source.count(t, "shop", name); have != want {
				t.Errorf("%s: %d, not %d", name, have, want)
			}
		}
	}
}
