package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc64"
	"io"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

const (
	batchDocuments = 1000
	batchBytes     = 2 << 20
)

// sink takes what the archive holds of one namespace, in the archive's order.
type sink interface {
	add(documents []bson.Raw) error
	// done is called once, when all documents were there and their checksum was right.
	done() error
}

// reader reads an archive once, from its beginning to its end.
type reader struct {
	in          *bufio.Reader
	header      header
	collections []collection
	namespaces  map[string]*namespace
}

// namespace is what was read of one namespace so far.
type namespace struct {
	sink
	sum    hash.Hash64
	closed bool
}

// newReader reads what stands before the data.
func newReader(in io.Reader) (*reader, error) {
	r := &reader{in: bufio.NewReaderSize(in, 64<<10), namespaces: map[string]*namespace{}}
	var first uint32
	if err := binary.Read(r.in, binary.LittleEndian, &first); err != nil {
		return nil, fmt.Errorf("the archive can't be read: %w", err)
	}
	if first != magic {
		hint := ""
		if first&0xffff == 0x8b1f {
			hint = "; it is compressed: add --gzip"
		}
		return nil, errors.New("stream or file does not appear to be a mongodump archive" + hint)
	}
	var documents [][]byte
	for {
		document, err := r.document()
		if err != nil {
			return nil, fmt.Errorf("the archive is damaged before its data: %w", unexpected(err))
		}
		if document == nil {
			break
		}
		documents = append(documents, document)
	}
	if len(documents) == 0 {
		return nil, errors.New("the archive has no header")
	}
	if err := bson.Unmarshal(documents[0], &r.header); err != nil {
		return nil, fmt.Errorf("the archive's header is damaged: %w", err)
	}
	if err := guarded(r.header, documents); err != nil {
		return nil, err
	}
	if r.header.Version != formatVersion {
		return nil, fmt.Errorf("the archive has format %q, and only %q is known", r.header.Version, formatVersion)
	}
	for _, document := range documents[1:] {
		var c collection
		if err := bson.Unmarshal(document, &c); err != nil {
			return nil, fmt.Errorf("the archive is damaged before its data: %w", err)
		}
		if c.Type == timeSeries && newer(release(r.header.Server), viewless) {
			return nil, fmt.Errorf("%s is a time series of MongoDB %s, which can't be restored here", c.namespace(), r.header.Server)
		}
		r.collections = append(r.collections, c)
		r.namespaces[c.DB+"."+c.dataName()] = &namespace{sum: crc64.New(polynomial)}
	}
	return r, nil
}

// viewless is the first release that keeps time series another way, which this program doesn't know.
var viewless = [2]int{8, 3}

func newer(have, than [2]int) bool {
	return slices.Compare(have[:], than[:]) >= 0
}

// document returns the next document, nil for a terminator, or io.EOF where the archive ends.
func (r *reader) document() (bson.Raw, error) {
	head, err := r.in.Peek(4)
	if err != nil {
		if err == io.EOF && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	size := binary.LittleEndian.Uint32(head)
	if size == terminator {
		_, err := r.in.Discard(4)
		return nil, err
	}
	if size < 5 || size > maxDocument {
		return nil, fmt.Errorf("a document of %d bytes can't be", size)
	}
	bytes := make([]byte, size)
	if _, err := io.ReadFull(r.in, bytes); err != nil {
		return nil, unexpected(err)
	}
	if bytes[size-1] != 0 {
		return nil, errors.New("a document doesn't end where it should")
	}
	return bytes, nil
}

// unexpected makes an error of an end that is none.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// run reads all data into the sinks that open returns for each namespace when its first block comes.
func (r *reader) run(open func(db, name string) (sink, error)) error {
	for {
		head, err := r.document()
		if err == io.EOF {
			return r.complete()
		}
		if err == nil {
			err = r.block(head, open)
		}
		if err != nil {
			return err
		}
	}
}

func (r *reader) block(document bson.Raw, open func(db, name string) (sink, error)) error {
	b, err := begun(document)
	if err != nil {
		return err
	}
	name := b.DB + "." + b.Name
	n := r.namespaces[name]
	if n == nil {
		return fmt.Errorf("the archive is damaged: it has data of %s, which it doesn't list", name)
	}
	if n.closed {
		return fmt.Errorf("the archive is damaged: %s goes on after its end", name)
	}
	if n.sink == nil {
		if n.sink, err = open(b.DB, b.Name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if b.EOF {
		return r.end(n, b)
	}
	if err := r.documents(n); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// begun decodes a block's beginning, which is always the same but for its values: anything else is damage.
func begun(document bson.Raw) (b block, err error) {
	if document == nil {
		return b, errors.New("the archive is damaged: a block has no beginning")
	}
	if err := bson.Unmarshal(document, &b); err != nil {
		return b, fmt.Errorf("the archive is damaged: %w", err)
	}
	again, err := bson.Marshal(b)
	if err != nil {
		return b, err
	}
	if !bytes.Equal(again, document) || !b.EOF && b.CRC != 0 {
		return b, errors.New("the archive is damaged: a block's beginning isn't one")
	}
	return b, nil
}

func (r *reader) documents(n *namespace) error {
	var batch []bson.Raw
	size := 0
	for {
		document, err := r.document()
		if err != nil {
			return unexpected(err)
		}
		if full := len(batch) == batchDocuments || size+len(document) > batchBytes; len(batch) > 0 && (full || document == nil) {
			if err := n.add(batch); err != nil {
				return err
			}
			batch, size = nil, 0
		}
		if document == nil {
			return nil
		}
		n.sum.Write(document)
		batch = append(batch, document)
		size += len(document)
	}
}

func (r *reader) end(n *namespace, b block) error {
	name := b.DB + "." + b.Name
	switch document, err := r.document(); {
	case err != nil:
		return fmt.Errorf("%s: %w", name, unexpected(err))
	case document != nil:
		return fmt.Errorf("the archive is damaged: %s has documents after its end", name)
	}
	if sum := int64(n.sum.Sum64()); sum != b.CRC {
		return fmt.Errorf("CRC mismatch for namespace %s, %d!=%d", name, sum, b.CRC)
	}
	n.closed = true
	if err := n.done(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// complete tells whether every namespace came to its end.
func (r *reader) complete() error {
	var missing []string
	for name, n := range r.namespaces {
		if !n.closed {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return fmt.Errorf("the archive ends too early: not all is there of %s", strings.Join(missing, ", "))
}
