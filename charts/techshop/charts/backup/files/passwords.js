// Give the users, who came back with the backup, the passwords that the Secret has now.
load('/scripts/system.js');
const admin = system(db.hello()).getDB('admin');
for (const { user } of admin.runCommand({ usersInfo: 1 }).users) {
  const file = `/secrets/${user}-password`;
  if (fs.existsSync(file)) admin.updateUser(user, { pwd: fs.readFileSync(file, 'utf8') });
}
