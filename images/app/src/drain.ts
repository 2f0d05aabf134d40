import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import type { Lifecycle } from './health.ts';
import type { Log } from './log.ts';

/** Longer than the longest request: whoever is still connected then is not coming to an end. */
const LAST_REQUESTS_MS = 16_000;

export type DrainParts = {
  app: FastifyInstance;
  lifecycle: Lifecycle;
  log: Log;
  seconds: number;
  closeStores: () => Promise<void>;
};

/** Goes away without losing a request; called again, it is the same going away. */
export function drainer({ app, lifecycle, log, seconds, closeStores }: DrainParts): () => Promise<void> {
  const drain = async () => {
    lifecycle.draining = true;
    log.info(`Stopping: serving for ${seconds} more seconds, while /ready says no.`);
    // Requests keep coming until every node and load balancer has heard that this pod is going.
    await sleep(seconds * 1_000);
    const cut = setTimeout(() => app.server.closeAllConnections(), LAST_REQUESTS_MS);
    await app.close();
    clearTimeout(cut);
    await closeStores();
    log.info('Stopped.');
  };
  let going: Promise<void> | undefined;
  return () => {
    going ??= drain();
    return going;
  };
}
