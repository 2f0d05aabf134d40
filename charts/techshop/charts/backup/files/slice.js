// Print whose oplog to store, from which entry, up to which, and whether that is all: host, TIME, TIME, yes or no. A time is
// SECONDS.ORDINAL. FROM are times, the best first; of an oplog that has none of these entries any more the second is "none".
//
// Nothing is stored that could be rolled back: a member's majorityOpTime is in its own oplog, together with all before it, and
// a majority has it. Of a slice only an entry that is there is an end, so that the next one can begin with it.
var fs = require('fs');
const MANY = 100000; // entries in a slice: one that is broken off has not to be begun anew for ever

const members = [];
const seen = db.hello();
for (const host of seen.hosts || [seen.me]) {
  try {
    const admin = new Mongo(`mongodb://${host}/?directConnection=true&${process.env.OPTIONS}`).getDB('admin');
    const { secondary, isWritablePrimary, lastWrite } = admin.hello();
    const committed = lastWrite && lastWrite.majorityOpTime && lastWrite.majorityOpTime.ts;
    if (committed && (secondary || isWritablePrimary)) members.push({ host, admin, committed, secondary: secondary ? 1 : 0 });
  } catch (error) {
    // Another has it as well.
  }
}
const newest = Math.max(...members.map((member) => member.committed.t));
const current = (member) => (member.committed.t >= newest - 5 ? 1 : 0);
members.sort((a, b) => current(b) - current(a) || b.secondary - a.secondary);
if (!members.length) {
  print('no member has an oplog to read');
  quit(1);
}

const pwd = fs.readFileSync('/secrets/backup-password', 'utf8').replace(/\n/g, '');
const text = ({ t, i }) => `${t}.${i}`;
const oplogs = members.map(({ host, admin, committed }) => {
  admin.auth({ user: 'backup', pwd });
  return { host, committed, entries: admin.getSiblingDB('local').getCollection('oplog.rs') };
});
const wanted = (process.env.FROM || '').split(' ').filter(Boolean).map((time) => time.split('.').map(Number));
let chosen;
for (const [t, i] of wanted) {
  chosen = chosen || oplogs.map((oplog) => ({ ...oplog, from: oplog.entries.findOne({ ts: Timestamp({ t, i }) }) })).find(({ from }) => from);
}
const { host, committed, entries, from } = chosen || oplogs[0];
let to = entries.find({ ts: { $lte: committed } }, { ts: 1 }).sort({ $natural: -1 }).limit(1).next().ts;
let all = 'yes';
if (from) {
  const later = entries.find({ ts: { $gt: from.ts, $lte: to } }, { ts: 1 }).skip(MANY).limit(1).toArray();
  if (later.length) {
    to = later[0].ts;
    all = 'no';
  }
}
print(host, from ? text(from.ts) : 'none', text(to), all);
