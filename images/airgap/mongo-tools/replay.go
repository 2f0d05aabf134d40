package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// replay applies an oplog to what was restored.
type replay struct {
	*restoration
	ctx     context.Context
	ended   bool                    // at --oplogLimit
	open    map[string][]*Operation // operations of transactions that aren't committed yet
	batch   []*Operation
	size    int
	missing map[string]bool // namespaces written to which aren't there: they must be dropped before the end
	applied int64
}

// internal are prefixes of namespaces that belong to one deployment.
var internal = []string{"config.", "local.", "__mdb_internal_"}

func newReplay(ctx context.Context, r *restoration) *replay {
	return &replay{restoration: r, ctx: ctx, open: map[string][]*Operation{}, missing: map[string]bool{}}
}

func (r *replay) add(documents []bson.Raw) error {
	for _, document := range documents {
		var e entry
		if err := bson.Unmarshal(document, &e); err != nil {
			return fmt.Errorf("error reading oplog: %w", err)
		}
		if r.ended = r.ended || !r.oplogLimit.IsZero() && !e.TS.Before(r.oplogLimit); r.ended {
			return nil
		}
		if err := r.entry(&e); err != nil {
			return fmt.Errorf("error applying oplog entry of %d:%d: %w", e.TS.T, e.TS.I, err)
		}
	}
	return nil
}

func (r *replay) done() error {
	if err := r.flush(); err != nil {
		return err
	}
	say("applied %d oplog entries", r.applied)
	if len(r.missing) > 0 {
		names := slices.Sorted(maps.Keys(r.missing))
		return fmt.Errorf("the oplog writes to what the archive doesn't have: %s", strings.Join(names, ", "))
	}
	return nil
}

// entry applies an entry, or keeps it until its transaction is committed.
func (r *replay) entry(e *entry) error {
	if !e.transaction() {
		return r.operation(&e.Operation)
	}
	id := fmt.Sprintf("%x %d", e.LSID, *e.TxnNumber)
	kept, began := r.open[id]
	if e.command() == "abortTransaction" {
		delete(r.open, id)
		return nil
	}
	if !began && !e.Prev.TS.IsZero() {
		return errors.New("the oplog lacks the beginning of a transaction")
	}
	if e.command() == "applyOps" {
		several, err := severalOf(&e.Operation)
		if err != nil {
			return err
		}
		kept = append(kept, several.ApplyOps...)
		if several.PartialTxn || several.Prepare {
			r.open[id] = kept
			return nil
		}
	}
	delete(r.open, id)
	return r.each(kept)
}

// several is the command applyOps: operations of a transaction, or such as were written together.
type several struct {
	ApplyOps   []*Operation `bson:"applyOps"`
	PartialTxn bool         `bson:"partialTxn"`
	Prepare    bool         `bson:"prepare"`
}

func severalOf(o *Operation) (s several, err error) {
	err = bson.Unmarshal(o.O, &s)
	return s, err
}

func (r *replay) each(operations []*Operation) error {
	for _, o := range operations {
		if err := r.operation(o); err != nil {
			return err
		}
	}
	return nil
}

// operation applies one operation; inserts, updates and deletes wait for some more.
func (r *replay) operation(o *Operation) error {
	if slices.ContainsFunc(internal, func(prefix string) bool { return strings.HasPrefix(o.NS, prefix) }) {
		return nil
	}
	switch o.Op {
	case "i", "u", "d":
		return r.write(o)
	case "c":
		return r.command(o)
	case "n", "cd", "ci", "cu", "km": // a note, or what the server keeps for itself
		return nil
	}
	return fmt.Errorf("operation %q isn't known", o.Op)
}

func (r *replay) write(o *Operation) error {
	db, name, _ := strings.Cut(o.NS, ".")
	if db == "admin" && (name == users || name == roles) {
		r.usersLater = append(r.usersLater, o)
		r.applied++
		return nil
	}
	there, err := r.existing.has(r.ctx, r.Client, db, name)
	if err != nil {
		return err
	}
	switch {
	case there:
	case name == "system.views": // it stays when its last view goes, and is no part of an archive
		if err := r.Database(db).CreateCollection(r.ctx, name); err != nil {
			return err
		}
		r.existing.forget(db)
	default: // dropped while it was dumped: the oplog says so further on
		r.missing[o.NS] = true
		return nil
	}
	size := len(o.O) + len(o.O2)
	if len(r.batch) == batchDocuments || r.size+size > batchBytes {
		if err := r.flush(); err != nil {
			return err
		}
	}
	r.batch = append(r.batch, o)
	r.size += size
	return nil
}

func (r *replay) flush() error {
	if len(r.batch) == 0 {
		return nil
	}
	err := applyOps(r.ctx, r.Client, r.batch...)
	r.applied += int64(len(r.batch))
	r.batch, r.size = nil, 0
	return err
}

const unauthorized = 13

func applyOps(ctx context.Context, client *mongo.Client, batch ...*Operation) error {
	err := client.Database("admin").RunCommand(ctx, bson.D{{Key: "applyOps", Value: batch}}).Err()
	switch {
	case hasCode(err, unauthorized): // the server's own words hold all that was to be applied
		return errors.New("applyOps: the user may not replay an oplog, which takes every action on every resource: root may")
	case err != nil:
		return fmt.Errorf("applyOps: %w", err)
	}
	return nil
}

// command applies a command of the oplog; those that concern indexes change the list of what is built at the end.
func (r *replay) command(o *Operation) error {
	if o.command() == "applyOps" {
		several, err := severalOf(o)
		if err != nil {
			return err
		}
		return r.each(several.ApplyOps)
	}
	var command bson.D
	if err := bson.Unmarshal(o.O, &command); err != nil {
		return err
	}
	db, _, _ := strings.Cut(o.NS, ".")
	name, _ := value(command, o.command()).(string)
	namespace := db + "." + name
	switch o.command() {
	case "startIndexBuild", "abortIndexBuild", "setMultikeyMetadata":
		return nil
	case "createIndexes":
		r.catalog.of(namespace).add(command[1:])
		r.applied++
		return nil
	case "commitIndexBuild":
		specs, _ := value(command, "indexes").(bson.A)
		for _, spec := range specs {
			if spec, is := spec.(bson.D); is {
				r.catalog.of(namespace).add(spec)
			}
		}
		r.applied++
		return nil
	case "dropIndexes", "dropIndex", "deleteIndexes", "deleteIndex":
		r.catalog.of(namespace).drop(value(command, "index"))
		r.applied++
		return nil
	case "collMod":
		if change, is := value(command, "index").(bson.D); is {
			r.catalog.of(namespace).modify(change)
			if command = without(command, "index"); len(command) == 1 {
				r.applied++
				return nil
			}
		}
	case "create":
		delete(r.catalog, namespace)
		r.catalog.of(namespace).collated = collated(command)
		command = without(command, "recordIdsReplicated")
	case "drop":
		delete(r.catalog, namespace)
		delete(r.missing, namespace)
	case "dropDatabase":
		r.catalog.forget(db)
		maps.DeleteFunc(r.missing, func(name string, _ bool) bool { return strings.HasPrefix(name, db+".") })
	case "convertToCapped", "emptycapped", "dbCheck":
	default:
		return fmt.Errorf("unknown oplog command name %s", o.command())
	}
	if err := r.flush(); err != nil {
		return err
	}
	text, err := bson.Marshal(command)
	if err != nil {
		return err
	}
	r.batch = []*Operation{{Op: o.Op, NS: o.NS, O: text, O2: o.O2}}
	r.existing.forget(db)
	return r.flush()
}
