package main

import (
	"context"
	"errors"
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
// collections for the time being, from which the server takes them. With --drop all others are removed. It comes last,
// since afterwards who restores may be somebody else.
func (r *restoration) mergeUsers(ctx context.Context) error {
	if r.dryRun {
		return nil
	}
	db := ""
	if r.dbUsersAndRoles {
		db = r.db
		if r.authorization[users] == nil {
			return fmt.Errorf("the archive has no users of %s: mongodump keeps them with --dumpDbUsersAndRoles", db)
		}
	}
	command := bson.D{{Key: "_mergeAuthzCollections", Value: 1}, {Key: "drop", Value: r.drop}, {Key: "db", Value: db},
		{Key: "writeConcern", Value: bson.D{{Key: "w", Value: "majority"}}}}
	var scratches []string
	var err error
	for _, kind := range []struct{ name, said, scratch, option string }{
		{users, "users", "tempusers", "tempUsersCollection"},
		{roles, "roles", "temproles", "tempRolesCollection"},
	} {
		documents := r.authorization[kind.name]
		if err != nil || documents == nil || len(documents.documents) == 0 {
			continue
		}
		say("restoring %s from %s", kind.said, r.where())
		scratches = append(scratches, kind.scratch)
		if err = clean(ctx, r.connection, kind.scratch); err == nil {
			_, err = r.Database("admin").Collection(kind.scratch).InsertMany(ctx, documents.documents)
		}
		command = append(command, bson.E{Key: kind.option, Value: "admin." + kind.scratch})
	}
	if len(scratches)+len(r.usersLater) == 0 {
		return nil
	}
	if err == nil && len(scratches) > 0 {
		err = r.Database("admin").RunCommand(ctx, command).Err()
	}
	if err != nil {
		cleaned := clean(context.WithoutCancel(ctx), r.connection, scratches...)
		return errors.Join(fmt.Errorf("error restoring users and roles: %w", err), cleaned)
	}
	again, err := open(ctx, r.settings) // the server takes a user who was replaced for a stranger until the next login
	if err != nil {
		return fmt.Errorf("users and roles are restored, but who did it can't log in any more to drop %q of the database "+
			"admin: %w", scratches, err)
	}
	defer again.Disconnect(context.WithoutCancel(ctx))
	if err := clean(ctx, again, scratches...); err != nil {
		return err
	}
	for _, o := range r.usersLater {
		if err := applyOps(ctx, again.Client, o); err != nil {
			return err
		}
	}
	return nil
}

// clean drops the collections in which passwords stood.
func clean(ctx context.Context, c *connection, scratches ...string) error {
	for _, name := range scratches {
		if err := c.Database("admin").Collection(name).Drop(ctx); err != nil {
			return fmt.Errorf("error dropping admin.%s: %w", name, err)
		}
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
