import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { MongoNetworkError, MongoServerError } from 'mongodb';
import { mergeLines, totalOf } from '../../src/lines.ts';
import { isMongoAway } from '../../src/mongo.ts';
import { money, renderPage } from '../../src/page.ts';
import { hashPassword, verifyPassword } from '../../src/passwords.ts';
import { SEED } from '../../src/seed.ts';
import { within } from '../../src/time.ts';
import { Turns } from '../../src/turns.ts';
import { productId } from '../../src/validation.ts';

test('the catalogue has twelve products with ids and prices that the shop accepts', () => {
  assert.equal(SEED.length, 12);
  assert.equal(new Set(SEED.map(({ _id }) => _id)).size, 12);
  for (const { _id, price, stock } of SEED) {
    assert.ok(productId.safeParse(_id).success, _id);
    assert.ok(Number.isInteger(price) && price > 0, _id);
    assert.equal(stock, _id === 'limited' ? 5 : 1_000_000);
  }
});

test('lines for the same product are one, in a fixed order', () => {
  const lines = [
    { productId: 'mouse', quantity: 1 },
    { productId: 'cable', quantity: 2 },
    { productId: 'mouse', quantity: 3 },
  ];
  assert.deepEqual(mergeLines(lines), [
    { productId: 'cable', quantity: 2 },
    { productId: 'mouse', quantity: 4 },
  ]);
});

test('totals are exact', () => {
  assert.equal(totalOf([]), 0);
  assert.equal(
    totalOf([
      { price: 1_999, quantity: 3 },
      { price: 1, quantity: 100 },
    ]),
    6_097,
  );
});

test('money is written with two digits', () => {
  assert.deepEqual([0, 5, 650, 123_456].map(money), ['€0.00', '€0.05', '€6.50', '€1234.56']);
});

test('the page escapes what the catalogue says', () => {
  const html = renderPage([
    { id: 'x', name: '<script>alert(1)</script>', description: `"&'`, price: 100, stock: 0 },
  ]);
  assert.ok(!html.includes('<script>'));
  assert.match(html, /&lt;script&gt;alert\(1\)&lt;\/script&gt;/);
  assert.match(html, /&quot;&amp;&#39;/);
  assert.match(html, /Sold out/);
});

test('a password is verified, a wrong one and an unknown user are not', async () => {
  const stored = await hashPassword('correct horse');
  assert.match(stored, /^scrypt\$16384\$8\$5\$/);
  assert.equal(await verifyPassword('correct horse', stored), true);
  assert.equal(await verifyPassword('wrong horse', stored), false);
  assert.equal(await verifyPassword('correct horse', undefined), false);
  assert.notEqual(await hashPassword('correct horse'), stored, 'each hash has its own salt');
});

test('MongoDB being away is told from a mistake of ours', () => {
  const said = (code: number) => new MongoServerError({ message: 'any', code });
  // Not primary, a linearizable read that nobody confirmed, a plan killed by a failover, a session used again since.
  for (const code of [10107, 187, 175, 225]) assert.equal(isMongoAway(said(code)), true, String(code));
  // Bad value, failed to parse, document validation.
  for (const code of [2, 9, 121]) assert.equal(isMongoAway(said(code)), false, String(code));
  assert.equal(isMongoAway(new MongoNetworkError('connection reset')), true);
  assert.equal(isMongoAway(new Error('any')), false);
  // As node's socket throws it past the driver.
  assert.equal(isMongoAway(Object.assign(new Error('ended by the other party'), { code: 'EPIPE' })), true);
  assert.equal(isMongoAway(Object.assign(new Error('any'), { code: 'ERR_INVALID_ARG_TYPE' })), false);
});

test('within() gives the answer, the error, or up', async () => {
  assert.equal(await within(1_000, Promise.resolve(7)), 7);
  await assert.rejects(within(1_000, Promise.reject(new Error('no'))), /^Error: no$/);
  await assert.rejects(within(10, new Promise(() => {})), /no answer within 10 ms/);
});

test('orders for the same product take turns, a failed one too, and others do not wait', async () => {
  const turns = new Turns();
  const events: string[] = [];
  const work = (name: string, ms: number) => async () => {
    events.push(`${name} begins`);
    await sleep(ms);
    events.push(`${name} ends`);
    if (name === 'first') throw new Error('no stock');
  };
  await Promise.allSettled([
    turns.take(['mouse', 'cable'], work('first', 40)),
    turns.take(['cable'], work('second', 1)),
    turns.take(['dock'], work('other', 1)),
  ]);
  const order = ['first begins', 'other begins', 'other ends', 'first ends', 'second begins', 'second ends'];
  assert.deepEqual(events, order);
});

test('more passwords than can be hashed in time are turned away at once', async () => {
  const all = await Promise.allSettled(
    Array.from({ length: 40 }, () => verifyPassword('x', 'scrypt$2$1$1$AAAA$AAAA')),
  );
  const refused = all.filter(({ status }) => status === 'rejected');
  assert.equal(refused.length, 40 - 2 - 32);
  assert.equal(await verifyPassword('x', 'scrypt$2$1$1$AAAA$AAAA'), false, 'and later ones are not');
});
