package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.yaml.in/yaml/v3"
)

const (
	dumpName    = "mongodump"
	restoreName = "mongorestore"
	standard    = "-" // standard output or input
)

// options are what the command line and the configuration file say.
type options struct {
	tool                                     string
	version                                  bool
	uri, config, host, port                  string
	username, password, authenticationDB     string
	ssl, insecure, anyCertificate, anyHost   bool
	caFile, keyFile, keyPassword             string
	db, collection                           string
	archive, out, query                      string
	gzip                                     bool
	parallel                                 int
	readPreference                           string
	oplog, dbUsersAndRoles                   bool
	drop, oplogReplay, stopOnError, ordered  bool
	dryRun, noIndexes                        bool
	oplogLimit                               bson.Timestamp
	include, exclude, renameFrom, renameInto []string
	workers                                  int
}

// parse reads the command line, and the file that --config names.
//
// Raises what is wrong as a sentence: an option that isn't known, a value that can't be, options that exclude each other.
func parse(name string, args []string) (*options, error) {
	if name != dumpName && name != restoreName {
		return nil, fmt.Errorf("this program is called %s or %s, not %s", dumpName, restoreName, name)
	}
	o := &options{tool: name}
	flags := o.flags()
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	if err := flags.Parse(withArchive(args)); err != nil {
		if unknown, found := strings.CutPrefix(err.Error(), "flag provided but not defined: "); found {
			return nil, fmt.Errorf("%s has no option -%s; %[1]s --help lists those it has", name, unknown)
		}
		return nil, err
	}
	if o.version {
		return o, nil
	}
	if err := o.configure(); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("positional arguments not allowed: %v; a file is named as --archive=FILE", flags.Args())
	}
	return o, o.check()
}

// withArchive lets --archive, which may go without a value, always have one.
func withArchive(args []string) []string {
	given := make([]string, len(args))
	for i, arg := range args {
		if arg == "--archive" || arg == "-archive" {
			arg = "--archive=-"
		}
		given[i] = arg
	}
	return given
}

func (o *options) flags() *flag.FlagSet {
	f := flag.NewFlagSet(o.tool, flag.ContinueOnError)
	text := func(into *string, usage string, names ...string) {
		for _, name := range names {
			f.StringVar(into, name, "", usage)
		}
	}
	list := func(into *[]string, name, usage string) {
		f.Func(name, usage, func(value string) error {
			*into = append(*into, value)
			return nil
		})
	}
	louder := func(value string) error {
		more, err := strconv.Atoi(value)
		if err != nil {
			more = 1
		}
		verbosity += more
		return nil
	}
	refuse := func(name, usage, why string) {
		f.BoolFunc(name, usage, func(string) error { return errors.New(why) })
	}
	f.BoolVar(&o.version, "version", false, "print what this is, and end")
	f.BoolFunc("quiet", "say nothing but failures", func(string) error { verbosity = -1; return nil })
	for _, name := range []string{"verbose", "v", "vv", "vvv"} {
		f.BoolFunc(name, "say more", louder)
	}
	text(&o.uri, "connection string", "uri")
	text(&o.config, "YAML file with uri, password or sslPEMKeyPassword: they are then in no list of processes", "config")
	text(&o.host, "host, or SET/HOST,HOST", "host", "h")
	text(&o.port, "port", "port")
	text(&o.username, "user", "username", "u")
	text(&o.password, "password", "password", "p")
	text(&o.authenticationDB, "database that holds the user", "authenticationDatabase")
	f.BoolVar(&o.ssl, "ssl", false, "use TLS")
	text(&o.caFile, "certificates by which the server is trusted", "sslCAFile")
	text(&o.keyFile, "client's certificate and key", "sslPEMKeyFile")
	text(&o.keyPassword, "password of the client's key", "sslPEMKeyPassword")
	f.BoolVar(&o.anyCertificate, "sslAllowInvalidCertificates", false, "take any certificate")
	f.BoolVar(&o.anyHost, "sslAllowInvalidHostnames", false, "take any certificate")
	f.BoolVar(&o.insecure, "tlsInsecure", false, "take any certificate")
	text(&o.db, "database", "db", "d")
	text(&o.collection, "collection", "collection", "c")
	text(&o.archive, "the archive's file; without a value, standard output or input", "archive")
	f.BoolVar(&o.gzip, "gzip", false, "the archive is compressed")
	f.IntVar(&o.parallel, "numParallelCollections", 4, "collections at the same time")
	f.IntVar(&o.parallel, "j", 4, "collections at the same time")
	if o.tool == dumpName {
		text(&o.out, "- for standard output: the documents of one collection, one after the other, instead of an archive", "out", "o")
		text(&o.query, "which documents, as Extended JSON; needs --collection", "query", "q")
		text(&o.readPreference, "primary, primaryPreferred, secondary, secondaryPreferred or nearest", "readPreference")
		f.BoolVar(&o.oplog, "oplog", false, "add what was written meanwhile: the dump is then the state at its end")
		f.BoolVar(&o.dbUsersAndRoles, "dumpDbUsersAndRoles", false, "with --db: its users and roles as well")
		return f
	}
	f.BoolVar(&o.dbUsersAndRoles, "restoreDbUsersAndRoles", false, "with --db: its users and roles as well")
	f.BoolVar(&o.drop, "drop", false, "drop each collection of the archive first")
	f.BoolVar(&o.oplogReplay, "oplogReplay", false, "apply the archive's oplog")
	f.Func("oplogLimit", "SECONDS[:ORDINAL] of the first entry that isn't applied", func(value string) error {
		limit, err := timestamp(value)
		o.oplogLimit = limit
		return err
	})
	list(&o.include, "nsInclude", "pattern of namespaces to restore")
	list(&o.exclude, "nsExclude", "pattern of namespaces to leave out")
	list(&o.renameFrom, "nsFrom", "pattern of namespaces to rename")
	list(&o.renameInto, "nsTo", "their new names")
	f.BoolVar(&o.stopOnError, "stopOnError", false, "end at the first document that fails")
	f.BoolVar(&o.ordered, "maintainInsertionOrder", false, "keep the documents' order; ends at the first that fails")
	f.IntVar(&o.workers, "numInsertionWorkersPerCollection", 1, "inserts at the same time")
	f.BoolVar(&o.dryRun, "dryRun", false, "read and check the whole archive, and change nothing")
	f.BoolVar(&o.noIndexes, "noIndexRestore", false, "build no indexes")
	refuse("preserveUUID", "not supported", "this stand-in can't keep UUIDs: restored collections get new ones")
	return f
}

// configure takes from the file what the command line leaves open.
func (o *options) configure() error {
	if o.config == "" {
		return nil
	}
	file, err := os.Open(o.config)
	if err != nil {
		return err
	}
	defer file.Close()
	var set struct {
		URI         string `yaml:"uri"`
		Password    string `yaml:"password"`
		KeyPassword string `yaml:"sslPEMKeyPassword"`
	}
	decoder := yaml.NewDecoder(file)
	decoder.KnownFields(true)
	if err := decoder.Decode(&set); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", o.config, err)
	}
	for _, value := range []struct {
		into *string
		from string
	}{{&o.uri, set.URI}, {&o.password, set.Password}, {&o.keyPassword, set.KeyPassword}} {
		if *value.into == "" {
			*value.into = value.from
		}
	}
	return nil
}

// check refuses what doesn't go together.
func (o *options) check() error {
	o.stopOnError = o.stopOnError || o.ordered
	if o.ordered {
		o.workers = 1
	}
	selects := len(o.include) > 0 || o.db != ""
	for _, rule := range []struct {
		broken bool
		why    string
	}{
		{o.archive != "" && o.out != "", "--out not allowed when --archive is specified"},
		{o.archive == "" && o.out != standard, "this stand-in knows no folders of files: say --archive=FILE, --archive for standard " +
			"input or output, or, to dump one collection, --out=-"},
		{o.out != "" && o.collection == "", "can only dump a single collection to stdout"},
		{o.out != "" && o.gzip, "compression can't be used when dumping a single collection to standard output"},
		{o.query != "" && o.collection == "", "cannot dump using a query without a specified collection"},
		{o.uri != "" && o.host+o.port != "", "--uri already names the server: leave --host and --port out"},
		{o.parallel < 1, "numParallelCollections must be positive"},
		{o.collection != "" && o.db == "", "--collection needs --db"},
		{o.dbUsersAndRoles && (o.db == "" || o.collection != ""), "a database's users and roles need --db, without --collection"},
		{strings.HasPrefix(o.collection, bucketPrefix), "name the time series itself, not its " + bucketPrefix + " collection"},
		{o.oplog && o.db != "", "--oplog mode only supported on full dumps"},
		{o.tool == restoreName && o.workers < 1, "numInsertionWorkersPerCollection must be positive"},
		{o.dbUsersAndRoles && o.db == "admin" && o.tool == restoreName, "--db admin restores users and roles anyway"},
		{o.oplogReplay && selects, "cannot use --oplogReplay with includes specified"},
		{o.oplogReplay && len(o.exclude) > 0, "cannot use --oplogReplay with excludes specified"},
		{o.oplogReplay && len(o.renameFrom) > 0, "cannot use --oplogReplay with namespace renames specified"},
		{!o.oplogLimit.IsZero() && !o.oplogReplay, "cannot use --oplogLimit without --oplogReplay enabled"},
	} {
		if rule.broken {
			return errors.New(rule.why)
		}
	}
	return nil
}

// timestamp reads SECONDS[:ORDINAL].
func timestamp(text string) (bson.Timestamp, error) {
	first, second, _ := strings.Cut(text, ":")
	seconds, err := strconv.ParseUint(first, 10, 32)
	ordinal, wrong := uint64(0), error(nil)
	if second != "" {
		ordinal, wrong = strconv.ParseUint(second, 10, 32)
	}
	if err != nil || wrong != nil {
		return bson.Timestamp{}, fmt.Errorf("%q is not SECONDS[:ORDINAL]", text)
	}
	return bson.Timestamp{T: uint32(seconds), I: uint32(ordinal)}, nil
}

func help(name string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "TechShop's stand-in for MongoDB's %s.\n\nUsage: %[1]s --archive[=FILE] OPTIONS\n\n", name)
	(&options{tool: name}).flags().VisitAll(func(f *flag.Flag) {
		dashes := "--"
		if len(f.Name) == 1 || strings.HasPrefix(f.Name, "vv") {
			dashes = "-"
		}
		fmt.Fprintf(&text, "  %-36s%s\n", dashes+f.Name, f.Usage)
	})
	return text.String()
}

// where names what is written or read, an archive as the real tools do.
func (o *options) where() string {
	if o.out != "" {
		return "standard output"
	}
	if o.archive != "-" {
		return fmt.Sprintf("archive '%s'", o.archive)
	}
	if o.tool == dumpName {
		return "archive on stdout"
	}
	return "archive on stdin"
}
