import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MongoServerSelectionError } from 'mongodb';
import type { ProductPage } from '../../src/catalogue.ts';
import { Unavailable } from '../../src/errors.ts';
import { loggedIn, testServer } from './fakes.ts';

test('a customer registers, logs in, fills a cart, orders, and reads the order', async () => {
  const { app } = testServer();
  const headers = await loggedIn(app);
  const put = await app.inject({
    method: 'PUT',
    url: '/api/cart/items/mouse',
    headers,
    payload: { quantity: 2 },
  });
  assert.equal(put.statusCode, 200);
  assert.deepEqual(put.json(), {
    items: [{ productId: 'mouse', quantity: 2, name: 'Mouse', price: 4500 }],
    total: 9000,
  });
  const placed = await app.inject({ method: 'POST', url: '/api/orders', headers });
  assert.equal(placed.statusCode, 201);
  assert.equal(placed.headers.location, `/api/orders/${placed.json().id}`);
  const read = await app.inject({ url: `/api/orders/${placed.json().id}`, headers });
  assert.deepEqual(read.json(), placed.json());
  assert.deepEqual(Object.keys(read.json()), ['id', 'total', 'items', 'createdAt']);
  const again = await app.inject({ method: 'POST', url: '/api/orders', headers });
  assert.equal(again.statusCode, 422, 'the cart is empty by now');
});

test('a retry with the same Idempotency-Key is the same order, though the cart is empty by then', async () => {
  const { app } = testServer();
  const headers = { ...(await loggedIn(app)), 'idempotency-key': 'k-1' };
  await app.inject({ method: 'PUT', url: '/api/cart/items/mouse', headers, payload: { quantity: 1 } });
  const first = await app.inject({ method: 'POST', url: '/api/orders', headers });
  const second = await app.inject({ method: 'POST', url: '/api/orders', headers });
  assert.deepEqual([first.statusCode, second.statusCode], [201, 200]);
  assert.equal(second.json().id, first.json().id);
});

test('an order of somebody else is not found', async () => {
  const { app } = testServer();
  const payload = { items: [{ productId: 'mouse', quantity: 1 }] };
  const placed = await app.inject({
    method: 'POST',
    url: '/api/orders',
    headers: await loggedIn(app),
    payload,
  });
  const read = await app.inject({
    url: `/api/orders/${placed.json().id}`,
    headers: await loggedIn(app),
  });
  assert.equal(read.statusCode, 404);
});

test('the session cookie is httpOnly, serves as well as the token, and ends with the logout', async () => {
  const { app } = testServer();
  const payload = { email: 'Ann@Example.com ', password: 'correct horse' };
  await app.inject({ method: 'POST', url: '/api/register', payload });
  const login = await app.inject({ method: 'POST', url: '/api/login', payload });
  const [cookie] = login.cookies;
  assert.ok(cookie?.httpOnly && cookie.sameSite === 'Strict' && !cookie.secure);
  const cookies = { techshop_session: cookie.value };
  const me = await app.inject({ url: '/api/me', cookies });
  assert.equal(me.json().email, 'ann@example.com');

  const headers = { authorization: `Bearer ${login.json().token}` };
  assert.equal((await app.inject({ url: '/api/me', headers })).statusCode, 200);
  await app.inject({ method: 'POST', url: '/api/logout', headers, cookies });
  assert.equal((await app.inject({ url: '/api/me', headers })).statusCode, 401);
  assert.equal((await app.inject({ url: '/api/me', cookies })).statusCode, 401);
});

test('the cookie is Secure behind an edge that ends TLS', async () => {
  const { app } = testServer();
  const payload = { email: 'a@example.com', password: 'correct horse' };
  await app.inject({ method: 'POST', url: '/api/register', payload });
  const headers = { 'x-forwarded-proto': 'https' };
  const login = await app.inject({ method: 'POST', url: '/api/login', headers, payload });
  assert.equal(login.cookies[0]?.secure, true);
});

test('a token that is forged, unsigned or for another secret is 401', async () => {
  const { app } = testServer();
  const [header, payload, signature] = (await loggedIn(app)).authorization.split(/[ .]/).slice(1);
  const none = Buffer.from('{"alg":"none"}').toString('base64url');
  for (const token of [`${none}.${payload}.`, `${header}.${payload}.${signature?.slice(2)}`, 'x', ''])
    assert.equal(
      (await app.inject({ url: '/api/me', headers: { authorization: `Bearer ${token}` } })).statusCode,
      401,
    );
});

const invalid: [string, string, unknown, RegExp][] = [
  ['POST', '/api/register', { email: 'no', password: 'long enough' }, /^email must be an e-mail address/],
  ['POST', '/api/register', { email: 'a@b.co', password: 'short' }, /^password must have 8 to 200/],
  [
    'POST',
    '/api/register',
    { email: { $ne: null }, password: { $ne: null } },
    /^email must .* password must/,
  ],
  [
    'POST',
    '/api/login',
    { email: 'a@b.co', password: 'long enough', admin: true },
    /^Unknown field: admin\.$/,
  ],
  ['PUT', '/api/cart/items/mouse', { quantity: 0 }, /^quantity must be a whole number from 1 to 100\.$/],
  ['PUT', '/api/cart/items/mouse', { quantity: '3' }, /^quantity must/],
  ['PUT', '/api/cart/items/mouse', undefined, /^quantity must/],
  ['PUT', '/api/cart/items/$where', { quantity: 1 }, /^productId must be the id of a product\.$/],
  ['POST', '/api/orders', { items: [] }, /^items must be a list/],
  ['POST', '/api/orders', { items: [{ productId: { $gt: '' }, quantity: 1 }] }, /^productId must/],
  ['POST', '/api/orders', [], /^The body is not valid: .*\.$/],
  ['GET', '/api/products?limit=0', undefined, /^limit must be a whole number from 1 to 100\.$/],
  ['GET', '/api/products?offset=x', undefined, /^offset must be/],
];
test('what is not valid is refused with a sentence', async () => {
  const { app } = testServer();
  const headers = await loggedIn(app);
  for (const [method, url, payload, message] of invalid) {
    const options = { method: method as 'GET', url, headers };
    const answer = await app.inject(
      payload === undefined ? options : { ...options, payload: payload as object },
    );
    assert.equal(answer.statusCode, 400, `${method} ${url}: ${answer.body}`);
    assert.match(answer.json().error, message);
  }
});

test('bodies other than JSON, broken JSON and large ones are refused in JSON', async () => {
  const { app } = testServer();
  const post = (type: string, payload: string) =>
    app.inject({ method: 'POST', url: '/api/login', headers: { 'content-type': type }, payload });
  const form = await post('application/x-www-form-urlencoded', 'email=a@b.co&password=xxxxxxxx');
  const text = await post('text/plain', '{"email":"a@b.co","password":"xxxxxxxx"}');
  const broken = await post('application/json', '{');
  const large = await post('application/json', JSON.stringify({ email: 'x'.repeat(70_000) }));
  assert.deepEqual(
    [form, text, broken, large].map((a) => a.statusCode),
    [415, 415, 400, 413],
  );
  assert.equal(broken.json().error, 'The body is not valid JSON.');
});

test('what does not exist is 404 in JSON, a bad address 400', async () => {
  const { app } = testServer();
  const headers = await loggedIn(app);
  for (const url of ['/nope', '/api/products/nope', '/api/products/NOT%20VALID', '/api/orders/1']) {
    const answer = await app.inject({ url, headers });
    assert.equal(answer.statusCode, 404, url);
    assert.match(answer.json().error, /^There is .*\.$/);
  }
  assert.equal((await app.inject('/api/products/%zz')).statusCode, 400);
});

test('while a store is away the answer is 503 with Retry-After', async () => {
  const description = { error: null } as never;
  for (const failure of [
    new Unavailable('Redis', new Error('closed')),
    new MongoServerSelectionError('none', description),
  ]) {
    const { app, lines } = testServer({
      catalogue: { list: () => Promise.reject(failure), find: async () => [] },
    });
    const answer = await app.inject('/api/products');
    assert.equal(answer.statusCode, 503);
    assert.equal(answer.headers['retry-after'], '2');
    assert.ok(lines.some(({ level, failure: why }) => level === 'warn' && why));
  }
});

test('an error of ours is 500, is logged with its stack, and tells the client nothing', async () => {
  const { app, lines } = testServer({
    catalogue: { list: () => Promise.reject(new TypeError('oops')), find: async () => [] },
  });
  const answer = await app.inject('/api/products');
  assert.equal(answer.statusCode, 500);
  assert.ok(!answer.body.includes('oops'));
  const logged = lines.find(({ level }) => level === 'error') as { err: { message: string; stack: string } };
  assert.equal(logged.err.message, 'oops');
  assert.match(logged.err.stack, /api\.test/);
});

test('answers carry headers that keep browsers strict, and private ones are not cached', async () => {
  const { app } = testServer();
  const api = await app.inject({ url: '/api/cart', headers: await loggedIn(app) });
  assert.equal(api.headers['cache-control'], 'no-store');
  assert.equal(api.headers['x-content-type-options'], 'nosniff');
  assert.match(String(api.headers['content-security-policy']), /default-src 'none'/);
  const page = await app.inject('/');
  assert.match(page.body, /Anniversary mug/);
  assert.match(String(page.headers['content-security-policy']), /style-src 'sha256-/);
  assert.match(String((await app.inject('/api/products')).headers['cache-control']), /max-age=5/);
});

test('the catalogue is paged to its end', async () => {
  const { app } = testServer();
  const seen: string[] = [];
  for (let offset: number | null = 0; offset !== null; ) {
    const answer = await app.inject(`/api/products?limit=5&offset=${offset}`);
    const page: ProductPage = answer.json();
    seen.push(...page.products.map(({ id }) => id));
    offset = page.nextOffset;
  }
  assert.equal(new Set(seen).size, 12);
});
