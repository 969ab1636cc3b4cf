/**
 * How long asks of one kind usually take: a high percentile of the newest ones, at the cost of one store for each ask.
 * Asks of different kinds and sizes have windows of their own, or every large one would look late.
 */

const WINDOW = 256;

/** The percentile is taken anew after so many asks. */
const REFRESH = 32;

const PERCENTILE = 0.95;

export class LatencyWindow {
  readonly #samples = new Float64Array(WINDOW);
  #count = 0;
  #high: number | undefined;

  add(ms: number): void {
    this.#samples[this.#count++ % WINDOW] = ms;
    if (this.#count % REFRESH !== 0) return;
    const sorted = this.#samples.slice(0, Math.min(this.#count, WINDOW)).sort();
    this.#high = sorted[Math.floor(sorted.length * PERCENTILE)];
  }

  /** Milliseconds that 95 of 100 asks do not exceed; undefined while there have been too few. */
  get high(): number | undefined {
    return this.#high;
  }
}

/** Windows by kind and size of the work. */
export class Latencies {
  readonly #windows = new Map<number, LatencyWindow>();

  /** @param kind below 8. @param size of the work, in any unit that is the same for a kind: doublings are told apart */
  of(kind: number, size: number): LatencyWindow {
    const key = kind * 32 + (31 - Math.clz32(Math.max(1, size)));
    let window = this.#windows.get(key);
    if (window === undefined) {
      window = new LatencyWindow();
      this.#windows.set(key, window);
    }
    return window;
  }
}
