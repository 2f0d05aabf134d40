package main

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

func d(pairs ...any) bson.D {
	document := bson.D{}
	for i := 0; i < len(pairs); i += 2 {
		document = append(document, bson.E{Key: pairs[i].(string), Value: pairs[i+1]})
	}
	return document
}

// fill makes one of everything in the database shop.
func fill(t testing.TB, s *server) {
	t.Helper()
	id := must(bson.ObjectIDFromHex("0123456789abcdef01234567"))(t)
	big := must(bson.ParseDecimal128("-9.999999999999999999999999999999999E+6144"))(t)
	s.insert(t, "shop", "types",
		d("_id", "all", "double", 1.5, "text", "ä\x00ö", "document", d("b", 1, "a", 2), "array", bson.A{1, "x", bson.A{}},
			"binary", bson.Binary{Subtype: 0x80, Data: []byte{0, 1}}, "uuid", bson.Binary{Subtype: 4, Data: make([]byte, 16)},
			"old", bson.Binary{Subtype: 2, Data: []byte("x")}, "undefined", bson.Undefined{}, "id", id, "true", true,
			"date", bson.DateTime(-62135596800001), "null", nil, "regex", bson.Regex{Pattern: "^a", Options: "im"},
			"pointer", bson.DBPointer{DB: "a.b", Pointer: id}, "code", bson.JavaScript("f()"), "symbol", bson.Symbol("s"),
			"scoped", bson.CodeWithScope{Code: "g()", Scope: d("x", 1)}, "int", int32(math.MinInt32),
			"timestamp", bson.Timestamp{T: 7, I: 9}, "long", int64(math.MaxInt64), "decimal", big,
			"min", bson.MinKey{}, "max", bson.MaxKey{}, "nan", math.NaN(), "minus", math.Copysign(0, -1), "", "empty"),
		d("_id", "zero", "at", bson.Timestamp{}, "in", d("at", bson.Timestamp{}), "last", bson.Timestamp{}),
		d("_id", d("a", 1), "dotted.name", 1, "$dollar", 2), d("_id", bson.Timestamp{}), d("_id", math.Inf(1)), d("_id", nil))
	s.insert(t, "shop", "large", d("_id", 1, "text", strings.Repeat("x", 16<<20-40)), d("_id", 2))
	s.run(t, "shop", d("create", "empty"))
	s.run(t, "shop", d("create", "capped", "capped", true, "size", 8192, "max", 3))
	s.run(t, "shop", d("create", "checked", "validator", d("$jsonSchema", d("required", bson.A{"a"})),
		"validationLevel", "moderate", "validationAction", "error"))
	s.run(t, "shop", d("create", "collated", "collation", d("locale", "de", "strength", 2)))
	s.run(t, "shop", d("create", "clustered", "clusteredIndex", d("key", d("_id", 1), "unique", true, "name", "own"),
		"expireAfterSeconds", 1_000_000))
	s.run(t, "shop", d("create", "pictures", "changeStreamPreAndPostImages", d("enabled", true)))
	s.run(t, "shop", d("create", "series", "timeseries", d("timeField", "at", "metaField", "of", "granularity", "minutes"),
		"expireAfterSeconds", 1_000_000_000))
	s.run(t, "shop", d("create", "cheap", "viewOn", "indexed", "pipeline", bson.A{d("$match", d("a", d("$lt", 5)))}))
	s.run(t, "shop", d("create", "sorted", "viewOn", "cheap", "pipeline", bson.A{}))
	for i := range 5 {
		s.insert(t, "shop", "capped", d("_id", i))
		s.insert(t, "shop", "collated", d("_id", i, "a", i))
		s.insert(t, "shop", "clustered", d("_id", i))
		s.insert(t, "shop", "series", d("at", time.Unix(1_790_000_000+int64(i)*60, 0), "of", d("n", i%2), "value", i))
	}
	s.insert(t, "shop", "checked", d("_id", 1, "a", 1))
	s.insert(t, "shop", "system.js", d("_id", "f", "value", bson.JavaScript("function() {}")))
	for i := range 100 {
		s.insert(t, "shop", "indexed", d("_id", i, "a", i, "b", bson.A{i, -i}, "c", "text of it", "place", bson.A{1, 2}))
	}
	for _, index := range []bson.D{
		d("key", d("a", 1), "name", "unique", "unique", true),
		d("key", d("a", -1, "b", 1), "name", "several", "sparse", true),
		d("key", d("a", "hashed"), "name", "hashed"),
		d("key", d("_id", "hashed"), "name", "hashed id"),
		d("key", d("c", "text", "d", "text"), "name", "text", "weights", d("c", 3), "default_language", "german"),
		d("key", d("place", "2d"), "name", "flat", "min", -200.0, "max", 200.0, "bits", 20),
		d("key", d("x.$**", 1), "name", "wild"),
		d("key", d("$**", 1), "name", "wild too", "wildcardProjection", d("a", 0)),
		d("key", d("sphere", "2dsphere"), "name", "sphere"),
		d("key", d("when", 1), "name", "expires", "expireAfterSeconds", 3600),
		d("key", d("a", 1, "c", 1), "name", "partial", "partialFilterExpression", d("a", d("$gt", 3))),
		d("key", d("c", 1), "name", "collated", "collation", d("locale", "fr")),
		d("key", d("b", 1), "name", "hidden", "hidden", true),
	} {
		s.run(t, "shop", d("createIndexes", "indexed", "indexes", bson.A{index}))
	}
	s.run(t, "shop", d("createIndexes", "collated", "indexes", bson.A{
		d("key", d("a", 1), "name", "inherits"), d("key", d("a", -1), "name", "simple", "collation", d("locale", "simple")),
		d("key", d("t", "text"), "name", "text", "collation", d("locale", "simple"))}))
	s.run(t, "shop", d("createIndexes", "series", "indexes", bson.A{d("key", d("of.n", 1, "at", -1), "name", "both")}))
	s.insert(t, "täglich", "größe.mit.punkten", d("_id", 1))
}

func TestEverythingComesBack(t *testing.T) {
	source, target := servants(t)
	fill(t, source)
	for _, options := range [][]string{nil, {"--gzip"}, {"--oplog", "-j", "1"}, {"--gzip", "--numParallelCollections=9"}} {
		empty(t, "target")
		file := filepath.Join(t.TempDir(), "archive")
		e := good(t, dumpName, append([]string{"--uri", source.uri(), "--archive=" + file}, options...)...)
		for _, line := range []string{
			"\twriting shop.types to archive '" + file + "'\n",
			"\tdone dumping shop.capped (3 documents)\n", "\tdone dumping shop.checked (1 document)\n",
		} {
			if !strings.Contains(e.said, line) {
				t.Errorf("%q isn't in\n%s", line, e.said)
			}
		}
		restoring := []string{"--host", target.address, "--archive=" + file, "--numInsertionWorkersPerCollection=2"}
		if len(options) > 0 && options[0] != "--oplog" {
			restoring = append(restoring, "--gzip")
		} else if len(options) > 0 {
			restoring = append(restoring, "--oplogReplay")
		}
		e = good(t, restoreName, restoring...)
		if !strings.Contains(e.said, "\tfinished restoring shop.indexed (100 documents, 0 failures)\n") {
			t.Error(e.said)
		}
		if !strings.HasSuffix(e.last(), " document(s) restored successfully. 0 document(s) failed to restore.") {
			t.Error(e.last())
		}
		equal(t, source, target, "shop")
		equal(t, source, target, "täglich")
	}
}

func TestStandardOutputAndInput(t *testing.T) {
	source, target := servants(t)
	source.insert(t, "shop", "a", d("_id", 1))
	e := good(t, dumpName, "--uri="+source.uri(), "--archive", "--gzip", "--quiet")
	if e.said != "" {
		t.Error("it isn't quiet: " + e.said)
	}
	restoring := command(restoreName, "--uri="+target.uri(), "--archive", "--gzip")
	restoring.Stdin = strings.NewReader(string(e.out))
	if e := finished(t, restoring); e.code != 0 || !strings.Contains(e.said, "from archive on stdin") {
		t.Error(e.said)
	}
	equal(t, source, target, "shop")
}

func TestDropAndFailures(t *testing.T) {
	source, target := servants(t)
	source.insert(t, "shop", "a", d("_id", 1), d("_id", 2))
	source.run(t, "shop", d("createIndexes", "a", "indexes", bson.A{d("key", d("n", 1), "name", "n")}))
	file := filepath.Join(t.TempDir(), "archive")
	good(t, dumpName, "--uri", source.uri(), "--archive="+file)

	target.insert(t, "shop", "a", d("_id", 2, "old", 1), d("_id", 3))
	target.insert(t, "shop", "b", d("_id", 9))
	e := bad(t, "1 document failed to restore", restoreName, "--uri", target.uri(), "--archive="+file)
	for _, line := range []string{"finished restoring shop.a (1 document, 1 failure)\n",
		"1 document(s) restored successfully. 1 document(s) failed to restore.\n"} {
		if !strings.Contains(e.said, line) {
			t.Errorf("%q isn't in\n%s", line, e.said)
		}
	}
	if n := target.count(t, "shop", "a"); n != 3 {
		t.Error("documents: ", n)
	}
	bad(t, "duplicate key", restoreName, "--uri", target.uri(), "--archive="+file, "--stopOnError")
	bad(t, "duplicate key", restoreName, "--uri", target.uri(), "--archive="+file, "--maintainInsertionOrder")

	e = good(t, restoreName, "--uri", target.uri(), "--archive="+file, "--drop")
	if !strings.Contains(e.said, "dropping collection shop.a before restoring") {
		t.Error(e.said)
	}
	if target.count(t, "shop", "b") != 1 {
		t.Error("what the archive doesn't have was dropped")
	}
	target.run(t, "shop", d("drop", "b"))
	equal(t, source, target, "shop")

	good(t, restoreName, "--uri", target.uri(), "--archive="+file, "--drop", "--noIndexRestore")
	if _, there := target.state(t, "shop")["a n"]; there {
		t.Error("an index was built")
	}
}

func TestDryRunReadsAllAndChangesNothing(t *testing.T) {
	source, target := servants(t)
	source.insert(t, "shop", "a", d("_id", 1))
	file := filepath.Join(t.TempDir(), "archive")
	good(t, dumpName, "--uri", source.uri(), "--archive="+file, "--oplog")
	good(t, restoreName, "--uri", target.uri(), "--archive="+file, "--dryRun", "--drop", "--oplogReplay")
	if len(target.state(t, "shop")) > 0 {
		t.Error("something was restored")
	}
	bytes := must(os.ReadFile(file))(t)
	bytes[len(bytes)-10]++
	check(t, os.WriteFile(file, bytes, 0o600))
	bad(t, "CRC mismatch for namespace .oplog", restoreName, "--uri", target.uri(), "--archive="+file, "--dryRun")
}

func TestSelectingAndRenaming(t *testing.T) {
	source, target := servants(t)
	for _, name := range []string{"a", "b", "ab"} {
		source.insert(t, "shop", name, d("_id", name))
		source.insert(t, "other", name, d("_id", name))
	}
	source.run(t, "shop", d("createIndexes", "a", "indexes", bson.A{d("key", d("n", 1), "name", "n")}))
	file := filepath.Join(t.TempDir(), "archive")
	good(t, dumpName, "--uri", source.uri(), "--archive="+file)
	for _, c := range []struct {
		options []string
		want    string
	}{
		{[]string{"--db", "shop"}, "shop.a shop.ab shop.b"},
		{[]string{"-d", "shop", "-c", "a"}, "shop.a"},
		{[]string{"--nsInclude", "*.a*", "--nsExclude", "other.a"}, "other.ab shop.a shop.ab"},
		{[]string{"--nsInclude=shop.*", "--nsFrom=shop.*", "--nsTo=copy.old_*"}, "copy.old_a copy.old_ab copy.old_b"},
		{[]string{"--nsFrom", "$db$.$name$", "--nsTo", "all.$name$_$db$"},
			"all.a_other all.a_shop all.ab_other all.ab_shop all.b_other all.b_shop"},
	} {
		for _, db := range []string{"shop", "other", "copy", "all"} {
			check(t, target.Database(db).Drop(t.Context()))
		}
		good(t, restoreName, append([]string{"--uri", target.uri(), "--archive=" + file}, c.options...)...)
		var have []string
		for _, db := range []string{"all", "copy", "other", "shop"} {
			for _, name := range []string{"a", "a_other", "a_shop", "ab", "ab_other", "ab_shop", "b", "b_other", "b_shop",
				"old_a", "old_ab", "old_b"} {
				if target.count(t, db, name) > 0 {
					have = append(have, db+"."+name)
				}
			}
		}
		if strings.Join(have, " ") != c.want {
			t.Errorf("%q restores %q, not %q", c.options, have, c.want)
		}
	}
	if _, there := target.state(t, "all")["a_shop n"]; !there {
		t.Error("the renamed collection lacks its index")
	}
	for _, c := range []struct {
		options []string
		want    string
	}{{[]string{"--db", "shop"}, "shop.a shop.ab shop.b"}, {[]string{"-d", "other", "-c", "ab"}, "other.ab"}} {
		e := good(t, dumpName, append([]string{"--uri", source.uri(), "--archive=" + file, "-j=1"}, c.options...)...)
		var have []string
		for line := range strings.Lines(e.said) {
			if _, rest, found := strings.Cut(line, "done dumping "); found {
				have = append(have, strings.Fields(rest)[0])
			}
		}
		for _, name := range strings.Fields(c.want) {
			if len(have) != len(strings.Fields(c.want)) || !strings.Contains(strings.Join(have, " "), name) {
				t.Errorf("%q dumps %q, not %q", c.options, have, c.want)
			}
		}
	}
	bad(t, "does not exist", dumpName, "--uri", source.uri(), "--archive="+file, "--db=shop", "--collection=none")
}
