// Connect to the replica set as its members do among themselves.
var fs = require('fs');

function system({ setName, hosts }) {
  const set = new Mongo(`mongodb://${hosts.join(',')}/?replicaSet=${setName}&${process.env.OPTIONS}`);
  const pwd = fs.readFileSync('/secrets/keyfile', 'utf8').replace(/\s/g, '');
  set.getDB('local').auth({ user: '__system', pwd, mechanism: 'SCRAM-SHA-256' });
  return set;
}
