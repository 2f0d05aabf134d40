import { setTimeout as sleep } from 'node:timers/promises';
import { type Collection, MongoClient, MongoError, MongoServerError } from 'mongodb';
import type { Config } from './config.ts';
import { Dependency } from './dependency.ts';
import { Unavailable } from './errors.ts';
import type { Log } from './log.ts';
import { Late, STORE_MS, within } from './time.ts';

export type Product = {
  _id: string;
  name: string;
  description: string;
  price: number;
  stock: number;
  /** The path at which it is served. */
  picture?: string;
};
export type User = { _id: string; email: string; password: string; createdAt: Date };
export type OrderItem = { productId: string; name: string; price: number; quantity: number };
export type Order = {
  _id: string;
  userId: string;
  key?: string;
  items: OrderItem[];
  total: number;
  createdAt: Date;
};
export type StockMovement = { orderId: string; productId: string; change: number; at: Date };

export const DUPLICATE_KEY = 11000;
const AGAIN_MS = 250;

export class Mongo {
  readonly client: MongoClient;
  readonly products: Collection<Product>;
  readonly users: Collection<User>;
  readonly orders: Collection<Order>;
  readonly movements: Collection<StockMovement>;
  readonly health: Dependency;
  private readonly seed: readonly Product[];
  private prepared = false;
  private preparing: Promise<void> | undefined;

  constructor(config: Config, log: Log, seed: readonly Product[]) {
    const { uri, username, password } = config.mongo;
    this.client = new MongoClient(uri, {
      ...(username && { auth: { username, password }, authSource: 'admin' }),
      appName: 'techshop-app',
      writeConcern: { w: 'majority' },
      // Long enough for an election; run() limits the whole.
      serverSelectionTimeoutMS: 12_000,
      socketTimeoutMS: 12_000,
      waitQueueTimeoutMS: 5_000,
      // A member that vanished without a word is noticed after the sum of these two.
      heartbeatFrequencyMS: 2_000,
      connectTimeoutMS: 3_000,
      maxPoolSize: 20,
      monitorCommands: config.otlpEndpoint !== undefined,
    });
    const db = this.client.db();
    this.products = db.collection('products');
    this.users = db.collection('users');
    // Never show an order that a failover could still take back.
    this.orders = db.collection('orders', { readConcern: { level: 'majority' } });
    this.movements = db.collection('stock_movements');
    this.seed = seed;
    this.health = new Dependency('MongoDB', log, () => this.probe());
  }

  /** Tries a step again until it is answered or its time is up. It must be one that may happen twice. */
  async run<T>(step: () => Promise<T>, deadline = Date.now() + STORE_MS): Promise<T> {
    for (;;) {
      try {
        return await this.bounded(step, deadline);
      } catch (error) {
        if (!isMongoAway(error) || Date.now() + AGAIN_MS > deadline) throw error;
        await sleep(AGAIN_MS);
      }
    }
  }

  /** Answers by the deadline at the latest, with Unavailable if the step is not over by then. */
  private async bounded<T>(step: () => Promise<T>, deadline: number): Promise<T> {
    this.health.assertUsable();
    try {
      return await within(deadline - Date.now(), step());
    } catch (error) {
      throw error instanceof Late ? new Unavailable(this.health.name, error) : error;
    }
  }

  async close(): Promise<void> {
    this.health.stop();
    await this.client.close();
  }

  private async probe(): Promise<void> {
    // Needed again after a first connection that failed: the driver leaves that one closed. Free while connected.
    await this.client.connect();
    await this.client.db().command({ ping: 1 });
    if (this.prepared) return;
    this.preparing ??= this.prepare().finally(() => {
      this.preparing = undefined;
    });
    await this.preparing;
  }

  /** Safe to run in many pods at once: indexes and products that are there already stay as they are. */
  private async prepare(): Promise<void> {
    await this.users.createIndex({ email: 1 }, { unique: true });
    await this.orders.createIndexes([
      { key: { userId: 1, createdAt: -1 } },
      { key: { userId: 1, key: 1 }, unique: true, partialFilterExpression: { key: { $exists: true } } },
    ]);
    await this.movements.createIndex({ orderId: 1 });
    const upserts = this.seed.map(({ _id, ...product }) => ({
      updateOne: { filter: { _id }, update: { $setOnInsert: product }, upsert: true },
    }));
    await this.products.bulkWrite(upserts, { ordered: false }).catch((error) => {
      // Another pod inserted the same product between our look and our insert.
      if (error.code !== DUPLICATE_KEY) throw error;
    });
    this.prepared = true;
  }
}

/**
 * Codes of the server that speak of the moment and not of the request: what comes later finds it different.
 * https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
 */
// biome-ignore format: one line for each reason
const AWAY = new Set([
  91, 189, 10107, 11600, 11602, 13435, 13436, // another primary, or none: the server steps down or shuts down
  6, 7, 89, 9001, // the network between members
  24, 50, 202, 237, 262, 279, 290, 355, 11601, // interrupted or out of time
  64, 75, 79, 100, 133, 134, 187, // too few members answer for this read or write
  43, 112, 117, 136, 175, 225, 239, 246, 251, 267, // a failover or another transaction took away what it stood on
  11, 13, 18, 391, // users that are not replicated yet, or credentials that stopped working
  365, 402, 433, 449, // too busy
]);

// EPIPE, ECONNRESET, ..., and a write after the stream's end.
const SOCKET = /^(E(PIPE|CONN[A-Z]+|TIMEDOUT|HOSTUNREACH|NETUNREACH)|ERR_STREAM_[A-Z_]+)$/;

/** Says whether the error means that MongoDB was away, and not that the shop asked for something wrong. */
export function isMongoAway(error: unknown): boolean {
  // The driver doesn't wrap what the socket itself says when the server closes it while a command is written.
  if (!(error instanceof MongoError))
    return SOCKET.test(String((error as { code?: unknown } | undefined)?.code));
  if (!(error instanceof MongoServerError)) return true;
  const labels = ['TransientTransactionError', 'UnknownTransactionCommitResult', 'RetryableWriteError'];
  return AWAY.has(Number(error.code)) || labels.some((label) => error.hasErrorLabel(label));
}
