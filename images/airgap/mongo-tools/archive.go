package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc64"
	"io"
	"strconv"
	"strings"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// The archive format of MongoDB's tools: the magic number, a header, one document for each collection, a terminator; then
// blocks, each a document that names the namespace, documents of it, and a terminator. The last block of a namespace
// holds no documents but their checksum.
const (
	magic         = 0x8199e26d
	terminator    = 0xffffffff
	formatVersion = "0.1"
	oplogName     = "oplog" // in no database

	bucketPrefix = "system.buckets." // where a time series keeps its data
	timeSeries   = "timeseries"
	view         = "view"

	// blockSize is how much of one namespace stands together: little, since each that is being read holds as much.
	blockSize = 1 << 20
	// maxDocument is the server's own limit, with what an oplog entry has around a document.
	maxDocument = 16<<20 + 16<<10
)

var polynomial = crc64.MakeTable(crc64.ECMA)

// header says what made the archive.
type header struct {
	Concurrent int32  `bson:"concurrent_collections"`
	Version    string `bson:"version"`
	Server     string `bson:"server_version"`
	Tool       string `bson:"tool_version"`
}

// collection is what the archive says of a collection before any data.
type collection struct {
	DB       string `bson:"db"`
	Name     string `bson:"collection"`
	Metadata string `bson:"metadata"`
	Size     int32  `bson:"size"`
	Type     string `bson:"type"`
}

func (c *collection) namespace() string {
	return c.DB + "." + c.Name
}

// dataName is the name under which the collection's documents stand in the archive.
func (c *collection) dataName() string {
	if c.Type == timeSeries {
		return bucketPrefix + c.Name
	}
	return c.Name
}

// block begins a block.
type block struct {
	DB   string `bson:"db"`
	Name string `bson:"collection"`
	EOF  bool   `bson:"EOF"`
	CRC  int64  `bson:"CRC"`
}

// marker names the checksum in tool_version, whose text is free: nothing else in the format guards what stands before the
// data, names and options of indexes among it.
const marker = " prelude:"

// prelude returns everything that stands before the data.
func prelude(h header, collections []collection) ([]byte, error) {
	documents := []any{h}
	for _, c := range collections {
		documents = append(documents, c)
	}
	var encoded [][]byte
	for _, document := range documents {
		bytes, err := bson.Marshal(document)
		if err != nil {
			return nil, err
		}
		encoded = append(encoded, bytes)
	}
	h.Tool += marker + checksum(encoded)
	first, err := bson.Marshal(h)
	if err != nil {
		return nil, err
	}
	encoded[0] = first
	text := binary.LittleEndian.AppendUint32(nil, magic)
	for _, bytes := range encoded {
		text = append(text, bytes...)
	}
	return binary.LittleEndian.AppendUint32(text, terminator), nil
}

// guarded compares the documents before the data with the checksum among them; archives of the real tools have none.
func guarded(h header, documents [][]byte) error {
	tool, sum, found := strings.Cut(h.Tool, marker)
	if !found {
		return nil
	}
	h.Tool = tool
	first, err := bson.Marshal(h)
	if err != nil {
		return err
	}
	if checksum(append([][]byte{first}, documents[1:]...)) != sum {
		return errors.New("the archive is damaged before its data: the checksum of what it says of its collections differs")
	}
	return nil
}

func checksum(documents [][]byte) string {
	sum := crc64.New(polynomial)
	for _, document := range documents {
		sum.Write(document)
	}
	return strconv.FormatUint(sum.Sum64(), 16)
}

// writer writes blocks of several namespaces at the same time.
type writer struct {
	mutex sync.Mutex
	out   io.Writer
}

func (w *writer) write(parts ...[]byte) error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for _, part := range parts {
		if _, err := w.out.Write(part); err != nil {
			return fmt.Errorf("archive writer: %w", err)
		}
	}
	return nil
}

// stream takes the documents of one namespace.
type stream struct {
	*writer
	block
	sum   hash.Hash64
	bytes []byte
	count int64
}

func (w *writer) stream(db, name string) *stream {
	return &stream{writer: w, block: block{DB: db, Name: name}, sum: crc64.New(polynomial)}
}

func (s *stream) add(document bson.Raw) error {
	if len(s.bytes) > 0 && len(s.bytes)+len(document) > blockSize {
		if err := s.flush(); err != nil {
			return err
		}
	}
	if len(s.bytes) == 0 {
		if err := s.begin(); err != nil {
			return err
		}
	}
	s.sum.Write(document)
	s.count++
	if len(document) > blockSize { // not copied
		return s.flush(document)
	}
	s.bytes = append(s.bytes, document...)
	return nil
}

func (s *stream) begin() error {
	bytes, err := bson.Marshal(s.block)
	s.bytes = append(s.bytes, bytes...)
	return err
}

// flush writes a block of what was added, and of more.
func (s *stream) flush(more ...[]byte) error {
	parts := append([][]byte{s.bytes}, more...)
	s.bytes = s.bytes[:0]
	return s.write(append(parts, binary.LittleEndian.AppendUint32(nil, terminator))...)
}

// close writes what is left, and the checksum.
func (s *stream) close() error {
	if len(s.bytes) > 0 {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.EOF, s.CRC = true, int64(s.sum.Sum64())
	if err := s.begin(); err != nil {
		return err
	}
	return s.flush()
}
