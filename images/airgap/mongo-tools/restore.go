package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"golang.org/x/sync/semaphore"
)

// restoration is one run of mongorestore.
type restoration struct {
	*options
	*connection
	*selection
	archive           *reader
	catalog           catalog
	existing          existing
	listed            map[string]*listed // by the name under which the data stands
	views             []*listed
	authorization     map[string]*kept
	usersLater        []*Operation // what the oplog does to users and roles
	loaded            bool         // all but the oplog
	flying            *semaphore.Weighted
	succeeded, failed atomic.Int64
}

// listed is a collection of the archive, and where it goes.
type listed struct {
	collection
	options bson.D
	indexes []bson.D
	db      string
	name    string
}

func (l *listed) target() string {
	return l.db + "." + l.name
}

func restore(ctx context.Context, o *options) error {
	c, err := connect(ctx, o)
	if err != nil {
		return err
	}
	in, err := input(o)
	if err != nil {
		return err
	}
	r := &restoration{options: o, connection: c, catalog: catalog{}, existing: existing{}}
	r.flying = semaphore.NewWeighted(inFlight)
	r.listed, r.authorization = map[string]*listed{}, map[string]*kept{}
	if r.selection, err = newSelection(o); err != nil {
		return err
	}
	if r.archive, err = newReader(in); err != nil {
		return err
	}
	detail("archive format version %q, server version %q, tool version %q",
		r.archive.header.Version, r.archive.header.Server, r.archive.header.Tool)
	err = r.run(ctx)
	say("%d document(s) restored successfully. %d document(s) failed to restore.", r.succeeded.Load(), r.failed.Load())
	if failed := r.failed.Load(); err == nil && failed > 0 {
		err = fmt.Errorf("%s failed to restore", counted(failed, "document", "documents"))
	}
	return err
}

// input opens the archive; the end of a compressed one is checked as it is read.
func input(o *options) (io.Reader, error) {
	var in io.Reader = os.Stdin
	if o.archive != "-" {
		file, err := os.Open(o.archive)
		if err != nil {
			return nil, err
		}
		in = file
	}
	if !o.gzip {
		return in, nil
	}
	unpacked, err := gzip.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("the archive isn't compressed as --gzip says: %w", err)
	}
	return unpacked, nil
}

func (r *restoration) run(ctx context.Context) error {
	say("preparing collections to restore from")
	hasOplog, err := r.prepare()
	if err != nil {
		return err
	}
	if r.oplogReplay && !hasOplog {
		return errors.New("no oplog file to replay; make sure you run mongodump with --oplog")
	}
	err = r.archive.run(func(db, name string) (sink, error) {
		if db != "" || name != oplogName {
			return r.open(ctx, db, name)
		}
		if err := r.finish(ctx); err != nil || !r.oplogReplay || r.dryRun {
			return ignored{}, err
		}
		say("replaying oplog")
		return newReplay(ctx, r), nil
	})
	if err == nil {
		err = r.finish(ctx)
	}
	if err == nil && !r.noIndexes && !r.dryRun {
		err = r.catalog.build(ctx, r.Client, r.parallel)
	}
	if err == nil {
		err = r.mergeUsers(ctx)
	}
	return err
}

// prepare takes what the archive says of its collections before any data.
func (r *restoration) prepare() (hasOplog bool, err error) {
	for _, c := range r.archive.collections {
		if c.DB == "" {
			hasOplog = hasOplog || c.Name == oplogName
			continue
		}
		l := &listed{collection: c}
		l.db, l.name = r.selection.target(c.DB, c.Name)
		if c.Metadata != "" {
			var m struct {
				Options bson.D   `bson:"options"`
				Indexes []bson.D `bson:"indexes"`
			}
			if err := bson.UnmarshalExtJSON([]byte(c.Metadata), true, &m); err != nil {
				return false, fmt.Errorf("error parsing metadata of %s: %w", c.namespace(), err)
			}
			l.options, l.indexes = m.Options, m.Indexes
		}
		r.listed[c.DB+"."+c.dataName()] = l
	}
	return hasOplog, nil
}

// open decides what becomes of a namespace's documents.
func (r *restoration) open(ctx context.Context, db, name string) (sink, error) {
	l := r.listed[db+"."+name]
	if l == nil || r.loaded {
		return nil, errors.New("the archive has it after the oplog")
	}
	if kind := l.authorization(); kind != "" {
		documents := &kept{}
		if r.wantsUsers(&l.collection) {
			r.authorization[kind] = documents
		}
		return documents, nil
	}
	own := strings.HasPrefix(l.Name, "$") || l.Name == "system.profile"
	if own || !r.selection.has(l.namespace()) {
		detail("skipping %s", l.namespace())
		return ignored{}, nil
	}
	if r.dryRun {
		say("%s would be restored as %s", l.namespace(), l.target())
		return ignored{}, nil
	}
	if l.Type == view || value(l.options, "viewOn") != nil {
		r.views = append(r.views, l)
		return &kept{}, nil
	}
	if err := r.create(ctx, l); err != nil {
		return nil, err
	}
	return newLoader(ctx, r, l), nil
}

// finish does what waits for the documents of all collections.
func (r *restoration) finish(ctx context.Context) error {
	if r.loaded {
		return nil
	}
	for name, n := range r.archive.namespaces {
		if !n.closed && name != "."+oplogName {
			return fmt.Errorf("the archive has the oplog before the end of %s, which can't be restored here", name)
		}
	}
	r.loaded = true
	for _, l := range r.views {
		if err := r.create(ctx, l); err != nil {
			return fmt.Errorf("%s: %w", l.target(), err)
		}
		say("finished restoring %s (0 documents, 0 failures)", l.target())
	}
	return r.checkAuth()
}

// create makes a collection or view as the archive says, after dropping what has its name if that is wanted.
func (r *restoration) create(ctx context.Context, l *listed) error {
	exists, err := r.existing.has(ctx, r.Client, l.db, l.name)
	if err != nil {
		return err
	}
	switch {
	case exists && r.drop && strings.HasPrefix(l.name, "system."):
		say("cannot drop system collection %s, skipping", l.target())
	case exists && r.drop:
		say("dropping collection %s before restoring", l.target())
		if err := r.Database(l.db).Collection(l.name).Drop(ctx); err != nil {
			return fmt.Errorf("error dropping collection: %w", err)
		}
		exists = false
	case exists:
		say("restoring to existing collection %s without dropping", l.target())
	}
	if l.Type != view {
		r.remember(l)
	}
	if exists {
		return nil
	}
	command := append(bson.D{{Key: "create", Value: l.name}}, without(l.options, "autoIndexId")...)
	for _, spec := range l.indexes {
		if value(spec, "name") == "_id_" && value(l.options, "clusteredIndex") == nil {
			command = append(command, bson.E{Key: "idIndex", Value: without(spec, "v", "ns")})
		}
	}
	if err := r.Database(l.db).RunCommand(ctx, command).Err(); err != nil {
		return fmt.Errorf("error creating collection %s: %w", l.target(), err)
	}
	if r.existing[l.db][l.name] = true; l.Type != "collection" {
		r.existing.forget(l.db) // others came with it
	}
	return nil
}

func (r *restoration) remember(l *listed) {
	i := r.catalog.of(l.target())
	for _, spec := range l.indexes {
		i.add(spec)
	}
	i.collated = collated(l.options)
}

// collated tells whether options of a collection name a collation.
func collated(options bson.D) bool {
	collation, _ := value(options, "collation").(bson.D)
	locale := value(collation, "locale")
	return locale != nil && locale != "simple"
}

// existing knows which collections the server has, by database.
type existing map[string]map[string]bool

func (e existing) has(ctx context.Context, client *mongo.Client, db, name string) (bool, error) {
	if e[db] == nil {
		names, err := client.Database(db).ListCollectionNames(ctx, bson.D{})
		if err != nil {
			return false, err
		}
		e[db] = map[string]bool{}
		for _, name := range names {
			e[db][name] = true
		}
	}
	return e[db][name], nil
}

// forget makes the database be asked again.
func (e existing) forget(db string) {
	delete(e, db)
}

// ignored lets documents go, once their checksum was taken.
type ignored struct{}

func (ignored) add([]bson.Raw) error { return nil }
func (ignored) done() error          { return nil }

// kept keeps documents of which there are few.
type kept struct {
	documents []bson.Raw
}

func (k *kept) add(documents []bson.Raw) error {
	k.documents = append(k.documents, documents...)
	return nil
}

func (k *kept) done() error { return nil }
