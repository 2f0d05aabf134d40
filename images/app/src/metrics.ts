import type { FastifyInstance } from 'fastify';
import type { MongoClient } from 'mongodb';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Checks } from './health.ts';

// 0.3 is the objective of the service level for latency: what is slower than it counts against the month's budget.
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2.5, 5, 10, 15];

export function createMetrics(mongo?: MongoClient): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  if (mongo) measurePool(mongo, registry);
  return registry;
}

/** Counts by route template, never by path: what clients ask for must not make new time series. */
export function measureRequests(app: FastifyInstance, registry: Registry): void {
  const registers = [registry];
  const labelNames = ['method', 'route', 'status'] as const;
  const total = new Counter({
    name: 'http_requests_total',
    help: 'Requests answered.',
    labelNames,
    registers,
  });
  const duration = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Time from a request to the end of its answer.',
    labelNames,
    registers,
    buckets: BUCKETS,
  });
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'unmatched';
    const labels = { method: request.method, route, status: String(reply.statusCode) };
    total.inc(labels);
    duration.observe(labels, reply.elapsedTime / 1_000);
  });
  app.get('/metrics', async (_, reply) => {
    reply.type(registry.contentType);
    return registry.metrics();
  });
}

export function measureStores(registry: Registry, checks: Checks): void {
  new Gauge({
    name: 'store_up',
    help: 'Whether a store answers.',
    labelNames: ['store'],
    registers: [registry],
    async collect() {
      await Promise.all(
        Object.entries(checks).map(async ([store, check]) =>
          this.set({ store }, Number((await check()) === 'ok')),
        ),
      );
    },
  });
}

function measurePool(mongo: MongoClient, registry: Registry): void {
  const registers = [registry];
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers });
  const open = gauge('mongodb_pool_connections', 'Connections to MongoDB that are open.');
  const used = gauge('mongodb_pool_connections_in_use', 'Connections to MongoDB that an operation holds.');
  const waiting = gauge('mongodb_pool_waiting', 'Operations waiting for a connection to MongoDB.');
  mongo.on('connectionCreated', () => open.inc());
  mongo.on('connectionClosed', () => open.dec());
  mongo.on('connectionCheckOutStarted', () => waiting.inc());
  mongo.on('connectionCheckOutFailed', () => waiting.dec());
  mongo.on('connectionCheckedOut', () => {
    waiting.dec();
    used.inc();
  });
  mongo.on('connectionCheckedIn', () => used.dec());
}
