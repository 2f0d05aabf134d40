/** Everything that one request does with the stores is over by then: long enough to sit out a failover. */
export const REQUEST_MS = 14_000;

/** What one step may take, retries included, when nothing else bounds it. */
export const STORE_MS = 13_000;

export class Late extends Error {}

/** Settles as `work` does, or rejects after `ms`. The work itself is not stopped. */
export async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Late(`no answer within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
