/**
 * The shop over real stores: set MONGODB_URI (a replica set) and REDIS_URL, and the user names and passwords
 * if they need any. Uses the database and the `shop:` keys that it's pointed at.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import type { FastifyInstance } from 'fastify';
import { Carts } from '../../src/cart.ts';
import { Catalogue } from '../../src/catalogue.ts';
import { loadConfig } from '../../src/config.ts';
import { createLog } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import { Mongo } from '../../src/mongo.ts';
import { Orders } from '../../src/orders.ts';
import { RedisConnection } from '../../src/redis.ts';
import { SEED } from '../../src/seed.ts';
import { buildServer } from '../../src/server.ts';
import { Sessions } from '../../src/sessions.ts';
import { Users } from '../../src/users.ts';

const skip =
  process.env.MONGODB_URI && process.env.REDIS_URL
    ? false
    : 'MONGODB_URI and REDIS_URL name no stores to test with';

let app: FastifyInstance;
let mongo: Mongo;
let redis: RedisConnection;
const scarce = { _id: `scarce-${Date.now()}`, name: 'Scarce', description: '', price: 300, stock: 7 };

before(async () => {
  if (skip) return;
  const config = loadConfig({ JWT_SECRET: 's'.repeat(32), ...process.env });
  const log = createLog('fatal');
  // Ten pods that start at once seed the same catalogue.
  const pods = Array.from({ length: 10 }, () => new Mongo(config, log, [...SEED, scarce]));
  const states = await Promise.all(pods.map((pod) => until(() => pod.health.check())));
  assert.deepEqual(new Set(states), new Set(['ok']));
  mongo = pods[0] as Mongo;
  await Promise.all(pods.slice(1).map((pod) => pod.close()));
  redis = new RedisConnection(config, log);
  await until(() => redis.health.check());
  app = buildServer({
    log,
    lifecycle: { draining: false },
    checks: { mongodb: () => mongo.health.check(), redis: () => redis.health.check() },
    metrics: createMetrics(mongo.client),
    catalogue: new Catalogue(mongo, redis),
    users: new Users(mongo),
    carts: new Carts(redis),
    orders: new Orders(mongo),
    sessions: new Sessions(config.jwtSecret, redis),
  });
});

after(async () => {
  if (skip) return;
  await mongo.products.deleteOne({ _id: scarce._id });
  await Promise.all([app.close(), mongo.close(), redis.close()]);
});

async function until(check: () => Promise<string>): Promise<string> {
  for (let i = 0; i < 30; i++) {
    if ((await check()) === 'ok') return 'ok';
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  return check();
}

async function customer() {
  const payload = { email: `${randomUUID()}@example.com`, password: 'correct horse' };
  assert.equal((await app.inject({ method: 'POST', url: '/api/register', payload })).statusCode, 201);
  assert.equal((await app.inject({ method: 'POST', url: '/api/register', payload })).statusCode, 409);
  const login = await app.inject({ method: 'POST', url: '/api/login', payload });
  return { authorization: `Bearer ${login.json().token}` };
}

const order = (headers: Record<string, string>, productId: string, quantity: number) =>
  app.inject({ method: 'POST', url: '/api/orders', headers, payload: { items: [{ productId, quantity }] } });

const stockOf = async (id: string) => (await mongo.products.findOne({ _id: id }))?.stock;

test('both stores are ready', { skip }, async () => {
  const ready = await app.inject('/ready');
  assert.deepEqual(ready.json(), { status: 'ok', mongodb: 'ok', redis: 'ok' });
});

test('a cart becomes an order, with its movement of stock, and is empty after', { skip }, async () => {
  const headers = await customer();
  const put = (id: string, quantity: number) =>
    app.inject({ method: 'PUT', url: `/api/cart/items/${id}`, headers, payload: { quantity } });
  await put('mouse', 1);
  await put('cable', 2);
  await put('dock', 9);
  await app.inject({ method: 'DELETE', url: '/api/cart/items/dock', headers });
  const cart = (await app.inject({ url: '/api/cart', headers })).json();
  assert.equal(cart.total, 4_500 + 2 * 1_490);
  const placed = await app.inject({ method: 'POST', url: '/api/orders', headers });
  assert.equal(placed.statusCode, 201);
  assert.equal(placed.json().total, cart.total);
  const movements = await mongo.movements.find({ orderId: placed.json().id }).toArray();
  assert.deepEqual(
    movements.map(({ productId, change }) => [productId, change]),
    [
      ['cable', -2],
      ['mouse', -1],
    ],
  );
  assert.deepEqual((await app.inject({ url: '/api/cart', headers })).json(), { items: [], total: 0 });
  const list = (await app.inject({ url: '/api/orders', headers })).json();
  assert.deepEqual(list, { orders: [placed.json()], nextOffset: null });
});

test('customers who want the last ones at the same time never get more than there are', {
  skip,
}, async () => {
  const headers = await customer();
  const answers = await Promise.all(Array.from({ length: 20 }, () => order(headers, scarce._id, 1)));
  const count = (status: number) => answers.filter(({ statusCode }) => statusCode === status).length;
  assert.deepEqual([count(201), count(409)], [7, 13]);
  assert.equal(await stockOf(scarce._id), 0);
  assert.equal(await mongo.movements.countDocuments({ productId: scarce._id }), 7);
});

test('an order that can only be filled in part changes nothing', { skip }, async () => {
  const headers = await customer();
  const before = await stockOf('mouse');
  const items = [
    { productId: 'mouse', quantity: 3 },
    { productId: scarce._id, quantity: 1 },
  ];
  const answer = await app.inject({ method: 'POST', url: '/api/orders', headers, payload: { items } });
  assert.equal(answer.statusCode, 409);
  assert.match(answer.json().error, /^Out of stock: 0 of scarce-\d+ left\.$/);
  assert.equal(await stockOf('mouse'), before);
  assert.equal((await order(headers, 'no-such-thing', 1)).statusCode, 422);
});

test('the same Idempotency-Key ten times at once is one order', { skip }, async () => {
  const headers = { ...(await customer()), 'idempotency-key': randomUUID() };
  const before = (await stockOf('stand')) ?? 0;
  const answers = await Promise.all(Array.from({ length: 10 }, () => order(headers, 'stand', 1)));
  assert.equal(new Set(answers.map((answer) => answer.json().id)).size, 1, answers.map((a) => a.body).join());
  assert.deepEqual(answers.map(({ statusCode }) => statusCode).sort(), [...Array(9).fill(200), 201]);
  assert.equal(await stockOf('stand'), before - 1);
});

test('a hundred orders for one product at once are all placed', { skip }, async () => {
  const headers = await customer();
  const before = (await stockOf('notebook')) ?? 0;
  const answers = await Promise.all(Array.from({ length: 100 }, () => order(headers, 'notebook', 1)));
  assert.deepEqual(new Set(answers.map(({ statusCode }) => statusCode)), new Set([201]));
  assert.equal(await stockOf('notebook'), before - 100);
});

test('seeding again does not fill the shelves again', { skip }, async () => {
  const before = await stockOf('notebook');
  const config = loadConfig({ JWT_SECRET: 's'.repeat(32), ...process.env });
  const pod = new Mongo(config, createLog('fatal'), SEED);
  assert.equal(await until(() => pod.health.check()), 'ok');
  await pod.close();
  assert.equal(await stockOf('notebook'), before);
});

test('logging out ends the cookie and the token', { skip }, async () => {
  const headers = await customer();
  assert.equal((await app.inject({ url: '/api/me', headers })).statusCode, 200);
  await app.inject({ method: 'POST', url: '/api/logout', headers });
  assert.equal((await app.inject({ url: '/api/me', headers })).statusCode, 401);
});
