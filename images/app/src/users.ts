import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { HttpError } from './errors.ts';
import { DUPLICATE_KEY, type Mongo, type User } from './mongo.ts';
import { hashPassword, verifyPassword } from './passwords.ts';
import { COOKIE, SESSION_SECONDS, type Sessions } from './sessions.ts';
import { parse } from './validation.ts';

type UserStore = Pick<Mongo, 'users' | 'run'>;

export class Users {
  private readonly mongo: UserStore;

  constructor(mongo: UserStore) {
    this.mongo = mongo;
  }

  async register(email: string, password: string): Promise<string> {
    const taken = new HttpError(409, 'There is an account with this e-mail address already.');
    // Cheaper than hashing first; the unique index decides between two at once.
    if (await this.byEmail(email)) throw taken;
    const user = { _id: randomUUID(), email, password: await hashPassword(password), createdAt: new Date() };
    try {
      await this.mongo.run(() => this.mongo.users.insertOne(user));
    } catch (error) {
      if ((error as { code?: unknown }).code !== DUPLICATE_KEY) throw error;
      // Ours may be the one that is there: inserted by a try whose answer got lost.
      if ((await this.byEmail(email))?._id !== user._id) throw taken;
    }
    return user._id;
  }

  async login(email: string, password: string): Promise<string> {
    const user = await this.byEmail(email);
    if (!(await verifyPassword(password, user?.password)) || !user)
      throw new HttpError(401, 'The e-mail address or the password is wrong.');
    return user._id;
  }

  async email(id: string): Promise<string | undefined> {
    return (await this.mongo.run(() => this.mongo.users.findOne({ _id: id })))?.email;
  }

  private byEmail(email: string): Promise<User | null> {
    return this.mongo.run(() => this.mongo.users.findOne({ email }));
  }
}

const emailError = 'email must be an e-mail address of at most 254 characters.';
const passwordError = 'password must have 8 to 200 characters.';
const credentials = z.strictObject({
  email: z
    .string({ error: emailError })
    .trim()
    .toLowerCase()
    .max(254, { error: emailError })
    .pipe(z.email({ error: emailError })),
  password: z
    .string({ error: passwordError })
    .min(8, { error: passwordError })
    .max(200, { error: passwordError }),
});

export function userRoutes(
  app: FastifyInstance,
  { users, sessions }: { users: Pick<Users, 'register' | 'login' | 'email'>; sessions: Sessions },
): void {
  app.post('/api/register', async (request, reply) => {
    const { email, password } = parse(credentials, request.body);
    const id = await users.register(email, password);
    return reply.code(201).send({ id, email });
  });

  app.post('/api/login', async (request, reply) => {
    const { email, password } = parse(credentials, request.body);
    const { token, sessionId } = await sessions.begin(await users.login(email, password));
    reply.setCookie(COOKIE, sessionId, {
      path: '/',
      httpOnly: true,
      sameSite: 'strict',
      secure: request.protocol === 'https',
      maxAge: SESSION_SECONDS,
    });
    return { token, expiresIn: SESSION_SECONDS };
  });

  app.post('/api/logout', async (request, reply) => {
    await sessions.end(request);
    return reply.clearCookie(COOKIE, { path: '/' }).code(204).send();
  });

  app.get('/api/me', async (request) => {
    const id = await sessions.userOf(request);
    const email = await users.email(id);
    if (!email) throw new HttpError(401, 'This account is gone.');
    return { id, email };
  });
}
