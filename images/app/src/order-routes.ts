import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { Carts } from './cart.ts';
import { HttpError, reason } from './errors.ts';
import type { Order } from './mongo.ts';
import type { Orders, Placed } from './orders.ts';
import type { Sessions } from './sessions.ts';
import { REQUEST_MS } from './time.ts';
import { page, parse, productId, quantity } from './validation.ts';

const EMPTYING_MS = 1_000;

const linesError = 'items must be a list of 1 to 50 lines with productId and quantity.';
const newOrder = z.strictObject({
  items: z
    .array(z.strictObject({ productId, quantity }, { error: linesError }), { error: linesError })
    .min(1, { error: linesError })
    .max(50, { error: linesError })
    .optional(),
});
const headers = z.object({
  'idempotency-key': z
    .string()
    .regex(/^[\x21-\x7e]{1,128}$/, {
      error: 'Idempotency-Key must be 1 to 128 printable characters without spaces.',
    })
    .optional(),
});
const orderId = z.object({ id: z.uuid() });

const shown = ({ _id, items, total, createdAt }: Order) => ({ id: _id, total, items, createdAt });

export type OrderRouteParts = {
  orders: Pick<Orders, 'place' | 'byKey' | 'list' | 'get'>;
  carts: Pick<Carts, 'lines' | 'take'>;
  sessions: Sessions;
};

export function orderRoutes(app: FastifyInstance, { orders, carts, sessions }: OrderRouteParts): void {
  app.post('/api/orders', async (request, reply) => {
    const deadline = Date.now() + REQUEST_MS;
    const userId = await sessions.userOf(request);
    const { 'idempotency-key': key } = parse(headers, request.headers);
    const body = parse(newOrder, request.body);

    const lines = body.items ?? (await carts.lines(userId));
    let placed: Placed;
    if (lines.length > 0) placed = await orders.place(userId, lines, key, deadline);
    else {
      // A retry finds the cart emptied by its first try.
      const earlier = key && (await orders.byKey(userId, key));
      if (!earlier) throw new HttpError(422, 'The cart is empty.');
      placed = { order: earlier, created: false };
    }
    if (!body.items) {
      // The order stands whatever becomes of the cart; a retry empties it if the first try came to no end.
      await carts.take(userId, placed.order.items, EMPTYING_MS).catch((error) => {
        request.log.warn({ reason: reason(error.cause ?? error) }, 'The cart of an order was not emptied.');
      });
    }
    return reply
      .code(placed.created ? 201 : 200)
      .header('location', `/api/orders/${placed.order._id}`)
      .send(shown(placed.order));
  });

  app.get('/api/orders', async (request) => {
    const userId = await sessions.userOf(request);
    const { limit, offset } = parse(page, request.query);
    const found = await orders.list(userId, limit + 1, offset);
    return {
      orders: found.slice(0, limit).map(shown),
      nextOffset: found.length > limit ? offset + limit : null,
    };
  });

  app.get('/api/orders/:id', async (request) => {
    const userId = await sessions.userOf(request);
    const params = orderId.safeParse(request.params);
    const order = params.success && (await orders.get(userId, params.data.id));
    if (!order) throw new HttpError(404, 'There is no such order.');
    return shown(order);
  });
}
