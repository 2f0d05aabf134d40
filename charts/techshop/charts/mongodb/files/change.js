// Change the replica set from the member beside us; ACTION says what. Prints a line for each decision.
// Exits 0 when everything is as wanted, 1 when there is more to do or something failed: the loop calls again.
const fs = require('fs');

const secret = (key) => fs.readFileSync(`/secrets/${key}`, 'utf8');
const wanted = fs.readFileSync('/scripts/members', 'utf8').trim().split('\n');
const settings = { electionTimeoutMillis: Number(process.env.ELECTION_TIMEOUT_MILLIS) };
const short = (host) => host.split('.')[0];
const admin = db.getSiblingDB('admin');

function command(request) {
  const answer = admin.runCommand(request);
  if (!answer.ok) throw new Error(`${Object.keys(request)[0]}: ${answer.errmsg}`);
  return answer;
}

// Members trust who knows the keyfile: that works before there is any user, and after any password was lost.
function login() {
  const pwd = secret('keyfile').replace(/\s/g, '');
  try {
    db.getSiblingDB('local').auth({ user: '__system', pwd, mechanism: 'SCRAM-SHA-256' });
  } catch (error) {
    if (error.code !== 18) throw error;
    throw new Error('the Secret\'s "keyfile" is not the one that mongod started with: put the one before back');
  }
}

function initiate() {
  command({ replSetInitiate: { _id: 'rs0', settings, members: [{ _id: 0, host: wanted[0] }] } });
  print(`made the replica set with ${short(wanted[0])} alone; the others follow one by one`);
}

// Why there is no primary, as this member sees it.
function explain() {
  for (const { name, self, health, authenticated, lastHeartbeatMessage } of command({ replSetGetStatus: 1 }).members) {
    if (self || health) continue;
    const reason = authenticated === false ? 'it started with another keyfile than this one' : lastHeartbeatMessage;
    print(`no answer from ${short(name)}: ${reason || 'not reached yet'}`);
  }
}

const users = {
  root: [{ role: 'root', db: 'admin' }],
  app: [{ role: 'readWrite', db: 'techshop' }],
  backup: [{ role: 'backup', db: 'admin' }, { role: 'restore', db: 'admin' }],
  exporter: [{ role: 'clusterMonitor', db: 'admin' }, { role: 'read', db: 'local' }],
};

function canLogIn(user, pwd) {
  const credentials = `${user}:${encodeURIComponent(pwd)}`;
  try {
    new Mongo(`mongodb://${credentials}@127.0.0.1:27017/?${process.env.OPTIONS}&authSource=admin`).getDB('admin').hello();
    return true;
  } catch (error) {
    if (error.code === 18) return false; // AuthenticationFailed
    throw error;
  }
}

function reconcileUsers() {
  const known = new Set(command({ usersInfo: 1 }).users.map((entry) => entry.user));
  for (const [user, roles] of Object.entries(users)) {
    const pwd = secret(`${user}-password`);
    if (!pwd) throw new Error(`the Secret's "${user}-password" is empty: write a password there`);
    if (!known.has(user)) {
      command({ createUser: user, pwd, roles });
      print(`made the user ${user}`);
    } else if (!canLogIn(user, pwd)) {
      command({ updateUser: user, pwd, roles });
      print(`gave the user ${user} the Secret's new password`);
    }
  }
}

// One member is added or removed at a time, and only while the others are well: a majority stays, whatever happens.
function reconcileMembers() {
  const { config } = command({ replSetGetConfig: 1 });
  const { members } = command({ replSetGetStatus: 1 });
  const reachable = new Set(process.env.REACHABLE.split(' '));
  const hosts = config.members.map((member) => member.host);
  const ours = new RegExp(`^${wanted[0].replace(/-0\./, '-\\d+.').replaceAll('.', '\\.')}$`);

  const syncing = members.find((member) => member.health && ![1, 2].includes(member.state));
  if (syncing) return more(`waiting for ${short(syncing.name)}, which is ${syncing.stateStr}`);

  const extra = hosts.find((host) => ours.test(host) && !wanted.includes(host));
  if (extra) {
    const rest = members.filter((member) => member.name !== extra);
    const up = rest.filter((member) => member.health);
    if (members.find((member) => member.self).name === extra) {
      command({ replSetStepDown: 60 });
      return more(`stepped down, since ${short(extra)} is to leave the set`);
    }
    if (up.length * 2 <= rest.length) return more(`can't take out ${short(extra)}: too few of the others are up`);
    return reconfigure({ members: config.members.filter((member) => member.host !== extra) }, `took out ${short(extra)}`);
  }

  const missing = wanted.filter((host) => !hosts.includes(host));
  const next = missing.find((host) => reachable.has(host));
  if (next) {
    const member = { _id: Math.max(...config.members.map(({ _id }) => _id)) + 1, host: next };
    return reconfigure({ members: [...config.members, member] }, `took in ${short(next)}`);
  }
  if (missing.length) return more(`waiting for ${missing.map(short).join(', ')} to answer`);

  if (config.settings.electionTimeoutMillis !== settings.electionTimeoutMillis) {
    return reconfigure({ settings: { ...config.settings, ...settings } }, `set the election timeout to ${settings.electionTimeoutMillis} ms`);
  }

  function reconfigure(changes, message) {
    command({ replSetReconfig: { ...config, ...changes, version: config.version + 1 }, maxTimeMS: 30000 });
    return more(message);
  }
}

// Never while a member still runs the version before: it would stop at the first file it can't read.
function reconcileCompatibility() {
  const wish = fs.readFileSync('/scripts/compatibility', 'utf8').trim();
  const { featureCompatibilityVersion: now } = command({ getParameter: 1, featureCompatibilityVersion: 1 });
  if (!wish || now.version === wish) return;

  const wire = (host) => new Mongo(`mongodb://${host}/?${process.env.OPTIONS}`).getDB('admin').hello().maxWireVersion;
  const old = wanted.find((host) => wire(host) < db.hello().maxWireVersion);
  if (old) return more(`${short(old)} still runs the MongoDB before: the files stay as ${now.version} keeps them`);

  const confirm = Number.parseInt(db.version()) >= 7 ? { confirm: true } : {};
  command({ setFeatureCompatibilityVersion: wish, ...confirm });
  print(`the files are as MongoDB ${wish} keeps them, no more as ${now.version} does`);
}

function more(message) {
  print(message);
  process.exitCode = 1;
}

try {
  login();
  if (process.env.ACTION === 'initiate') {
    initiate();
  } else if (process.env.ACTION === 'explain') {
    explain();
  } else if (process.env.ACTION === 'certificates') {
    command({ rotateCertificates: 1 });
    print('mongod uses the new certificate');
  } else {
    reconcileUsers();
    reconcileMembers();
    if (!process.exitCode) reconcileCompatibility();
  }
} catch (error) {
  more(`failed: ${error.message}`);
}
