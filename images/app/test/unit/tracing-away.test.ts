import assert from 'node:assert/strict';
import { tracingChannel } from 'node:diagnostics_channel';
import { after, test } from 'node:test';
import { startTracing } from '../../src/tracing.ts';
import { loggedIn, memoryLog, testServer } from './fakes.ts';
import { otlpReceiver } from './otlp.ts';

const COMMANDS = 6_000;
const ORDERS = 200;
// Below the time that one attempt to send takes, and far above an order's on a busy machine.
const ANSWERED_MS = 2_500;
const STOPPED_MS = 4_000;

const { log, lines } = memoryLog();
// Takes what is sent, and never says so: worse than one that isn't there at all.
const receiver = await otlpReceiver(() => {});
process.env.OTEL_EXPORTER_OTLP_ENDPOINT = receiver.endpoint;
const tracing = startTracing(log, 1);
const redis = tracingChannel('ioredis:command');
const { app } = testServer({
  trace: tracing.requests,
  catalogue: {
    list: async () => {
      for (let done = 0; done < COMMANDS; done += 1)
        await redis.tracePromise(async () => 'OK', { command: 'get', database: 0 } as never);
      return { products: [], nextOffset: null };
    },
    find: async () => [],
  },
});

after(() => receiver.close());

test('orders go on, as fast as ever, when nobody takes their traces', async () => {
  const headers = await loggedIn(app);
  assert.equal((await app.inject({ url: '/api/products' })).statusCode, 200);
  let slowest = 0;
  for (let orders = 0; orders < ORDERS; orders += 1) {
    const started = performance.now();
    const answer = await app.inject({
      method: 'POST',
      url: '/api/orders',
      headers,
      payload: { items: [{ productId: 'mouse', quantity: 1 }] },
    });
    assert.equal(answer.statusCode, 201);
    slowest = Math.max(slowest, performance.now() - started);
  }
  assert.ok(slowest < ANSWERED_MS, `an order took ${slowest} ms`);
});

test('one line says so, however many traces are lost', async () => {
  const warned = () => lines.filter(({ level }) => level === 'warn');
  for (let tries = 0; tries < 400 && warned().length === 0; tries += 1)
    await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(
    warned().map(({ msg }) => msg),
    ['Traces are not taken; the shop goes on without.'],
  );
  assert.ok(!JSON.stringify(lines).includes('example.com'));
});

test('a pod stops all the same, within its time, and kept no more than its queue holds', async () => {
  const started = performance.now();
  await tracing.stop();
  assert.ok(performance.now() - started < STOPPED_MS);
  assert.ok(receiver.spans.length > 0);
  assert.ok(receiver.spans.length < COMMANDS - 1_000, `${receiver.spans.length} spans were kept`);
});
