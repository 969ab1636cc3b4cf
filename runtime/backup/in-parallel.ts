/** Runs a task on each item, a few at a time; the first failure stops the rest and is thrown once they have ended. */
export async function inParallel<T>(
  items: readonly T[],
  atOnce: number,
  signal: AbortSignal,
  task: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stopped = new AbortController();
  const both = AbortSignal.any([signal, stopped.signal]);
  const queue = items[Symbol.iterator]();
  const worker = async () => {
    for (const item of queue) {
      both.throwIfAborted();
      await task(item, both);
    }
  };
  const workers = Array.from({ length: Math.min(atOnce, items.length) }, () =>
    worker().catch((error: unknown) => {
      stopped.abort();
      throw error;
    }),
  );
  const ended = await Promise.allSettled(workers);
  const failed = ended.filter((end) => end.status === "rejected").map(({ reason }) => reason as Error);
  // Those that were stopped by another's failure say nothing of their own.
  const [first] = [...failed.filter(({ name }) => name !== "AbortError"), ...failed];
  if (first !== undefined) throw first;
}
