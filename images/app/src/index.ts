import { networkInterfaces } from 'node:os';
import { Carts } from './cart.ts';
import { Catalogue } from './catalogue.ts';
import { type Config, ConfigError, loadConfig } from './config.ts';
import { drainer } from './drain.ts';
import { createLog, type Log } from './log.ts';
import { createMetrics } from './metrics.ts';
import { Mongo } from './mongo.ts';
import { Orders } from './orders.ts';
import { Pictures } from './pictures.ts';
import { RedisConnection } from './redis.ts';
import { S3 } from './s3.ts';
import { SEED } from './seed.ts';
import { buildServer } from './server.ts';
import { Sessions } from './sessions.ts';
import { Users } from './users.ts';

async function main(config: Config, log: Log): Promise<void> {
  // Loaded only when asked for: it costs a third of the start and of the memory.
  const tracing = config.otlpEndpoint
    ? (await import('./tracing.ts')).startTracing(log, config.traceRatio)
    : undefined;
  const mongo = new Mongo(config, log, SEED);
  const redis = new RedisConnection(config, log);
  const s3 = config.s3 && new S3(config.s3, log);
  const pictures = s3 && new Pictures(mongo, s3, log);
  const lifecycle = { draining: false };
  const app = buildServer({
    log,
    lifecycle,
    checks: { mongodb: () => mongo.health.check(), redis: () => redis.health.check() },
    metrics: createMetrics(mongo.client),
    catalogue: new Catalogue(mongo, redis, Boolean(pictures)),
    users: new Users(mongo),
    carts: new Carts(redis),
    orders: new Orders(mongo),
    sessions: new Sessions(config.jwtSecret, redis),
    ...(pictures && {
      pictures: { store: pictures, uploadToken: config.uploadToken, check: () => s3.health.check() },
    }),
    ...(tracing && { trace: tracing.requests }),
  });
  tracing?.mongo(mongo.client);

  const drain = drainer({
    app,
    lifecycle,
    log,
    seconds: config.drainSeconds,
    closeStores: async () => {
      pictures?.stop();
      s3?.close();
      await Promise.allSettled([mongo.close(), redis.close(), tracing?.stop()]);
    },
  });
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => {
      drain().then(
        () => process.exit(0),
        (error) => fail(log, error),
      );
    });

  // '::' takes IPv4 as well, but fails on a machine without any IPv6.
  const addresses = Object.values(networkInterfaces()).flat();
  const host = addresses.some((address) => address?.family === 'IPv6') ? '::' : '0.0.0.0';
  await app.listen({ host, port: config.port });
  mongo.health.watch();
  redis.health.watch();
  s3?.health.watch();
  await pictures?.complete();
}

function fail(log: Log, error: unknown): never {
  if (error instanceof ConfigError) log.fatal(error.message);
  else log.fatal({ err: error }, 'The shop stops: something unforeseen went wrong.');
  process.exit(1);
}

const startLog = createLog('info');
try {
  const config = loadConfig(process.env);
  const log = createLog(config.logLevel);
  process.on('uncaughtException', (error) => fail(log, error));
  await main(config, log);
} catch (error) {
  fail(startLog, error);
}
