import { timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Catalogue } from './catalogue.ts';
import { drawing } from './drawing.ts';
import { HttpError, reason, Unavailable } from './errors.ts';
import type { Log } from './log.ts';
import type { Mongo } from './mongo.ts';
import { type S3, sha256 } from './s3.ts';
import { productId } from './validation.ts';

const TYPES = {
  svg: 'image/svg+xml',
  png: 'image/png',
  jpg: 'image/jpeg',
  webp: 'image/webp',
  avif: 'image/avif',
};
type Extension = keyof typeof TYPES;

// An address stands for its content, so that whoever has it never needs to ask again.
const FOREVER = 'public, max-age=31536000, immutable';
const NAME = /^([0-9a-f]{64})\.(svg|png|jpg|webp|avif)$/;
// Drawings are SVG, and what is uploaded never is.
const UPLOADED = /\.(png|jpg|webp|avif)$/;

const AGAIN_MS = 2_000;
const MAX_BYTES = 2 * 1024 * 1024;
// A slow phone may take longer for a large picture than a request may take for an answer.
const DOWNLOAD_MS = 60_000;

/** What the content is by its first bytes. SVG is not among them: it may hold scripts. */
function extensionOf(content: Buffer): Extension | undefined {
  const at = (from: number, to: number) => content.toString('latin1', from, to);
  if (at(0, 8) === '\x89PNG\r\n\x1a\n') return 'png';
  if (at(0, 3) === '\xff\xd8\xff') return 'jpg';
  if (at(0, 4) === 'RIFF' && at(8, 12) === 'WEBP') return 'webp';
  if (/^ftypavi[fs]$/.test(at(4, 12))) return 'avif';
  return undefined;
}

/** The products' pictures: in the bucket under the hash of their content, and in the catalogue by their address. */
export class Pictures {
  private readonly mongo: Pick<Mongo, 'products' | 'run' | 'health'>;
  private readonly s3: S3;
  private readonly log: Log;
  private stopped = false;

  constructor(mongo: Pick<Mongo, 'products' | 'run' | 'health'>, s3: S3, log: Log) {
    this.mongo = mongo;
    this.s3 = s3;
    this.log = log;
  }

  /** Gives a drawing to each product that has no uploaded picture, as soon as both stores are there. */
  async complete(): Promise<void> {
    let said = '';
    while (!this.stopped) {
      const states = await Promise.all([this.mongo.health.check(), this.s3.health.check()]);
      try {
        if (states.every((state) => state === 'ok')) return await this.draw();
      } catch (error) {
        const why = reason((error as Error).cause ?? error);
        if (why !== said) this.log.warn({ reason: why }, 'Pictures are missing; trying again.');
        said = why;
      }
      await sleep(AGAIN_MS);
    }
  }

  stop(): void {
    this.stopped = true;
  }

  async open(name: string, method: 'GET' | 'HEAD'): Promise<IncomingMessage | undefined> {
    const picture = await this.s3.get(`pictures/${name}`, method);
    // A bucket that is gone has no object either, but may come back.
    if (!picture && (await this.s3.health.check()) !== 'ok') throw new Unavailable('S3');
    return picture;
  }

  /** Stores an uploaded picture, then shows it; returns its address. */
  async replace(id: string, content: Buffer): Promise<string> {
    const extension = extensionOf(content);
    if (!extension) throw new HttpError(415, 'A picture must be a PNG, JPEG, WebP or AVIF file.');
    const picture = await this.store(content, extension);
    await this.mongo.run(() => this.mongo.products.updateOne({ _id: id }, { $set: { picture } }));
    return picture;
  }

  /** Safe in many pods at once, and to repeat: whatever is there already stays, and what the bucket lost comes back. */
  private async draw(): Promise<void> {
    const undrawn = { picture: { $not: UPLOADED } };
    const products = await this.mongo.run(() => this.mongo.products.find(undrawn).toArray());
    for (const { _id, name, picture: before } of products) {
      const picture = await this.store(Buffer.from(drawing(name)), 'svg');
      if (picture !== before)
        await this.mongo.run(() => this.mongo.products.updateOne({ _id, ...undrawn }, { $set: { picture } }));
    }
    this.log.info(`The pictures of ${products.length} products are in the bucket.`);
  }

  private async store(body: Buffer, extension: Extension): Promise<string> {
    const address = `pictures/${sha256(body)}.${extension}`;
    if (!(await this.s3.get(address, 'HEAD'))?.resume()) {
      const headers = { 'content-type': TYPES[extension], 'cache-control': FOREVER };
      await this.s3.put(address, { body, headers });
    }
    return `/${address}`;
  }
}

export type PictureRouteParts = {
  store: Pick<Pictures, 'open' | 'replace'>;
  /** Whoever has it may upload; without it nobody may. */
  uploadToken: string | undefined;
  catalogue: Pick<Catalogue, 'find'>;
};

export function pictureRoutes(app: FastifyInstance, parts: PictureRouteParts): void {
  const { store, uploadToken, catalogue } = parts;

  app.route<{ Params: { name: string } }>({
    method: ['GET', 'HEAD'],
    url: '/pictures/:name',
    handlerTimeout: DOWNLOAD_MS,
    handler: async (request, reply) => {
      const [name, hash, extension] = NAME.exec(request.params.name) ?? [];
      if (!name) throw new HttpError(404, 'There is no such picture.');
      // Whoever knows the hash of a content has the content, whatever the bucket says.
      const known = request.headers['if-none-match']?.includes(`"${hash}"`);
      const picture = known ? undefined : await store.open(name, request.method as 'GET' | 'HEAD');
      if (!known && !picture) throw new HttpError(404, 'There is no such picture.');
      reply
        .header('cache-control', FOREVER)
        .header('etag', `"${hash}"`)
        .header('access-control-allow-origin', '*')
        .header('content-security-policy', "default-src 'none'; style-src 'unsafe-inline'; sandbox");
      if (!picture) return reply.code(304).send();
      const length = picture.headers['content-length'];
      if (length) reply.header('content-length', length);
      return reply.type(TYPES[extension as Extension]).send(picture);
    },
  });

  if (uploadToken) app.register(async (scope) => uploadRoute(scope, store, catalogue, uploadToken));
}

function uploadRoute(
  app: FastifyInstance,
  store: PictureRouteParts['store'],
  catalogue: PictureRouteParts['catalogue'],
  token: string,
): void {
  // Whatever the client says it is: what it is stands in its first bytes.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, async (_: FastifyRequest, body: Buffer) => body);

  // Hashes have the same length, and tell nothing by how far they agree.
  const wanted = Buffer.from(sha256(token));
  const mayUpload = async ({ headers }: FastifyRequest) => {
    const given = /^Bearer (\S+)$/i.exec(headers.authorization ?? '')?.[1];
    if (!given) throw new HttpError(401, 'Uploading needs the token that the operator of the shop has.');
    if (!timingSafeEqual(Buffer.from(sha256(given)), wanted))
      throw new HttpError(403, 'This token may not upload.');
  };

  // Asked before the body is read.
  app.put(
    '/api/products/:productId/picture',
    { onRequest: mayUpload, bodyLimit: MAX_BYTES },
    async (request) => {
      const params = z.object({ productId }).safeParse(request.params);
      const [product] = params.success ? await catalogue.find([params.data.productId]) : [];
      if (!product) throw new HttpError(404, 'There is no such product.');
      if (!Buffer.isBuffer(request.body)) throw new HttpError(400, 'The body must be the picture.');
      return { ...product, picture: await store.replace(product.id, request.body) };
    },
  );
}
