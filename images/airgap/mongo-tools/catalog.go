package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"golang.org/x/sync/errgroup"
)

// catalog holds the indexes that are built at the end. Only then is every document what it was: while the oplog is
// replayed, two may have the same value for a unique index, since one of them is already newer than the other.
type catalog map[string]*indexes

// indexes are those of one collection, by the namespace in which they are built.
type indexes struct {
	specs []bson.D
	// collated says that the collection has a collation of its own, which an index without one must not get.
	collated bool
}

func (c catalog) of(namespace string) *indexes {
	if c[namespace] == nil {
		c[namespace] = &indexes{}
	}
	return c[namespace]
}

// add remembers an index, in place of one that had its name.
func (i *indexes) add(spec bson.D) {
	name := value(spec, "name")
	i.specs = slices.DeleteFunc(i.specs, func(old bson.D) bool { return value(old, "name") == name })
	i.specs = append(i.specs, spec)
}

// drop forgets what a dropIndexes of the oplog names: by name, by key, or all.
func (i *indexes) drop(which any) {
	i.specs = slices.DeleteFunc(i.specs, func(spec bson.D) bool {
		return which == "*" && !ofID(spec) || which == value(spec, "name") || same(which, value(spec, "key"))
	})
}

// modify makes the changes of a collMod to the index that it names.
func (i *indexes) modify(change bson.D) {
	for n, spec := range i.specs {
		if value(change, "name") != value(spec, "name") && !same(value(change, "keyPattern"), value(spec, "key")) {
			continue
		}
		for _, field := range change {
			if field.Key != "name" && field.Key != "keyPattern" {
				spec = append(without(spec, field.Key), field)
			}
		}
		i.specs[n] = spec
	}
}

func (c catalog) forget(db string) {
	maps.DeleteFunc(c, func(namespace string, _ *indexes) bool { return strings.HasPrefix(namespace, db+".") })
}

// build makes all indexes but those of _id, which come with their collections.
func (c catalog) build(ctx context.Context, client *mongo.Client, parallel int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, namespace := range slices.Sorted(maps.Keys(c)) {
		specs := c[namespace].wanted()
		if len(specs) == 0 {
			say("no indexes to restore for collection %s", namespace)
			continue
		}
		group.Go(func() error {
			say("restoring indexes for collection %s from metadata", namespace)
			db, name, _ := strings.Cut(namespace, ".")
			command := bson.D{{Key: "createIndexes", Value: name}, {Key: "indexes", Value: specs}}
			if err := client.Database(db).RunCommand(ctx, command).Err(); err != nil {
				return fmt.Errorf("error creating indexes for %s: %w", namespace, err)
			}
			return nil
		})
	}
	return group.Wait()
}

func (i *indexes) wanted() []bson.D {
	var specs []bson.D
	for _, spec := range i.specs {
		if ofID(spec) {
			continue
		}
		spec = without(spec, "v", "ns")
		if i.collated && value(spec, "collation") == nil {
			spec = append(spec, bson.E{Key: "collation", Value: bson.D{{Key: "locale", Value: "simple"}}})
		}
		specs = append(specs, spec)
	}
	return specs
}

// ofID tells whether the index is the one of _id.
func ofID(spec bson.D) bool {
	key, _ := value(spec, "key").(bson.D)
	return value(spec, "name") == "_id_" || value(spec, "clustered") == true ||
		len(key) == 1 && key[0].Key == "_id" && key[0].Value != "hashed"
}

// value returns a field of a document, nil when there is none.
func value(document bson.D, key string) any {
	for _, field := range document {
		if field.Key == key {
			return field.Value
		}
	}
	return nil
}

// without returns a copy of a document that lacks some fields.
func without(document bson.D, keys ...string) bson.D {
	kept := make(bson.D, 0, len(document))
	for _, field := range document {
		if !slices.Contains(keys, field.Key) {
			kept = append(kept, field)
		}
	}
	return kept
}

// same compares two keys of indexes, in which 1 may be written as any number.
func same(one, other any) bool {
	a, isKey := one.(bson.D)
	b, isToo := other.(bson.D)
	return isKey && isToo && slices.EqualFunc(a, b, func(x, y bson.E) bool {
		return x.Key == y.Key && fmt.Sprint(x.Value) == fmt.Sprint(y.Value)
	})
}
