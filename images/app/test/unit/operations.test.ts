import assert from 'node:assert/strict';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Catalogue } from '../../src/catalogue.ts';
import { Dependency } from '../../src/dependency.ts';
import { drainer } from '../../src/drain.ts';
import { Unavailable } from '../../src/errors.ts';
import { loggedIn, memoryLog, testServer } from './fakes.ts';

test('/ready names each store and is 503 when one is missing or the pod is going', async () => {
  const lifecycle = { draining: false };
  let redis = 'ok';
  const checks = { mongodb: async () => 'ok', redis: async () => redis };
  const { app } = testServer({ lifecycle, checks });
  const ready = await app.inject('/ready');
  assert.equal(ready.statusCode, 200);
  assert.deepEqual(ready.json(), { status: 'ok', mongodb: 'ok', redis: 'ok' });
  redis = 'connection refused';
  const missing = await app.inject('/ready');
  assert.equal(missing.statusCode, 503);
  assert.deepEqual(missing.json(), { status: 'unavailable', mongodb: 'ok', redis: 'connection refused' });
  assert.equal((await app.inject('/health')).statusCode, 200, 'alive all the same');
  redis = 'ok';
  lifecycle.draining = true;
  assert.equal((await app.inject('/ready')).statusCode, 503);
});

test('a store that changes its state is one line in the log, however often it is asked', async () => {
  const { log, lines } = memoryLog();
  let trouble: Error | undefined = new Error('ECONNREFUSED');
  const store = new Dependency('Redis', log, async () => {
    if (trouble) throw trouble;
  });
  assert.throws(() => store.assertUsable(), Unavailable, 'never connected');
  for (let i = 0; i < 5; i++) assert.equal(await store.check(), 'ECONNREFUSED');
  trouble = new Error('WRONGPASS invalid username-password pair');
  for (let i = 0; i < 5; i++) await store.check();
  trouble = undefined;
  for (let i = 0; i < 5; i++) assert.equal(await store.check(), 'ok');
  store.assertUsable();
  trouble = new Error('gone');
  await store.check();
  store.assertUsable(); // a failover is sat out
  assert.deepEqual(
    lines.map(({ level, msg }) => `${level} ${msg}`),
    [
      'warn Redis is unavailable; trying again.',
      'error Redis refuses this user or its password; trying again.',
      'info Redis is connected.',
      'warn Redis is unavailable; trying again.',
    ],
  );
});

test('a store that does not answer is unavailable after a second', async () => {
  const { log, lines } = memoryLog();
  const store = new Dependency('MongoDB', log, () => new Promise(() => {}));
  const started = Date.now();
  assert.equal(await store.check(), 'no answer within 1000 ms');
  assert.ok(Date.now() - started < 1_500);
  assert.deepEqual(lines, [], 'a slow first connection is not news');
});

test('metrics count by route template, so that addresses make no new time series', async () => {
  const { app } = testServer();
  const headers = await loggedIn(app);
  for (let i = 0; i < 20; i++) {
    await app.inject(`/no/such/path/${i}`);
    await app.inject({ url: `/api/orders/${i}`, headers });
  }
  const text = (await app.inject('/metrics')).body;
  const series = text.split('\n').filter((line) => line.startsWith('http_requests_total{'));
  assert.ok(series.includes('http_requests_total{method="GET",route="unmatched",status="404"} 20'));
  assert.ok(series.includes('http_requests_total{method="GET",route="/api/orders/:id",status="404"} 20'));
  assert.equal(series.length, 4, series.join('\n'));
  assert.match(text, /http_request_duration_seconds_bucket\{le="0.005",method="GET",route="unmatched"/);
  assert.match(text, /http_request_duration_seconds_bucket\{le="0.3",/, 'the objective is a bucket');
  assert.match(text, /nodejs_eventloop_lag_seconds/);
});

test('nothing secret is logged, and probes are silent at info', async () => {
  const { app, lines } = testServer();
  const { authorization } = await loggedIn(app);
  await app.inject({
    url: '/api/me?token=sesame',
    headers: { authorization, cookie: 'techshop_session=abc' },
  });
  for (const url of ['/health', '/ready', '/metrics']) await app.inject(url);
  const text = JSON.stringify(lines);
  for (const secret of [authorization.slice(7), 'correct horse', 'sesame', 'abc'])
    assert.ok(!text.includes(secret), secret);
  const paths = lines.filter(({ level }) => level === 'info').map(({ path }) => path);
  assert.deepEqual(paths, ['/api/register', '/api/login', '/api/me']);
});

test('the catalogue is read through the cache, and does without it', async () => {
  let reads = 0;
  const cursor = {
    sort: () => cursor,
    skip: () => cursor,
    limit: () => cursor,
    toArray: async () => {
      reads += 1;
      return [{ _id: 'mouse', name: 'Mouse', description: '', price: 1, stock: 1 }];
    },
  };
  const mongo = { products: { find: () => cursor }, run: (step: () => unknown) => step() } as never;
  const data = new Map<string, string>();
  const client = {
    get: async (k: string) => data.get(k),
    set: async (k: string, v: string) => data.set(k, v),
  };
  const cached = new Catalogue(mongo, { run: (command) => command(client as never) });
  assert.deepEqual(await cached.list(20, 0), await cached.list(20, 0));
  assert.equal(reads, 1);
  const away = new Catalogue(mongo, { run: () => Promise.reject(new Unavailable('Redis')) });
  assert.equal((await away.list(20, 0)).products[0]?.id, 'mouse');
  assert.equal(reads, 2);
});

test('a pod that is told to go serves on, finishes what it began, and closes its stores last', async () => {
  const lifecycle = { draining: false };
  let finish = () => {};
  const slow = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const events: string[] = [];
  const { app } = testServer({
    lifecycle,
    catalogue: {
      list: async () => ({ products: [], nextOffset: null }),
      find: async () => {
        await slow;
        events.push('answered');
        return [{ id: 'mouse', name: 'Mouse', description: '', price: 1, stock: 1 }];
      },
    },
  });
  await app.listen({ port: 0, host: '127.0.0.1' });
  const { port } = app.server.address() as AddressInfo;
  const agent = new http.Agent({ keepAlive: true });
  const get = (path: string) =>
    new Promise<http.IncomingMessage>((resolve, reject) => {
      http.get({ port, path, host: '127.0.0.1', agent }, (r) => resolve(r.resume())).on('error', reject);
    });
  assert.equal((await get('/api/products')).headers.connection, 'keep-alive');

  const closeStores = async () => void events.push('stores closed');
  const drain = drainer({ app, lifecycle, log: memoryLog().log, seconds: 0.3, closeStores });
  const inFlight = get('/api/products/mouse');
  await sleep(50);
  const gone = drain();
  assert.equal(drain(), gone, 'a second signal changes nothing');
  assert.equal((await get('/ready')).statusCode, 503);
  const during = await get('/api/products');
  assert.equal(during.statusCode, 200);
  assert.equal(during.headers.connection, 'close');

  await sleep(400);
  await assert.rejects(get('/api/products'), /ECONNREFUSED/);
  assert.deepEqual(events, []);
  finish();
  await gone;
  assert.equal((await inFlight).statusCode, 200);
  assert.deepEqual(events, ['answered', 'stores closed']);
  agent.destroy();
});
