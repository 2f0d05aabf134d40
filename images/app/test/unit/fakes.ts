import { randomUUID } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { HttpError } from '../../src/errors.ts';
import type { Line } from '../../src/lines.ts';
import { totalOf } from '../../src/lines.ts';
import { createLog } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import type { Order } from '../../src/mongo.ts';
import type { RedisStore } from '../../src/redis.ts';
import { sha256 } from '../../src/s3.ts';
import { SEED } from '../../src/seed.ts';
import { buildServer, type Parts } from '../../src/server.ts';
import { Sessions } from '../../src/sessions.ts';

export const SECRET = 'a-secret-for-tests-that-is-long-enough';

/** Enough of Redis for sessions and the cache. */
export function fakeRedis(): RedisStore & { data: Map<string, string> } {
  const data = new Map<string, string>();
  const client = {
    get: async (key: string) => data.get(key) ?? null,
    set: async (key: string, value: string) => data.set(key, value) && 'OK',
    del: async (key: string) => Number(data.delete(key)),
    exists: async (key: string) => Number(data.has(key)),
  };
  return { data, run: (command) => command(client as never) };
}

/** Keeps the log's lines. */
export function memoryLog(level = 'debug') {
  const lines: Record<string, unknown>[] = [];
  const log = createLog(level, { write: (line) => lines.push(JSON.parse(line)) });
  return { log, lines };
}

const products = SEED.map(({ _id, ...rest }) => ({ id: _id, ...rest }));

/** The shop's server over stores in memory; `overrides` replaces parts of it. */
export function testServer(overrides: Partial<Parts> = {}): {
  app: FastifyInstance;
  lines: Record<string, unknown>[];
} {
  const { log, lines } = memoryLog();
  const accounts = new Map<string, { id: string; password: string }>();
  const carts = new Map<string, Line[]>();
  const placed: Order[] = [];
  const byKey = async (userId: string, key: string) =>
    placed.find((order) => order.userId === userId && order.key === key) ?? null;
  const app = buildServer({
    log,
    lifecycle: { draining: false },
    checks: { mongodb: async () => 'ok', redis: async () => 'ok' },
    metrics: createMetrics(),
    catalogue: {
      list: async (limit, offset) => ({
        products: products.slice(offset, offset + limit),
        nextOffset: offset + limit < products.length ? offset + limit : null,
      }),
      find: async (ids) => products.filter(({ id }) => ids.includes(id)),
    },
    users: {
      register: async (email, password) => {
        if (accounts.has(email)) throw new HttpError(409, 'There is an account already.');
        const id = randomUUID();
        accounts.set(email, { id, password });
        return id;
      },
      login: async (email, password) => {
        const account = accounts.get(email);
        if (account?.password !== password) throw new HttpError(401, 'Wrong.');
        return account.id;
      },
      email: async (id) => [...accounts].find(([, account]) => account.id === id)?.[0],
    },
    carts: {
      lines: async (userId) => carts.get(userId) ?? [],
      put: async (userId, productId, quantity) => {
        carts.set(userId, [...(carts.get(userId) ?? []), { productId, quantity }]);
      },
      remove: async (userId) => void carts.delete(userId),
      take: async (userId) => void carts.delete(userId),
    },
    orders: {
      byKey,
      place: async (userId, lines, key) => {
        const earlier = key && (await byKey(userId, key));
        if (earlier) return { order: earlier, created: false };
        const items = lines.map((line) => ({ ...line, name: line.productId, price: 100 }));
        const order: Order = {
          _id: randomUUID(),
          userId,
          ...(key && { key }),
          items,
          total: totalOf(items),
          createdAt: new Date(),
        };
        placed.push(order);
        return { order, created: true };
      },
      list: async (userId, limit, offset) =>
        placed.filter((order) => order.userId === userId).slice(offset, offset + limit),
      get: async (userId, id) => placed.find((order) => order._id === id && order.userId === userId) ?? null,
    },
    sessions: new Sessions(SECRET, fakeRedis()),
    ...overrides,
  });
  return { app, lines };
}

/** The headers of a fresh customer who is logged in. */
export async function loggedIn(app: FastifyInstance): Promise<{ authorization: string }> {
  const payload = { email: `${randomUUID()}@example.com`, password: 'correct horse' };
  await app.inject({ method: 'POST', url: '/api/register', payload });
  const answer = await app.inject({ method: 'POST', url: '/api/login', payload });
  return { authorization: `Bearer ${answer.json().token}` };
}

const SIGNED =
  /^AWS4-HMAC-SHA256 Credential=access\/\d{8}\/eu-1\/s3\/aws4_request, SignedHeaders=\S*host;\S+, Signature=[0-9a-f]{64}$/;

/** A bucket behind real HTTP, which looks at signatures but doesn't compute them. */
export async function fakeS3(tls?: { key: string; cert: string }) {
  const objects = new Map<string, { body: Buffer; headers: http.IncomingHttpHeaders }>();
  const requests: string[] = [];
  const state = { bucket: true, broken: undefined as http.RequestListener | undefined };
  const listener: http.RequestListener = async (request, response) => {
    const path = request.url as string;
    requests.push(`${request.method} ${request.headers.host?.split(':')[0]}${path}`);
    const body = Buffer.concat(await request.toArray());
    const end = (status: number, content?: Buffer) => response.writeHead(status).end(content);
    if (state.broken) return state.broken(request, response);
    if (!SIGNED.test(request.headers.authorization ?? '')) return end(403);
    if (request.headers['x-amz-content-sha256'] !== sha256(body)) return end(400);
    if (!state.bucket) return end(404);
    const key = path.replace(/^\/assets\//, '').replace(/^\//, '');
    if (!key) return end(200);
    if (request.method === 'PUT') objects.set(key, { body, headers: request.headers });
    const object = objects.get(key);
    if (!object) return end(404);
    response.setHeader('content-length', request.method === 'PUT' ? 0 : object.body.length);
    // What the shop answers with is its own.
    response.setHeader('set-cookie', 'id=1').setHeader('content-type', 'text/html');
    return end(200, request.method === 'GET' ? object.body : undefined);
  };
  const server = tls ? https.createServer(tls, listener) : http.createServer(listener);
  const listen = (port: number) => new Promise<void>((done) => server.listen(port, '127.0.0.1', done));
  await listen(0);
  const { port } = server.address() as AddressInfo;
  return {
    objects,
    requests,
    state,
    config: {
      endpoint: `${tls ? 'https' : 'http'}://localhost:${port}`,
      bucket: 'assets',
      pathStyle: true,
      region: 'eu-1',
      keys: { accessKeyId: 'access', secretAccessKey: 'secret' } as
        | { accessKeyId: string; secretAccessKey: string }
        | undefined,
      ca: tls?.cert,
    },
    start: () => listen(port),
    stop: () => {
      server.close();
      server.closeAllConnections();
    },
    closeIdle: () => server.closeAllConnections(),
  };
}
