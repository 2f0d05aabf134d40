import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { Unavailable } from './errors.ts';

const derive = promisify<string, Buffer, number, ScryptOptions, Buffer>(scrypt);

// OWASP's setting for little memory: 16 MiB a hash, made up for by five passes.
const COST = { N: 2 ** 14, r: 8, p: 5 };

// A hash keeps one thread of Node's pool busy, and name look-ups need those threads too; and memory is small.
const AT_ONCE = 2;
const WAITING = 32;
let running = 0;
const queue: (() => void)[] = [];

async function limited<T>(work: () => Promise<T>): Promise<T> {
  if (running >= AT_ONCE) {
    if (queue.length >= WAITING) throw new Unavailable('Password hashing');
    await new Promise<void>((resolve) => queue.push(resolve));
  } else running += 1;
  try {
    return await work();
  } finally {
    const next = queue.shift();
    if (next) next();
    else running -= 1;
  }
}

/** The hash with its salt and cost, so that a later change of the cost keeps old passwords valid. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16);
  const key = await limited(() => derive(password, salt, 32, COST));
  return ['scrypt', COST.N, COST.r, COST.p, salt.toString('base64url'), key.toString('base64url')].join('$');
}

// An unknown user costs as much time as a wrong password, so that the answer's speed tells nothing.
const NOBODY = ['scrypt', COST.N, COST.r, COST.p, 'AAAA', Buffer.alloc(32).toString('base64url')].join('$');

export async function verifyPassword(password: string, stored = NOBODY): Promise<boolean> {
  const [, N, r, p, salt = '', key = ''] = stored.split('$');
  const wanted = Buffer.from(key, 'base64url');
  const cost = { N: Number(N), r: Number(r), p: Number(p) };
  const got = await limited(() => derive(password, Buffer.from(salt, 'base64url'), wanted.length, cost));
  return timingSafeEqual(got, wanted) && stored !== NOBODY;
}
