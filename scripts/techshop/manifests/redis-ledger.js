// A client of Redis that writes all the time and remembers each write that a replica has confirmed. On SIGTERM it reads
// all of them back and prints what it found, as one line of JSON after "result ".
const { setTimeout: sleep } = require('node:timers/promises');
const { Cluster } = require('ioredis');

const tls = process.env.REDIS_TLS === 'true';
const cluster = new Cluster([{ host: process.env.REDIS_HOST, port: 6379 }], {
  redisOptions: {
    username: 'app', password: process.env.REDIS_PASSWORD, connectTimeout: 2000, socketTimeout: 3000, disableClientInfo: true,
    ...(tls && { tls: {} }),
  },
  dnsLookup: (name, done) => done(null, name),
  clusterRetryStrategy: () => 200,
  slotsRefreshInterval: 5000,
});
cluster.on('error', () => {});

const written = [];
let failed = 0, unconfirmed = 0, longestGap = 0, last = Date.now(), number = 0, stopped = false;
process.on('SIGTERM', () => { stopped = true; });

async function write(worker) {
  const key = `shop:ledger:${worker}:${number++}`;
  try {
    const [[error, set], [late, replicas]] = await cluster.pipeline().set(key, key, 'EX', 3600).call('WAIT', 1, 1000).exec();
    if (error || late || set !== 'OK') throw error ?? late;
    if (replicas < 1) { unconfirmed++; return; }
    if (written.push(key) === 1) console.log('started');
    longestGap = Math.max(longestGap, Date.now() - last);
    last = Date.now();
  } catch (error) {
    if (failed++ < 10) console.log(`failed: ${error.message}`);
    await sleep(50);
  }
}

async function read(key) {
  for (let tries = 0; ; tries++) {
    try { return await cluster.get(key); } catch (error) { if (tries === 50) throw error; await sleep(200); }
  }
}

async function work(worker) {
  while (!stopped) {
    await write(worker);
    await sleep(50);
  }
}

Promise.all([0, 1, 2, 3].map(work)).then(async () => {
  let lost = 0;
  for (const key of written) if ((await read(key)) !== key) lost++;
  console.log(`result ${JSON.stringify({ written: written.length, lost, failed, unconfirmed, longest_gap: longestGap / 1000 })}`);
  process.exit(0);
});
