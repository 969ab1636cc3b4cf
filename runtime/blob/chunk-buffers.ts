/**
 * The buffers that a transfer moves its bytes through: at most `count` of them, in shared memory so that the digest's
 * thread reads them where they are. One is used again once all who work on it have resolved, oldest first.
 *
 * Owns the buffers that no transfer has at the moment, a few of them: the garbage collector is slow to see what shared
 * memory costs.
 *
 * This is what bounds a transfer's memory and the work it has under way, whichever side is the slow one.
 */
/** One transfer's worth. */
const KEPT_BYTES_MAX = 16 << 20;
const kept: Uint8Array[] = [];
let keptBytes = 0;

export class ChunkBuffers {
  readonly #bytes: number;
  readonly #count: number;
  readonly #spare: Uint8Array[] = [];
  readonly #busy: { buffer: Uint8Array; done: Promise<Error | null> }[] = [];
  #made = 0;

  constructor(options: { bytes: number; count: number }) {
    this.#bytes = options.bytes;
    this.#count = options.count;
  }

  /** A buffer that nobody works on; waits for the oldest of the busy ones when all are. @throws what its work threw */
  async take(): Promise<Uint8Array> {
    const spare = this.#spare.pop();
    if (spare !== undefined) return spare;
    if (this.#made < this.#count) {
      this.#made++;
      return makeBuffer(this.#bytes);
    }
    await this.#settleOldest();
    return this.#spare.pop()!;
  }

  /** Gives a taken buffer back, to be used again when all work on it is done. */
  giveBack(buffer: Uint8Array, ...work: Promise<unknown>[]): void {
    const done = Promise.allSettled(work).then((outcomes) => {
      const failed = outcomes.find((outcome) => outcome.status === "rejected");
      return failed === undefined ? null : (failed.reason as Error);
    });
    this.#busy.push({ buffer, done });
  }

  /** @throws the first error of any work */
  async settleAll(): Promise<void> {
    while (this.#busy.length > 0) await this.#settleOldest();
  }

  /** The end of it: resolves when nobody works on any buffer any more, whatever came of it. */
  async release(): Promise<void> {
    await Promise.all(this.#busy.map(({ done }) => done));
    for (const buffer of [...this.#spare, ...this.#busy.map(({ buffer }) => buffer)]) keepBuffer(buffer);
    this.#spare.length = 0;
    this.#busy.length = 0;
  }

  async #settleOldest(): Promise<void> {
    const { buffer, done } = this.#busy[0]!;
    const error = await done;
    if (error !== null) throw error;
    this.#busy.shift();
    this.#spare.push(buffer);
  }
}

function makeBuffer(bytes: number): Uint8Array {
  const index = kept.findIndex((buffer) => buffer.length === bytes);
  if (index < 0) return new Uint8Array(new SharedArrayBuffer(bytes));
  keptBytes -= bytes;
  return kept.splice(index, 1)[0]!;
}

function keepBuffer(buffer: Uint8Array): void {
  if (keptBytes + buffer.length > KEPT_BYTES_MAX) return;
  keptBytes += buffer.length;
  kept.push(buffer);
}
