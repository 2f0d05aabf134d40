package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	mongooptions "go.mongodb.org/mongo-driver/v2/mongo/options"
	"golang.org/x/sync/errgroup"
)

const (
	duplicateKey = 11000
	validation   = 121
)

// inFlight is the size of all documents that wait or are being inserted: one alone may have 16 MiB, in each collection.
const inFlight = maxDocument

// loader inserts the documents of one collection, several batches at a time when that is wanted.
type loader struct {
	*restoration
	into          *mongo.Collection
	name          string
	batches       chan []bson.Raw
	group         *errgroup.Group
	ctx           context.Context
	restored, bad atomic.Int64
}

func newLoader(ctx context.Context, r *restoration, l *listed) *loader {
	name := l.name
	loads := &loader{restoration: r, batches: make(chan []bson.Raw)}
	if l.Type == timeSeries {
		name = bucketPrefix + name
	}
	loads.name, loads.into = l.db+"."+name, r.Database(l.db).Collection(name)
	loads.group, loads.ctx = errgroup.WithContext(ctx)
	say("restoring %s from %s", loads.name, r.where())
	for range r.workers {
		loads.group.Go(func() error {
			for batch := range loads.batches {
				err := loads.insert(batch)
				r.flying.Release(weight(batch))
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	return loads
}

func weight(documents []bson.Raw) (size int64) {
	for _, document := range documents {
		size += int64(len(document))
	}
	return size
}

func (l *loader) add(documents []bson.Raw) error {
	if err := l.flying.Acquire(l.ctx, weight(documents)); err != nil {
		return cmp.Or(l.end(), context.Cause(l.ctx))
	}
	select {
	case l.batches <- documents:
		return nil
	case <-l.ctx.Done():
		return cmp.Or(l.end(), context.Cause(l.ctx))
	}
}

func (l *loader) done() error {
	err := l.end()
	say("finished restoring %s (%s, %s)", l.name, counted(l.restored.Load(), "document", "documents"),
		counted(l.bad.Load(), "failure", "failures"))
	return err
}

func (l *loader) end() error {
	close(l.batches)
	return l.group.Wait()
}

// insert inserts a batch; documents that fail by themselves are counted, anything else ends the restore.
func (l *loader) insert(batch []bson.Raw) error {
	_, err := l.into.InsertMany(l.ctx, batch, mongooptions.InsertMany().SetOrdered(l.ordered))
	var failure mongo.BulkWriteException
	if err != nil && (!errors.As(err, &failure) || failure.WriteConcernError != nil || len(failure.WriteErrors) == 0) {
		return err
	}
	wrong := map[int]bool{}
	for _, one := range failure.WriteErrors {
		wrong[one.Index] = true
		l.bad.Add(1)
		l.failed.Add(1)
		if l.stopOnError || one.Code != duplicateKey && one.Code != validation {
			return fmt.Errorf("error restoring from %s: %w", l.where(), err)
		}
		say("continuing through error: %s", one.Message)
	}
	l.restored.Add(int64(len(batch) - len(wrong)))
	l.succeeded.Add(int64(len(batch) - len(wrong)))
	for i, document := range batch {
		if !wrong[i] {
			if err := l.keepZero(document); err != nil {
				return err
			}
		}
	}
	return nil
}

// zero is how a name and the timestamp 0 after it end.
var zero = make([]byte, 9)

// keepZero puts back the timestamp 0, in whose place the server puts its time when it stands at the top of a document.
func (l *loader) keepZero(document bson.Raw) error {
	if !bytes.Contains(document, zero) {
		return nil
	}
	elements, err := document.Elements()
	if err != nil {
		return err
	}
	set := bson.D{}
	for _, element := range elements {
		t, i, is := element.Value().TimestampOK()
		if key := element.Key(); is && t == 0 && i == 0 && key != "_id" {
			if key == "" || key[0] == '$' || strings.Contains(key, ".") {
				return fmt.Errorf("%s has the timestamp 0 in a field called %q, where it can't be restored", l.name, key)
			}
			set = append(set, bson.E{Key: key, Value: bson.Timestamp{}})
		}
	}
	if len(set) == 0 {
		return nil
	}
	one := bson.D{{Key: "_id", Value: document.Lookup("_id")}}
	_, err = l.into.UpdateOne(l.ctx, one, bson.D{{Key: "$set", Value: set}})
	return err
}
