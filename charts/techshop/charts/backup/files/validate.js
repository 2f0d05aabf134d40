// Look at every document and every index entry of what was restored; print how many there are, or what is wrong.
let collections = 0;
let documents = 0;
for (const { name } of db.adminCommand({ listDatabases: 1, nameOnly: true }).databases) {
  if (name === 'local' || name === 'config') continue;
  const database = db.getSiblingDB(name);
  for (const collection of database.getCollectionInfos({ type: { $in: ['collection', 'timeseries'] } })) {
    const found = database.runCommand({ validate: collection.name, full: true });
    if (!found.ok || !found.valid) {
      print(`${name}.${collection.name}: ${found.errmsg || [...found.errors, ...found.warnings].join('; ')}`);
      quit(1);
    }
    collections += 1;
    documents += found.nrecords || 0;
  }
}
print(`${collections} collections with ${documents} documents`);
