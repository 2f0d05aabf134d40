package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	mongooptions "go.mongodb.org/mongo-driver/v2/mongo/options"
)

const strange = "pass/w:o@r%d?&+ ä'\"{}"

// locked is a server that asks who one is; it knows root.
func locked(t testing.TB, more ...string) *server {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key")
	check(t, os.WriteFile(key, []byte("abcdefgh"), 0o600))
	s := start(t, append([]string{"--keyFile", key}, more...)...)
	s.run(t, "admin", d("createUser", "root", "pwd", strange, "roles", bson.A{"root"}))
	s.Client = as(t, s, "root", strange)
	t.Cleanup(s.stop)
	return s
}

func as(t testing.TB, s *server, user, password string) *mongo.Client {
	t.Helper()
	auth := mongooptions.Credential{Username: user, Password: password, AuthSource: "admin"}
	return must(mongo.Connect(mongooptions.Client().ApplyURI(s.uri()).SetDirect(true).SetAuth(auth)))(t)
}

func config(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	check(t, os.WriteFile(file, []byte(text), 0o600))
	return "--config=" + file
}

func quoted(password string) string {
	return "password: '" + strings.ReplaceAll(password, "'", "''") + "'\n"
}

func TestUsersCanLogInAfterwards(t *testing.T) {
	source, target := locked(t), locked(t)
	source.insert(t, "shop", "a", d("_id", 1))
	source.run(t, "admin", d("createRole", "reader", "roles", bson.A{}, "privileges", bson.A{
		d("resource", d("db", "shop", "collection", ""), "actions", bson.A{"find"})}))
	source.run(t, "admin", d("createUser", "app", "pwd", "secret of app", "roles", bson.A{"reader"}))
	for _, s := range []*server{source, target} {
		s.run(t, "admin", d("createUser", "backup", "pwd", "12345", "roles", bson.A{"backup", "restore"}))
	}
	target.run(t, "admin", d("createUser", "old", "pwd", "x", "roles", bson.A{}))
	file := filepath.Join(t.TempDir(), "archive")
	dumping := []string{"--host", source.address, "-u=backup", "--archive=" + file, "--oplog", "--gzip"}
	bad(t, "a user without a password", dumpName, dumping...)
	bad(t, "failed to connect to "+source.address, dumpName, append(dumping, config(t, "password: wrong\n"))...)
	good(t, dumpName, append(dumping, config(t, "password: 12345\n"))...)
	bad(t, "requires authentication", dumpName, "--uri", source.uri(), "--archive="+file+"2")

	restoring := []string{restoreName, "--archive=" + file, "--gzip", "--oplogReplay"}
	uri := config(t, "uri: mongodb://backup@"+target.address+"/?authSource=admin\npassword: \"12345\"\n")
	good(t, restoring[0], append(restoring[1:], uri)...)
	app := as(t, target, "app", "secret of app")
	check(t, app.Database("shop").Collection("a").FindOne(t.Context(), d("_id", 1)).Err())
	if app.Database("other").Collection("a").FindOne(t.Context(), d()).Err() == mongo.ErrNoDocuments {
		t.Error("the user may more than before")
	}
	check(t, as(t, target, "old", "x").Ping(t.Context(), nil))
	left := must(target.Database("admin").ListCollectionNames(t.Context(), d()))(t)
	for _, name := range left {
		if strings.HasPrefix(name, "temp") {
			t.Error("left behind: " + name)
		}
	}

	// --drop removes who isn't in the archive, and leaves the server's version alone.
	good(t, restoring[0], append(restoring[1:], "--drop", "--host="+target.address, "--username", "root",
		"--authenticationDatabase", "admin", config(t, quoted(strange)))...)
	target.Client = as(t, target, "root", strange) // the one before was replaced
	if as(t, target, "old", "x").Ping(t.Context(), nil) == nil {
		t.Error("a user who isn't in the archive is still there")
	}
	check(t, as(t, target, "app", "secret of app").Ping(t.Context(), nil))
	if n := target.count(t, "admin", "system.version"); n < 1 {
		t.Error("the server's version is gone")
	}
}

func TestWhoMayNotReplayAnOplogIsTold(t *testing.T) {
	target := locked(t)
	target.run(t, "admin", d("createUser", "restorer", "pwd", "x", "roles", bson.A{"restore"}))
	file := handMade(t, []collection{{DB: "shop", Name: "a"}, {Name: oplogName}},
		chunk{"shop", "a", []any{d("_id", 1)}}, ending{"shop", "a"},
		chunk{"", oplogName, []any{d("op", "d", "ns", "shop.a", "o", d("_id", 1))}}, ending{"", oplogName})
	as := []string{"--host", target.address, "-u=restorer", "-p=x", "--archive=" + file}
	bad(t, "the user may not replay an oplog", restoreName, append(as, "--oplogReplay")...)
	good(t, restoreName, append(as, "--drop")...)
}

func TestUsersOfOneDatabase(t *testing.T) {
	source, target := servants(t)
	source.insert(t, "shop", "a", d("_id", 1))
	source.run(t, "shop", d("createUser", "own", "pwd", "x", "roles", bson.A{"read"}))
	source.run(t, "shop", d("createRole", "role", "roles", bson.A{"read"}, "privileges", bson.A{}))
	source.run(t, "admin", d("createUser", "other", "pwd", "x", "roles", bson.A{}))
	file := filepath.Join(t.TempDir(), "archive")
	good(t, dumpName, "--uri", source.uri(), "--archive="+file, "--db=shop", "--dumpDbUsersAndRoles")
	has := func(db, command, name string) bool {
		var said struct{ Users, Roles []bson.Raw }
		check(t, target.Database(db).RunCommand(t.Context(), d(command, name)).Decode(&said))
		return len(said.Users)+len(said.Roles) > 0
	}
	good(t, restoreName, "--uri", target.uri(), "--archive="+file, "--db=shop")
	if has("shop", "usersInfo", "own") {
		t.Error("users came without being asked for")
	}
	good(t, restoreName, "--uri", target.uri(), "--archive="+file, "--db=shop", "--restoreDbUsersAndRoles", "--drop")
	if !has("shop", "usersInfo", "own") || !has("shop", "rolesInfo", "role") || has("admin", "usersInfo", "other") {
		t.Error("users or roles are missing, or too many")
	}
	good(t, dumpName, "--uri", source.uri(), "--archive="+file, "--db=shop")
	bad(t, "has no users of shop", restoreName, "--uri", target.uri(), "--archive="+file, "--db=shop",
		"--restoreDbUsersAndRoles", "--drop")
}

func TestAUserMadeMeanwhileIsThere(t *testing.T) {
	source, target := servants(t)
	source.run(t, "admin", d("createUser", "before", "pwd", "x", "roles", bson.A{}))
	file := slowly(t, source, "z", func() {
		source.run(t, "admin", d("createUser", "meanwhile", "pwd", "x", "roles", bson.A{"readAnyDatabase"}))
		source.run(t, "admin", d("dropUser", "before"))
	})
	good(t, restoreName, "--uri", target.uri(), "--archive="+file, "--oplogReplay")
	var said struct{ Users []struct{ User string } }
	check(t, target.Database("admin").RunCommand(t.Context(), d("usersInfo", 1)).Decode(&said))
	if len(said.Users) != 1 || said.Users[0].User != "meanwhile" {
		t.Error(said.Users)
	}
}

// certificate writes one that trusts itself, and its key.
func certificate(t testing.TB) string {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{{127, 0, 0, 1}}}
	public := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))(t)
	private := must(x509.MarshalPKCS8PrivateKey(key))(t)
	file := filepath.Join(t.TempDir(), "tls.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: public})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	check(t, os.WriteFile(file, text, 0o600))
	return file
}

func TestTLS(t *testing.T) {
	file := certificate(t)
	s := launch(t, "--tlsMode", "requireTLS", "--tlsCertificateKeyFile", file, "--tlsCAFile", file,
		"--tlsAllowConnectionsWithoutCertificates")
	defer s.stop()
	uri := s.uri() + "/?tls=true&tlsCAFile=" + file
	s.Client = must(mongo.Connect(mongooptions.Client().ApplyURI(uri).SetDirect(true)))(t)
	members := bson.A{d("_id", 0, "host", s.address)}
	s.run(t, "admin", d("replSetInitiate", d("_id", "rs0", "members", members)))
	s.await(t, "isWritablePrimary")
	s.insert(t, "shop", "a", d("_id", 1))
	archive := "--archive=" + filepath.Join(t.TempDir(), "archive")
	good(t, dumpName, "--host", s.address, "--ssl", "--sslCAFile", file, archive, "--oplog")
	good(t, dumpName, "--host", "rs0/"+s.address, "--ssl", "--sslCAFile="+file, "--sslPEMKeyFile="+file, archive)
	good(t, dumpName, "--host", s.address, "--ssl", "--tlsInsecure", archive)
	good(t, restoreName, "--host", s.address, "--ssl", "--sslCAFile", file, archive, "--drop")
	bad(t, "failed to connect", dumpName, "--uri", s.uri()+"/?serverSelectionTimeoutMS=2000", archive)
	bad(t, "failed to connect", dumpName, "--uri", s.uri()+"/?tls=true&serverSelectionTimeoutMS=2000", archive)
}
