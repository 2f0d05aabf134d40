package main

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc64"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/klauspost/compress/gzip"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// chunk is a block of an archive, ending the end of a namespace.
type (
	chunk struct {
		db, name  string
		documents []any
	}
	ending struct{ db, name string }
)

// handMade writes an archive byte by byte as the format's description has it, by none of the program's own code.
func handMade(t testing.TB, collections []collection, parts ...any) string {
	t.Helper()
	var text []byte
	put := func(document any) []byte {
		bytes := must(bson.Marshal(document))(t)
		text = append(text, bytes...)
		return bytes
	}
	stop := func() { text = append(text, 0xff, 0xff, 0xff, 0xff) }
	text = append(text, 0x6d, 0xe2, 0x99, 0x81)
	put(d("concurrent_collections", int32(4), "version", "0.1", "server_version", "6.0.5", "tool_version", "100.9.4"))
	for _, c := range collections {
		put(d("db", c.DB, "collection", c.Name, "metadata", c.Metadata, "size", int32(0), "type", c.Type))
	}
	stop()
	sums := map[string]hash.Hash64{}
	for _, part := range parts {
		switch part := part.(type) {
		case chunk:
			put(d("db", part.db, "collection", part.name, "EOF", false, "CRC", int64(0)))
			name := part.db + "." + part.name
			if sums[name] == nil {
				sums[name] = crc64.New(crc64.MakeTable(crc64.ECMA))
			}
			for _, document := range part.documents {
				sums[name].Write(put(document))
			}
		case ending:
			sum := uint64(0)
			if had := sums[part.db+"."+part.name]; had != nil {
				sum = had.Sum64()
			}
			put(d("db", part.db, "collection", part.name, "EOF", true, "CRC", int64(sum)))
		}
		stop()
	}
	file := filepath.Join(t.TempDir(), "archive")
	check(t, os.WriteFile(file, text, 0o600))
	return file
}

func makePipe(name string) error { return syscall.Mkfifo(name, 0o600) }

// pour reads from a pipe until there is padding, calls meanwhile, and then copies the rest into a file.
func pour(pipe, file string, meanwhile func()) error {
	in, err := os.Open(pipe)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	for part := make([]byte, 4096); !bytes.Equal(part, bytes.Repeat([]byte("x"), 4096)); {
		n, err := in.Read(part)
		if err != nil {
			return err
		}
		if _, err := out.Write(part[:n]); err != nil {
			return err
		}
	}
	meanwhile()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}

const plain = `{"options":{},"indexes":[{"v":{"$numberInt":"2"},"key":{"_id":{"$numberInt":"1"}},"name":"_id_"}],` +
	`"uuid":"0123456789abcdef0123456789abcdef","collectionName":"x","type":"collection"}`

func TestRealInterleavingIsRead(t *testing.T) {
	_, target := servants(t)
	versions := []any{d("_id", "featureCompatibilityVersion", "version", "6.0"), d("_id", "authSchema", "currentVersion", 5)}
	file := handMade(t, []collection{
		{DB: "admin", Name: "system.version", Metadata: plain, Type: "collection"},
		{DB: "shop", Name: "a", Metadata: plain, Type: "collection"},
		{DB: "shop", Name: "b", Metadata: plain, Type: "collection"},
		{DB: "shop", Name: "bare"},
		{DB: "shop", Name: "empty", Metadata: plain, Type: "collection"},
		{DB: "shop", Name: "v", Type: "view", Metadata: `{"options":{"viewOn":"a","pipeline":[]},"indexes":[],"uuid":""}`},
		{Name: oplogName},
	},
		chunk{"admin", "system.version", versions}, ending{"admin", "system.version"},
		chunk{"shop", "v", nil}, ending{"shop", "v"}, // a view has nothing, but an end
		chunk{"shop", "b", []any{d("_id", 1), d("_id", 2)}},
		chunk{"shop", "a", []any{d("_id", 1)}},
		chunk{"shop", "b", []any{d("_id", 3)}},
		ending{"shop", "empty"},
		chunk{"shop", "a", []any{d("_id", 2)}}, ending{"shop", "a"},
		chunk{"shop", "b", []any{d("_id", 4)}}, chunk{"shop", "b", nil}, ending{"shop", "b"},
		chunk{"shop", "bare", []any{d("_id", 1)}}, ending{"shop", "bare"},
		chunk{"", oplogName, []any{d("op", "i", "ns", "shop.a", "o", d("_id", 9), "ts", bson.Timestamp{T: 1})}},
		ending{"", oplogName})
	good(t, restoreName, "--uri", target.uri(), "--archive="+file, "--oplogReplay", "--drop")
	for name, want := range map[string]int64{"a": 3, "b": 4, "bare": 1, "empty": 0, "v": 3} {
		if have := target.count(t, "shop", name); have != want {
			t.Errorf("%s has %d documents, not %d", name, have, want)
		}
	}
	if len(target.state(t, "shop")["empty"]) == 0 {
		t.Error("the empty collection is missing")
	}
}

func TestAnOplogBeforeTheDataIsRefused(t *testing.T) {
	_, target := servants(t)
	file := handMade(t, []collection{{DB: "shop", Name: "a"}, {Name: oplogName}},
		ending{"", oplogName}, chunk{"shop", "a", []any{d("_id", 1)}}, ending{"shop", "a"})
	bad(t, "before the end of shop.a", restoreName, "--uri", target.uri(), "--archive="+file, "--oplogReplay")
}

func TestTheFormatIsTheDescribedOne(t *testing.T) {
	begin := must(prelude(header{4, formatVersion, "6.0.5", "x"}, []collection{{DB: "a", Name: "b", Type: "collection"}}))(t)
	var out bytes.Buffer
	s := (&writer{out: &out}).stream("a", "b")
	document := must(bson.Marshal(d("_id", 1)))(t)
	check(t, s.add(document))
	check(t, s.close())
	if !bytes.HasPrefix(begin, []byte{0x6d, 0xe2, 0x99, 0x81}) || !bytes.HasSuffix(begin, []byte{0xff, 0xff, 0xff, 0xff}) {
		t.Errorf("%x", begin)
	}
	var want []byte
	for _, part := range []any{d("db", "a", "collection", "b", "EOF", false, "CRC", int64(0)), d("_id", 1), nil,
		d("db", "a", "collection", "b", "EOF", true, "CRC", int64(crc64.Checksum(document, crc64.MakeTable(crc64.ECMA)))), nil} {
		if part == nil {
			want = binary.LittleEndian.AppendUint32(want, 0xffffffff)
		} else {
			want = append(want, must(bson.Marshal(part))(t)...)
		}
	}
	if !bytes.Equal(out.Bytes(), want) {
		t.Errorf("have %x\nwant %x", out.Bytes(), want)
	}
}

// sample is an archive with a bit of everything, without any server.
func sample(t testing.TB) []byte {
	t.Helper()
	begin := must(prelude(header{4, formatVersion, "6.0.5", "x"}, []collection{
		{DB: "shop", Name: "a", Metadata: plain, Type: "collection"},
		{DB: "shop", Name: "b", Metadata: plain, Type: "collection"},
		{DB: "shop", Name: "v", Type: view}}))(t)
	out := bytes.NewBuffer(begin)
	w := &writer{out: out}
	a, b := w.stream("shop", "a"), w.stream("shop", "b")
	for i := range 3 {
		check(t, a.add(must(bson.Marshal(d("_id", i, "text", "one")))(t)))
		check(t, b.add(must(bson.Marshal(d("_id", i, "n", int64(i))))(t)))
		check(t, a.flush())
	}
	check(t, b.close())
	check(t, a.close())
	check(t, w.stream("shop", "v").close())
	return out.Bytes()
}

// recorder is a sink that tells what it was given.
type recorder struct {
	name string
	into map[string]string
}

func (r recorder) add(documents []bson.Raw) error {
	for _, document := range documents {
		r.into[r.name] += document.String()
	}
	return nil
}

func (r recorder) done() error { return nil }

// read returns all that an archive holds, by namespace.
func read(in io.Reader) (map[string]string, error) {
	found := map[string]string{}
	r, err := newReader(in)
	if err != nil {
		return nil, err
	}
	for _, c := range r.collections {
		found[c.namespace()+" "] = c.Type + c.Metadata
	}
	return found, r.run(func(db, name string) (sink, error) { return recorder{db + "." + name, found}, nil })
}

func TestEveryFlippedBitIsFoundOrHarmless(t *testing.T) {
	whole := sample(t)
	want := must(read(bytes.NewReader(whole)))(t)
	harmless := 0
	for at := range whole {
		for bit := range 8 {
			whole[at] ^= 1 << bit
			have, err := read(bytes.NewReader(whole))
			if err == nil {
				harmless++
				differ(t, want, have)
			}
			whole[at] ^= 1 << bit
		}
	}
	// Those that take away the mark of the checksum, or make a letter of the header's keys small or great.
	if t.Failed() || harmless > 210 {
		t.Errorf("%d of %d bits don't count", harmless, 8*len(whole))
	}
}

func compressed(t testing.TB, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	packer := gzip.NewWriter(&out)
	must(packer.Write(text))(t)
	check(t, packer.Close())
	return out.Bytes()
}

func unpacked(text []byte) (map[string]string, error) {
	in, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	return read(in)
}

func TestEveryFlippedBitOfACompressedArchiveIsFoundOrHarmless(t *testing.T) {
	whole := compressed(t, sample(t))
	want := must(unpacked(whole))(t)
	for at := range whole {
		for bit := range 8 {
			whole[at] ^= 1 << bit
			if have, err := unpacked(whole); err == nil { // names of who packed it, or bits that fill up a byte
				differ(t, want, have)
			}
			whole[at] ^= 1 << bit
		}
	}
}

func TestDamageEndsARestore(t *testing.T) {
	source, target := servants(t)
	for i := range 300 {
		source.insert(t, "shop", fmt.Sprint(i%3), d("_id", i, "text", rand.Text()))
	}
	for _, option := range []string{"--gzip=false", "--gzip"} {
		file := filepath.Join(t.TempDir(), "archive")
		good(t, dumpName, "--uri", source.uri(), "--archive="+file, option, "--oplog")
		whole := must(os.ReadFile(file))(t)
		for part := range 8 {
			at := 100 + (len(whole)-200)*part/7
			flipped := bytes.Clone(whole)
			flipped[at] ^= 0x10
			for _, damaged := range [][]byte{flipped, whole[:at]} {
				check(t, os.WriteFile(file, damaged, 0o600))
				bad(t, "", restoreName, "--uri", target.uri(), "--archive="+file, option, "--oplogReplay", "--drop")
			}
		}
	}
}

func TestEveryTruncationIsFound(t *testing.T) {
	whole := sample(t)
	for length := range whole {
		if _, err := read(bytes.NewReader(whole[:length])); err == nil {
			t.Fatalf("%d of %d bytes are taken for all", length, len(whole))
		}
	}
	packed := compressed(t, whole)
	for length := range packed {
		if _, err := unpacked(packed[:length]); err == nil {
			t.Fatalf("%d of %d compressed bytes are taken for all", length, len(packed))
		}
	}
	if _, err := read(bytes.NewReader(append(whole, 0))); err == nil {
		t.Error("a byte too many is taken")
	}
}

func TestWritingInTheBackgroundTellsOfFailures(t *testing.T) {
	in, out := io.Pipe()
	in.CloseWithError(syscall.ENOSPC)
	a := newAsync(out)
	var err error
	for range 5 {
		if _, wrong := a.Write(make([]byte, 10)); wrong != nil {
			err = wrong
		}
	}
	if err != syscall.ENOSPC || a.Close() != syscall.ENOSPC {
		t.Error(err)
	}
}
