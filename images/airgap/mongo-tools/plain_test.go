package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	mongooptions "go.mongodb.org/mongo-driver/v2/mongo/options"
)

func (s *server) newest(t testing.TB) bson.Timestamp {
	t.Helper()
	var last entry
	backwards := mongooptions.FindOne().SetSort(d("$natural", -1))
	check(t, s.Database("local").Collection("oplog.rs").FindOne(t.Context(), d(), backwards).Decode(&last))
	return last.TS
}

// slice is what the chart stores of an oplog: the entries between two, and both of them.
type slice struct {
	from, to bson.Timestamp
	bytes    []byte
}

func (s *server) slice(t testing.TB, from bson.Timestamp) slice {
	t.Helper()
	to := s.newest(t)
	query := fmt.Sprintf(`{"ts":{"$gte":{"$timestamp":{"t":%d,"i":%d}},"$lte":{"$timestamp":{"t":%d,"i":%d}}}}`, from.T, from.I, to.T, to.I)
	e := good(t, dumpName, "--host", s.address, "--db=local", "--collection=oplog.rs", "--out=-", "--query="+query)
	return slice{from, to, e.out}
}

// spliced makes the oplog of an archive longer, as the chart does.
func spliced(t testing.TB, archive string, limit uint32, slices ...slice) (ended, string) {
	t.Helper()
	program, longer := os.Getenv("SPLICE"), archive+".longer"
	if program == "" {
		t.Skip("SPLICE names no program")
	}
	var lines, documents []byte
	for _, s := range slices {
		lines = fmt.Appendf(lines, "%d.%d %d.%d\n", s.from.T, s.from.I, s.to.T, s.to.I)
		documents = append(documents, s.bytes...)
	}
	check(t, os.WriteFile(archive+".list", lines, 0o600))
	check(t, os.WriteFile(archive+".slices", documents, 0o600))
	cmd := exec.Command("node", program)
	cmd.Env = append(os.Environ(), fmt.Sprint("LIMIT=", limit), "SLICES="+archive+".list")
	cmd.ExtraFiles = []*os.File{must(os.Open(archive))(t), must(os.Create(longer))(t), must(os.Open(archive + ".slices"))(t)}
	return finished(t, cmd), longer
}

func TestOneCollectionOnStandardOutput(t *testing.T) {
	source, _ := servants(t)
	var want []byte
	for i := range 9 {
		document := must(bson.Marshal(d("_id", i, "at", bson.Timestamp{T: 7, I: uint32(i)})))(t)
		source.insert(t, "shop", "a", document)
		if i >= 3 && i < 6 {
			want = append(want, document...)
		}
	}
	dumping := []string{"--host", source.address, "--db=shop", "--collection=a", "--out=-"}
	between := `--query={"at":{"$gt":{"$timestamp":{"t":7,"i":2}},"$lt":{"$timestamp":{"t":7,"i":6}}}}`
	e := good(t, dumpName, append(dumping, between)...)
	if !bytes.Equal(e.out, want) || !strings.Contains(e.said, "done dumping shop.a (3 documents)") {
		t.Errorf("%q, not %q: %s", e.out, want, e.said)
	}
	bad(t, "error parsing query as Extended JSON", dumpName, append(dumping, "--query={at")...)
	bad(t, "does not exist", dumpName, "--host", source.address, "--db=shop", "--collection=none", "--out=-")
}

func TestAnArchiveGoesOnWithSlicesOfTheOplogUpToAMoment(t *testing.T) {
	source, target := servants(t)
	for i := range 50 {
		source.insert(t, "shop", "kept", d("_id", i, "u", i))
	}
	source.run(t, "shop", d("createIndexes", "kept", "indexes", bson.A{
		d("key", d("u", 1), "name", "u", "unique", true),
		d("key", d("n", 1), "name", "n", "expireAfterSeconds", 9e6), d("key", d("gone", 1), "name", "gone")}))
	kept := source.Database("shop").Collection("kept")
	before := source.newest(t)
	// Who has a value of the unique index changes: no order of what is replayed twice would keep it unique.
	archive := slowly(t, source, "a", func() {
		must(kept.DeleteOne(t.Context(), d("_id", 1)))(t)
		source.insert(t, "shop", "kept", d("_id", "new", "u", 1))
	})
	first := source.slice(t, before)
	must(kept.UpdateOne(t.Context(), d("_id", 2), d("$set", d("u", "free"))))(t)
	source.insert(t, "shop", "kept", d("_id", "later", "u", 2))
	source.run(t, "shop", d("collMod", "kept", "index", d("name", "n", "expireAfterSeconds", 77)))
	second := source.slice(t, first.to)
	source.run(t, "shop", d("dropIndexes", "kept", "index", "gone"))
	source.insert(t, "shop", "made", d("_id", 1, "x", strings.Repeat("x", 3<<20)))
	source.run(t, "shop", d("createIndexes", "made", "indexes", bson.A{d("key", d("y", 1), "name", "y")}))
	inTransaction(t, source, func(ctx context.Context) error { // of several entries
		for i := range 20 {
			if _, err := source.Database("shop").Collection("big").InsertOne(ctx, d("_id", i, "x", strings.Repeat("y", 1<<20))); err != nil {
				return err
			}
		}
		return nil
	})
	for now := source.newest(t).T; source.newest(t).T == now; time.Sleep(50 * time.Millisecond) {
		source.insert(t, "waiting", "a", d())
	}
	moment, wanted := source.newest(t).T+1, source.state(t, "shop")
	for source.newest(t).T < moment {
		source.insert(t, "waiting", "a", d())
		time.Sleep(50 * time.Millisecond)
	}
	must(kept.DeleteMany(t.Context(), d()))(t)
	third := source.slice(t, second.to)

	e, longer := spliced(t, archive, moment, first, second, third)
	if e.code != 0 {
		t.Fatal(e.said)
	}
	good(t, restoreName, "--host", target.address, "--archive="+longer, "--oplogReplay", "--stopOnError")
	differ(t, wanted, target.state(t, "shop"))

	empty(t, "target")
	_, longer = spliced(t, archive, 0, first, second, third)
	good(t, restoreName, "--host", target.address, "--archive="+longer, "--oplogReplay", "--stopOnError")
	equal(t, source, target, "shop")

	cut := third
	cut.bytes = cut.bytes[:len(cut.bytes)-len(cut.bytes)/3]
	for why, slices := range map[string][]slice{
		"no slice of the oplog has what was written after": {third}, "ends too early": {first, second, cut},
		fmt.Sprintf("%d.%d-%d.%d can't be read", third.from.T, third.from.I, third.to.T, third.to.I): {first, second, {third.from, third.to, first.bytes}},
	} {
		if e, _ := spliced(t, archive, 0, slices...); e.code != 1 || !strings.Contains(e.said, why) {
			t.Errorf("not %q but %d: %s", why, e.code, e.said)
		}
	}
	if e, _ := spliced(t, archive, before.T, first); e.code != 1 || !strings.Contains(e.said, "is not before the moment") {
		t.Error(e.code, e.said)
	}
	plain := filepath.Join(t.TempDir(), "plain")
	good(t, dumpName, "--host", source.address, "--archive="+plain)
	if e, _ := spliced(t, plain, 0); e.code != 1 || !strings.Contains(e.said, "has no oplog") {
		t.Error(e.code, e.said)
	}
}

func TestAMomentAfterARestoreIsReplayedThroughIt(t *testing.T) {
	source, target := servants(t)
	fill(t, source)
	source.run(t, "admin", d("createUser", "somebody", "pwd", "x", "roles", bson.A{"root"}))
	archive := filepath.Join(t.TempDir(), "archive")
	before := source.newest(t)
	good(t, dumpName, "--host", source.address, "--archive="+archive, "--oplog")
	source.run(t, "shop", d("drop", "indexed"))
	source.insert(t, "shop", "types", d("_id", "by mistake"))
	must(source.Database("shop").Collection("system.js").DeleteMany(t.Context(), d()))(t) // which a restore can't drop
	first := source.slice(t, before)
	good(t, restoreName, "--host", source.address, "--archive="+archive, "--oplogReplay", "--drop", "--stopOnError")
	source.insert(t, "shop", "types", d("_id", "afterwards"))
	second := source.slice(t, first.to)
	_, longer := spliced(t, archive, 0, first, second)
	good(t, restoreName, "--host", target.address, "--archive="+longer, "--oplogReplay", "--stopOnError")
	equal(t, source, target, "shop")
}
