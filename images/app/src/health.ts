import type { FastifyInstance } from 'fastify';

export type Lifecycle = { draining: boolean };
export type Checks = Record<string, () => Promise<string>>;

// /health: this process is alive, whatever its stores do. /ready: send me requests, even if one of `missed` is.
export function healthRoutes(
  app: FastifyInstance,
  lifecycle: Lifecycle,
  needed: Checks,
  missed: Checks,
): void {
  app.get('/health', async () => ({ status: 'ok' }));

  app.get('/ready', async (_, reply) => {
    const answers = await Promise.all(
      Object.entries({ ...needed, ...missed }).map(async ([name, check]) => [name, await check()] as const),
    );
    const ready = !lifecycle.draining && answers.every(([name, answer]) => answer === 'ok' || name in missed);
    return reply.code(ready ? 200 : 503).send({
      status: ready ? 'ok' : 'unavailable',
      ...(lifecycle.draining && { draining: true }),
      ...Object.fromEntries(answers),
    });
  });
}
