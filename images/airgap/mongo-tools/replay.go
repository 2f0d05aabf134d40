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
	ended   bool                // at --oplogLimit
	open    map[string][]bson.D // operations of transactions that aren't committed yet
	batch   []bson.D
	size    int
	missing map[string]bool // namespaces written to which aren't there: they must be dropped before the end
	applied int64
}

// internal are prefixes of namespaces that belong to one deployment.
var internal = []string{"config.", "local.", "__mdb_internal_"}

func newReplay(ctx context.Context, r *restoration) *replay {
	return &replay{restoration: r, ctx: ctx, open: map[string][]bson.D{}, missing: map[string]bool{}}
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
		if err := r.entry(&e, document); err != nil {
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
func (r *replay) entry(e *entry, document bson.Raw) error {
	command, is := e.transaction()
	if !is {
		var operation bson.D
		if err := bson.Unmarshal(document, &operation); err != nil {
			return err
		}
		return r.operation(operation)
	}
	id := fmt.Sprintf("%x %d", e.LSID, *e.TxnNumber)
	kept, began := r.open[id]
	if !began && !e.Prev.TS.IsZero() && command != "abortTransaction" {
		return errors.New("the oplog lacks the beginning of a transaction")
	}
	if command == "applyOps" {
		inner, err := operations(e.O[0].Value)
		if err != nil {
			return err
		}
		kept = append(kept, inner...)
	}
	if command == "applyOps" && (e.flag("partialTxn") || e.flag("prepare")) {
		r.open[id] = kept
		return nil
	}
	delete(r.open, id)
	if command == "abortTransaction" {
		return nil
	}
	for _, operation := range kept {
		if err := r.operation(operation); err != nil {
			return err
		}
	}
	return nil
}

// operations returns what an applyOps holds.
func operations(list any) ([]bson.D, error) {
	array, is := list.(bson.A)
	inner := make([]bson.D, len(array))
	for i, item := range array {
		inner[i], _ = item.(bson.D)
	}
	if !is || slices.ContainsFunc(inner, func(operation bson.D) bool { return operation == nil }) {
		return nil, errors.New("an applyOps holds no operations")
	}
	return inner, nil
}

// operation applies one operation; inserts, updates and deletes wait for some more.
func (r *replay) operation(operation bson.D) error {
	kind, _ := value(operation, "op").(string)
	namespace, _ := value(operation, "ns").(string)
	if slices.ContainsFunc(internal, func(prefix string) bool { return strings.HasPrefix(namespace, prefix) }) {
		return nil
	}
	db, name, _ := strings.Cut(namespace, ".")
	switch kind {
	case "i", "u", "d":
		if db == "admin" && (name == users || name == roles) {
			r.usersLater = append(r.usersLater, bare(operation))
			r.applied++
			return nil
		}
		return r.write(db, name, operation)
	case "c":
		command, _ := value(operation, "o").(bson.D)
		if len(command) == 0 {
			return errors.New("a command is empty")
		}
		return r.command(db, command, operation)
	case "n", "cd", "ci", "cu", "km": // a note, or what the server keeps for itself
		return nil
	}
	return fmt.Errorf("operation %q isn't known", kind)
}

func (r *replay) write(db, name string, operation bson.D) error {
	there, err := r.existing.has(r.ctx, r.Client, db, name)
	if err != nil {
		return err
	}
	if !there { // dropped while it was dumped: the oplog says so further on
		r.missing[db+"."+name] = true
		return nil
	}
	bytes, err := bson.Marshal(bare(operation))
	if err != nil {
		return err
	}
	if len(r.batch) == batchDocuments || r.size+len(bytes) > batchBytes {
		if err := r.flush(); err != nil {
			return err
		}
	}
	r.batch = append(r.batch, bare(operation))
	r.size += len(bytes)
	return nil
}

// bare is what of an operation says what to do: the rest names places, times and collections of where it comes from.
func bare(operation bson.D) bson.D {
	var kept bson.D
	for _, field := range operation {
		if slices.Contains([]string{"op", "ns", "o", "o2", "b"}, field.Key) {
			kept = append(kept, field)
		}
	}
	return kept
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

func applyOps(ctx context.Context, client *mongo.Client, batch ...bson.D) error {
	if err := client.Database("admin").RunCommand(ctx, bson.D{{Key: "applyOps", Value: batch}}).Err(); err != nil {
		return fmt.Errorf("applyOps: %w", err)
	}
	return nil
}

// command applies a command of the oplog; those that concern indexes change the list of what is built at the end.
func (r *replay) command(db string, command, operation bson.D) error {
	what := command[0].Key
	name, _ := command[0].Value.(string)
	namespace := db + "." + name
	switch what {
	case "startIndexBuild", "abortIndexBuild", "setMultikeyMetadata":
		return nil
	case "applyOps":
		inner, err := operations(command[0].Value)
		if err != nil {
			return err
		}
		for _, one := range inner {
			if err := r.operation(one); err != nil {
				return err
			}
		}
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
		return fmt.Errorf("unknown oplog command name %s", what)
	}
	if err := r.flush(); err != nil {
		return err
	}
	operation = append(without(bare(operation), "o"), bson.E{Key: "o", Value: command})
	r.batch = []bson.D{operation}
	r.existing.forget(db)
	return r.flush()
}
