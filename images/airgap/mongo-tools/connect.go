package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	mongooptions "go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"
)

// connection is a client, and what else the connection string says.
type connection struct {
	*mongo.Client
	settings *mongooptions.ClientOptions
}

// connect reaches the server; a database that the connection string names becomes --db, as in the real tools.
func connect(ctx context.Context, o *options) (*connection, error) {
	text, err := o.connectionString()
	if err != nil {
		return nil, err
	}
	parsed, err := connstring.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("error parsing uri: %w", err)
	}
	if named := parsed.Database; named != "" && o.db != named {
		if o.db != "" {
			return nil, fmt.Errorf("--db says %s, and the connection string %s", o.db, named)
		}
		o.db = named
		if err := o.check(); err != nil {
			return nil, err
		}
	}
	settings := mongooptions.Client().SetAppName(o.tool).SetWriteConcern(writeconcern.Majority()).ApplyURI(text)
	if parsed.ReplicaSet == "" && len(parsed.Hosts) == 1 && !parsed.DirectConnectionSet && !parsed.LoadBalanced &&
		parsed.Scheme != connstring.SchemeMongoDBSRV {
		settings.SetDirect(true) // a server that is named alone is meant alone, also when it is a secondary
	}
	if settings.ReadPreference == nil {
		settings.SetReadPreference(readpref.Primary())
	}
	if o.readPreference != "" {
		mode, err := readpref.ModeFromString(o.readPreference)
		if err != nil {
			return nil, fmt.Errorf("--readPreference %s: only the name of a mode is known here", o.readPreference)
		}
		chosen, err := readpref.New(mode)
		if err != nil {
			return nil, err
		}
		settings.SetReadPreference(chosen)
	}
	return open(ctx, settings)
}

func open(ctx context.Context, settings *mongooptions.ClientOptions) (*connection, error) {
	client, err := mongo.Connect(settings)
	if err != nil {
		return nil, err
	}
	if err := client.Ping(ctx, nil); err != nil {
		return nil, fmt.Errorf("failed to connect to %s: %w", strings.Join(settings.Hosts, ","), err)
	}
	return &connection{client, settings}, nil
}

// hello is what a server says about itself.
type hello struct {
	Me        string   `bson:"me"`
	Hosts     []string `bson:"hosts"`
	Msg       string   `bson:"msg"`
	LastWrite struct {
		OpTime struct {
			TS bson.Timestamp `bson:"ts"`
		} `bson:"opTime"`
	} `bson:"lastWrite"`
}

func (c *connection) hello(ctx context.Context) (said hello, err error) {
	preferred := mongooptions.RunCmd().SetReadPreference(c.settings.ReadPreference)
	err = c.Database("admin").RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}, preferred).Decode(&said)
	return said, err
}

// pinned returns a connection to the one member that the read preference picks: documents of one member and the oplog of
// another that is behind would make a state that never was.
func (c *connection) pinned(ctx context.Context) (*connection, error) {
	if c.settings.Direct != nil && *c.settings.Direct {
		return c, nil
	}
	said, err := c.hello(ctx)
	if err != nil || said.Me == "" {
		return c, err
	}
	settings := *c.settings
	settings.ReplicaSet = nil
	settings.SetHosts([]string{said.Me}).SetDirect(true)
	detail("reading from %s", said.Me)
	return open(ctx, &settings)
}

// serverVersion returns the server's version, as text and as its first two numbers.
func (c *connection) serverVersion(ctx context.Context) (string, [2]int, error) {
	var info struct{ Version string }
	err := c.Database("admin").RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&info)
	return info.Version, release(info.Version), err
}

func release(text string) (numbers [2]int) {
	fmt.Sscanf(text, "%d.%d", &numbers[0], &numbers[1])
	return numbers
}

// connectionString puts everything that the options say about the connection into one connection string.
func (o *options) connectionString() (string, error) {
	text := o.uri
	if text == "" {
		text = o.hosts()
	}
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		return "", errors.New("error parsing uri: it begins with mongodb:// or mongodb+srv://")
	}
	hosts, path := rest, ""
	if end := strings.IndexAny(rest, "/?"); end >= 0 {
		hosts, path = rest[:end], rest[end:]
	}
	user := ""
	if at := strings.LastIndex(hosts, "@"); at >= 0 {
		user, hosts = hosts[:at], hosts[at+1:]
	}
	user, err := o.credentials(user)
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return scheme + "://" + user + hosts + path + o.parameters(strings.Contains(path, "?")), nil
}

// hosts makes a connection string of --host, which may name a replica set, and --port.
func (o *options) hosts() string {
	set, hosts, found := strings.Cut(o.host, "/")
	if !found {
		set, hosts = "", o.host
	}
	if hosts == "" {
		hosts = "localhost"
	}
	if o.port != "" {
		names := strings.Split(hosts, ",")
		for i, name := range names {
			if strings.LastIndex(name, ":") <= strings.LastIndex(name, "]") {
				names[i] = name + ":" + o.port
			}
		}
		hosts = strings.Join(names, ",")
	}
	text := "mongodb://" + hosts + "/"
	if set != "" {
		text += "?replicaSet=" + url.QueryEscape(set)
	}
	return text
}

// credentials returns the part of a connection string before its hosts; given is what already stands there.
func (o *options) credentials(given string) (string, error) {
	name, password, hasPassword := strings.Cut(given, ":")
	if o.username != "" {
		if name != "" {
			return "", errors.New("both --username and the connection string name a user")
		}
		name = escaped(o.username)
	}
	if o.password != "" && !hasPassword {
		password, hasPassword = escaped(o.password), true
	}
	switch {
	case name == "":
		return "", nil
	case !hasPassword && o.keyFile == "":
		return "", errors.New("a user without a password: name a file with it as --config")
	case !hasPassword:
		return name + "@", nil
	}
	return name + ":" + password + "@", nil
}

// escaped writes a user or a password as it stands in a connection string, where + is no blank.
func escaped(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}

// parameters returns the options of the connection string that the command line adds.
func (o *options) parameters(more bool) string {
	source := o.authenticationDB
	if source == "" && o.username != "" {
		if source = o.db; source == "" {
			source = "admin"
		}
	}
	text, joint := "", "?"
	if more {
		joint = "&"
	}
	for _, p := range []struct {
		name, value string
	}{
		{"authSource", source},
		{"tls", flagged(o.ssl)},
		{"tlsInsecure", flagged(o.insecure || o.anyCertificate || o.anyHost)},
		{"tlsCAFile", o.caFile},
		{"tlsCertificateKeyFile", o.keyFile},
		{"tlsCertificateKeyFilePassword", o.keyPassword},
	} {
		if p.value != "" {
			text += joint + p.name + "=" + url.QueryEscape(p.value)
			joint = "&"
		}
	}
	return text
}

func flagged(on bool) string {
	if on {
		return "true"
	}
	return ""
}
