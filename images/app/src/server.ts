import cookie from '@fastify/cookie';
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';
import type { Registry } from 'prom-client';
import { answerError, commonAnswers } from './answers.ts';
import { type CartRouteParts, cartRoutes } from './cart.ts';
import { type Catalogue, catalogueRoutes } from './catalogue.ts';
import { type Checks, healthRoutes, type Lifecycle } from './health.ts';
import type { Log } from './log.ts';
import { measureRequests, measureStores } from './metrics.ts';
import { type OrderRouteParts, orderRoutes } from './order-routes.ts';
import { pageRoute } from './page.ts';
import { type PictureRouteParts, pictureRoutes } from './pictures.ts';
import type { Sessions } from './sessions.ts';
import { REQUEST_MS } from './time.ts';
import { type Users, userRoutes } from './users.ts';

export type Parts = {
  log: Log;
  lifecycle: Lifecycle;
  checks: Checks;
  /** Present where there is a bucket; without S3 the shop sells all the same. */
  pictures?: Omit<PictureRouteParts, 'catalogue'> & { check: Checks[string] };
  metrics: Registry;
  catalogue: Pick<Catalogue, 'list' | 'find'>;
  users: Pick<Users, 'register' | 'login' | 'email'>;
  carts: CartRouteParts['carts'] & OrderRouteParts['carts'];
  orders: OrderRouteParts['orders'];
  sessions: Sessions;
  trace?: (app: FastifyInstance) => void;
};

export function buildServer(parts: Parts): FastifyInstance {
  const app: FastifyInstance = Fastify({
    loggerInstance: parts.log as FastifyBaseLogger,
    // One line per answer, written by ours.
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: 64 * 1024,
    requestTimeout: 15_000,
    handlerTimeout: REQUEST_MS + 500,
    // For the cookie's Secure mark behind an edge that ends TLS.
    trustProxy: true,
    // While closing, what still arrives on open connections is answered like any other request.
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => {
      answerError(error, request, reply);
    },
  });
  // JSON only: a form on somebody else's page can't send that.
  app.removeContentTypeParser('text/plain');
  parts.trace?.(app);
  commonAnswers(app, parts.lifecycle);
  app.register(cookie);
  measureRequests(app, parts.metrics);
  const missed: Checks = parts.pictures ? { s3: parts.pictures.check } : {};
  measureStores(parts.metrics, { ...parts.checks, ...missed });
  healthRoutes(app, parts.lifecycle, parts.checks, missed);
  pageRoute(app, parts);
  catalogueRoutes(app, parts);
  userRoutes(app, parts);
  cartRoutes(app, parts);
  orderRoutes(app, parts);
  if (parts.pictures) pictureRoutes(app, { ...parts.pictures, catalogue: parts.catalogue });
  return app;
}
