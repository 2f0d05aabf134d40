import { z } from 'zod';
import { HttpError } from './errors.ts';

/** The value as the schema has it, or 400 with a sentence for each thing that is wrong. */
export function parse<T extends z.ZodType>(schema: T, value: unknown): z.output<T> {
  const parsed = schema.safeParse(value ?? {});
  if (parsed.success) return parsed.data;
  throw new HttpError(400, [...new Set(parsed.error.issues.map(sentence))].join(' '));
}

function sentence(issue: z.core.$ZodIssue): string {
  if (issue.code === 'unrecognized_keys') return `Unknown field: ${issue.keys.join(', ')}.`;
  // Messages of ours are sentences; zod's own are not.
  if (issue.message.endsWith('.')) return issue.message;
  return `${issue.path.join('.') || 'The body'} is not valid: ${issue.message}.`;
}

export const productId = z
  .string({ error: 'productId must be the id of a product.' })
  .regex(/^[a-z0-9-]{1,64}$/, { error: 'productId must be the id of a product.' });

const quantityError = 'quantity must be a whole number from 1 to 100.';
export const quantity = z
  .int({ error: quantityError })
  .min(1, { error: quantityError })
  .max(100, { error: quantityError });

const pageNumber = (name: string, min: number, max: number, fallback: number) => {
  const error = `${name} must be a whole number from ${min} to ${max}.`;
  return z.coerce.number({ error }).int({ error }).min(min, { error }).max(max, { error }).default(fallback);
};

export const page = z.object({
  limit: pageNumber('limit', 1, 100, 20),
  offset: pageNumber('offset', 0, 10_000, 0),
});
