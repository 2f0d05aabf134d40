import { randomBytes, randomUUID } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { SignJWT } from 'jose/jwt/sign';
import { jwtVerify } from 'jose/jwt/verify';
import { HttpError } from './errors.ts';
import type { RedisStore } from './redis.ts';

export const COOKIE = 'techshop_session';
export const SESSION_SECONDS = 3_600;

const sessionKey = (id: string) => `shop:session:${id}`;
const endedKey = (tokenId: string) => `shop:ended:${tokenId}`;

type Token = { userId: string; id: string; expires: number };

/** Who is asking: a signed token, or a cookie whose session is in Redis. */
export class Sessions {
  private readonly secret: Uint8Array;
  private readonly redis: RedisStore;

  constructor(secret: string, redis: RedisStore) {
    this.secret = new TextEncoder().encode(secret);
    this.redis = redis;
  }

  async begin(userId: string): Promise<{ token: string; sessionId: string }> {
    const sessionId = randomBytes(32).toString('base64url');
    const token = await new SignJWT()
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject(userId)
      .setJti(randomUUID())
      .setIssuedAt()
      .setExpirationTime(`${SESSION_SECONDS}s`)
      .sign(this.secret);
    await this.redis.run((r) => r.set(sessionKey(sessionId), userId, 'EX', SESSION_SECONDS));
    return { token, sessionId };
  }

  /** The id of the user who is logged in, or 401. */
  async userOf(request: FastifyRequest): Promise<string> {
    if (request.headers.authorization !== undefined) {
      const token = await this.token(request.headers.authorization);
      const ended = token && (await this.redis.run((r) => r.exists(endedKey(token.id))));
      if (token && !ended) return token.userId;
    } else {
      const cookie = request.cookies[COOKIE];
      const userId = cookie && (await this.redis.run((r) => r.get(sessionKey(cookie))));
      if (userId) return userId;
    }
    throw new HttpError(401, 'Log in first: this needs a valid token or session.');
  }

  /** Ends the session, and the token for what is left of its hour. */
  async end(request: FastifyRequest): Promise<void> {
    const cookie = request.cookies[COOKIE];
    if (cookie) await this.redis.run((r) => r.del(sessionKey(cookie)));
    const token = await this.token(request.headers.authorization ?? '');
    if (token) await this.redis.run((r) => r.set(endedKey(token.id), '1', 'EXAT', token.expires));
  }

  private async token(authorization: string): Promise<Token | undefined> {
    const bearer = /^Bearer (\S+)$/i.exec(authorization)?.[1];
    if (!bearer) return undefined;
    try {
      const { payload } = await jwtVerify(bearer, this.secret, {
        algorithms: ['HS256'],
        requiredClaims: ['sub', 'jti', 'exp'],
      });
      return { userId: payload.sub as string, id: payload.jti as string, expires: payload.exp as number };
    } catch {
      return undefined;
    }
  }
}
