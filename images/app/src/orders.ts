import { randomUUID } from 'node:crypto';
import type { ClientSession, TransactionOptions } from 'mongodb';
import { HttpError, Unavailable } from './errors.ts';
import { type Line, mergeLines, totalOf } from './lines.ts';
import { DUPLICATE_KEY, type Mongo, type Order } from './mongo.ts';
import { Turns } from './turns.ts';

type Draft = Omit<Order, 'items' | 'total'>;
export type Placed = { order: Order; created: boolean };

const TRANSACTION = {
  readConcern: { level: 'snapshot' },
  writeConcern: { w: 'majority' },
} satisfies TransactionOptions;

export class Orders {
  private readonly mongo: Mongo;
  // Transactions that want the same product abort each other: a pod's own line up instead.
  private readonly turns = new Turns();

  constructor(mongo: Mongo) {
    this.mongo = mongo;
  }

  /** Places the order, or finds the one that this key stands for already. Over by the deadline. */
  async place(userId: string, lines: Line[], key: string | undefined, deadline: number): Promise<Placed> {
    const earlier = key && (await this.byKey(userId, key));
    if (earlier) return { order: earlier, created: false };
    // Made once: a try whose answer got lost and the next one can't both be written.
    const draft: Draft = { _id: randomUUID(), userId, ...(key && { key }), createdAt: new Date() };
    const wanted = mergeLines(lines);
    const ids = wanted.map((line) => line.productId);
    try {
      const order = await this.mongo.run(
        () => this.turns.take(ids, () => this.transact(draft, wanted, deadline)),
        deadline,
      );
      return { order, created: true };
    } catch (error) {
      if (!isLost(error)) throw error;
      const own = await this.settled({ _id: draft._id });
      if (own) return { order: own, created: true };
      const first = key && (await this.byKey(userId, key));
      if (first) return { order: first, created: false };
      throw error;
    }
  }

  byKey(userId: string, key: string): Promise<Order | null> {
    return this.settled({ userId, key });
  }

  async list(userId: string, limit: number, offset: number): Promise<Order[]> {
    return this.mongo.run(() =>
      this.mongo.orders.find({ userId }).sort({ createdAt: -1 }).skip(offset).limit(limit).toArray(),
    );
  }

  async get(userId: string, id: string): Promise<Order | null> {
    return this.mongo.run(() => this.mongo.orders.findOne({ _id: id, userId }));
  }

  /**
   * An order that no failover can take back, which is what a client may be told.
   * Linearizable reads are dear, so that one is made only when there is something to read.
   */
  private async settled(filter: { _id: string } | { userId: string; key: string }): Promise<Order | null> {
    const read = (level: 'local' | 'linearizable') =>
      this.mongo.run(() => this.mongo.orders.findOne(filter, { readConcern: { level } }));
    return (await read('local')) && read('linearizable');
  }

  private async transact(draft: Draft, lines: Line[], deadline: number): Promise<Order> {
    if (Date.now() > deadline) throw new Unavailable('MongoDB');
    const session = this.mongo.client.startSession();
    const end = () => session.endSession().catch(() => {});
    // The driver alone would go on for two minutes, long after the client has been told to try again.
    const timer = setTimeout(end, deadline - Date.now());
    try {
      return await session.withTransaction(() => this.write(session, draft, lines), TRANSACTION);
    } finally {
      clearTimeout(timer);
      // Not awaited: with MongoDB away this takes as long as everything else.
      end();
    }
  }

  private async write(session: ClientSession, draft: Draft, lines: Line[]): Promise<Order> {
    const items: Order['items'] = [];
    // Stock first: orders for the same product conflict here, before they cost anything.
    for (const { productId, quantity } of lines) {
      const product = await this.mongo.products.findOneAndUpdate(
        { _id: productId, stock: { $gte: quantity } },
        { $inc: { stock: -quantity } },
        { session },
      );
      if (!product) throw await this.refusal(session, productId);
      items.push({ productId, name: product.name, price: product.price, quantity });
    }
    const order: Order = { ...draft, items, total: totalOf(items) };
    await this.mongo.orders.insertOne(order, { session });
    await this.mongo.movements.insertMany(
      items.map((item) => ({
        orderId: order._id,
        productId: item.productId,
        change: -item.quantity,
        at: order.createdAt,
      })),
      { session },
    );
    return order;
  }

  private async refusal(session: ClientSession, productId: string): Promise<HttpError> {
    const product = await this.mongo.products.findOne({ _id: productId }, { session });
    return product
      ? new HttpError(409, `Out of stock: ${product.stock} of ${productId} left.`)
      : new HttpError(422, `There is no product ${productId}.`);
  }
}

/** Errors that an earlier try of the same order explains: its id or key is taken, or it took the last of the stock. */
function isLost(error: unknown): boolean {
  const { code, statusCode } = error as { code?: unknown; statusCode?: unknown };
  return code === DUPLICATE_KEY || statusCode === 409;
}
