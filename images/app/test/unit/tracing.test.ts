import assert from 'node:assert/strict';
import { tracingChannel } from 'node:diagnostics_channel';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace';
import { S3 } from '../../src/s3.ts';
import { startTracing } from '../../src/tracing.ts';
import { fakeS3, memoryLog, testServer } from './fakes.ts';

test('a request, with a body, and its commands are one trace, whose id is in the log', async () => {
  const exporter = new InMemorySpanExporter();
  const tracing = startTracing(new SimpleSpanProcessor({ exporter }));
  const mongo = new EventEmitter();
  tracing.mongo(mongo as never);
  const redis = tracingChannel('ioredis:command');
  const fake = await fakeS3();
  const s3 = new S3(fake.config, memoryLog().log);
  await s3.health.check();
  const { app, lines } = testServer({
    trace: tracing.requests,
    users: {
      register: async () => {
        const started = { requestId: 1, commandName: 'insert', databaseName: 'techshop' };
        mongo.emit('commandStarted', { ...started, command: { insert: 'users', secret: 'sesame' } });
        await redis.tracePromise(async () => 'OK', { command: 'set', args: ['sesame'] } as never);
        mongo.emit('commandSucceeded', { requestId: 1 });
        await s3.get('none', 'HEAD');
        return 'id';
      },
      login: async () => 'id',
      email: async () => undefined,
    },
  });
  // A ping of the shop's own, outside any request.
  await redis.tracePromise(async () => 'PONG', { command: 'ping' } as never);
  const traceId = '0af7651916cd43dd8448eb211c80319c';
  const answer = await app.inject({
    method: 'POST',
    url: '/api/register',
    headers: { traceparent: `00-${traceId}-b7ad6b7169203331-01` },
    payload: { email: 'a@example.com', password: 'correct horse' },
  });
  assert.equal(answer.statusCode, 201);
  await app.inject('/health');

  const spans = exporter.getFinishedSpans();
  assert.deepEqual(spans.map(({ name }) => name).sort(), [
    'POST /api/register',
    'mongodb insert',
    'redis set',
    's3 HEAD',
  ]);
  const root = spans.find(({ name }) => name.startsWith('POST'));
  assert.equal(root?.attributes['http.response.status_code'], 201);
  for (const span of spans) {
    assert.equal(span.spanContext().traceId, traceId);
    if (span !== root) assert.equal(span.parentSpanContext?.spanId, root?.spanContext().spanId);
    assert.ok(!JSON.stringify(span.attributes).includes('sesame'));
  }
  assert.equal(lines.find(({ path }) => path === '/api/register')?.trace_id, traceId);
  await tracing.stop();
  s3.close();
  fake.stop();
});
