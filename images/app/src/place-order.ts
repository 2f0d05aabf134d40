/**
 * Buys something as a customer would: node dist/place-order.js BASE_URL
 * Prints one line of JSON and exits 0, or says in a sentence which step failed and exits 1.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

type Answer = { status: number; body: Record<string, unknown> };
type Product = { id: string; price: number; stock: number };
type Call = (step: string, method: string, path: string, options?: CallOptions) => Promise<Answer>;
type CallOptions = { body?: unknown; headers?: Record<string, string>; expect: number[] };

const AWAY = new Set([502, 503, 504]);
const QUANTITY = 2;

/** A client that sits out what passes by itself: a refused connection, or a shop that isn't ready yet. */
function client(base: string, patienceMs: number): Call {
  const deadline = Date.now() + patienceMs;
  const headers: Record<string, string> = {};
  return async (step, method, path, options) => {
    const { body, expect } = options ?? { expect: [200] };
    for (;;) {
      let trouble: string;
      try {
        const response = await fetch(new URL(path, base), {
          method,
          headers: {
            ...headers,
            ...options?.headers,
            ...(body !== undefined && { 'content-type': 'application/json' }),
          },
          ...(body !== undefined && { body: JSON.stringify(body) }),
          signal: AbortSignal.timeout(20_000),
        });
        const text = await response.text();
        if (expect.includes(response.status)) {
          const answer = { status: response.status, body: JSON.parse(text) };
          if (typeof answer.body.token === 'string') headers.authorization = `Bearer ${answer.body.token}`;
          return answer;
        }
        trouble = `the shop answered ${response.status}: ${text.slice(0, 200)}`;
        if (!AWAY.has(response.status)) throw new StepError(step, trouble);
      } catch (error) {
        if (error instanceof StepError) throw error;
        const { message, cause } = error as Error;
        trouble =
          cause instanceof Error ? cause.message || String((cause as { code?: string }).code) : message;
      }
      if (Date.now() > deadline) throw new StepError(step, trouble);
      await sleep(1_000);
    }
  };
}

class StepError extends Error {
  constructor(step: string, trouble: string) {
    super(`Could not ${step}: ${trouble}.`);
  }
}

export async function placeOrder(base: string, patienceMs = 60_000): Promise<Record<string, unknown>> {
  const started = Date.now();
  const call = client(base, patienceMs);
  const account = {
    email: `test-${randomUUID()}@example.com`,
    password: randomBytes(18).toString('base64url'),
  };

  // 409: an earlier try got through, but not its answer.
  await call('register', 'POST', '/api/register', { body: account, expect: [201, 409] });
  await call('log in', 'POST', '/api/login', { body: account, expect: [200] });
  const { products } = (await call('list the products', 'GET', '/api/products')).body as {
    products: Product[];
  };
  const product = products.find(({ stock }) => stock >= 1_000);
  if (!product) throw new StepError('choose a product', 'nothing is in stock');
  const item = `/api/cart/items/${product.id}`;
  await call('fill the cart', 'PUT', item, { body: { quantity: QUANTITY }, expect: [200] });
  const headers = { 'idempotency-key': randomUUID() };
  const placed = (await call('place the order', 'POST', '/api/orders', { headers, expect: [201, 200] })).body;
  const read = (await call('read the order back', 'GET', `/api/orders/${placed.id}`)).body;
  const total = product.price * QUANTITY;
  if (placed.total !== total || read.total !== total)
    throw new StepError('check the total', `expected ${total}, got ${placed.total} and then ${read.total}`);
  return { ok: true, order: read.id, total, ms: Date.now() - started };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const base = process.argv[2];
  if (!base || !URL.canParse(base)) {
    console.error('Usage: node dist/place-order.js BASE_URL, such as http://localhost:3000.');
    process.exit(1);
  }
  try {
    console.log(JSON.stringify(await placeOrder(base)));
  } catch (error) {
    console.error((error as Error).message);
    process.exit(1);
  }
}
