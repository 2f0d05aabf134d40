import assert from 'node:assert/strict';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { InjectOptions } from 'fastify';
import type { Catalogue } from '../../src/catalogue.ts';
import { drawing } from '../../src/drawing.ts';
import type { Product } from '../../src/mongo.ts';
import { Pictures } from '../../src/pictures.ts';
import { S3, sha256 } from '../../src/s3.ts';
import { SEED } from '../../src/seed.ts';
import { fakeS3, loggedIn, memoryLog, SECRET, testServer } from './fakes.ts';

const PNG = Buffer.from('\x89PNG\r\n\x1a\n and so on', 'latin1');
const CSP = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/** Enough of MongoDB for the products' pictures. */
function fakeMongo() {
  const data = new Map(SEED.map((product): [string, Product] => [product._id, { ...product }]));
  type Filter = { _id?: string; picture?: { $not: RegExp } };
  const matching = ({ _id, picture }: Filter) =>
    [...data.values()].filter(
      (product) => (!_id || product._id === _id) && !picture?.$not.test(product.picture ?? ''),
    );
  const products = {
    find: (filter: Filter) => ({ toArray: async () => matching(filter).map((product) => ({ ...product })) }),
    updateOne: async (filter: Filter, { $set }: { $set: Partial<Product> }) => {
      for (const product of matching(filter)) Object.assign(product, $set);
    },
  };
  const health = { check: async () => 'ok' };
  return { data, mongo: { products, health, run: (step: () => unknown) => step() } as never };
}

/** The shop with a bucket, which holds the drawings unless it is `empty`. */
async function shop(t: TestContext, { empty = false, uploadToken = SECRET } = {}) {
  const fake = await fakeS3();
  const { data, mongo } = fakeMongo();
  const pod = () => {
    const { log, lines } = memoryLog();
    const s3 = new S3(fake.config, log, 300);
    const pictures = new Pictures(mongo, s3, log);
    t.after(() => {
      pictures.stop();
      s3.close();
    });
    return { s3, pictures, lines };
  };
  const { s3, pictures } = pod();
  if (!empty) await pictures.complete();
  const find: Catalogue['find'] = async (ids) =>
    ids.flatMap((id) => {
      const product = data.get(id);
      return product ? [{ ...product, id }] : [];
    });
  const { app } = testServer({
    catalogue: { list: async () => ({ products: await find([...data.keys()]), nextOffset: null }), find },
    pictures: { store: pictures, uploadToken, check: () => s3.health.check() },
  });
  t.after(() => {
    fake.stop();
    return app.close();
  });
  return { fake, data, app, pod, mouse: () => data.get('mouse')?.picture as string };
}

test('each product gets a drawing under the hash of its content, from many pods at once, and once', async (t) => {
  const { fake, data, pod } = await shop(t, { empty: true });
  await Promise.all(Array.from({ length: 5 }, () => pod().pictures.complete()));
  assert.equal(fake.objects.size, SEED.length);
  for (const { name, picture } of data.values()) {
    const object = fake.objects.get(String(picture).slice(1));
    assert.equal(object?.body.toString(), drawing(name));
    assert.equal(picture, `/pictures/${sha256(drawing(name))}.svg`);
    assert.equal(object?.headers['content-type'], 'image/svg+xml');
    assert.equal(object?.headers['cache-control'], 'public, max-age=31536000, immutable');
  }
  fake.requests.length = 0;
  await pod().pictures.complete();
  assert.ok(!fake.requests.some((request) => request.startsWith('PUT')), 'written again');
});

test('a start completes what is missing in the catalogue or in the bucket, and keeps what was uploaded', async (t) => {
  const { fake, data, pod, mouse } = await shop(t);
  const before = structuredClone(data);
  const uploaded = `/pictures/${sha256(PNG)}.png`;
  Object.assign(data.get('mouse') as Product, { picture: uploaded });
  delete data.get('cable')?.picture;
  Object.assign(data.get('dock') as Product, { picture: '/pictures/drawn-by-an-older-version.svg' });
  fake.objects.clear();
  await pod().pictures.complete();
  assert.equal(mouse(), uploaded);
  for (const id of ['cable', 'dock', 'stand']) assert.equal(data.get(id)?.picture, before.get(id)?.picture);
  assert.equal(fake.objects.size, SEED.length - 1);
});

test('a shop that starts before its bucket gets its pictures when that comes', async (t) => {
  const { fake, data, pod } = await shop(t, { empty: true });
  fake.stop();
  const { pictures, lines } = pod();
  const completed = pictures.complete();
  await sleep(100);
  await fake.start();
  await completed;
  assert.ok([...data.values()].every(({ picture }) => picture));
  assert.deepEqual(
    lines.map(({ msg }) => msg),
    [
      'S3 is unavailable; trying again.',
      'S3 is connected.',
      'The pictures of 12 products are in the bucket.',
    ],
  );
});

test('a picture is served with headers that browsers and CDNs keep it by, and no script runs in it', async (t) => {
  const { app, mouse } = await shop(t);
  const answer = await app.inject(mouse());
  assert.equal(answer.statusCode, 200);
  assert.equal(answer.body, drawing('Mouse'));
  const { date, connection, ...headers } = answer.headers;
  assert.deepEqual(headers, {
    'content-type': 'image/svg+xml',
    'content-length': String(Buffer.byteLength(answer.body)),
    'cache-control': 'public, max-age=31536000, immutable',
    etag: `"${sha256(answer.body)}"`,
    'access-control-allow-origin': '*',
    'content-security-policy': CSP,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
  });
  const head = await app.inject({ method: 'HEAD', url: mouse() });
  assert.equal(head.body, '');
  assert.deepEqual({ ...head.headers, date, connection }, answer.headers);
});

test('who has the content is told so, even while the bucket is away', async (t) => {
  const { app, fake, mouse } = await shop(t);
  const etag = String((await app.inject(mouse())).headers.etag);
  fake.stop();
  for (const method of ['GET', 'HEAD'] as const)
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`]) {
      const answer = await app.inject({ method, url: mouse(), headers: { 'if-none-match': known } });
      assert.equal(answer.statusCode, 304, known);
      assert.equal(answer.body, '');
      assert.equal(answer.headers.etag, etag);
      assert.match(String(answer.headers['cache-control']), /immutable/);
    }
  const headers = { 'if-none-match': '"other"' };
  assert.equal((await app.inject({ url: mouse(), headers })).statusCode, 503);
});

test('a name that is none is 404 without asking the bucket, and so is one that it does not have', async (t) => {
  const { app, fake } = await shop(t);
  fake.requests.length = 0;
  const hash = 'a'.repeat(64);
  const none = [
    'x',
    `${hash}.html`,
    `${hash}.svg.html`,
    `${hash}%2e%2e%2fx.svg`,
    '..%2f..%2fhealth',
    `${hash}%0a.svg`,
  ];
  for (const name of [...none, `${hash.toUpperCase()}.svg`]) {
    const answer = await app.inject(`/pictures/${name}`);
    assert.equal(answer.statusCode, 404, name);
    assert.equal(answer.json().error, 'There is no such picture.');
  }
  assert.deepEqual(fake.requests, []);
  const unknown = await app.inject(`/pictures/${hash}.svg`);
  assert.equal(unknown.statusCode, 404);
  assert.equal(unknown.headers['cache-control'], 'no-store');
  fake.state.bucket = false;
  assert.equal(
    (await app.inject(`/pictures/${hash}.svg`)).statusCode,
    503,
    'the bucket is gone, not the picture',
  );
});

test('while S3 is away pictures are 503, and the shop is ready, takes orders and says what is missing', async (t) => {
  const { app, fake, mouse } = await shop(t);
  assert.equal((await app.inject('/ready')).json().s3, 'ok');
  assert.match((await app.inject('/metrics')).body, /store_up\{store="s3"\} 1/);
  fake.stop();
  const answer = await app.inject(mouse());
  assert.deepEqual([answer.statusCode, answer.headers['retry-after']], [503, '2']);
  assert.equal(answer.headers['cache-control'], 'no-store');
  const ready = await app.inject('/ready');
  assert.equal(ready.statusCode, 200);
  const { s3, ...rest } = ready.json();
  assert.match(s3, /ECONNREFUSED/);
  assert.deepEqual(rest, { status: 'ok', mongodb: 'ok', redis: 'ok' });
  const metrics = (await app.inject('/metrics')).body;
  assert.match(metrics, /store_up\{store="s3"\} 0/);
  assert.match(metrics, /store_up\{store="mongodb"\} 1/);
  const payload = { items: [{ productId: 'mouse', quantity: 1 }] };
  const headers = await loggedIn(app);
  assert.equal((await app.inject({ method: 'POST', url: '/api/orders', headers, payload })).statusCode, 201);
  assert.match((await app.inject('/')).body, /<img /);

  await fake.start();
  assert.equal((await app.inject('/ready')).json().s3, 'ok');
  assert.equal((await app.inject(mouse())).statusCode, 200);
});

test('a picture that breaks off before its first byte is no answer that anybody keeps', async (t) => {
  const { app, fake, mouse } = await shop(t);
  fake.state.broken = (_, response) => {
    response.writeHead(200, { 'content-length': 1_000 }).flushHeaders();
    setTimeout(() => response.destroy(), 50);
  };
  const answer = await app.inject(mouse());
  assert.deepEqual([answer.statusCode, answer.headers['cache-control']], [503, 'no-store']);
  assert.match(answer.json().error, /right now/);
});

test('a customer who does not read holds up little memory, and is let go of', async (t) => {
  const { app, fake, mouse } = await shop(t);
  let written = 0;
  const letGo = new Promise<void>((resolve) => {
    fake.state.broken = (_, response) => {
      response.on('close', resolve).writeHead(200, { 'content-length': 2 ** 30 });
      const chunk = Buffer.alloc(2 ** 16);
      const more = () => {
        while (!response.destroyed && written < 2 ** 30) {
          written += chunk.length;
          if (!response.write(chunk)) return void response.once('drain', more);
        }
      };
      more();
    };
  });
  await app.listen({ port: 0, host: '127.0.0.1' });
  const { port } = app.server.address() as AddressInfo;
  http.get({ port, path: mouse(), host: '127.0.0.1', agent: false }, (r) => r.pause()).on('error', () => {});
  await letGo;
  assert.ok(written < 64 * 2 ** 20, `${written} bytes were read`);
});

const upload = (payload: Buffer | string, token = SECRET, headers = {}) => ({
  method: 'PUT' as const,
  url: '/api/products/mouse/picture',
  headers: { authorization: `Bearer ${token}`, ...headers },
  payload,
});

test('an operator uploads a picture, which is what customers see from then on', async (t) => {
  const { app, fake, mouse } = await shop(t);
  const pictures: [string, string, string][] = [
    ['\x89PNG\r\n\x1a\nx', 'png', 'image/png'],
    ['\xff\xd8\xff\xe0x', 'jpg', 'image/jpeg'],
    ['RIFF\x10\0\0\0WEBPx', 'webp', 'image/webp'],
    ['\0\0\0\x1cftypavifx', 'avif', 'image/avif'],
  ];
  for (const [content, extension, type] of pictures) {
    const body = Buffer.from(content, 'latin1');
    const answer = await app.inject(upload(body, SECRET, { 'content-type': 'application/json' }));
    assert.equal(answer.statusCode, 200, answer.body);
    assert.equal(answer.json().picture, `/pictures/${sha256(body)}.${extension}`);
    assert.equal(mouse(), answer.json().picture);
    assert.equal(fake.objects.get(mouse().slice(1))?.headers['content-type'], type);
    const shown = await app.inject(mouse());
    assert.equal(shown.headers['content-type'], type);
    assert.deepEqual(shown.rawPayload, body);
  }
  assert.equal((await app.inject(upload(PNG))).statusCode, 200, 'without a type');
});

test('whoever has no token may not upload, and nothing but pictures of a sensible size is taken', async (t) => {
  const { app, fake, mouse } = await shop(t);
  const before = mouse();
  fake.requests.length = 0;
  const large = Buffer.concat([PNG, Buffer.alloc(2 * 1024 * 1024)]);
  const customer = (await loggedIn(app)).authorization.slice(7);
  const refused: [number, InjectOptions][] = [
    [401, { ...upload(PNG), headers: {} }],
    [401, { ...upload(large), headers: {} }],
    [403, upload(PNG, 'x'.repeat(SECRET.length))],
    [403, upload(PNG, customer)],
    [404, { ...upload(PNG), url: '/api/products/nothing/picture' }],
    [404, { ...upload(PNG), url: '/api/products/$where/picture' }],
    [400, upload('')],
    [413, upload(large)],
    [415, upload(drawing('Mouse'), SECRET, { 'content-type': 'image/svg+xml' })],
    [415, upload('<svg onload="alert(1)"/>', SECRET, { 'content-type': 'image/png' })],
    [415, upload('GIF89a')],
  ];
  for (const [status, request] of refused) {
    const answer = await app.inject(request);
    assert.equal(answer.statusCode, status, answer.body);
    assert.match(answer.json().error, /\.$/);
  }
  assert.equal(mouse(), before);
  assert.deepEqual(fake.requests, []);
});

test('an upload while S3 is away is 503 and changes nothing; without a token there is no upload', async (t) => {
  const { app, fake, mouse } = await shop(t);
  const before = mouse();
  fake.stop();
  assert.equal((await app.inject(upload(PNG))).statusCode, 503);
  assert.equal(mouse(), before);
  const off = await shop(t, { uploadToken: '' });
  assert.equal((await off.app.inject(upload(PNG))).statusCode, 404);
  assert.equal(
    (await testServer().app.inject('/pictures/x.svg')).json().error,
    'There is nothing at this address.',
  );
});

test('a drawing is valid XML whatever the name, fits its frame, and is the same each time', () => {
  const svg = drawing('<b onload="x">&\'\0\ud800\uffff😀');
  assert.match(svg, />&lt;b onload=&quot;x&quot;&gt;&amp;&#39;😀<\/text>/);
  assert.equal(svg, drawing('<b onload="x">&\'😀'));
  assert.notEqual(drawing('Mouse'), drawing('Dock'));
  assert.match(drawing('x'.repeat(99)), /font-size="6"/);
});

test('the page shows the pictures, and its policy lets them load', async (t) => {
  const { app, data, mouse } = await shop(t);
  Object.assign(data.get('mouse') as Product, { name: 'A "mouse"' });
  delete data.get('dock')?.picture;
  const page = await app.inject('/');
  const image = `<img src="${mouse()}" width="320" height="240" loading="lazy" alt="A &quot;mouse&quot;">`;
  assert.ok(page.body.includes(image), page.body);
  assert.equal(page.body.match(/<img /g)?.length, SEED.length - 1);
  assert.match(String(page.headers['content-security-policy']), /img-src 'self'/);
});
