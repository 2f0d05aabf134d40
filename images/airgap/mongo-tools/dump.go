package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	mongooptions "go.mongodb.org/mongo-driver/v2/mongo/options"
	"golang.org/x/sync/errgroup"
)

// source is a collection to dump: where its documents are read, and how the archive calls it.
type source struct {
	collection
	from   *mongo.Collection
	filter bson.D
}

// metadata is what the archive keeps of a collection, as JSON.
type metadata struct {
	Options        bson.Raw   `bson:"options,omitempty"`
	Indexes        []bson.Raw `bson:"indexes"`
	UUID           string     `bson:"uuid,omitempty"`
	CollectionName string     `bson:"collectionName"`
	Type           string     `bson:"type"`
}

func dump(ctx context.Context, o *options) error {
	reached, err := connect(ctx, o)
	if err != nil {
		return err
	}
	defer reached.Disconnect(context.WithoutCancel(ctx))
	c, err := reached.pinned(ctx)
	if err != nil {
		return err
	}
	if o.out != "" {
		return dumpPlain(ctx, o, c)
	}
	out, err := create(o)
	if err != nil {
		return err
	}
	if err := dumpTo(ctx, o, c, &writer{out: out}); err != nil {
		return err
	}
	return out.Close()
}

// output is the archive's file with what is between; closed, it holds everything.
type output struct {
	io.Writer
	close []func() error
}

func (o *output) Close() error {
	for _, close := range o.close {
		if err := close(); err != nil {
			return fmt.Errorf("archive writer: %w", err)
		}
	}
	return nil
}

func create(o *options) (*output, error) {
	file, sync := os.Stdout, func() error { return nil }
	if o.archive != "-" {
		created, err := os.Create(o.archive)
		if err != nil {
			return nil, err
		}
		file, sync = created, created.Sync
		if info, err := created.Stat(); err == nil && !info.Mode().IsRegular() {
			sync = func() error { return nil } // a pipe can't
		}
	}
	out := &output{file, []func() error{sync, file.Close}}
	if o.gzip {
		packed := gzip.NewWriter(file)
		background := newAsync(packed)
		out.Writer = background
		out.close = append([]func() error{background.Close, packed.Close}, out.close...)
	}
	return out, nil
}

func dumpTo(ctx context.Context, o *options, c *connection, w *writer) error {
	log, err := c.oplog(ctx, o.oplog) // begins before anything is listed, so that it has what is made while listing
	if err != nil {
		return err
	}
	server, number, err := c.serverVersion(ctx)
	if err != nil {
		return err
	}
	sources, err := c.sources(ctx, o)
	if err != nil {
		return err
	}
	h := header{int32(o.parallel), formatVersion, server, "TechShop's stand-in " + version}
	listed := make([]collection, len(sources), len(sources)+1)
	for i, s := range sources {
		if listed[i] = s.collection; s.Type == timeSeries && newer(number, viewless) {
			return fmt.Errorf("%s is a time series of MongoDB %s, which can't be dumped here", s.namespace(), server)
		}
	}
	if o.oplog {
		listed = append(listed, collection{Name: oplogName})
	}
	begin, err := prelude(h, listed)
	if err != nil {
		return err
	}
	if err := w.write(begin); err != nil {
		return err
	}
	// Users, roles and their version stand first, and one after the other: whoever restores waits for them.
	special := 0
	for special < len(sources) && sources[special].authorization() != "" {
		special++
	}
	for _, s := range sources[:special] {
		if err := s.copy(ctx, o, w); err != nil {
			return err
		}
	}
	group, grouped := errgroup.WithContext(ctx)
	group.SetLimit(o.parallel)
	for _, s := range sources[special:] {
		group.Go(func() error { return s.copy(grouped, o, w) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return log.copy(ctx, w)
}

// copy writes the collection's documents into the archive; a view has none, but an end.
func (s *source) copy(ctx context.Context, o *options, w *writer) error {
	say("writing %s to %s", s.DB+"."+s.dataName(), o.where())
	into := w.stream(s.DB, s.dataName())
	if s.Type != view {
		if err := copyDocuments(ctx, s.from, s.filter, into.add); err != nil {
			return fmt.Errorf("error writing data for collection %s: %w", s.namespace(), err)
		}
	}
	if err := into.close(); err != nil {
		return err
	}
	say("done dumping %s (%s)", s.DB+"."+s.dataName(), counted(into.count, "document", "documents"))
	return nil
}

// large is held while large documents come: of each collection that is read, one is held already.
var large sync.Mutex

// copyDocuments reads in batches of some size in bytes, whatever the documents' size: a batch of the server's own choice
// can have 16 MiB, and several are read at the same time.
func copyDocuments(ctx context.Context, from *mongo.Collection, filter bson.D, add func(bson.Raw) error) error {
	cursor, err := from.Find(ctx, filter, mongooptions.Find().SetNoCursorTimeout(true).SetBatchSize(1))
	if err != nil {
		return err
	}
	defer cursor.Close(context.WithoutCancel(ctx))
	next := func(size int) bool {
		if cursor.RemainingBatchLength() > 0 {
			return cursor.Next(ctx)
		}
		if size > blockSize {
			large.Lock()
			defer large.Unlock()
		}
		cursor.SetBatchSize(int32(max(1, min(blockSize/max(1, size), 100_000))))
		return cursor.Next(ctx)
	}
	count, total := 0, 0
	for next(total / max(1, count)) {
		if err := add(cursor.Current); err != nil {
			return err
		}
		count++
		total += len(cursor.Current)
	}
	return cursor.Err()
}

// sources lists what the options select, what concerns users first.
func (c *connection) sources(ctx context.Context, o *options) ([]*source, error) {
	dbs := []string{o.db}
	if o.db == "" {
		names, err := c.ListDatabaseNames(ctx, bson.D{})
		if err != nil {
			return nil, err
		}
		dbs = slices.DeleteFunc(names, func(name string) bool { return name == "local" || name == "config" })
	}
	var found []*source
	for _, db := range dbs {
		listed, err := c.list(ctx, o, db)
		if err != nil {
			return nil, fmt.Errorf("error getting collections for database %s: %w", db, err)
		}
		found = append(found, listed...)
	}
	if o.collection != "" && len(found) == 0 {
		return nil, fmt.Errorf("namespace with DB %s and collection %s does not exist", o.db, o.collection)
	}
	if o.dbUsersAndRoles && o.db != "admin" {
		for _, kind := range []string{users, roles, authVersion} {
			s := &source{from: c.Database("admin").Collection(kind), filter: bson.D{{Key: "db", Value: o.db}}}
			s.DB, s.Name = o.db, "$admin."+kind
			if kind == authVersion {
				s.filter = bson.D{}
			}
			found = append(found, s)
		}
	}
	slices.SortStableFunc(found, func(a, b *source) int { return len(b.authorization()) - len(a.authorization()) })
	return found, nil
}

func (c *connection) list(ctx context.Context, o *options, db string) ([]*source, error) {
	filter := bson.D{}
	if o.collection != "" {
		filter = bson.D{{Key: "name", Value: o.collection}}
	}
	cursor, err := c.Database(db).ListCollections(ctx, filter)
	if err != nil {
		return nil, err
	}
	defer cursor.Close(context.WithoutCancel(ctx))
	var found []*source
	for cursor.Next(ctx) {
		var listed struct {
			Name, Type string
			Options    bson.Raw
			Info       struct{ UUID bson.Binary }
		}
		if err := cursor.Decode(&listed); err != nil {
			return nil, err
		}
		if o.collection == "" && skipped(db, listed.Name) {
			continue
		}
		s := &source{collection: collection{DB: db, Name: listed.Name, Type: listed.Type}, filter: bson.D{}}
		s.from = c.Database(db).Collection(s.dataName())
		indexes := []bson.Raw{}
		if s.Type != view {
			if indexes, err = indexesOf(ctx, c.Database(db).Collection(s.Name)); err != nil {
				return nil, err
			}
		}
		uuid := hex.EncodeToString(listed.Info.UUID.Data)
		text, err := bson.MarshalExtJSON(metadata{listed.Options, indexes, uuid, s.Name, s.Type}, true, false)
		if err != nil {
			return nil, fmt.Errorf("error marshalling metadata json for collection %s: %w", s.namespace(), err)
		}
		s.Metadata = string(text)
		found = append(found, s)
	}
	return found, cursor.Err()
}

const namespaceNotFound = 26

// indexesOf lists a collection's indexes: none when it was dropped since it was listed.
func indexesOf(ctx context.Context, of *mongo.Collection) ([]bson.Raw, error) {
	indexes := []bson.Raw{}
	cursor, err := of.Indexes().List(ctx)
	if hasCode(err, namespaceNotFound) {
		return indexes, nil
	}
	if err != nil {
		return nil, err
	}
	return indexes, cursor.All(ctx, &indexes)
}

func hasCode(err error, code int) bool {
	var said mongo.ServerError
	return errors.As(err, &said) && said.HasErrorCode(code)
}

// own lists the collections of the database config that belong to one deployment.
var own = []string{"transactions", "system.sessions", "transaction_coordinators", "system.indexBuilds", "image_collection",
	"mongos", "system.preimages"}

// skipped tells, by the real tools' rules, whether a collection is the server's own business.
func skipped(db, name string) bool {
	switch {
	case strings.Contains(name, "$"):
		return true
	case db == "admin":
		return name == "system.keys"
	case db == "config":
		return slices.Contains(own, name) || strings.HasPrefix(name, "cache.")
	}
	return strings.HasPrefix(name, "system.") && name != "system.js"
}
