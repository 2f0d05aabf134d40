// Ask the storage for a snapshot of each volume of the stores, wait until it has them all, and delete those of each volume
// that are too many. mongosh runs this for its Node.js; no MongoDB is asked.
const fs = require('fs');
const https = require('https');

const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port, CLASS, INSTANCE, KEEP_LAST, PATIENCE } = process.env;
const account = '/var/run/secrets/kubernetes.io/serviceaccount/';
const ca = fs.readFileSync(`${account}ca.crt`);
const namespace = fs.readFileSync(`${account}namespace`, 'utf8');
const snapshots = `/apis/snapshot.storage.k8s.io/v1/namespaces/${namespace}/volumesnapshots`;
const selector = encodeURIComponent(
  `app.kubernetes.io/name=techshop,app.kubernetes.io/instance=${INSTANCE},app.kubernetes.io/component in (mongodb,redis)`,
);
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
const say = (text) => console.log(`${new Date().toISOString().slice(11, 19)}Z ${text}`);

function ask(method, path, body) {
  // Read anew each time: the token of a pod is renewed while it runs.
  const headers = {
    Authorization: `Bearer ${fs.readFileSync(`${account}token`, 'utf8')}`,
    'Content-Type': 'application/json',
  };
  return new Promise((resolve, reject) => {
    const request = https.request({ host, port, method, path, ca, headers, timeout: 30000 }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (part) => (text += part));
      answer.on('end', () => {
        if (answer.statusCode < 300) resolve(JSON.parse(text));
        else if (answer.statusCode === 404 && path === snapshots)
          reject(new Error('this cluster has no VolumeSnapshots: install the CSI snapshot controller with its CRDs, or set backup.volumeSnapshots.enabled to false'));
        else reject(new Error(`${method} ${path}: ${answer.statusCode} ${text.trim().slice(0, 300)}`));
      });
    });
    request.on('timeout', () => request.destroy(new Error(`${method} ${path}: no answer within 30 s`)));
    request.on('error', reject);
    request.end(body && JSON.stringify(body));
  });
}

const list = async () => (await ask('GET', `${snapshots}?labelSelector=${selector}`)).items;
const ready = (snapshot) => snapshot.status?.readyToUse === true;
const reason = (snapshot) => snapshot.status?.error?.message || 'its controller says nothing of it';

async function take(volume, time) {
  const { name, labels } = volume.metadata;
  const source = { persistentVolumeClaimName: name };
  await ask('POST', snapshots, {
    apiVersion: 'snapshot.storage.k8s.io/v1',
    kind: 'VolumeSnapshot',
    metadata: { name: `${name}-${time}`, labels },
    spec: { source, ...(CLASS && { volumeSnapshotClassName: CLASS }) },
  });
}

// Those beyond the newest KEEP_LAST of a volume, and those older than its newest that never became ready; people's own have
// other names.
function tooMany(all) {
  const ours = all.filter(({ metadata, spec }) => {
    const volume = spec.source.persistentVolumeClaimName;
    return metadata.name.startsWith(`${volume}-`) && /^\d{8}t\d{6}z$/.test(metadata.name.slice(volume.length + 1));
  });
  const newest = new Map();
  return ours
    .sort((a, b) => (a.metadata.name < b.metadata.name ? 1 : -1))
    .filter((snapshot) => {
      const volume = snapshot.spec.source.persistentVolumeClaimName;
      const kept = newest.get(volume) || 0;
      if (ready(snapshot)) newest.set(volume, kept + 1);
      return ready(snapshot) ? kept >= Number(KEEP_LAST) : kept > 0;
    });
}

async function main() {
  const end = Date.now() + Number(PATIENCE) * 1000;
  const volumes = (await ask('GET', `/api/v1/namespaces/${namespace}/persistentvolumeclaims?labelSelector=${selector}`)).items;
  const bound = volumes.filter((volume) => volume.status.phase === 'Bound');
  if (!bound.length) throw new Error('neither MongoDB nor Redis has a volume here');
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, '').toLowerCase();
  for (const volume of bound) await take(volume, time);
  say(`asked for snapshots of ${bound.length} volumes, ${time}`);
  for (;;) {
    const missing = (await list()).filter(({ metadata, ...rest }) => metadata.name.endsWith(`-${time}`) && !ready(rest));
    if (!missing.length) break;
    if (Date.now() > end) throw new Error(`${missing[0].metadata.name} isn't ready: ${reason(missing[0])}`);
    await pause(2);
  }
  for (const { metadata } of tooMany(await list())) {
    await ask('DELETE', `${snapshots}/${metadata.name}`);
    say(`deleted ${metadata.name}`);
  }
  say(`${bound.length} snapshots are ready`);
}

main().catch((error) => {
  console.error(`snapshots: ${error.message}`);
  process.exit(1);
});
