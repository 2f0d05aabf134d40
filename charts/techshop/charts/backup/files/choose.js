// Print what to dump from: host, version, the time of the last write that it has, and how far it is behind the primary. Best
// is a member that takes no writes and has the most of them.
const hello = (host) => {
  try {
    return new Mongo(`mongodb://${host}/?directConnection=true&${process.env.OPTIONS}`).getDB('admin').hello();
  } catch (error) {
    return {};
  }
};
const seen = db.hello();
const members = (seen.hosts || [seen.me]).map(hello).filter((member) => member.lastWrite);
const time = (member) => member.lastWrite.opTime.ts;
const newest = members.reduce((best, member) => (best && time(best).t >= time(member).t ? best : member), undefined);
const rank = (member) => [member.secondary ? 1 : 0, time(member).t, time(member).i];
const usable = members.filter((member) => member.secondary || member.isWritablePrimary);
usable.sort((a, b) => rank(b).reduce((so, value, at) => so || value - rank(a)[at], 0));
if (!usable.length) {
  print('no member has a state to dump from');
  quit(1);
}
const [best] = usable;
print(best.me, db.version(), time(best).t, time(best).i, time(newest).t - time(best).t);
