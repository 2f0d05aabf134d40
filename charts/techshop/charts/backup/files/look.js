// Print how to reach the replica set, and then what it holds, one collection a line.
load('/scripts/system.js');
const hello = db.hello();
const set = system(hello);
print(`${hello.setName}/${hello.hosts.join(',')}`);
for (const { name } of set.getDB('admin').runCommand({ listDatabases: 1, nameOnly: true }).databases) {
  if (['admin', 'config', 'local'].includes(name)) continue;
  const database = set.getDB(name);
  for (const collection of database.getCollectionInfos({ type: 'collection' })) {
    const documents = database.getCollection(collection.name).estimatedDocumentCount();
    if (!documents) continue;
    const newest = database.getCollection(collection.name).find({}, { _id: 1 }).sort({ _id: -1 }).limit(1).next()._id;
    const when = newest.getTimestamp ? `, the newest of ${newest.getTimestamp().toISOString()}` : '';
    print(`  ${name}.${collection.name}: ${documents} documents${when}`);
  }
}
