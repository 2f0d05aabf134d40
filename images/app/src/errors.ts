/** An answer other than success; the message is a sentence for the client. */
export class HttpError extends Error {
  readonly statusCode: number;
  constructor(statusCode: number, message: string) {
    super(message);
    this.statusCode = statusCode;
  }
}

/** A store can't be reached right now: the client gets 503 and may try again. */
export class Unavailable extends Error {
  constructor(store: string, cause?: unknown) {
    super(`${store} is unavailable`, { cause });
  }
}

/** The first line of an error's message, short enough for a log field or /ready. */
export function reason(error: unknown): string {
  const { code } = error as { code?: string };
  // Where a name has several addresses, that all of them failed is an error without a message.
  const message = error instanceof Error ? error.message || code || error.name : String(error);
  return (message.split('\n')[0] ?? '').slice(0, 200);
}
