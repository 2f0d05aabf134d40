package main

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
)

const (
	users       = "system.users"
	roles       = "system.roles"
	authVersion = "system.version"

	oldestAuth = 3
)

// authorization returns users, roles or authVersion when the collection holds that, "" for all others.
func (c *collection) authorization() string {
	for _, kind := range []string{users, roles, authVersion} {
		if c.DB == "admin" && c.Name == kind || c.Name == "$admin."+kind {
			return kind
		}
	}
	return ""
}

// wantsUsers tells whether users or roles of this collection are to be restored: those of one database when that is asked
// for, else those of all with the database admin.
func (r *restoration) wantsUsers(c *collection) bool {
	if r.dbUsersAndRoles {
		return c.DB == r.db
	}
	return c.DB == "admin" && r.selection.has(c.namespace())
}

// mergeUsers brings users and roles into the server's, which lets nobody write its own collections of them: they go to
// collections for the time being, from which the server takes them. With --drop all others are removed.
func (r *restoration) mergeUsers(ctx context.Context) error {
	if err := r.checkAuth(); err != nil || r.dryRun {
		return err
	}
	db := ""
	if r.dbUsersAndRoles {
		db = r.db
		if r.authorization[users] == nil {
			return fmt.Errorf("the archive has no users of %s: mongodump keeps them with --dumpDbUsersAndRoles", db)
		}
	}
	admin := r.Database("admin")
	command := bson.D{{Key: "_mergeAuthzCollections", Value: 1}}
	for _, kind := range []struct{ name, said, scratch, option string }{
		{users, "users", "tempusers", "tempUsersCollection"},
		{roles, "roles", "temproles", "tempRolesCollection"},
	} {
		documents := r.authorization[kind.name]
		if documents == nil || len(documents.documents) == 0 {
			continue
		}
		say("restoring %s from %s", kind.said, r.where())
		scratch := admin.Collection(kind.scratch)
		if err := scratch.Drop(ctx); err != nil {
			return fmt.Errorf("error restoring %s: %w", kind.said, err)
		}
		defer scratch.Drop(context.WithoutCancel(ctx)) // passwords stand in it
		if _, err := scratch.InsertMany(ctx, documents.documents); err != nil {
			return fmt.Errorf("error restoring %s: %w", kind.said, err)
		}
		command = append(command, bson.E{Key: kind.option, Value: "admin." + kind.scratch})
	}
	if len(command) == 1 {
		return nil
	}
	command = append(command, bson.E{Key: "drop", Value: r.drop}, bson.E{Key: "db", Value: db},
		bson.E{Key: "writeConcern", Value: bson.D{{Key: "w", Value: "majority"}}})
	if err := admin.RunCommand(ctx, command).Err(); err != nil {
		return fmt.Errorf("error running merge command: %w", err)
	}
	return nil
}

// checkAuth refuses users of servers so old that they are kept another way.
func (r *restoration) checkAuth() error {
	versions := r.authorization[authVersion]
	if versions == nil || r.authorization[users] == nil {
		return nil
	}
	for _, document := range versions.documents {
		if id, _ := document.Lookup("_id").StringValueOK(); id != "authSchema" {
			continue
		}
		version, is := document.Lookup("currentVersion").AsInt64OK()
		if !is || version < oldestAuth || version == 4 {
			return fmt.Errorf("cannot restore users and roles of auth version %d", version)
		}
	}
	return nil
}
