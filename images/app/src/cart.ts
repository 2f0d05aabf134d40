import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { Catalogue } from './catalogue.ts';
import { HttpError } from './errors.ts';
import { type Line, totalOf } from './lines.ts';
import type { RedisStore } from './redis.ts';
import type { Sessions } from './sessions.ts';
import { parse, productId, quantity } from './validation.ts';

const CART_SECONDS = 7 * 24 * 3_600;

// One script each instead of two commands: a cart never ends up without its time to live.
const PUT = `redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) return redis.call('EXPIRE', KEYS[1], ARGV[3])`;
// Takes out what was ordered, and leaves a line that was changed meanwhile.
const TAKE = `for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then redis.call('HDEL', KEYS[1], ARGV[i]) end
end`;

// The braces put all keys of a user into one slot of a Redis Cluster.
const cartKey = (userId: string) => `shop:{${userId}}:cart`;

export class Carts {
  private readonly redis: RedisStore;

  constructor(redis: RedisStore) {
    this.redis = redis;
  }

  async lines(userId: string): Promise<Line[]> {
    const cart = await this.redis.run((r) => r.hgetall(cartKey(userId)));
    return Object.entries(cart)
      .map(([id, quantity]) => ({ productId: id, quantity: Number(quantity) }))
      .sort((a, b) => a.productId.localeCompare(b.productId));
  }

  async put(userId: string, id: string, quantity: number): Promise<void> {
    await this.redis.run((r) => r.eval(PUT, 1, cartKey(userId), id, quantity, CART_SECONDS));
  }

  async remove(userId: string, id: string): Promise<void> {
    await this.redis.run((r) => r.hdel(cartKey(userId), id));
  }

  async take(userId: string, lines: Line[], ms: number): Promise<void> {
    const args = lines.flatMap((line) => [line.productId, line.quantity]);
    await this.redis.run((r) => r.eval(TAKE, 1, cartKey(userId), ...args), ms);
  }
}

export type CartRouteParts = {
  carts: Pick<Carts, 'lines' | 'put' | 'remove'>;
  catalogue: Pick<Catalogue, 'find'>;
  sessions: Sessions;
};

export function cartRoutes(app: FastifyInstance, { carts, catalogue, sessions }: CartRouteParts): void {
  const cartOf = async (userId: string) => {
    const lines = await carts.lines(userId);
    const products = await catalogue.find(lines.map((line) => line.productId));
    const items = lines.flatMap((line) => {
      const product = products.find(({ id }) => id === line.productId);
      return product ? [{ ...line, name: product.name, price: product.price }] : [];
    });
    return { items, total: totalOf(items) };
  };

  const item = z.object({ productId });

  app.get('/api/cart', async (request) => cartOf(await sessions.userOf(request)));

  app.put('/api/cart/items/:productId', async (request) => {
    const userId = await sessions.userOf(request);
    const { productId: id } = parse(item, request.params);
    const body = parse(z.strictObject({ quantity }), request.body);
    const [product] = await catalogue.find([id]);
    if (!product) throw new HttpError(404, 'There is no such product.');
    await carts.put(userId, id, body.quantity);
    return cartOf(userId);
  });

  app.delete('/api/cart/items/:productId', async (request, reply) => {
    const userId = await sessions.userOf(request);
    await carts.remove(userId, parse(item, request.params).productId);
    return reply.code(204).send();
  });
}
