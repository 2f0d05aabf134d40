package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	mongooptions "go.mongodb.org/mongo-driver/v2/mongo/options"
)

const overflow = "oplog overflow: mongodump was unable to capture all new oplog entries during execution"

// oplog is the part of the server's oplog from before the first collection is read to after the last.
type oplog struct {
	entries *mongo.Collection
	start   bson.Timestamp
}

// Operation is what of an oplog entry says what to do: the rest names places, times and collections of where it comes from.
// Its name is exported because bson looks into no other embedded types.
type Operation struct {
	Op string   `bson:"op"`
	NS string   `bson:"ns"`
	O  bson.Raw `bson:"o"`
	O2 bson.Raw `bson:"o2,omitempty"`
	B  *bool    `bson:"b,omitempty"`
}

// command names the operation's command, "" when it is none.
func (o *Operation) command() string {
	if first, err := o.O.IndexErr(0); o.Op == "c" && err == nil {
		return first.Key()
	}
	return ""
}

// entry is an oplog entry.
type entry struct {
	Operation   `bson:",inline"`
	TS          bson.Timestamp `bson:"ts"`
	LSID        bson.Raw       `bson:"lsid"`
	TxnNumber   *int64         `bson:"txnNumber"`
	MultiOpType int            `bson:"multiOpType"`
	Prev        struct {
		TS bson.Timestamp `bson:"ts"`
	} `bson:"prevOpTime"`
}

// transaction tells whether the entry belongs to a transaction. The entries of a retryable insert of many documents look
// alike, but are applied one by one.
func (e *entry) transaction() bool {
	command := e.command()
	return e.LSID != nil && e.TxnNumber != nil && e.MultiOpType != 1 &&
		(command == "applyOps" || command == "commitTransaction" || command == "abortTransaction")
}

// oplog finds where the oplog has to begin; nil when it isn't wanted.
//
// What the member has applied by then is in whatever is read of it later. Newer entries may be written already, and not yet
// applied; on a primary older ones may still be written, which a read of the oplog forwards waits for.
func (c *connection) oplog(ctx context.Context, wanted bool) (*oplog, error) {
	if !wanted {
		return nil, nil
	}
	said, err := c.hello(ctx)
	switch {
	case err != nil:
		return nil, fmt.Errorf("error finding oplog: %w", err)
	case said.Msg == "isdbgrid":
		return nil, errors.New("can't use --oplog option when dumping from a mongos")
	case len(said.Hosts) == 0:
		return nil, errors.New("error finding oplog: the server is no member of a replica set")
	}
	o := &oplog{c.Database("local").Collection("oplog.rs"), said.LastWrite.OpTime.TS}
	at := bson.D{{Key: "ts", Value: bson.D{{Key: "$gte", Value: o.start}}}}
	if err := o.entries.FindOne(ctx, at).Err(); err != nil {
		return nil, fmt.Errorf("error getting oplog start: %w", err)
	}
	// A transaction that isn't done has entries before that.
	open := bson.D{{Key: "state", Value: bson.D{{Key: "$in", Value: bson.A{"prepared", "inProgress"}}}}}
	var oldest struct {
		StartOpTime struct{ TS bson.Timestamp } `bson:"startOpTime"`
	}
	first := mongooptions.FindOne().SetSort(bson.D{{Key: "startOpTime", Value: 1}})
	err = c.Database("config").Collection("transactions").FindOne(ctx, open, first).Decode(&oldest)
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return nil, fmt.Errorf("error getting oplog start: %w", err)
	}
	if began := oldest.StartOpTime.TS; err == nil && !began.IsZero() && began.Before(o.start) {
		o.start = began
	}
	return o, nil
}

// copy writes the oplog up to now into the archive.
func (o *oplog) copy(ctx context.Context, w *writer) error {
	if o == nil {
		return nil
	}
	// Backwards the newest entry is seen as soon as what it did can be read.
	var last entry
	newest := mongooptions.FindOne().SetSort(bson.D{{Key: "$natural", Value: -1}})
	if err := o.entries.FindOne(ctx, bson.D{}, newest).Decode(&last); err != nil {
		return fmt.Errorf("error getting oplog end: %w", err)
	}
	say("writing captured oplog to %s", "")
	into := w.stream("", oplogName)
	span := bson.D{{Key: "ts", Value: bson.D{{Key: "$gte", Value: o.start}, {Key: "$lte", Value: last.TS}}}}
	err := copyDocuments(ctx, o.entries, span, func(document bson.Raw) error {
		var e entry
		if err := bson.Unmarshal(document, &e); err != nil {
			return err
		}
		if into.count == 0 && e.TS != o.start {
			return errors.New(overflow)
		}
		if err := o.replayable(&e); err != nil {
			return err
		}
		return into.add(document)
	})
	if err == nil && into.count == 0 {
		err = errors.New(overflow)
	}
	if err != nil {
		return fmt.Errorf("error dumping oplog: %w", err)
	}
	if err := into.close(); err != nil {
		return err
	}
	say("\tdumped %s", counted(into.count, "oplog entry", "oplog entries"))
	return nil
}

// replayable refuses an entry after which the archive would hold no state that can be restored.
func (o *oplog) replayable(e *entry) error {
	if e.NS == "admin.system.version" {
		return errors.New("cannot dump with oplog if admin.system.version is modified")
	}
	switch command := e.command(); command {
	case "renameCollection":
		return errors.New("cannot dump with oplog while renames occur")
	case "importCollection", "upgradeDowngradeViewlessTimeseries":
		return fmt.Errorf("cannot dump with oplog while %s occurs", command)
	case "create":
		if name, _ := e.O.Index(0).Value().StringValueOK(); strings.HasPrefix(e.NS, "config.") && resharding(name) {
			return errors.New("cannot dump with oplog while resharding")
		}
	}
	if e.transaction() && !e.Prev.TS.IsZero() && e.Prev.TS.Before(o.start) {
		return errors.New("a transaction began just before the dump, whose oplog lacks its first part: run it again")
	}
	return nil
}

func resharding(name string) bool {
	return name == "reshardingOperations" || strings.HasPrefix(name, "localReshardingOperations.")
}
