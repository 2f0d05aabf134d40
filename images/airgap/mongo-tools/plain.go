package main

import (
	"bufio"
	"context"
	"fmt"
	"os"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// dumpPlain writes the documents of one collection to standard output, one after the other, and nothing else.
func dumpPlain(ctx context.Context, o *options, c *connection) error {
	query := bson.D{}
	if o.query != "" {
		if err := bson.UnmarshalExtJSON([]byte(o.query), false, &query); err != nil {
			return fmt.Errorf("error parsing query as Extended JSON: %w", err)
		}
	}
	sources, err := c.sources(ctx, o)
	if err != nil {
		return err
	}
	s := sources[0]
	say("writing %s to %s", s.namespace(), o.where())
	out, count := bufio.NewWriterSize(os.Stdout, blockSize), int64(0)
	err = copyDocuments(ctx, s.from, query, func(document bson.Raw) error {
		count++
		_, err := out.Write(document)
		return err
	})
	if err != nil {
		return fmt.Errorf("error writing data for collection %s: %w", s.namespace(), err)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	say("done dumping %s (%s)", s.namespace(), counted(count, "document", "documents"))
	return nil
}
