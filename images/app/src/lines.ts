export type Line = { productId: string; quantity: number };

/** The same product twice is one line; sorted, so that two orders never wait for each other crosswise. */
export function mergeLines(lines: Line[]): Line[] {
  const merged = new Map<string, number>();
  for (const { productId, quantity } of lines) merged.set(productId, (merged.get(productId) ?? 0) + quantity);
  return [...merged]
    .map(([productId, quantity]) => ({ productId, quantity }))
    .sort((a, b) => (a.productId < b.productId ? -1 : 1));
}

/** In cents, which are whole numbers: no rounding anywhere. */
export const totalOf = (items: { price: number; quantity: number }[]): number =>
  items.reduce((sum, item) => sum + item.price * item.quantity, 0);
