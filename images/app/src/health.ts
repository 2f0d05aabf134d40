import type { FastifyInstance } from 'fastify';

export type Lifecycle = { draining: boolean };
export type Checks = Record<string, () => Promise<string>>;

/** /health: this process is alive, whatever its stores do. /ready: send me requests. */
export function healthRoutes(app: FastifyInstance, lifecycle: Lifecycle, checks: Checks): void {
  app.get('/health', async () => ({ status: 'ok' }));

  app.get('/ready', async (_, reply) => {
    const answers = await Promise.all(
      Object.entries(checks).map(async ([name, check]) => [name, await check()] as const),
    );
    const ready = !lifecycle.draining && answers.every(([, answer]) => answer === 'ok');
    return reply.code(ready ? 200 : 503).send({
      status: ready ? 'ok' : 'unavailable',
      ...(lifecycle.draining && { draining: true }),
      ...Object.fromEntries(answers),
    });
  });
}
