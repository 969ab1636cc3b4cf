/** A fixed number of places for jobs; who comes when all are taken waits in line. */
export interface Slots {
  run<T>(job: () => Promise<T>): Promise<T>;
}

export function createSlots(count: number): Slots {
  let free = count;
  const waiting: (() => void)[] = [];
  return {
    async run(job) {
      if (free > 0) free--;
      else await new Promise<void>((resolve) => waiting.push(resolve));
      try {
        return await job();
      } finally {
        // Handed on rather than freed, so that nobody overtakes the line.
        const next = waiting.shift();
        if (next === undefined) free++;
        else next();
      }
    },
  };
}
