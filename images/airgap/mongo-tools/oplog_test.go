package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	mongooptions "go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// slowly runs mongodump with a reader that waits before it reads: what do writes meanwhile is in the oplog only.
//
// The padding is much more than a pipe holds, in a database whose name says what stands before and after it.
func slowly(t testing.TB, s *server, padding string, meanwhile func()) string {
	t.Helper()
	pad(t, s, padding)
	pipe := filepath.Join(t.TempDir(), "pipe")
	file := pipe + ".archive"
	check(t, makePipe(pipe))
	var group sync.WaitGroup
	group.Go(func() { check(t, pour(pipe, file, meanwhile)) })
	e := finished(t, command(dumpName, "--uri", s.uri(), "--archive="+pipe, "--oplog", "-j", "1"))
	group.Wait()
	if e.code != 0 {
		t.Fatal(e.said)
	}
	return file
}

func pad(t testing.TB, s *server, db string) {
	t.Helper()
	for i := range 20 {
		s.insert(t, db, "large", d("_id", i, "text", strings.Repeat("x", 1<<20)))
	}
}

func inTransaction(t testing.TB, s *server, work func(ctx context.Context) error) {
	t.Helper()
	session := must(s.StartSession())(t)
	defer session.EndSession(t.Context())
	must(session.WithTransaction(t.Context(), func(ctx context.Context) (any, error) { return nil, work(ctx) }))(t)
}

func TestWhatIsWrittenAfterItWasReadIsThere(t *testing.T) {
	meanwhile(t, "z")
}

func TestWhatIsWrittenBeforeItIsReadIsThereOnce(t *testing.T) {
	meanwhile(t, "a")
}

func meanwhile(t *testing.T, padding string) {
	source, target := servants(t)
	for i := range 50 {
		source.insert(t, "shop", "kept", d("_id", i, "n", 0, "u", i))
	}
	for _, name := range []string{"dropped", "again", "modified", "indexed", "truncated"} {
		source.insert(t, "shop", name, d("_id", 1, "n", 1))
		source.run(t, "shop", d("createIndexes", name, "indexes", bson.A{d("key", d("n", 1), "name", "n", "expireAfterSeconds", 9e6)}))
	}
	source.run(t, "shop", d("createIndexes", "kept", "indexes", bson.A{d("key", d("u", 1), "name", "u", "unique", true)}))
	source.insert(t, "gone", "a", d("_id", 1))
	source.run(t, "shop", d("create", "past", "viewOn", "kept", "pipeline", bson.A{}))
	source.run(t, "shop", d("drop", "past")) // leaves an empty collection of views
	file := slowly(t, source, padding, func() {
		kept := source.Database("shop").Collection("kept")
		// Values of a unique index go round: no order of inserts and updates keeps them unique until the end.
		must(kept.UpdateOne(t.Context(), d("_id", 1), d("$set", d("u", -1, "n", 5, "deep", d("a", bson.A{1, 2, 3})))))(t)
		must(kept.UpdateOne(t.Context(), d("_id", 2), d("$set", d("u", 1))))(t)
		must(kept.UpdateOne(t.Context(), d("_id", 1), d("$set", d("u", 2, "deep.a.1", 7), "$unset", d("n", 1))))(t)
		must(kept.DeleteMany(t.Context(), d("_id", d("$gte", 40))))(t)
		must(kept.ReplaceOne(t.Context(), d("_id", 3), d("new", bson.Timestamp{T: 1})))(t)
		source.insert(t, "shop", "kept", d("_id", "later", "u", "later"), d("_id", "much later", "u", "more"))
		must(kept.UpdateOne(t.Context(), d("_id", "later"), d("$inc", d("n", 2))))(t)
		must(kept.DeleteOne(t.Context(), d("_id", "much later")))(t)
		source.run(t, "shop", d("drop", "dropped"))
		source.run(t, "shop", d("drop", "again"))
		source.insert(t, "shop", "again", d("_id", 2))
		source.run(t, "shop", d("createIndexes", "again", "indexes", bson.A{d("key", d("m", 1), "name", "m")}))
		source.run(t, "shop", d("collMod", "modified", "validator", d("n", d("$gt", 0)),
			"index", d("name", "n", "expireAfterSeconds", 77)))
		source.run(t, "shop", d("dropIndexes", "indexed", "index", "n"))
		source.run(t, "shop", d("createIndexes", "indexed", "indexes", bson.A{
			d("key", d("n", -1), "name", "other"), d("key", d("x", 1), "name", "x", "collation", d("locale", "de"))}))
		source.run(t, "shop", d("create", "new", "capped", true, "size", 4096, "collation", d("locale", "de")))
		source.insert(t, "shop", "new", d("_id", 1), d("_id", 2))
		source.run(t, "shop", d("createIndexes", "new", "indexes", bson.A{
			d("key", d("n", 1), "name", "n", "collation", d("locale", "simple"))}))
		source.run(t, "shop", d("create", "seen", "viewOn", "kept", "pipeline", bson.A{}))
		source.run(t, "shop", d("create", "series", "timeseries", d("timeField", "at")))
		source.insert(t, "shop", "series", d("at", time.Unix(1, 0), "v", 1), d("at", time.Unix(2, 0), "v", 2))
		source.run(t, "gone", d("dropDatabase", 1))
		inTransaction(t, source, func(ctx context.Context) error {
			_, err := source.Database("shop").Collection("one").InsertOne(ctx, d("_id", 1))
			if err == nil {
				_, err = kept.UpdateOne(ctx, d("_id", 5), d("$set", d("n", 1)))
			}
			return err
		})
		inTransaction(t, source, func(ctx context.Context) error { // of several entries
			for i := range 20 {
				large := d("_id", i, "text", strings.Repeat("y", 1<<20))
				if _, err := source.Database("shop").Collection("big").InsertOne(ctx, large); err != nil {
					return err
				}
			}
			return nil
		})
	})
	good(t, restoreName, "--uri", target.uri(), "--archive="+file, "--oplogReplay")
	equal(t, source, target, "shop")
	equal(t, source, target, "gone")
}

func TestAnOrderAndItsStockAreNeverTorn(t *testing.T) {
	source, target := servants(t)
	const products = 20
	for i := range products {
		source.insert(t, "shop", "stock", d("_id", i, "left", 1_000_000))
	}
	source.insert(t, "shop", "orders", d("_id", "first", "product", 0, "count", 0))
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for writer := range 3 {
		writers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				product, count := rand.IntN(products), 1+rand.IntN(5)
				inTransaction(t, source, func(ctx context.Context) error {
					order := d("_id", fmt.Sprint(writer, " ", n), "product", product, "count", count)
					if _, err := source.Database("shop").Collection("orders").InsertOne(ctx, order); err != nil {
						return err
					}
					left := d("$inc", d("left", -count))
					_, err := source.Database("shop").Collection("stock").UpdateOne(ctx, d("_id", product), left)
					return err
				})
			}
		})
	}
	defer writers.Wait()
	defer stop()
	for round := range 6 {
		time.Sleep(300 * time.Millisecond)
		file := filepath.Join(t.TempDir(), "archive")
		good(t, dumpName, "--uri", source.uri(), "--archive="+file, "--oplog", "-j", fmt.Sprint(1+round%4))
		good(t, restoreName, "--uri", target.uri(), "--archive="+file, "--oplogReplay", "--drop")
		left := sum(t, target, "stock", "$left")
		if ordered := sum(t, target, "orders", "$count"); left+ordered != products*1_000_000 {
			t.Fatalf("round %d: %d ordered and %d left are not %d", round, ordered, left, products*1_000_000)
		}
		if n := target.count(t, "shop", "orders"); n < 10 {
			t.Errorf("%d orders prove nothing", n)
		}
	}
}

func sum(t testing.TB, s *server, name, field string) int {
	t.Helper()
	cursor := must(s.Database("shop").Collection(name).Aggregate(t.Context(),
		bson.A{d("$group", d("_id", nil, "sum", d("$sum", field)))}))(t)
	var found []struct{ Sum int }
	check(t, cursor.All(t.Context(), &found))
	return found[0].Sum
}

func TestOplogLimitEndsBeforeItsEntry(t *testing.T) {
	source, target := servants(t)
	source.insert(t, "shop", "a", d("_id", 0))
	var limit bson.Timestamp
	file := slowly(t, source, "z", func() {
		for i := 1; i <= 6; i++ {
			source.insert(t, "shop", "a", d("_id", i))
			if i == 4 {
				at := source.Database("local").Collection("oplog.rs").FindOne(t.Context(), d("o._id", 4, "ns", "shop.a"))
				var e entry
				check(t, at.Decode(&e))
				limit = e.TS
			}
		}
	})
	for _, c := range []struct {
		limit string
		count int64
	}{{fmt.Sprintf("%d:%d", limit.T, limit.I), 4}, {fmt.Sprintf("%d:%d", limit.T, limit.I+1), 5},
		{fmt.Sprint(limit.T + 60), 7}, {"1", 1}} {
		good(t, restoreName, "--uri", target.uri(), "--archive="+file, "--oplogReplay", "--drop", "--oplogLimit", c.limit)
		if have := target.count(t, "shop", "a"); have != c.count {
			t.Errorf("up to %s there are %d, not %d", c.limit, have, c.count)
		}
	}
	good(t, restoreName, "--uri", target.uri(), "--archive="+file, "--drop")
	if have := target.count(t, "shop", "a"); have != 1 {
		t.Errorf("without the oplog there are %d", have)
	}
}

func TestWhatCanNotBeReplayedFailsTheDump(t *testing.T) {
	for name, work := range map[string]struct {
		do  func(s *server)
		why string
	}{
		"rename": {func(s *server) {
			s.run(t, "admin", d("renameCollection", "shop.a", "to", "shop.b"))
		}, "cannot dump with oplog while renames occur"},
		"overflow": {func(s *server) {
			for i := range 60 {
				s.insert(t, "shop", "fill", d("_id", i, "text", strings.Repeat("z", 4<<20)))
			}
			time.Sleep(5 * time.Second)
		}, "oplog overflow"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, "--oplogSize", "64", "--syncdelay", "1")
			s.insert(t, "shop", "a", d("_id", 1))
			pad(t, s, "z")
			pipe := filepath.Join(t.TempDir(), "pipe")
			check(t, makePipe(pipe))
			go pour(pipe, "/dev/null", func() { work.do(s) })
			bad(t, work.why, dumpName, "--uri", s.uri(), "--archive="+pipe, "--oplog", "-j=1")
			s.stop()
		})
	}
}

func TestASecondaryIsReadAlone(t *testing.T) {
	target := empty(t, "target")
	primary := start(t)
	second := launch(t)
	member := func(id int, s *server, priority int) bson.D {
		return d("_id", id, "host", s.address, "priority", priority, "votes", priority)
	}
	primary.run(t, "admin", d("replSetReconfig", d("_id", "rs0", "version", 2, "members",
		bson.A{member(0, primary, 1), member(1, second, 0)})))
	second.await(t, "secondary")
	defer second.stop()
	defer primary.stop()
	both := mongooptions.Collection().SetWriteConcern(&writeconcern.WriteConcern{W: 2})
	collection := primary.Database("shop").Collection("a", both)
	must(collection.InsertOne(t.Context(), d("_id", 0)))(t)
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	writer.Go(func() {
		for n := 1; ctx.Err() == nil; n++ {
			must(collection.InsertOne(t.Context(), d("_id", n)))(t)
		}
	})
	for range 5 {
		time.Sleep(200 * time.Millisecond)
		before := must(collection.CountDocuments(t.Context(), d()))(t)
		file := filepath.Join(t.TempDir(), "archive")
		e := good(t, dumpName, "--uri", primary.uri()+"/?replicaSet=rs0", "--readPreference=secondary", "--verbose",
			"--archive="+file, "--oplog")
		if !strings.Contains(e.said, "reading from "+second.address) {
			t.Error(e.said)
		}
		good(t, restoreName, "--uri", target.uri(), "--archive="+file, "--oplogReplay", "--drop")
		// What is written in order is there in order: no number lacks one before it.
		var last struct {
			ID int `bson:"_id"`
		}
		highest := bson.A{d("$sort", d("_id", -1)), d("$limit", 1)}
		cursor := must(target.Database("shop").Collection("a").Aggregate(t.Context(), highest))(t)
		if cursor.Next(t.Context()) {
			check(t, cursor.Decode(&last))
		}
		have := target.count(t, "shop", "a")
		if have != int64(last.ID)+1 || have < before {
			t.Errorf("%d documents up to %d, of %d before", have, last.ID, before)
		}
	}
	stop()
	writer.Wait()
	direct := filepath.Join(t.TempDir(), "direct")
	good(t, dumpName, "--host", second.address, "--archive="+direct)
}

func TestReplayingPreparedTransactions(t *testing.T) {
	_, target := servants(t)
	target.insert(t, "shop", "a", d("_id", 1, "n", 1))
	lsid := func(n int) bson.D {
		return d("id", bson.Binary{Subtype: 4, Data: []byte(fmt.Sprintf("%016d", n))})
	}
	put := func(id int) bson.D { return d("op", "i", "ns", "shop.a", "o", d("_id", id), "o2", d("_id", id)) }
	none := d("ts", bson.Timestamp{}, "t", int64(-1))
	at := func(second uint32) bson.D { return d("ts", bson.Timestamp{T: second, I: 1}, "t", int64(1)) }
	say := func(second uint32, session int, previous bson.D, what ...any) bson.D {
		return d("lsid", lsid(session), "txnNumber", int64(1), "op", "c", "ns", "admin.$cmd", "o", d(what...),
			"ts", bson.Timestamp{T: second, I: 1}, "t", int64(1), "v", int64(2), "prevOpTime", previous)
	}
	entries := []any{
		say(1, 1, none, "applyOps", bson.A{put(10)}, "partialTxn", true),
		say(2, 2, none, "applyOps", bson.A{put(20)}, "prepare", true),
		say(3, 3, none, "applyOps", bson.A{put(30)}, "prepare", true),
		say(4, 1, at(1), "applyOps", bson.A{put(11)}, "prepare", true, "count", int64(2)),
		say(5, 2, at(2), "abortTransaction", 1),
		d("op", "n", "ns", "", "o", d("msg", "periodic noop"), "ts", bson.Timestamp{T: 6}),
		d("op", "i", "ns", "config.transactions", "o", d("_id", 1), "ts", bson.Timestamp{T: 6}),
		say(7, 1, at(4), "commitTransaction", 1, "commitTimestamp", bson.Timestamp{T: 6}),
		d("op", "c", "ns", "shop.$cmd", "o", d("commitIndexBuild", "a", "indexUUID", 1, "indexes",
			bson.A{d("v", 2, "key", d("n", 1), "name", "n")}), "ts", bson.Timestamp{T: 8}),
		say(9, 4, none, "applyOps", bson.A{put(40), put(41)}), // in one entry
		// Inserts that can be tried again, in a chain of entries, are no transaction.
		append(say(10, 5, none, "applyOps", bson.A{put(50)}), bson.E{Key: "multiOpType", Value: 1}),
		append(say(11, 5, at(10), "applyOps", bson.A{put(51)}), bson.E{Key: "multiOpType", Value: 1}),
	}
	file := handMade(t, []collection{{Name: oplogName}}, chunk{"", oplogName, entries}, ending{"", oplogName})
	good(t, restoreName, "--uri", target.uri(), "--archive="+file, "--oplogReplay")
	var have []string
	cursor := must(target.Database("shop").Collection("a").Find(t.Context(), d()))(t)
	for cursor.Next(t.Context()) {
		have = append(have, cursor.Current.Lookup("_id").String())
	}
	if text := fmt.Sprint(have); strings.ReplaceAll(text, `"`, "") != `[{$numberInt:1} {$numberInt:10} {$numberInt:11} `+
		`{$numberInt:40} {$numberInt:41} {$numberInt:50} {$numberInt:51}]` {
		t.Error(text)
	}
	if _, there := target.state(t, "shop")["a n"]; !there {
		t.Error("the index of the oplog is missing")
	}

	torn := handMade(t, []collection{{Name: oplogName}},
		chunk{"", oplogName, []any{say(7, 1, at(4), "commitTransaction", 1)}}, ending{"", oplogName})
	bad(t, "lacks the beginning of a transaction", restoreName, "--uri", target.uri(), "--archive="+torn, "--oplogReplay")
	unknown := handMade(t, []collection{{Name: oplogName}},
		chunk{"", oplogName, []any{d("op", "c", "ns", "shop.$cmd", "o", d("somethingNew", 1))}}, ending{"", oplogName})
	bad(t, "unknown oplog command name somethingNew", restoreName, "--uri", target.uri(), "--archive="+unknown, "--oplogReplay")
	elsewhere := handMade(t, []collection{{Name: oplogName}},
		chunk{"", oplogName, []any{d("op", "i", "ns", "shop.b", "o", d("_id", 1))}}, ending{"", oplogName})
	bad(t, "doesn't have: shop.b", restoreName, "--uri", target.uri(), "--archive="+elsewhere, "--oplogReplay")
	bad(t, "no oplog file to replay", restoreName, "--uri", target.uri(), "--archive="+handMade(t, nil), "--oplogReplay")
}
