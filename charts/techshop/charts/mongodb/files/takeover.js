// Ask the member that has the most writes to become the primary, in place of the one beside us, whose process is gone. Who
// lacks a confirmed write isn't elected, whoever asks.
const fs = require('fs');

const secret = fs.readFileSync('/secrets/keyfile', 'utf8').replace(/\s/g, '');
const short = (host) => host.split('.')[0];
const others = fs.readFileSync('/scripts/members', 'utf8').trim().split('\n').filter((host) => short(host) !== process.env.POD_NAME);

function meet(host) {
  try {
    const admin = new Mongo(`mongodb://${host}/?${process.env.OPTIONS}&serverSelectionTimeoutMS=2000`).getDB('admin');
    return { host, admin, hello: admin.hello() };
  } catch (error) {
    return { host, hello: {} };
  }
}

const members = others.map(meet);
const primary = members.find(({ hello }) => hello.isWritablePrimary);
const time = ({ hello }) => hello.lastWrite.opTime.ts;
const secondaries = members.filter(({ hello }) => hello.secondary);
secondaries.sort((a, b) => time(b).t - time(a).t || time(b).i - time(a).i);

if (primary) {
  print(`mongod is gone; ${short(primary.host)} took over`);
} else {
  if (!secondaries.length) print('mongod is gone, and nobody is there to take over');
  for (const { host, admin } of secondaries) {
    admin.getSiblingDB('local').auth({ user: '__system', pwd: secret, mechanism: 'SCRAM-SHA-256' });
    const { ok, errmsg } = admin.runCommand({ replSetStepUp: 1 });
    print(`mongod is gone; asked ${short(host)} to take over: ${ok ? 'done' : errmsg}`);
    if (ok) break;
  }
}
