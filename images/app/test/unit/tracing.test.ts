import assert from 'node:assert/strict';
import { tracingChannel } from 'node:diagnostics_channel';
import { EventEmitter } from 'node:events';
import { after, before, test } from 'node:test';
import { S3 } from '../../src/s3.ts';
import { startTracing, type Tracing } from '../../src/tracing.ts';
import { fakeS3, memoryLog, testServer } from './fakes.ts';
import { otlpReceiver, type ReceivedSpan } from './otlp.ts';

const SERVER = 2;
const CLIENT = 3;
const FAILED = 2;
const redis = tracingChannel('ioredis:command');
const mongo = new EventEmitter();
const { log, lines: said } = memoryLog();

let receiver: Awaited<ReturnType<typeof otlpReceiver>>;
let fake: Awaited<ReturnType<typeof fakeS3>>;
let s3: S3;
let tracing: Tracing;
let shop: ReturnType<typeof testServer>;
let work: () => Promise<void> = async () => {};
let requestId = 0;

/** What the driver tells of a command, as one that succeeds or fails. */
async function mongoCommand(name: string, command: Record<string, unknown>, failure?: Error) {
  requestId += 1;
  const event = { requestId, commandName: name, databaseName: 'techshop', address: 'db-0.db:27017' };
  mongo.emit('commandStarted', { ...event, command });
  await new Promise((resolve) => setImmediate(resolve));
  mongo.emit(failure ? 'commandFailed' : 'commandSucceeded', { ...event, failure });
}

function redisCommand(command: string, failure?: Error): Promise<unknown> {
  const told = { command, args: ['sesame'], database: 0, serverAddress: 'redis-0', serverPort: 6379 };
  const done = async () => {
    if (failure) throw failure;
  };
  return redis.tracePromise(done, told as never).catch(() => {});
}

/** Requests with a trace id of their own, and the spans that arrive with that id. */
let traces = 0;
async function traced(
  request: { method?: string; url: string; payload?: object; headers?: Record<string, string> },
  sampled = '01',
): Promise<{ traceId: string; spans: () => Promise<ReceivedSpan[]>; status: number }> {
  traces += 1;
  const traceId = traces.toString(16).padStart(32, '0');
  const headers = { traceparent: `00-${traceId}-b7ad6b7169203331-${sampled}`, ...request.headers };
  const answer = await shop.app.inject({ method: 'GET', ...request, headers } as never);
  const spans = async () => {
    for (let tries = 0; tries < 100; tries += 1) {
      const found = receiver.spans.filter((span) => span.traceId === traceId);
      if (found.some(({ kind }) => kind === SERVER)) return found;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return [];
  };
  return { traceId, spans, status: (answer as { statusCode: number }).statusCode };
}

const only = (spans: ReceivedSpan[], name: string): ReceivedSpan => {
  const [span, ...more] = spans.filter((item) => item.name === name);
  assert.ok(span, `no span ${name} among ${spans.map((item) => item.name).join(', ')}`);
  assert.deepEqual(more, []);
  return span;
};

before(async () => {
  receiver = await otlpReceiver();
  fake = await fakeS3();
  process.env.OTEL_EXPORTER_OTLP_ENDPOINT = receiver.endpoint;
  tracing = startTracing(log, 1);
  tracing.mongo(mongo as never);
  s3 = new S3(fake.config, memoryLog().log);
  await s3.health.check();
  shop = testServer({
    trace: tracing.requests,
    users: {
      register: async () => {
        await work();
        return 'id';
      },
      login: async () => 'id',
      email: async () => undefined,
    },
  });
});

after(async () => {
  await tracing.stop();
  s3.close();
  fake.stop();
  receiver.close();
});

const register = { method: 'POST', url: '/api/register' };
const payload = { email: 'a@example.com', password: 'correct horse' };

test('a request, with a body, and all that it asks of the stores are one trace, whose id is in the log', async () => {
  // Pings of the shop's own, outside any request.
  await redisCommand('ping');
  await mongoCommand('ping', { ping: 1 });
  work = async () => {
    await mongoCommand('findAndModify', { findAndModify: 'products', query: { secret: 'sesame' } });
    await mongoCommand('insert', { insert: 'orders', documents: [{ email: 'a@example.com' }] });
    await mongoCommand('commitTransaction', { commitTransaction: 1 });
    await mongoCommand('getMore', { getMore: 7n, collection: 'orders' });
    await redisCommand('set');
    await s3.put('pictures/a.svg', { body: Buffer.from('x'), headers: {} });
    (await s3.get('pictures/a.svg'))?.resume();
  };
  const { traceId, spans, status } = await traced({ ...register, payload });
  assert.equal(status, 201);
  const found = await spans();
  const root = only(found, 'POST /api/register');
  assert.equal(root.kind, SERVER);
  assert.equal(root.parentSpanId, 'b7ad6b7169203331');
  assert.equal(root.status?.code ?? 0, 0);
  assert.deepEqual(root.attributes, {
    'http.request.method': 'POST',
    'http.response.status_code': 201,
    'http.route': '/api/register',
    'network.protocol.version': '1.1',
    'url.path': '/api/register',
    'url.scheme': 'http',
  });
  const children = found.filter((span) => span !== root);
  assert.deepEqual(
    children.map(({ name }) => name),
    [
      'findAndModify products',
      'insert orders',
      'commitTransaction techshop',
      'getMore orders',
      'set',
      'PUT /assets/{key}',
      'GET /assets/{key}',
    ],
  );
  for (const span of children) {
    assert.equal(span.kind, CLIENT);
    assert.equal(span.parentSpanId, root.spanId);
  }
  assert.deepEqual(only(found, 'insert orders').attributes, {
    'db.collection.name': 'orders',
    'db.namespace': 'techshop',
    'db.operation.name': 'insert',
    'db.system.name': 'mongodb',
    'server.address': 'db-0.db',
    'server.port': 27017,
  });
  assert.deepEqual(only(found, 'set').attributes, {
    'db.namespace': '0',
    'db.operation.name': 'set',
    'db.system.name': 'redis',
    'server.address': 'redis-0',
    'server.port': 6379,
  });
  const { hostname, port } = new URL(fake.config.endpoint);
  assert.deepEqual(only(found, 'GET /assets/{key}').attributes, {
    'aws.s3.bucket': 'assets',
    'http.request.method': 'GET',
    'http.response.status_code': 200,
    'server.address': hostname,
    'server.port': Number(port),
    'url.full': `${fake.config.endpoint}/assets/pictures/a.svg`,
    'url.template': '/assets/{key}',
  });
  const line = shop.lines.find(({ path }) => path === '/api/register');
  assert.equal(line?.trace_id, traceId);
  assert.equal(line?.span_id, root.spanId);
  assert.equal(receiver.resources[0]?.['service.name'], 'techshop-app');
});

test('what fails is marked by its kind, never by its text', async () => {
  work = async () => {
    const duplicate = Object.assign(new Error('E11000 dup key: { email: "a@example.com" }'), { code: 11000 });
    await mongoCommand('findAndModify', { findAndModify: 'users' }, duplicate);
    await mongoCommand('find', { find: 'users' }, new TypeError('of a@example.com'));
    await redisCommand('get', new Error('WRONGTYPE Operation against sesame'));
    await redisCommand('del', new RangeError('sesame'));
    await s3.get('pictures/none.svg');
    throw new Error('about a@example.com');
  };
  const { spans, status } = await traced({ ...register, payload });
  assert.equal(status, 500);
  const found = await spans();
  const kinds = found.map(({ name, attributes }) => [name, attributes['error.type']]);
  assert.deepEqual(Object.fromEntries(kinds), {
    'findAndModify users': '11000',
    'find users': 'TypeError',
    get: 'WRONGTYPE',
    del: 'RangeError',
    'GET /assets/{key}': '404',
    'POST /api/register': '500',
  });
  for (const { status: told } of found) {
    assert.equal(told?.code, FAILED);
    assert.ok(!told?.message);
  }
  assert.equal(only(found, 'findAndModify users').attributes['db.response.status_code'], '11000');
  assert.equal(only(found, 'get').attributes['db.response.status_code'], 'WRONGTYPE');
  assert.equal(only(found, 'GET /assets/{key}').attributes['http.response.status_code'], 404);
});

test('an answer below 500 is no failure of the server', async () => {
  const { spans, status } = await traced({ url: '/api/orders' });
  assert.equal(status, 401);
  const [root] = await spans();
  assert.equal(root?.status?.code ?? 0, 0);
  assert.equal(root?.attributes['error.type'], undefined);
});

test('names come from routes and never from what clients ask for', async () => {
  const product = await traced({ url: '/api/products/mouse?token=sesame' });
  const none = await traced({ url: '/no/such/page' });
  const odd = await traced({ method: 'PROPFIND', url: '/api/products' });
  assert.deepEqual(
    [await product.spans(), await none.spans(), await odd.spans()].map(([root]) => [
      root?.name,
      root?.attributes['url.path'],
      root?.attributes['http.request.method'],
    ]),
    [
      ['GET /api/products/:productId', '/api/products/mouse', 'GET'],
      ['GET', '/no/such/page', 'GET'],
      ['HTTP', '/api/products', '_OTHER'],
    ],
  );
});

test('a path may hold an e-mail address or a token, and the span then does not', async () => {
  const { spans } = await traced({ url: `/users/a@example.com/${'t'.repeat(200)}/a%40example.com/x` });
  const [root] = await spans();
  assert.equal(root?.attributes['url.path'], '/users/REDACTED/REDACTED/REDACTED/x');
});

test('probes and scrapes leave no trace', async () => {
  for (const url of ['/health', '/ready', '/metrics']) await shop.app.inject(url);
  const { spans } = await traced({ url: '/api/products' });
  await spans();
  const names = receiver.spans.map(({ name }) => name);
  assert.deepEqual(
    names.filter((name) => /health|ready|metrics|ping/.test(name)),
    [],
  );
});

test('a client that wants no trace gets none', async () => {
  work = async () => {
    await redisCommand('set');
  };
  const { traceId } = await traced({ ...register, payload }, '00');
  const { spans } = await traced({ url: '/api/products' });
  await spans();
  assert.deepEqual(
    receiver.spans.filter((span) => span.traceId === traceId),
    [],
  );
});

test('nothing secret was ever sent', () => {
  const sent = receiver.bodies.join('\n');
  for (const secret of ['sesame', 'example.com', 'correct horse', 'access/'])
    assert.ok(!sent.includes(secret), secret);
  assert.deepEqual(said, []);
});
