import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { HttpError } from './errors.ts';
import type { Mongo, Product } from './mongo.ts';
import type { RedisStore } from './redis.ts';
import { page, parse, productId } from './validation.ts';

export type Listed = Omit<Product, '_id'> & { id: string };
export type ProductPage = { products: Listed[]; nextOffset: number | null };

type CatalogueStore = Pick<Mongo, 'products' | 'run'>;

const CACHE_SECONDS = 5;
const CACHE_MS = 500;

export class Catalogue {
  private readonly mongo: CatalogueStore;
  private readonly redis: RedisStore;
  private readonly pictured: boolean;

  /** `pictured`: there is a bucket to serve pictures from. */
  constructor(mongo: CatalogueStore, redis: RedisStore, pictured = false) {
    this.mongo = mongo;
    this.redis = redis;
    this.pictured = pictured;
  }

  /** A page of the catalogue, a few seconds old at most. */
  async list(limit: number, offset: number): Promise<ProductPage> {
    const key = `shop:products:${limit}:${offset}`;
    // The cache is a help, not a need: without it the page comes from MongoDB.
    const cached = await this.redis.run((r) => r.get(key), CACHE_MS).catch(() => null);
    if (cached) return JSON.parse(cached);
    const found = await this.mongo.run(() =>
      this.mongo.products
        .find()
        .sort({ _id: 1 })
        .skip(offset)
        .limit(limit + 1)
        .toArray(),
    );
    const result: ProductPage = {
      products: found.slice(0, limit).map(this.listed),
      nextOffset: found.length > limit ? offset + limit : null,
    };
    await this.redis
      .run((r) => r.set(key, JSON.stringify(result), 'EX', CACHE_SECONDS), CACHE_MS)
      .catch(() => null);
    return result;
  }

  async find(ids: string[]): Promise<Listed[]> {
    const found = await this.mongo.run(() => this.mongo.products.find({ _id: { $in: ids } }).toArray());
    return found.map(this.listed);
  }

  private listed = ({ _id, name, description, price, stock, picture }: Product): Listed => ({
    id: _id,
    name,
    description,
    price,
    stock,
    ...(this.pictured && picture && { picture }),
  });
}

export function catalogueRoutes(
  app: FastifyInstance,
  { catalogue }: { catalogue: Pick<Catalogue, 'list' | 'find'> },
): void {
  app.get('/api/products', async (request, reply) => {
    const { limit, offset } = parse(page, request.query);
    reply.header('cache-control', `public, max-age=${CACHE_SECONDS}`);
    return catalogue.list(limit, offset);
  });

  app.get('/api/products/:productId', async (request) => {
    const params = z.object({ productId }).safeParse(request.params);
    const [product] = params.success ? await catalogue.find([params.data.productId]) : [];
    if (!product) throw new HttpError(404, 'There is no such product.');
    return product;
  });
}
