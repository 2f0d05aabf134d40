import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { HttpError, reason, Unavailable } from './errors.ts';
import type { Lifecycle } from './health.ts';
import { isMongoAway } from './mongo.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Why the request failed, for its line in the log. */
    failure: string | undefined;
  }
}

// Asked every few seconds; when a store comes or goes, its own line says so.
const QUIET = new Set(['/health', '/ready', '/metrics']);

// The parser's own words name its internals; these are for people.
const PARSER_SAYS: Record<string, string> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'Send the body as JSON, with content-type application/json.',
  FST_ERR_CTP_INVALID_JSON_BODY: 'The body is not valid JSON.',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'The body is empty: send JSON or no content-type.',
  FST_ERR_CTP_BODY_TOO_LARGE: 'The body is too large.',
};

/** What every answer has in common: headers, errors as a sentence in JSON, and one line in the log. */
export function commonAnswers(app: FastifyInstance, lifecycle: Lifecycle): void {
  app.decorateRequest('failure', undefined);

  app.addHook('onSend', async (_, reply, payload) => {
    reply.header('x-content-type-options', 'nosniff').header('referrer-policy', 'no-referrer');
    if (!reply.hasHeader('content-security-policy'))
      reply.header('content-security-policy', "default-src 'none'; frame-ancestors 'none'");
    // A picture that failed on its way has the picture's headers still.
    if (!reply.hasHeader('cache-control') || reply.statusCode >= 400)
      reply.header('cache-control', 'no-store');
    // Whoever keeps a connection to a pod that is going away must open the next one elsewhere.
    if (lifecycle.draining) reply.header('connection', 'close');
    return payload;
  });

  app.addHook('onResponse', async (request, reply) => {
    const status = reply.statusCode;
    const level = QUIET.has(request.routeOptions.url ?? '') ? 'debug' : status >= 500 ? 'warn' : 'info';
    // Neither headers nor the query string: they may hold what is nobody's business.
    request.log[level](
      {
        method: request.method,
        path: request.url.split('?', 1)[0],
        route: request.routeOptions.url,
        status,
        ms: Math.round(reply.elapsedTime),
        failure: request.failure,
      },
      'request',
    );
  });

  app.setErrorHandler(answerError);
  app.setNotFoundHandler((_, reply) => reply.code(404).send({ error: 'There is nothing at this address.' }));
}

export function answerError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  // A stream that fails has left its own type.
  reply.type('application/json; charset=utf-8');
  if (error instanceof HttpError) {
    if (error.statusCode === 401) reply.header('www-authenticate', 'Bearer');
    return reply.code(error.statusCode).send({ error: error.message });
  }
  if (error instanceof Unavailable || isMongoAway(error) || error.code === 'FST_ERR_HANDLER_TIMEOUT') {
    request.failure = reason(error) + (error.cause ? `: ${reason(error.cause)}` : '');
    return reply
      .code(503)
      .header('retry-after', '2')
      .send({ error: 'The shop cannot answer this right now. Try again in a few seconds.' });
  }
  const status = error.statusCode ?? 500;
  if (status < 500)
    return reply.code(status).send({ error: PARSER_SAYS[error.code] ?? 'The request is not valid.' });
  request.log.error({ err: error }, 'A request failed for a reason of our own.');
  return reply.code(500).send({ error: 'Something went wrong on our side.' });
}
