import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { placeOrder } from '../../src/place-order.ts';
import { testServer } from './fakes.ts';

async function listening(app: ReturnType<typeof testServer>['app']): Promise<string> {
  await app.listen({ port: 0, host: '127.0.0.1' });
  return `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
}

const cli = (base: string) =>
  new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    const script = fileURLToPath(new URL('../../src/place-order.js', import.meta.url));
    execFile(process.execPath, [script, base], (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    );
  });

test('prints one line of JSON for an order that is right', async () => {
  const products = [{ id: 'mouse', name: 'Mouse', description: '', price: 100, stock: 1_000 }];
  const { app } = testServer({
    catalogue: { list: async () => ({ products, nextOffset: null }), find: async () => products },
  });
  const { code, stdout } = await cli(await listening(app));
  await app.close();
  assert.equal(code, 0);
  assert.equal(stdout.trim().split('\n').length, 1);
  const { ok, total } = JSON.parse(stdout);
  assert.deepEqual({ ok, total }, { ok: true, total: 200 });
});

test('says which step failed and exits 1', async () => {
  // The server in memory sells everything for 1.00, whatever its catalogue says.
  const { app } = testServer();
  const { code, stdout, stderr } = await cli(await listening(app));
  await app.close();
  assert.equal(code, 1);
  assert.equal(stdout, '');
  assert.match(stderr, /^Could not check the total: expected 17980, got 200 and then 200\.\n$/);
});

test('sits out a shop that is not ready yet', async () => {
  let tries = 0;
  const { app } = testServer();
  app.addHook('onRequest', async (request, reply) => {
    if (request.url === '/api/register' && ++tries === 1) return reply.code(503).send({ error: 'Not yet.' });
    return undefined;
  });
  const base = await listening(app);
  await assert.rejects(placeOrder(base), /check the total/);
  assert.equal(tries, 2);
  await app.close();
});

test('gives up on a shop that nobody is running', async () => {
  const { app } = testServer();
  const base = await listening(app);
  await app.close();
  await assert.rejects(placeOrder(base, 0), /^Error: Could not register: .*ECONNREFUSED.*\.$/);
});
