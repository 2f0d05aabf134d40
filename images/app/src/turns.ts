/** One at a time for each key, in the order of arrival; work for several keys waits for all of them. */
export class Turns {
  private readonly last = new Map<string, Promise<unknown>>();

  async take<T>(keys: string[], work: () => Promise<T>): Promise<T> {
    const mine = Promise.all(keys.map((key) => this.last.get(key))).then(work);
    const over = mine.catch(() => {});
    for (const key of keys) this.last.set(key, over);
    try {
      return await mine;
    } finally {
      for (const key of keys) if (this.last.get(key) === over) this.last.delete(key);
    }
  }
}
